"""The soloist: phrases that ask and answer, motifs that return, breath, chord tones on strong beats."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .grid import BarView, Hands, Piece
from .phrasing import DEVELOPMENTS, Tone, Tune, cadence_rhythm, invent_tune
from .score import Note
from .texture import plays
from .theory import Chord, Key

__all__ = ["Sung", "compose_line", "play_lead", "scale_of"]

MINOR_LIKE = ("minor", "dorian", "phrygian")
PHRASE = 4  # bars
HEIGHT = 0.57  # of a tune in its register: a little above the middle, out of the way of the chords
STEP = 1.8  # semitones that a scale step takes on average
# Whose tune a section without one of its own sings, and how far above the middle of the register each lies.
SINGS = {"intro": "verse", "ending": "verse", "break": "bridge"}
LIFT = {"verse": -1, "chorus": 2, "bridge": 1}  # semitones
PENTATONIC = {True: (0, 3, 5, 7, 10), False: (0, 2, 4, 7, 9)}  # by whether the mode is like minor
BLUES = {True: (0, 3, 5, 6, 7, 10), False: (0, 2, 3, 4, 7, 9)}


@dataclass(frozen=True)
class Sung:
    """One note of the tune as it is meant, before hands play it."""

    start: float  # beats from the start of the piece
    length: float
    pitch: int
    is_strong: bool
    energy: float
    is_goal: bool = False  # the last note of a phrase

    @property
    def end(self) -> float:
        return self.start + self.length


def scale_of(piece: Piece, key: Key, chord: Chord) -> tuple[int, ...]:
    """Pitch classes that the style's melodies use over a chord.

    A tone of the chord that the scale lacks takes the place of its neighbours: over E7 in A minor G# is sung, not G.
    """
    kind, minor = piece.style.melody["scale"], key.mode in MINOR_LIKE
    tones = chord.pitch_classes
    if kind == "chord":
        return tuple(sorted(set(tones)))
    steps = {"pentatonic": PENTATONIC[minor], "blues": BLUES[minor]}.get(kind)
    own = key.scale if steps is None else tuple((key.tonic + step) % 12 for step in steps)
    foreign = [pc for pc in tones[:4] if pc not in own]
    bent = {(pc + side) % 12 for pc in foreign for side in (1, 11)} - set(tones)
    return tuple(sorted({*foreign, *(pc for pc in own if pc not in bent)}))


def play_lead(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Play the tune; a section that returns brings its motif back, a little varied."""
    hands = Hands(piece, rng)
    grace = piece.style.melody["grace"]
    for note in compose_line(piece):
        loud = 70 + 24 * note.energy + (7 if note.is_strong else 0) - (5 if note.is_goal else 0)
        if note.is_strong and note.length >= 0.75 and rng.random() < grace:
            # Slid into from below, as a singer or a bent string does.
            hands.play(note.start - 0.125, 0.125, note.pitch - 1, loud - 18)
        hands.play(note.start, note.length * 0.93, note.pitch, loud)
    return hands.finished()


def compose_line(piece: Piece) -> list[Sung]:
    """Write the tune of the whole piece. It depends on the plan alone, so that others can answer it."""
    names = {bar.section for bar in piece.bars}
    tunes: dict[tuple[str, int], Tune] = {}
    line: list[Sung] = []
    low, high = piece.style.melody["register"]
    pitch = (low + high) // 2
    for bars in _phrases(piece):
        first = bars[0]
        if not plays(piece, "lead", first):
            continue
        name = SINGS.get(first.section, first.section)
        name = name if name in names else first.section
        place = (name, first.occurrence if name == first.section else 0)
        if place not in tunes:
            tunes[place] = invent_tune(piece, *place)
        tune = tunes[place]
        middle = low + HEIGHT * (high - low) + LIFT.get(first.section, 0)
        phrase = _Phrase(piece, tune, bars, middle)
        sung = phrase.sing(pitch)
        line += _pick_up(piece, first, line, sung) + sung
        pitch = line[-1].pitch if line else pitch
    return [*line, *_last_note(piece, line)]


