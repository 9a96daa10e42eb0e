"""The drummer: grooves, ghost notes, fills at the end of a section, a crash at the start of the next."""

from __future__ import annotations

import random

from .grid import BarView, Hands, Piece, hits
from .score import Note
from .style import DRUM_PITCHES

__all__ = ["play_drums"]

VELOCITIES = {"X": 112.0, "x": 92.0, "g": 50.0}
TIMEKEEPERS = ("closed", "pedal", "ride", "shaker", "tamb", "rim", "claves")  # what is left of the kit in an intro


def play_drums(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Play the plan's groove through the piece."""
    hands = Hands(piece, rng, looseness=0.5)
    grooves = piece.style.drums["grooves"]
    groove = grooves.get(piece.plan.groove) or grooves[sorted(grooves)[0]]
    busy = len(piece.bars) > 4
    for bar in piece.bars:
        rows = dict(groove)
        fills = bar.is_last_of_section and bar.number + 1 < len(piece.bars) and bar.energy > 0.4
        if fills or (bar.index % 8 == 7 and bar.energy > 0.5):
            rows |= _fill(piece, bar, rng)
        elif busy and (bar.section == "intro" or (bar.section == "break" and bar.index < bar.length - 1)):
            rows = {name: steps for name, steps in rows.items() if name in TIMEKEEPERS} or rows
        _play_bar(hands, bar, rows, rng)
        after_fill = bar.index == 0 and bar.number > 0
        if after_fill and bar.energy > 0.6 and bar.section != "break" and "kick" in groove:
            hands.play(bar.start, 1.0, DRUM_PITCHES["crash"], 88 + 20 * bar.energy)
    if piece.rings:
        for name, velocity in (("kick", 100), ("crash", 92)):
            hands.play(piece.end, 1.0, DRUM_PITCHES[name], velocity * (0.7 + 0.3 * piece.bars[-1].energy))
    return hands.finished()


def _fill(piece: Piece, bar: BarView, rng: random.Random) -> dict[str, str]:
    """Choose a fill that fits the meter; none if the style has none."""
    fitting = [f for f in piece.style.drums["fills"] if all(len(s) in (16, 4 * bar.beats) for s in f.values())]
    return dict(rng.choice(fitting)) if fitting else {}


def _play_bar(hands: Hands, bar: BarView, rows: dict[str, str], rng: random.Random) -> None:
    scale = 0.72 + 0.3 * bar.energy
    for name in sorted(rows):
        for beat, length, symbol in hits(rows[name].replace("-", "."), bar.beats):
            velocity = VELOCITIES[symbol] * scale
            if name in ("closed", "shaker", "ride") and beat % 1:
                velocity *= 0.85  # the hand falls on the beat
            hands.play(bar.start + beat, max(length, 0.25), DRUM_PITCHES[name], velocity)
    quiet = "snare" in rows and bar.energy > 0.5 and rng.random() < 0.25
    if quiet:  # a ghost note that was not written
        hands.play(bar.start + rng.choice((1.75, 2.25, 3.75)) % bar.beats, 0.25, DRUM_PITCHES["snare"], 38)
