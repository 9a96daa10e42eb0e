"""From plan to notes: every role plays by its own rules and its own dice, so one can change and the others stay."""

from __future__ import annotations

import random

from .bass import play_bass
from .colours import play_colour
from .comping import play_chords, play_pad
from .drums import play_drums
from .grid import Piece
from .manner import express, style_of
from .melody import play_lead
from .plan import MusicalPlan
from .score import ROLES, Score, Track

__all__ = ["arrange"]

PLAYERS = {
    "drums": play_drums,
    "bass": play_bass,
    "chords": play_chords,
    "lead": play_lead,
    "pad": play_pad,
    "colour": play_colour,
}
PANS = {"drums": 0.0, "bass": 0.0, "chords": -0.22, "lead": 0.12, "pad": 0.0, "colour": 0.38}


def arrange(plan: MusicalPlan) -> Score:
    """Write the notes of a plan.

    The same plan gives the same score. Each role draws from a generator of its own, seeded by the plan's seed and the
    role's name, so giving a role another program leaves the notes of the others as they were. A role that is not in
    the plan is covered for: without a bass the pianist plays roots, without a lead the colours do not wait for it.

    Args:
        plan: any valid plan; its instruments say which roles play.

    Returns:
        A score whose notes all end by plan.duration.
    """
    style = style_of(plan)
    piece = Piece.of(plan, style)
    tracks = []
    for role in ROLES:
        if role not in plan.instruments:
            continue
        notes = PLAYERS[role](piece, random.Random(f"{plan.seed}:{role}"))
        notes = express(notes, plan.expression, is_drums=role == "drums", end=piece.total_beats)
        tracks.append(
            Track(
                role=role,
                program=plan.instruments[role],
                notes=notes,
                level_db=float(style.levels_db.get(role, -6.0)),
                pan=PANS[role],
                reverb_send=float(style.reverb_send.get(role, 0.2)),
            )
        )
    return Score(plan.tempo_map, plan.beats_per_bar, plan.duration, tuple(tracks))
