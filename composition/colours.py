"""Colours around the tune: answers in its rests, arpeggios, hits, a slow counter-line, risers before a new section."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .grid import BarView, Hands, Piece
from .melody import Sung, compose_line, scale_of
from .phrasing import invent_tune
from .score import Note
from .texture import plays
from .theory import Chord
from .voicing import voice

__all__ = ["play_colour"]

REGISTERS = {"arpeggio": (67, 86), "hits": (62, 81), "counter": (60, 81), "riser": (64, 83)}
REGISTERS |= {"pulse": REGISTERS["arpeggio"], "downbeats": REGISTERS["hits"], "timpani": (41, 53)}
SHORTEST_REST = 1.75  # beats; what is shorter is breath, and nobody answers it
TIMPANI = 47  # their program
STILL = 0.4  # energy below which a pulse has one note a beat
FULL = 0.9  # energy above which an arpeggio runs in sixteenths


class Rests:
    """Where the tune is silent. Without a lead in the plan it is silent everywhere."""

    def __init__(self, piece: Piece) -> None:
        line: Sequence[Sung] = compose_line(piece) if "lead" in piece.plan.instruments else ()
        self.spans: list[tuple[float, float]] = []
        at = 0.0
        for note in line:
            if note.start - at >= SHORTEST_REST:
                self.spans.append((at, note.start))
            at = max(at, note.end)
        if piece.end - at >= SHORTEST_REST:
            self.spans.append((at, piece.end))

    def holds(self, beat: float) -> bool:
        return any(start <= beat < end for start, end in self.spans)

    def within(self, bar: BarView) -> tuple[float, float] | None:
        """The longest rest inside a bar, as (first, last) beat of the piece; None if there is none."""
        cut = [(max(start, bar.start), min(end, bar.start + bar.beats)) for start, end in self.spans]
        cut = [span for span in cut if span[1] - span[0] >= SHORTEST_REST]
        return max(cut, key=lambda span: span[1] - span[0], default=None)


def play_colour(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Add what the style uses as colour. Where the tune rests, a piece of its motif comes back as an answer."""
    hands = Hands(piece, rng, looseness=0.7)
    kind, marks_beat = piece.style.colour["kind"], "colour" in piece.plan.pulse
    kind = "timpani" if kind == "downbeats" and piece.plan.instruments["colour"] == TIMPANI else kind
    players = {"arpeggio": _arpeggio, "hits": _hits, "counter": _counter, "riser": _riser, "pulse": _pulse}
    players |= {"downbeats": _downbeats, "timpani": _timpani}
    rests, previous = Rests(piece), ()  # type: Rests, tuple[int, ...]
    answers: dict[tuple[str, int], bool] = {}
    for bar in piece.bars:
        if piece.closes(bar) or not plays(piece, "colour", bar):
            continue
        wishes = answers.setdefault((bar.section, bar.index % 8), rng.random() < piece.style.colour["answers"])
        answers_here = wishes and "lead" in piece.plan.instruments and not marks_beat
        rest = rests.within(bar) if answers_here else None
        if rest and bar.section != "intro":
            previous = _answer(piece, bar, hands, rest, previous)
        else:
            previous = players[kind](bar, hands, previous, rests)
    last = piece.bars[-1].chords[-1]
    for pitch in [_drum(last)] if kind == "timpani" else voice(last, REGISTERS[kind], previous)[:2]:
        hands.play(piece.final, piece.total_beats - piece.final, pitch, 66)
    return hands.finished()


