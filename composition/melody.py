"""The soloist: motifs that return, phrases that breathe, chord tones on strong beats. And the colours around it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .bass import place
from .comping import voice
from .grid import BarView, Hands, Piece, hits
from .score import Note
from .theory import Chord

__all__ = ["play_colour", "play_lead"]

MINOR_LIKE = ("minor", "dorian", "phrygian")
FORM = "AABC"  # the bars of a phrase: a motif, the motif on the next chord, an answer, a rest on a chord tone


class Motif:
    """One bar of rhythm and contour; the pitches follow from the chord it is played on."""

    def __init__(self, piece: Piece, rng: random.Random) -> None:
        melody = piece.style.melody
        rhythm = rng.choice(list(melody["rhythms"]))
        keep = min(1.0, 0.45 + melody["density"])
        beats = piece.plan.beats_per_bar
        steps = [hit for hit in hits(rhythm, beats) if hit[0] % 2 == 0 or rng.random() < keep]
        self.steps = [(beat, length) for beat, length, _ in steps] or [(0.0, float(beats))]
        self.moves = [self._move(rng, melody["leap"]) for _ in self.steps]

    @staticmethod
    def _move(rng: random.Random, leap: float) -> int:
        """Scale steps from one note to the next: mostly neighbours, sometimes a leap."""
        return rng.choice((-3, -2, 2, 3, 4)) if rng.random() < leap else rng.choice((-1, -1, 0, 1, 1))


def scale_of(piece: Piece, chord: Chord) -> tuple[int, ...]:
    """Pitch classes that the style's melodies use over a chord."""
    kind, key = piece.style.melody["scale"], piece.key
    minor = key.mode in MINOR_LIKE
    if kind == "chord":
        return tuple(sorted(set(chord.pitch_classes)))
    if kind == "pentatonic":
        return tuple((key.tonic + step) % 12 for step in ((0, 3, 5, 7, 10) if minor else (0, 2, 4, 7, 9)))
    if kind == "blues":
        return tuple((key.tonic + step) % 12 for step in ((0, 3, 5, 6, 7, 10) if minor else (0, 2, 3, 4, 7, 9)))
    return tuple(key.scale)


