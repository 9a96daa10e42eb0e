"""Voicings: which notes of a chord sound, in which order, and how little they move. Knows no rhythm."""

from __future__ import annotations

from collections.abc import Sequence

from .theory import Chord

__all__ = ["VOICINGS", "voice"]

VOICINGS = ("close", "drop2")
VOICES = 4
PERFECT_FIFTH = 7
LEAP = 4  # semitones; a top voice that moves further is heard as a jump


def voice(
    chord: Chord, register: Sequence[int], previous: Sequence[int], rootless: bool = False, spacing: str = "close"
) -> tuple[int, ...]:
    """Choose the voicing in `register` that moves least from `previous`; ascending pitches.

    Args:
        chord: what to voice.
        register: lowest and highest pitch.
        previous: the voicing before, or empty.
        rootless: leave the root to the bass where the chord has four tones or more.
        spacing: "close", or "drop2", which puts the second voice from the top an octave down where four sound.
    """
    classes = essential_tones(chord, rootless)
    low, high = register
    best: tuple[float, tuple[int, ...]] | None = None
    for turn in range(len(classes)):
        shape = _shape(classes[turn:] + classes[:turn], spacing)
        for first in range(low + (classes[turn] - low) % 12, high + 12, 12):
            pitches = tuple(sorted(first + step for step in shape))
            cost = _cost(pitches, previous, low, high)
            if best is None or cost < best[0]:
                best = (cost, pitches)
    assert best is not None, "a register spans an octave or more"
    return best[1]


def essential_tones(chord: Chord, rootless: bool = False) -> list[int]:
    """The four tones at most that say what a chord is.

    Where the bass has the root, a chord keeps its third, its seventh and what is stacked above. A dominant keeps its
    seventh in any case; another chord that needs its root keeps its triad, or nobody could tell C6 from Am7.
    """
    classes = list(dict.fromkeys(chord.pitch_classes))
    if rootless and len(classes) >= VOICES:
        classes.remove(chord.root)
    fifth = (chord.root + PERFECT_FIFTH) % 12
    if len(classes) > VOICES and (rootless or chord.simple == "dom") and fifth in classes:
        classes.remove(fifth)
    return classes if len(classes) <= VOICES else [*classes[: VOICES - 1], classes[-1]]


def _shape(order: Sequence[int], spacing: str) -> list[int]:
    """Semitones of the voices above the first of `order`."""
    steps = [0]
    for pc in order[1:]:
        steps.append(steps[-1] + (pc - order[0] - steps[-1]) % 12)
    if len(steps) == 2:  # a power chord is doubled at the octave
        steps.append(12)
    if spacing == "drop2" and len(steps) >= VOICES:
        steps[-2] -= 12
    return steps


def _cost(pitches: Sequence[int], previous: Sequence[int], low: int, high: int) -> float:
    """How much the voices move, how far they are from the middle of the register and outside it."""
    cost = 0.3 * abs(sum(pitches) / len(pitches) - (low + high) / 2)
    cost += 2.0 * max(0, pitches[-1] - high) + 6.0 * max(0, low - pitches[0])
    if previous:
        cost += sum(min(abs(pitch - other) for other in previous) for pitch in pitches)
        cost += max(0, abs(pitches[-1] - previous[-1]) - LEAP) + 0.25 * max(0, abs(pitches[0] - previous[0]) - LEAP)
    return cost
