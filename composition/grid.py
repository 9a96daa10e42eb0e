"""What every player shares: the bars of a plan, step patterns, swing and the inaccuracy of human hands."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from .harmony import local_key
from .plan import MusicalPlan
from .score import Note
from .style import Style
from .theory import Chord, Key

__all__ = ["SHORT", "BarView", "Hands", "Piece", "hits", "swing_warp"]


SHORT = 8  # bars; so short a piece has no time for entries and long ends
STILL = 4  # bars; a piece that is no longer has no time to be still
LOUD_END = 0.65  # energy from which a piece plays on to its last chord


@dataclass(frozen=True)
class BarView:
    """One bar as a player sees it."""

    number: int  # in the piece
    start: float  # beats
    beats: int
    chords: tuple[Chord, ...]  # they split the bar equally
    section: str
    index: int  # in its section
    length: int  # bars of its section
    energy: float
    occurrence: int  # how many sections of this name came before
    key: Key

    @property
    def is_last_of_section(self) -> bool:
        return self.index == self.length - 1

    def chord_at(self, beat: float) -> Chord:
        """Chord at `beat` of this bar, 0..beats."""
        return self.chords[min(int(beat / self.beats * len(self.chords) + 1e-6), len(self.chords) - 1)]

    def chord_spans(self) -> Iterator[tuple[float, float, Chord]]:
        """Each chord as (first beat in the bar, beats, chord)."""
        width = self.beats / len(self.chords)
        for place, chord in enumerate(self.chords):
            yield place * width, width, chord


@dataclass(frozen=True)
class Piece:
    """A plan opened for the players."""

    plan: MusicalPlan
    style: Style
    key: Key
    bars: tuple[BarView, ...]

    @classmethod
    def of(cls, plan: MusicalPlan, style: Style) -> Piece:
        views, beats, seen = [], plan.beats_per_bar, {}  # type: ignore[var-annotated]
        key = local = Key.parse(plan.key)
        bars = plan.bars
        for number, (section, index, chords) in enumerate(bars):
            if index == 0:
                seen[section.name] = seen.get(section.name, -1) + 1
                inside = bars[number : number + section.num_bars]
                local = local_key([chord for bar in inside for chord in bar.chords], key, local)
            views.append(
                BarView(
                    number=number,
                    start=float(number * beats),
                    beats=beats,
                    chords=chords,
                    section=section.name,
                    index=index,
                    length=section.num_bars,
                    energy=section.energy,
                    occurrence=seen[section.name],
                    key=local,
                )
            )
        return cls(plan, style, key, tuple(views))

    @property
    def end(self) -> float:
        """Beat of the downbeat after the last bar."""
        return float(len(self.bars) * self.plan.beats_per_bar)

    @property
    def total_beats(self) -> float:
        return self.plan.tempo_map.beats(self.plan.duration)

    @property
    def rings(self) -> bool:
        """Whether the last chord is struck once more after the last bar."""
        return self.plan.duration - self.plan.tempo_map.seconds(self.end) >= 0.5

    @property
    def final(self) -> float:
        """Beat at which the last chord is struck: after the last bar if it rings, else where the last bar begins."""
        return self.end if self.rings else self.bars[-1].start

    def closes(self, bar: BarView) -> bool:
        """Whether a bar holds nothing but the last chord."""
        return not self.rings and bar.number == len(self.bars) - 1

    def winds_down(self, bar: BarView) -> bool:
        """Whether this is the last bar of a piece that ends quietly: one long chord before the last one.

        A short piece has no bar to spare for that.
        """
        return bar.number == len(self.bars) - 1 >= SHORT and bar.energy < LOUD_END

    def is_still(self, bar: BarView, role: str) -> bool:
        """Whether a role holds its notes in a bar: in quiet introductions and breaks, unless it marks the beat."""
        is_quiet = bar.section in ("intro", "break") and bar.energy < 0.5 and len(self.bars) > STILL
        return is_quiet and role not in self.plan.pulse

    @functools.cached_property
    def _stood_on(self) -> tuple[frozenset[int | None], ...]:
        """For every bar, the bass notes of the slash chords of its section."""
        first = [bar.number - bar.index for bar in self.bars]
        found: dict[int, set[int | None]] = {start: set() for start in first}
        for start, bar in zip(first, self.bars, strict=True):
            found[start] |= {chord.bass for chord in bar.chords}
        return tuple(frozenset(found[start] - {None}) for start in first)

    def standing(self, bar: BarView, chord: Chord) -> int | None:
        """The pitch class that the bass does not leave under a chord; None if it may move.

        That is the bass note of a slash chord, and a root on which other chords of the section stand: a pedal point.
        """
        if chord.bass is not None:
            return chord.bass
        return chord.root if chord.root in self._stood_on[bar.number] else None

    def next_bar(self, bar: BarView) -> BarView | None:
        """The bar after a bar, None after the last."""
        return self.bars[bar.number + 1] if bar.number + 1 < len(self.bars) else None

    def next_chord(self, bar: BarView, place: int) -> Chord:
        """The chord that follows chord number `place` of a bar; the last one follows itself."""
        if place + 1 < len(bar.chords):
            return bar.chords[place + 1]
        if bar.number + 1 < len(self.bars):
            return self.bars[bar.number + 1].chords[0]
        return bar.chords[-1]


def hits(pattern: str, beats: int) -> list[tuple[float, float, str]]:
    """Read a step pattern as (beat, length in beats, symbol); "-" prolongs and "." rests.

    A pattern describes a bar of four beats, unless it has 12 steps; a bar of three takes its first three quarters.

    Example:
        >>> hits("x--x....", 4)
        [(0.0, 1.5, 'x'), (1.5, 0.5, 'x')]
    """
    step = 3 / 12 if len(pattern) == 12 else 4 / len(pattern)
    pattern = pattern[: round(beats / step)]
    found: list[tuple[float, float, str]] = []
    for place, symbol in enumerate(pattern):
        if symbol == "-" and found and found[-1][0] + found[-1][1] > place * step - 1e-9:
            found[-1] = (found[-1][0], found[-1][1] + step, found[-1][2])
        elif symbol not in "-.":
            found.append((place * step, step, symbol))
    return found


def swing_warp(beat: float, swing: float) -> float:
    """Move a position so that the middle of each beat comes later: 0 leaves it, 1 makes it the full triplet.

    Positions between are stretched along, so that sixteenths keep their order.
    """
    whole, place = divmod(beat, 1.0)
    middle = 0.5 + swing * (2 / 3 - 0.5)
    warped = place * middle / 0.5 if place < 0.5 else middle + (place - 0.5) * (1 - middle) / 0.5
    return whole + warped


class Hands:
    """Turns intended notes into played ones: swung, a little early or late, never twice equally loud.

    Args:
        piece: tells tempo, swing and how loose the style is.
        rng: of this role alone, so that another role's choices do not move these notes.
        looseness: share of the style's spread; drums are tighter than a soloist.
    """

    def __init__(self, piece: Piece, rng: random.Random, looseness: float = 1.0) -> None:
        low, high = piece.style.humanise_ms
        self.spread = rng.uniform(low, high) * looseness / 1000 * piece.plan.tempo / 60 / 2  # beats, one deviation
        self.swing, self.rng, self.end = piece.plan.swing, rng, piece.total_beats
        self.notes: list[Note] = []

    def play(self, start: float, duration: float, pitch: int, velocity: float, late: float = 0.0) -> None:
        """Add one note at the intended beat; `late` delays it in beats without swing, as a strummed string is."""
        begin = swing_warp(start, self.swing)
        finish = swing_warp(start + duration, self.swing)
        begin = max(0.0, begin + late + max(-2.0, min(2.0, self.rng.gauss(0, 1))) * self.spread)
        finish = min(max(finish, begin + 0.05), self.end)
        if begin < self.end - 0.02 and 0 <= pitch <= 127:
            loud = round(max(1.0, min(127.0, velocity + self.rng.gauss(0, 3))))
            self.notes.append(Note(begin, finish - begin, pitch, loud))

    def finished(self) -> tuple[Note, ...]:
        return tuple(sorted(self.notes, key=lambda note: (note.start, note.pitch)))
