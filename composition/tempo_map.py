"""Beats to seconds and back: one map for notes, chords, sections, beats and MIDI. Knows no styles and no notes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

__all__ = ["STEP", "Place", "TempoMap", "breathe"]

Place = TypeVar("Place", float, np.ndarray)  # one, or an array of them

STEP = 0.5  # beats from one change of the tempo to the next
WIDEST = 0.08  # share by which rubato 1 lengthens or shortens a beat at most
PHRASE = 4  # bars
SHORTEST = 2  # bars of a phrase; what is shorter belongs to its neighbour
LEAN = 0.75  # below 1 a phrase finds its pace sooner than it loses it
STOPPING = 3  # power of the speed that falls evenly in a ritardando


@dataclass(frozen=True)
class TempoMap:
    """When each beat falls.

    Args:
        tempo: beats (quarter notes) a minute, in the mean.
        lengths: how long every half beat lasts, as a share of what it lasts at `tempo`; afterwards the last goes on.
            Empty: the tempo is steady.
    """

    tempo: float
    lengths: tuple[float, ...] = ()

    @property
    def is_steady(self) -> bool:
        return not self.lengths

    def seconds(self, beat: Place) -> Place:
        """The second at which a beat falls; an array of beats gives an array."""
        if self.is_steady:
            return beat * (60.0 / self.tempo)
        return self._read(beat, *self._lines)

    def beats(self, second: Place) -> Place:
        """How many beats have passed by a second; the inverse of `seconds`."""
        if self.is_steady:
            return second * self.tempo / 60.0
        return self._read(second, *self._lines[::-1])

    def span(self, start: float, beats: float) -> float:
        """How many seconds `beats` beats last from the beat `start` on."""
        if self.is_steady:
            return beats * (60.0 / self.tempo)
        return self.seconds(start + beats) - self.seconds(start)

    def changes(self) -> list[tuple[float, float]]:
        """Every beat from which another tempo holds, with that tempo in BPM; the first is beat 0."""
        found: list[tuple[float, float]] = []
        for number, length in enumerate(self.lengths or (1.0,)):
            if not found or self.tempo / length != found[-1][1]:
                found.append((number * STEP, self.tempo / length))
        return found

    @functools.cached_property
    def _lines(self) -> tuple[np.ndarray, np.ndarray]:
        """Beats and the seconds at which they fall, a half beat apart, and one pair far behind the end."""
        lengths = np.array([*self.lengths, self.lengths[-1]])
        steps = np.full(len(lengths), STEP)
        steps[-1] = 1e6  # beats
        beats, seconds = (np.concatenate([[0.0], np.cumsum(part)]) for part in (steps, steps * lengths))
        return beats, seconds * (60.0 / self.tempo)

    def _read(self, places: Place, known: np.ndarray, wanted: np.ndarray) -> Place:
        """Read a broken line; before its beginning the first piece goes on backwards."""
        slope = wanted[1] / known[1]
        found = np.interp(places, known, wanted) + np.minimum(places, 0.0) * slope
        return found if isinstance(places, np.ndarray) else float(found)


def breathe(
    tempo: float, beats_per_bar: int, sections: Sequence[int], *, rubato: float = 0.0, ritardando: float = 0.0
) -> TempoMap:
    """Write the tempo map of a piece.

    With rubato each phrase of four bars or so begins and ends slowly and is faster in its middle, and lasts exactly as
    long as at a steady tempo. A ritardando slows the last bar down, and makes the piece longer.

    Args:
        tempo: BPM.
        sections: how many bars each section has.
        rubato: 0 steady .. 1, where half beats are up to 8 % longer or shorter.
        ritardando: share of its tempo that the last bar has lost at its end, below 1.

    Source: a ritardando as runners stop, the cube of the speed falling evenly with the score: Friberg and Sundberg
    1999, "Does music performance allude to locomotion?" Phrases that begin and end slowly: Todd 1985, "A model of
    expressive timing in tonal music"; the cosine is ours.
    """
    if not rubato and not ritardando:
        return TempoMap(tempo)
    steps = round(beats_per_bar / STEP)  # of a bar
    lengths = np.concatenate([1 + WIDEST * rubato * _arch(bars * steps) for bars in _phrases(sections)])
    passed = np.arange(1, steps + 1) / steps
    lengths[-steps:] /= (1 + ((1 - ritardando) ** STOPPING - 1) * passed) ** (1 / STOPPING)
    return TempoMap(tempo, tuple(lengths.tolist()))


def _phrases(sections: Sequence[int]) -> list[int]:
    """Cut sections into phrases: [8, 6, 1] bars into [4, 4, 4, 3]."""
    cut: list[int] = []
    for bars in sections:
        whole = max(0, (bars - SHORTEST) // PHRASE) if bars % PHRASE else bars // PHRASE - 1
        cut += [PHRASE] * whole + [bars - whole * PHRASE]
    phrases: list[int] = []
    for bars in cut:
        if phrases and min(bars, phrases[-1]) < SHORTEST:
            phrases[-1] += bars
        else:
            phrases.append(bars)
    return phrases


def _arch(count: int) -> np.ndarray:
    """How much longer than usual each of `count` steps of a phrase is: -1 to 1, and 0 in the mean."""
    curve = np.cos(2 * np.pi * ((np.arange(count) + 0.5) / count) ** LEAN)
    curve -= curve.mean()
    return np.asarray(curve / np.abs(curve).max())
