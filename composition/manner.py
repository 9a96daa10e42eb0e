"""How a plan is played: its style, the parts that other styles give, and the expression that a mood asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .blending import join_styles
from .effect_choice import USUAL
from .moods import busier, lean
from .plan import MusicalPlan
from .pulse import pulsing
from .score import Note
from .style import Style, load_style

__all__ = ["express", "style_of"]

LOWEST, HIGHEST = 36, 103  # between which a lead may be moved
SHORTEST = 0.05  # beats
HITS = set("xX123456578a")  # symbols of a pattern that begin a note


def style_of(plan: MusicalPlan) -> Style:
    """The style that a plan is played in: its own, joined with those of its blend, leaning where its mood leans.

    Who marks the beat has patterns for that. Its effects are the plan's; where the plan says nothing, the style's.

    Raises:
        UnknownNameError: a style that there is not.
    """
    style = pulsing(join_styles(load_style(plan.style), plan.blend), plan)
    expression = plan.expression
    melody, comping, bass = dict(style.melody), dict(style.comping), dict(style.bass)
    shift = round(expression.get("register", 0))
    if shift:
        melody["register"] = _moved(melody["register"], shift)
    density = expression.get("density", 0.0)
    if density:
        melody["density"] = lean(melody["density"], 0.0, 1.0, density)
        melody["rest"] = lean(melody["rest"], 0.0, 0.8, -density)
        melody["rhythms"] = busier(melody["rhythms"], _hits, density)
        comping["patterns"] = busier(comping["patterns"], _hits, density)
        bass["patterns"] = busier(bass["patterns"], _hits, density)
    effects = {**style.effects, **plan.effects}
    if effects.get("delay"):
        effects["delay_seconds"] = effects.get("delay_beats", USUAL["delay_beats"]) * 60.0 / plan.tempo
    if expression.get("treble_db"):
        effects["treble_db"] = expression["treble_db"]
    if plan.fade_out:
        effects |= {"fade_out": plan.fade_out, "ends_at": plan.duration}
    return replace(style, melody=melody, comping=comping, bass=bass, effects=effects)


def _moved(register: Sequence[int], shift: int) -> list[int]:
    """Move a register, as far as it stays where instruments sound."""
    low, high = register
    shift = max(min(LOWEST - low, 0), min(max(HIGHEST - high, 0), shift))
    return [low + shift, high + shift]


def _hits(pattern: str) -> int:
    """Notes that a pattern of one bar begins."""
    return sum(symbol in HITS for symbol in pattern)


def express(notes: Sequence[Note], expression: Mapping[str, float], *, is_drums: bool, end: float) -> tuple[Note, ...]:
    """Play notes harder or softer, and those of pitched instruments longer or shorter; they start where they did.

    Args:
        notes: in order of their starts.
        expression: as in the plan.
        end: beat that no note outlasts; nor does it run into the next one of its pitch.
    """
    velocity, factor = expression.get("velocity", 0), 1.0 if is_drums else expression.get("length", 1.0)
    if not velocity and factor == 1:
        return tuple(notes)
    played: list[Note] = []
    stops: dict[int, float] = {}  # pitch -> when it is struck next
    for note in reversed(notes):
        wanted = max(SHORTEST, note.duration * factor)
        room = max(note.duration, stops.get(note.pitch, end) - note.start) if factor > 1 else wanted
        loud = max(1, min(127, note.velocity + round(velocity)))
        played.append(replace(note, duration=min(wanted, room), velocity=loud))
        stops[note.pitch] = note.start
    return tuple(reversed(played))
