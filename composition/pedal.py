"""Pedal points: the bass stands on one note while the chords above it change.

Writes slash chords; knows no rhythm.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .harmony import Bars
from .plan import SECTION_NAMES
from .theory import Chord, Key, note_name

__all__ = ["PLACES", "RETURN", "hold_pedals"]

RETURN = "return"  # the bars before a chorus that comes back, which stand on its dominant
PLACES = (*SECTION_NAMES, RETURN)  # a section stands on the tonic
BEFORE = 4  # bars before a chorus at most; half the section, if that is less
SHORTEST = 2  # bars
FIFTH = 7  # semitones


def hold_pedals(
    names: Sequence[str],
    lengths: Sequence[int],
    bars: Bars,
    keys: Sequence[Key],
    chances: Mapping[str, float],
    rng: random.Random,
) -> list[str]:
    """Let the bass stand still in the places that a style names; modifies `bars`.

    A section stands on the tonic whenever its name comes, the bars before the return of a chorus on the dominant. The
    chords stay what they are: F over a standing C is written F/C. Nothing is done where there is nothing to hold
    against (one root only), or where a chord other than a diminished one would rub against the note by a semitone.

    Args:
        names, lengths: of the sections, in order; lengths in bars.
        bars: chords of the whole piece.
        keys: the key of each bar.
        chances: place -> probability.

    Returns:
        What was done, as "sampled: intro, pedal point on C in bars 1 to 4".
    """
    dice = {place: rng.random() for place in PLACES}  # all of them, so that one chance moves no other choice
    done: list[str] = []
    first, seen = 0, set[str]()
    for number, (name, length) in enumerate(zip(names, lengths, strict=True)):
        end = first + length
        follower = names[number + 1] if number + 1 < len(names) else ""
        returns = follower == "chorus" != name and "chorus" in seen
        if dice[name] < chances.get(name, 0.0):
            done += _stand(bars, first, end, keys[first].tonic, keys[first], name)
        elif returns and dice[RETURN] < chances.get(RETURN, 0.0):
            dominant, start = (keys[end].tonic + FIFTH) % 12, end - min(BEFORE, length // 2)
            done += _stand(bars, start, end, dominant, keys[end], "before the chorus returns")
        seen.add(name)
        first = end
    return done


def _stand(bars: Bars, first: int, end: int, note: int, key: Key, where: str) -> list[str]:
    """Put a note under the chords of the bars `first` to `end`, if it can stand there."""
    chords = [chord for bar in bars[first:end] for chord in bar]
    roots = {chord.root for chord in chords}
    if end - first < SHORTEST or len(roots) < 2 or any(_rubs(chord, note) for chord in chords):
        return []
    bars[first:end] = [
        tuple(chord if chord.root == note else replace(chord, bass=note) for chord in bar) for bar in bars[first:end]
    ]
    return [f"sampled: {where}, pedal point on {note_name(note, key.flats)} in bars {first + 1} to {end}"]


def _rubs(chord: Chord, note: int) -> bool:
    return (chord.root - note) % 12 in (1, 11) and chord.simple != "dim"