def _phrases(piece: Piece) -> list[list[BarView]]:
    """Group the bars of each section by four; a group of one joins the one before."""
    groups: list[list[BarView]] = []
    for bar in piece.bars:
        is_rest = bar.index == bar.length - 1 and bar.index % PHRASE == 0 and bar.length > 1
        if bar.index % PHRASE == 0 and not is_rest:
            groups.append([])
        groups[-1].append(bar)
    return groups


class _Phrase:
    """A question (every first group of a section) or an answer (every second one, and the last)."""

    def __init__(self, piece: Piece, tune: Tune, bars: Sequence[BarView], middle: float) -> None:
        self.piece, self.tune, self.bars, self.middle = piece, tune, bars, middle
        number = bars[0].index // PHRASE
        self.is_answer = number % 2 == 1 or bars[-1].is_last_of_section
        self.climbs = 1 if self.is_answer else 0
        letters = tune.phrase
        if number % 4 == 2:  # in a long section the second idea leads for once
            letters = letters.translate(str.maketrans("AB", "BA"))
        if bars[0].occurrence and self.is_answer:  # the second time is not the first time again
            letters = letters.replace("A", "a", 1) if "a" not in letters else letters.replace("a", "F", 1)
        self.letters = _fit(letters, len(bars))

    def sing(self, pitch: int) -> list[Sung]:
        """Sing the phrase from near a pitch."""
        line: list[Sung] = []
        for number, (bar, letter) in enumerate(zip(self.bars, self.letters, strict=True)):
            pitch = line[-1].pitch if line else pitch
            if bar.number == len(self.piece.bars) - 1 and not self.piece.rings:
                break  # the last note of the piece is a matter of its own
            if letter == "C":
                line += self._cadence(bar, pitch)
            elif letter != ".":
                tones = DEVELOPMENTS[letter](self.tune, bar.beats)
                if number == 1 and self.tune.breathes:
                    tones = tuple(tone for tone in tones if tone.beat < bar.beats / 2)
                line += self._bar(bar, tones, number, pitch)
        return line

    def _bar(self, bar: BarView, tones: Sequence[Tone], number: int, pitch: int) -> list[Sung]:
        """Lay a motif onto the ladder of the scale, from the chord tone at the height that the contour asks for."""
        height = self.middle + self.tune.contour[number % len(self.tune.contour)] + self.climbs
        height -= STEP * sum(tone.step for tone in tones) / max(1, len(tones))  # the motif's middle lies there
        chord = bar.chord_at(tones[0].beat) if tones else bar.chords[0]
        anchor = _nearest(self._pitches(chord.pitch_classes), height)
        sung: list[Sung] = []
        for place, tone in enumerate(tones):
            chord = bar.chord_at(tone.beat)
            ladder = self._pitches(scale_of(self.piece, bar.key, chord))
            wanted = ladder[_turned_back(ladder.index(_nearest(ladder, anchor)) + tone.step, len(ladder))]
            strong = tone.beat % 2 == 0 and not (bar.beats == 3 and tone.beat == 2)
            if strong and wanted % 12 not in chord.pitch_classes:
                moved = place > 0 and tones[place - 1].step != tone.step
                others = [p for p in self._pitches(chord.pitch_classes) if not (moved and p == pitch)]
                wanted = _nearest(others, wanted + (0.1 if wanted >= pitch else -0.1))
            sung.append(Sung(bar.start + tone.beat, tone.length, wanted, strong, bar.energy))
            pitch = wanted
        return sung

    def _cadence(self, bar: BarView, pitch: int) -> list[Sung]:
        """Close the phrase: a question stays on the fifth or the third, an answer comes home."""
        chord = bar.chords[-1]
        goal = _nearest(self._pitches(_goals(chord, bar.key, self.is_answer)), (pitch + self.middle) / 2)
        ladder = self._pitches({*scale_of(self.piece, bar.key, chord), goal % 12})
        rhythm = cadence_rhythm(self.tune, bar.beats)
        side = 1 if pitch >= goal else -1
        at, sung = ladder.index(goal), []
        for number, (beat, length) in enumerate(rhythm):
            left = len(rhythm) - 1 - number
            step = ladder[_turned_back(at + side * left, len(ladder))]
            if left and beat == 0 and step % 12 not in bar.chords[0].pitch_classes:
                step = _nearest([p for p in self._pitches(bar.chords[0].pitch_classes) if p != goal], step)
            strong = beat % 2 == 0 or left == 0
            sung.append(Sung(bar.start + beat, length, step, strong, bar.energy, left == 0))
        return sung

    def _pitches(self, classes: Sequence[int] | set[int]) -> list[int]:
        low, high = self.piece.style.melody["register"]
        return [pitch for pitch in range(low, high + 1) if pitch % 12 in classes]