def _answer(
    piece: Piece, bar: BarView, hands: Hands, rest: tuple[float, float], previous: tuple[int, ...]
) -> tuple[int, ...]:
    """Echo the head of the section's motif in the tune's rest, from a chord tone, and stop before it goes on."""
    motif = invent_tune(piece, bar.section).motif
    begin = -(-rest[0] // 0.5) * 0.5  # on the next half beat
    room = rest[1] - begin - 0.25
    low, high = REGISTERS[piece.style.colour["kind"]]
    ladder = [p for p in range(low, high + 1) if p % 12 in scale_of(piece, bar.key, bar.chords[-1])]
    tones = [place for place, p in enumerate(ladder) if p % 12 in bar.chords[-1].pitch_classes]
    near = previous[-1] if previous else (low + high) / 2
    first = min(tones, key=lambda place: abs(ladder[place] - near) + 0.3 * abs(ladder[place] - (low + high) / 2))
    used: list[int] = []
    for tone in motif:
        start = tone.beat - motif[0].beat
        if start + 0.25 > room or len(used) == 5:
            break
        pitch = ladder[max(0, min(first + tone.step, len(ladder) - 1))]
        length = min(tone.length, room - start)
        hands.play(begin + start, length * 0.9, pitch, 60 + 24 * bar.energy)
        used.append(pitch)
    return (used[-1],) if used else previous


def _arpeggio(bar: BarView, hands: Hands, previous: tuple[int, ...], rests: Rests) -> tuple[int, ...]:
    """Eighths up and down the chord in the tune's rests, at full energy sixteenths; in a chorus softly throughout."""
    step = 0.25 if bar.energy > FULL else 0.5
    for number in range(round(bar.beats / step)):
        beat = bar.start + number * step
        sings = not rests.holds(beat)
        previous = voice(bar.chord_at(number * step), REGISTERS["arpeggio"], previous)
        if sings and (bar.section != "chorus" or number * step % 0.5):
            continue
        ladder = [*previous, *reversed(previous[1:-1])]
        velocity = 52 + 26 * bar.energy + (6 if number % 4 == 0 else 0) - (12 if sings else 0)
        hands.play(beat, step * 1.1, ladder[number % len(ladder)], velocity)
    return previous


def _pulse(bar: BarView, hands: Hands, previous: tuple[int, ...], rests: Rests) -> tuple[int, ...]:
    """Eighths up and down the chord, in a still bar quarters; the same way in every bar, and the beats lead.

    They do not stop for the tune, under which they are softer.
    """
    step = 0.5 if bar.energy >= STILL else 1.0
    for number in range(round(bar.beats / step)):
        beat = number * step
        previous = voice(bar.chord_at(beat), REGISTERS["pulse"], previous)
        ladder = [*previous, *reversed(previous[1:-1])]
        accent = 12 if beat == 0 else 6 if beat % 1 == 0 else -10
        softer = 0 if rests.holds(bar.start + beat) else 6
        hands.play(bar.start + beat, step * 1.1, ladder[number % len(ladder)], 58 + 26 * bar.energy + accent - softer)
    return previous


def _hits(bar: BarView, hands: Hands, previous: tuple[int, ...], rests: Rests) -> tuple[int, ...]:
    """Short chords on the downbeat and before the third beat of every fourth bar, and two before a new section.

    In a chorus every other bar has them.
    """
    previous = voice(bar.chords[0], REGISTERS["hits"], previous)
    every = 2 if bar.section == "chorus" else 4
    if bar.is_last_of_section and bar.length > 1:
        for number in range(2):
            for pitch in voice(bar.chords[-1], REGISTERS["hits"], previous):
                hands.play(bar.start + bar.beats - 1 + number / 2, 0.4, pitch, 80 + 26 * bar.energy)
    elif bar.index % every == 0:
        for beat, length in ((0.0, 0.75), (1.5, 0.45)):
            for pitch in previous:
                hands.play(bar.start + beat, length, pitch, 74 + 26 * bar.energy)
    return previous


def _downbeats(bar: BarView, hands: Hands, previous: tuple[int, ...], rests: Rests) -> tuple[int, ...]:
    """A short chord on every downbeat, in a chorus on the middle of the bar, too."""
    beats = (0.0, bar.beats / 2) if bar.section == "chorus" and bar.beats % 2 == 0 else (0.0,)
    for beat in beats:
        previous = voice(bar.chord_at(beat), REGISTERS["downbeats"], previous)
        for pitch in previous:
            hands.play(bar.start + beat, 0.75, pitch, 74 + 26 * bar.energy - 8 * (beat > 0))
    return previous


def _timpani(bar: BarView, hands: Hands, previous: tuple[int, ...], rests: Rests) -> tuple[int, ...]:
    """The bass note on every downbeat and, softer, in the middle of the bar; before a new section a roll of eighths."""
    strokes = [(0.0, 0), (bar.beats / 2, -10)] if bar.beats % 2 == 0 else [(0.0, 0)]
    if bar.is_last_of_section and bar.length > 1:
        strokes += [(bar.beats - 1 + number / 2, -14 + 6 * number) for number in range(2)]
    for beat, accent in strokes:
        hands.play(bar.start + beat, 0.75, _drum(bar.chord_at(beat)), 78 + 26 * bar.energy + accent)
    return previous


def _drum(chord: Chord) -> int:
    """The pitch of the drum that is tuned to a chord's bass."""
    low = REGISTERS["timpani"][0]
    return low + ((chord.root if chord.bass is None else chord.bass) - low) % 12


def _counter(bar: BarView, hands: Hands, previous: tuple[int, ...], rests: Rests) -> tuple[int, ...]:
    """A slow line on thirds and sevenths, which change least from chord to chord; it moves off the tune's downbeats."""
    last: Sequence[int] = previous or (67,)
    low, high = REGISTERS["counter"]
    delay = 0.0 if rests.holds(bar.start) else 1.0
    for start, length, chord in bar.chord_spans():
        guide = [pc for pc in chord.pitch_classes[1:] if (pc - chord.root) % 12 not in (6, 7, 8)] or [chord.root]
        pitch = min((p for p in range(low, high + 1) if p % 12 in guide), key=lambda p: (abs(p - last[-1]), p))
        late = delay if length > 2 else 0.0
        hands.play(bar.start + start + late, (length - late) * 0.95, pitch, 58 + 26 * bar.energy)
        last = (pitch,)
    return tuple(last)


def _riser(bar: BarView, hands: Hands, previous: tuple[int, ...], rests: Rests) -> tuple[int, ...]:
    """Off-beat notes, and before a new section a climb that doubles its speed."""
    previous = voice(bar.chords[0], REGISTERS["riser"], previous)
    if bar.is_last_of_section and bar.length > 1:
        half = bar.beats / 2
        eighths = [number * 0.5 for number in range(bar.beats)]
        sixteenths = [half + number * 0.25 for number in range(2 * bar.beats)]
        for number, beat in enumerate([*eighths, *sixteenths]):
            pitch = previous[number % len(previous)] + 12 * (beat >= half)
            hands.play(bar.start + beat, 0.22, pitch, 50 + 50 * beat / bar.beats)
    else:
        for beat in range(bar.beats):
            if rests.holds(bar.start + beat + 0.5):
                pitch = previous[(beat + bar.index) % len(previous)]
                hands.play(bar.start + beat + 0.5, 0.3, pitch, 54 + 22 * bar.energy)
    return previous
