"""How players mark the beat where nobody drums: chords struck again, an ostinato, a bass on one and three.

Those whose notes have a clear attack are a little louder then.

Knows what is played when a plan asks for it; whether it does, `pacing.py` decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .grid import hits
from .plan import METERS, PULSE_ROLES, MusicalPlan
from .style import Style

__all__ = ["beat_length", "pulsing", "roles_for"]

PARTS = {"chords": "comping", "colour": "colour", "bass": "bass"}  # role -> the field of a style by which it plays
SUSTAINED = {"chords": "block", "bass": "pattern"}  # who holds notes otherwise plays a pattern in this manner
PLAIN = {"chords": ["X-x-X-x-"], "bass": ["1-1-5-1-"]}  # for a style that has no pattern which strikes every beat
BROKEN = ["13231323"]  # the same, for arpeggios
# Bells, timpani and brass strike once a bar; others play a figure, and brass too where nobody in CLEAR marks the beat.
STROKES = frozenset({14, 47, *range(56, 64)})
CLEAR = frozenset({*range(16), *range(24, 40), *range(45, 48), *range(104, 116)})  # struck and plucked
FORWARD = 5.0  # dB that those in CLEAR who mark the beat stand further forward; pads and bows alone blur it
COMPOUND = {"chords": ["X-x-x-X-x-x-"], "bass": ["1-----1-----"]}  # in 6/8


def beat_length(meter: str) -> float:
    """Quarter notes from one beat that is felt to the next: in 6/8 a dotted quarter."""
    return 1.5 if meter == "6/8" else 1.0


def roles_for(instruments: Mapping[str, int], style: Style) -> tuple[str, ...]:
    """Who marks the beat: the first of PULSE_ROLES that plays, and those for whom the style has a manner of doing it.

    Args:
        instruments: role -> program, as in a plan.

    Returns:
        In the order of PULSE_ROLES; nothing if only a lead plays.
    """
    here = [role for role in PULSE_ROLES if role in instruments]
    return tuple(role for role in here if role == here[0] or role in style.pulse)


def pulsing(style: Style, plan: MusicalPlan) -> Style:
    """The style with other patterns and levels for those who mark the beat in a plan; a pad repeats what it holds."""
    changes: dict[str, Any] = {
        PARTS[role]: {**getattr(style, PARTS[role]), **_manner(style, role, plan)}
        for role in plan.pulse
        if role in PARTS
    }
    louder = {
        role: style.levels_db[role] + FORWARD
        for role in plan.pulse
        if plan.instruments.get(role) in CLEAR and role in style.levels_db
    }
    return replace(style, **changes, levels_db={**style.levels_db, **louder})


def _manner(style: Style, role: str, plan: MusicalPlan) -> dict[str, Any]:
    """What changes in a role's part: as the style says, else its own patterns that strike every beat."""
    told = dict(style.pulse.get(role, {}))
    if role == "colour":
        strikes = plan.instruments.get(role) in STROKES and any(plan.instruments.get(r) in CLEAR for r in plan.pulse)
        return {"kind": "downbeats" if strikes else "pulse"}
    own = getattr(style, PARTS[role])
    kind = told.get("style", SUSTAINED[role] if own["style"] == "sustain" else own["style"])
    steady = [pattern for pattern in told.get("patterns", own["patterns"]) if told or _strikes(pattern, plan.meter)]
    if plan.meter == "6/8" and kind != "arpeggio":
        steady = COMPOUND[role]
    return {"style": kind, "patterns": steady or (BROKEN if kind == "arpeggio" else PLAIN[role])}


def _strikes(pattern: str, meter: str) -> bool:
    """Whether a pattern strikes every beat of a bar."""
    starts = {start for start, _, _ in hits(pattern, METERS[meter])}
    step = beat_length(meter)
    return all(number * step in starts for number in range(round(METERS[meter] / step)))