def _fit(letters: str, count: int) -> str:
    """Shorten a phrase to `count` bars, or lengthen it, and keep its end."""
    if count == 1:
        return "C"
    if count <= len(letters):
        return letters[: count - 1] + letters[-1]
    return letters[:-1] + "." * (count - len(letters)) + letters[-1]


def _goals(chord: Chord, key: Key, comes_home: bool) -> tuple[int, ...]:
    """Pitch classes on which a phrase may end: the tonic where the chord has it, or what leaves it open."""
    tones = chord.pitch_classes
    if comes_home:
        return (key.tonic,) if key.tonic in tones else tones[:1]
    return tuple(pc for pc in tones[1:3] if pc != key.tonic) or tones[:1]


def _nearest(pitches: Sequence[int], wanted: float) -> int:
    return min(pitches, key=lambda pitch: (abs(pitch - wanted), pitch))


def _turned_back(place: int, count: int) -> int:
    """An index beyond either end of the register comes back as far as it went out."""
    place = abs(place)
    return max(0, 2 * (count - 1) - place) if place >= count else place


def _pick_up(piece: Piece, bar: BarView, before: Sequence[Sung], phrase: Sequence[Sung]) -> list[Sung]:
    """Notes that lead by step into a phrase during the last beat before it, if that beat is free."""
    dice = random.Random(f"{piece.plan.seed}:pickup:{bar.section}:{bar.index}")
    if not phrase or bar.number == 0 or phrase[0].start > bar.start or dice.random() >= piece.style.melody["pickup"]:
        return []
    if before and before[-1].end > bar.start - 1.0:
        return []
    low, high = piece.style.melody["register"]
    chord = piece.bars[bar.number - 1].chords[-1]
    ladder = [p for p in range(low, high + 1) if p % 12 in scale_of(piece, bar.key, chord)]
    goal, count = phrase[0].pitch, dice.choice((1, 2, 2))
    below = [p for p in ladder if p < goal][-count:]
    above = [p for p in ladder if p > goal][:count][::-1]
    steps = below if len(below) == count and dice.random() < 0.7 else above
    width = 0.5
    begin = bar.start - width * len(steps)
    return [Sung(begin + width * n, width, p, False, bar.energy) for n, p in enumerate(steps)]


def _last_note(piece: Piece, line: Sequence[Sung]) -> list[Sung]:
    """The tonic where the last chord is struck, held as long as it rings."""
    low, high = piece.style.melody["register"]
    home = piece.bars[-1].chords[-1]
    goals = _goals(home, piece.bars[-1].key, True)
    near = line[-1].pitch if line else (low + high) // 2
    pitch = _nearest([p for p in range(low, high + 1) if p % 12 in goals], near)
    return [Sung(piece.final, piece.total_beats - piece.final, pitch, True, piece.bars[-1].energy, True)]
