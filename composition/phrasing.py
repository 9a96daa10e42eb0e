"""Motifs and what becomes of them: restated, inverted, fragmented, stretched, ornamented. Knows no pitches."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from .grid import Piece, hits

__all__ = ["DEVELOPMENTS", "Tone", "Tune", "cadence_rhythm", "invent_tune"]

WIDEST = 4  # scale steps between the lowest and the highest note of a motif, about a sixth

# How high the four bars of a phrase lie, in semitones from the middle of the tune.
CONTOURS = {
    "arch": (-1, 2, 4, 0),
    "descent": (4, 2, 0, -3),
    "rise": (-3, -1, 3, 1),
    "wave": (0, 3, -2, 0),
}
# Rhythms of a phrase's last bar, as (beat, length); they leave a beat or more to breathe.
CADENCES = {
    4: (
        ((0.0, 1.0), (1.0, 2.0)),
        ((0.0, 0.5), (0.5, 0.5), (1.0, 1.75)),
        ((0.0, 1.5), (1.5, 0.5), (2.0, 1.0)),
        ((0.0, 2.5),),
        ((0.5, 0.5), (1.0, 0.5), (1.5, 0.5), (2.0, 1.0)),
    ),
    3: (((0.0, 1.0), (1.0, 1.0)), ((0.0, 2.0),), ((0.0, 0.5), (0.5, 0.5), (1.0, 1.0))),
}


@dataclass(frozen=True)
class Tone:
    """One note of a motif, within one bar."""

    beat: float
    length: float  # beats
    step: int  # scale steps above the motif's first note


Motif = tuple[Tone, ...]


@dataclass(frozen=True)
class Tune:
    """What a section sings every time it comes: two motifs, the order of its phrases, the line that they follow."""

    motif: Motif
    contrast: Motif
    phrase: str  # one letter a bar, see DEVELOPMENTS; "C" is the cadence, "." a rest
    contour: tuple[int, ...]
    breathes: bool  # the second bar of each phrase stops half way
    cadence: int  # number of its rhythm


def invent_tune(piece: Piece, name: str, occurrence: int = 0) -> Tune:
    """Invent the tune of a section name; it depends on the plan's seed and the name alone.

    In a style that improvises a later occurrence keeps the motif and goes elsewhere with it.
    """
    melody, seed = piece.style.melody, f"{piece.plan.seed}:tune:{name}"
    again = f":{occurrence}" if occurrence and melody["improvises"] else ""
    rng = random.Random(seed + again)
    return Tune(
        motif=_invent(piece, random.Random(f"{seed}:motif")),
        contrast=_invent(piece, rng),
        phrase=rng.choice(list(melody["phrases"])),
        contour=CONTOURS[rng.choice(sorted(CONTOURS))],
        breathes=rng.random() < melody["rest"],
        cadence=rng.randrange(60),
    )


def cadence_rhythm(tune: Tune, beats: int) -> tuple[tuple[float, float], ...]:
    """The rhythm of the tune's last bar of a phrase in a meter of `beats`."""
    return CADENCES[beats][tune.cadence % len(CADENCES[beats])]


def _invent(piece: Piece, rng: random.Random) -> Motif:
    """Take a rhythm of the style, thin it to the style's density, and draw a line through it."""
    melody, beats = piece.style.melody, piece.plan.beats_per_bar
    keep = min(1.0, 0.45 + melody["density"])
    struck = hits(rng.choice(list(melody["rhythms"])), beats)
    kept = [(beat, length) for beat, length, _ in struck if beat % 2 == 0 or rng.random() < keep]
    steps = _line(len(kept), melody["leap"], rng)
    tones = tuple(Tone(beat, length, step) for (beat, length), step in zip(kept, steps, strict=True))
    return tones or (Tone(0.0, float(beats), 0),)


def _line(count: int, leap: float, rng: random.Random) -> list[int]:
    """Walk in steps that keep their direction for a while; after a leap the line turns back and fills the gap."""
    steps, move = [0], rng.choice((-1, 1))
    for _ in range(count - 1):
        if abs(move) > 1:
            move = -1 if move > 0 else 1
        elif rng.random() < leap:
            move = rng.choice((-3, -2, 2, 3))
        elif rng.random() < 0.35:
            move = -move
        if abs(steps[-1] + move) > WIDEST or max([*steps, steps[-1] + move]) - min([*steps, steps[-1] + move]) > WIDEST:
            move = -move
        steps.append(steps[-1] + move)
    return steps[:count]


def state(tune: Tune, beats: int) -> Motif:
    """The motif as it is; on another chord this is a sequence."""
    return tune.motif


def oppose(tune: Tune, beats: int) -> Motif:
    """The second idea of the tune."""
    return tune.contrast


def vary(tune: Tune, beats: int) -> Motif:
    """The motif with its second half upside down: the ear knows the rhythm and is surprised by the turn."""
    middle = len(tune.motif) // 2
    pivot = tune.motif[middle].step
    return tuple(
        replace(tone, step=2 * pivot - tone.step) if number > middle else tone for number, tone in enumerate(tune.motif)
    )


def fragment(tune: Tune, beats: int) -> Motif:
    """The motif's first half twice, the second time a step higher: what pushes a phrase to its goal."""
    half = beats / 2
    head = [replace(tone, length=min(tone.length, half - tone.beat)) for tone in tune.motif if tone.beat < half]
    if not head:
        return tune.motif
    return (*head, *(Tone(tone.beat + half, tone.length, tone.step + 1) for tone in head))


def stretch(tune: Tune, beats: int) -> Motif:
    """The motif's first half at half the speed: broad, as before an end."""
    slow = [Tone(tone.beat * 2, tone.length * 2, tone.step) for tone in tune.motif if tone.beat * 2 < beats]
    return tuple(replace(tone, length=min(tone.length, beats - tone.beat)) for tone in slow) or tune.motif


DEVELOPMENTS = {"A": state, "B": oppose, "a": vary, "F": fragment, "G": stretch}
