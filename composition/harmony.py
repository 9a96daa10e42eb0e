"""What makes a progression less square: dominants, substitutes, suspensions, a last chorus that rises."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from .theory import Chord, Key

__all__ = ["DEVICES", "KEY_CHANGE", "enrich", "local_key", "raise_end"]

Bars = list[tuple[Chord, ...]]

FIRST, EVERY = 3, 2  # the fourth bar of a section is the first that may lead on, then every second: 4, 6, 8 ...
KEY_CHANGE = "key_change"
CHANGE_FROM = 24  # bars from which a piece may change its key
STEPS_UP = (1, 2)  # semitones
DOUBTFUL = 0.8  # share of a section's notes that the plan's key must hold
CLEARLY = 0.15  # by how much more another key must hold


def secondary_dominant(here: Chord, target: Chord, key: Key) -> tuple[Chord, ...] | None:
    """Half a bar of the target's own dominant: A7 before Dm pulls towards it."""
    fits = target.simple not in ("dim", "aug", "sus") and target.root not in (here.root, key.tonic)
    return (here, Chord((target.root + 7) % 12, "7")) if fits and not _leads(here, target) else None


def tritone_substitute(here: Chord, target: Chord, key: Key) -> tuple[Chord, ...] | None:
    """The dominant, then the one a tritone away: it has the same third and seventh and falls by a semitone."""
    fits = here.simple == "dom" and _leads(here, target)
    return (here, Chord((target.root + 1) % 12, "7")) if fits else None


def two_five(here: Chord, target: Chord, key: Key) -> tuple[Chord, ...] | None:
    """A dominant is announced by the chord on the second degree: Dm7 G7 in place of a whole bar of G7."""
    fits = here.simple == "dom" and _leads(here, target)
    minor = target.simple in ("min", "min7", "dim")
    return (Chord((target.root + 2) % 12, "m7b5" if minor else "m7"), here) if fits else None


def suspension(here: Chord, target: Chord, key: Key) -> tuple[Chord, ...] | None:
    """The fourth before the third of a dominant: it wants to go down before the chord goes home."""
    if not _leads(here, target) or here.quality not in ("", "7"):
        return None
    return (Chord(here.root, "sus4" if here.quality == "" else "7sus4"), here)


def minor_subdominant(here: Chord, target: Chord, key: Key) -> tuple[Chord, ...] | None:
    """The fourth degree of major turns minor on its way home, borrowed from the minor key of the same tonic."""
    is_fourth = key.mode == "major" and here.root == (key.tonic + 5) % 12 and here.simple in ("maj", "maj7")
    return (here, Chord(here.root, "m6" if "7" in here.quality else "m")) if is_fourth else None


def _leads(here: Chord, target: Chord) -> bool:
    return here.root == (target.root + 7) % 12 and here.simple in ("maj", "dom")


Device = Callable[[Chord, Chord, Key], tuple[Chord, ...] | None]
DEVICES: dict[str, Device] = {
    "suspension": suspension,
    "tritone_substitute": tritone_substitute,
    "two_five": two_five,
    "minor_subdominant": minor_subdominant,
    "secondary_dominant": secondary_dominant,
}


def enrich(bars: Bars, shortest: int, key: Key, chances: Mapping[str, float], rng: random.Random) -> list[str]:
    """Let every second bar from the fourth on lead to the next by a device of the style; modifies `bars`.

    So the progression is heard plain first, and its return is not the same again.

    Only bars before the end of the shortest section of a name may change, so that the section returns unchanged.

    Args:
        bars: chords of a section's longest occurrence.
        shortest: bars of its shortest occurrence.
        chances: device -> probability.

    Returns:
        What was done, as "secondary_dominant in bar 4".
    """
    done = []
    for place in range(FIRST, min(len(bars), shortest) - 1, EVERY):
        dice = {name: rng.random() for name in DEVICES}  # all of them, so that one chance moves no other choice
        for name, device in DEVICES.items():
            if len(bars[place]) > 1 or dice[name] >= chances.get(name, 0.0):
                continue
            changed = device(bars[place][0], bars[place + 1][0], key)
            if changed:
                bars[place] = changed
                done.append(f"{name} in bar {place + 1}")
    return done


def raise_end(names: Sequence[str], lengths: Sequence[int], bars: Bars, rng: random.Random) -> tuple[int, int]:
    """Put the last chorus and what follows a semitone or two higher; modifies `bars`.

    Only a piece of some length that has had a chorus before can do so.

    Returns:
        The first bar that went up and by how many semitones; the number of bars and 0 if the form has no place for it.
    """
    places = [number for number, name in enumerate(names) if name == "chorus"]
    step = rng.choice(STEPS_UP)
    if len(places) < 2 or len(bars) < CHANGE_FROM:
        return len(bars), 0
    first = sum(lengths[: places[-1]])
    bars[first:] = [tuple(Chord((chord.root + step) % 12, chord.quality) for chord in bar) for bar in bars[first:]]
    return first, step


def local_key(chords: Sequence[Chord], key: Key, before: Key) -> Key:
    """The key of a section: the plan's, that of the section before it, or one that lies STEPS_UP above the plan's.

    The plan's key stays if it holds most notes; so a borrowed chord changes nothing, and a raised chorus does.
    """

    def fit(local: Key) -> float:
        inside = sum(sum(pc in local.scale for pc in c.pitch_classes) / len(c.pitch_classes) for c in chords)
        return inside / len(chords)

    if fit(key) >= DOUBTFUL:
        return key
    best = max((before, *(Key((key.tonic + step) % 12, key.mode) for step in STEPS_UP)), key=fit)
    return best if fit(best) >= fit(key) + CLEARLY else key