def play_lead(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Play a melody; a section that returns brings its melody back."""
    hands = Hands(piece, rng)
    low, high = piece.style.melody["register"]
    pitch, motifs = (low + high) / 2, {}  # type: tuple[float, dict[str, dict[str, Motif]]]
    resting: dict[tuple[str, int], bool] = {}
    for bar in piece.bars:
        if bar.section == "intro" and len(piece.bars) > 4:
            continue
        own = random.Random(f"{piece.plan.seed}:lead:{bar.section}")
        if bar.section not in motifs:
            motifs[bar.section] = {name: Motif(piece, own) for name in "ABC"}
        name = FORM[bar.index % len(FORM)]
        place_in_phrase = (bar.section, bar.index % 8)
        if place_in_phrase not in resting:
            resting[place_in_phrase] = bar.index % 4 in (1, 3) and rng.random() < piece.style.melody["rest"]
        if bar.index == 0:
            pitch = (low + high) / 2  # so that the same section starts from the same place
        last = bar.number == len(piece.bars) - 1
        if last or (name == "C" and not resting[place_in_phrase]):
            pitch = _cadence(piece, bar, hands, pitch)
        elif not resting[place_in_phrase]:
            pitch = _phrase(piece, bar, hands, motifs[bar.section][name], pitch)
    if piece.rings:
        final = place(piece.bars[-1].chords[-1].root, low, pitch)
        hands.play(piece.end, piece.total_beats - piece.end, final, 70 + 20 * piece.bars[-1].energy)
    return hands.finished()


def _phrase(piece: Piece, bar: BarView, hands: Hands, motif: Motif, pitch: float) -> float:
    """Play a motif over a bar's chords, from near `pitch`; returns the last pitch."""
    low, high = piece.style.melody["register"]
    for (beat, length), move in zip(motif.steps, motif.moves, strict=True):
        chord = bar.chord_at(beat)
        ladder = [p for p in range(low, high + 1) if p % 12 in scale_of(piece, chord)]
        strong = beat % 2 == 0
        at = min(range(len(ladder)), key=lambda i: abs(ladder[i] - pitch)) + move
        at = at if 0 <= at < len(ladder) else at - 2 * move  # turn back at the edge of the register
        wanted = ladder[max(0, min(at, len(ladder) - 1))]
        if strong:
            tones = [p for p in range(low, high + 1) if p % 12 in chord.pitch_classes]
            wanted = min(tones, key=lambda p: (abs(p - wanted), p))
        hands.play(bar.start + beat, length * 0.93, wanted, 74 + 24 * bar.energy + (8 if strong else 0))
        pitch = wanted
    return pitch


def _cadence(piece: Piece, bar: BarView, hands: Hands, pitch: float) -> float:
    """End a phrase: a long chord tone, after a step towards it."""
    low, high = piece.style.melody["register"]
    chord = bar.chords[-1]
    tones = [p for p in range(low, high + 1) if p % 12 in chord.pitch_classes[:3]]
    goal = min(tones, key=lambda p: (abs(p - pitch), p))
    ladder = [p for p in range(low, high + 1) if p % 12 in scale_of(piece, chord)]
    step = min(ladder, key=lambda p: (abs(abs(p - goal) - 2), p))
    velocity = 76 + 22 * bar.energy
    hands.play(bar.start, 0.9, step, velocity)
    hands.play(bar.start + 1, bar.beats - 1.5, goal, velocity)
    return goal


def play_colour(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Add what the style uses as colour: arpeggios, hits, a counter-line or risers."""
    hands = Hands(piece, rng, looseness=0.7)
    player = {"arpeggio": _arpeggio, "hits": _hits, "counter": _counter, "riser": _riser}[piece.style.colour["kind"]]
    previous: tuple[int, ...] = ()
    for bar in piece.bars:
        if bar.section == "intro" and len(piece.bars) > 8 and bar.index < bar.length // 2:
            continue
        previous = player(bar, hands, previous)
    if piece.rings:
        for pitch in voice(piece.bars[-1].chords[-1], (67, 86), previous)[:2]:
            hands.play(piece.end, piece.total_beats - piece.end, pitch, 66)
    return hands.finished()


def _arpeggio(bar: BarView, hands: Hands, previous: tuple[int, ...]) -> tuple[int, ...]:
    """Eighths up and down the chord, high up; sixteenths when the section is at full energy."""
    step = 0.25 if bar.energy > 0.9 else 0.5
    for number in range(round(bar.beats / step)):
        previous = voice(bar.chord_at(number * step), (67, 86), previous)
        ladder = [*previous, *reversed(previous[1:-1])]
        pitch = ladder[number % len(ladder)]
        hands.play(bar.start + number * step, step * 1.1, pitch, 52 + 26 * bar.energy + (6 if number % 4 == 0 else 0))
    return previous


def _hits(bar: BarView, hands: Hands, previous: tuple[int, ...]) -> tuple[int, ...]:
    """Short chords together on the downbeat and before the third beat, every other bar."""
    previous = voice(bar.chords[0], (62, 81), previous)
    if bar.index % 2 == 0:
        for beat, length in ((0.0, 0.75), (1.5, 0.45)):
            for pitch in previous:
                hands.play(bar.start + beat, length, pitch, 74 + 26 * bar.energy)
    elif bar.is_last_of_section:
        for number in range(2):
            for pitch in previous:
                hands.play(bar.start + bar.beats - 1 + number / 2, 0.4, pitch, 80 + 26 * bar.energy)
    return previous


def _counter(bar: BarView, hands: Hands, previous: tuple[int, ...]) -> tuple[int, ...]:
    """A slow line on thirds and sevenths, which change least from chord to chord."""
    last: Sequence[int] = previous or (67,)
    for start, length, chord in bar.chord_spans():
        guide = [pc for pc in chord.pitch_classes[1:] if (pc - chord.root) % 12 not in (6, 7, 8)] or [chord.root]
        pitch = min((p for p in range(60, 82) if p % 12 in guide), key=lambda p: (abs(p - last[0]), p))
        hands.play(bar.start + start, length * 0.95, pitch, 58 + 26 * bar.energy)
        last = (pitch,)
    return tuple(last)


def _riser(bar: BarView, hands: Hands, previous: tuple[int, ...]) -> tuple[int, ...]:
    """Off-beat notes, and before a new section a climb that doubles its speed."""
    previous = voice(bar.chords[0], (64, 83), previous)
    if bar.is_last_of_section and bar.length > 1:
        count = 4 * bar.beats
        for number in range(count):
            pitch = previous[number % len(previous)] + 12 * (number >= count // 2)
            hands.play(bar.start + number * 0.25, 0.22, pitch, 50 + 50 * number / count)
    else:
        for beat in range(bar.beats):
            pitch = previous[(beat + bar.index) % len(previous)]
            hands.play(bar.start + beat + 0.5, 0.3, pitch, 54 + 22 * bar.energy)
    return previous
