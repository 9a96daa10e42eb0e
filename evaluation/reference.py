"""Composed clips of every style that no model has learnt from: what judges learn from, and sets are compared with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ..composition.plan import MusicalPlan
from ..composition.style import style_names
from .hearing import Hearing, hear_sound
from .originals import Originals
from .protocol import Size, held_out_plan

__all__ = ["Clip", "compose_reference"]

JUDGES = ("librosa_timbre", "musicnn")
AHEAD = 12  # clips that may wait for their judges
Waiting = tuple[MusicalPlan, Future[dict[str, Any]], Future[dict[str, Any]]]


@dataclass(frozen=True)
class Clip:
    """One composed clip, what was heard in it, and what after the model's codec."""

    plan: MusicalPlan
    facts: dict[str, Any]
    coded: dict[str, Any]


def compose_reference(
    originals: Originals, size: Size, hearing: Hearing, progress: Callable[[int, int], object]
) -> list[Clip]:
    """Compose and hear `size.composed` clips of every style, and once more through the codec."""
    waiting: list[Waiting] = []
    styles, clips = style_names(), []
    for number, (style, index) in enumerate((style, index) for style in styles for index in range(size.composed)):
        original = originals.compose(held_out_plan(style, index, size.seconds))
        if original is not None:
            sounds = original.waveform, originals.through_codec(original)[0]
            facts, coded = (hearing.submit(hear_sound, sound, *JUDGES) for sound in sounds)
            waiting.append((original.plan, facts, coded))
        while len(waiting) > AHEAD:  # a sound is dropped when it was heard
            clips.append(_heard(*waiting.pop(0)))
        progress(number + 1, size.composed * len(styles))
    return clips + [_heard(*rest) for rest in waiting]


def _heard(plan: MusicalPlan, facts: Future[dict[str, Any]], coded: Future[dict[str, Any]]) -> Clip:
    return Clip(plan, facts.result(), coded.result())
