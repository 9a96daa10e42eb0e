"""Whether wishes agree with a plan that was given, and with what the composer can do."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from ..composition.blending import Blend
from ..composition.effect_choice import USUAL, read_effects
from ..composition.instruments import find_instrument, instrument_family
from ..composition.manner import style_of
from ..composition.plan import MusicalPlan
from ..composition.theory import Chord, Key
from ..errors import ConfigError

if TYPE_CHECKING:
    from .params import GenerationParams

__all__ = ["agreed_duration", "check_against_plan", "heed_negative"]

logger = logging.getLogger(__name__)


def agreed_duration(plan: MusicalPlan, duration: float | None) -> float:
    """The plan's duration; raises ConfigError if another is asked for."""
    if duration is not None and not math.isclose(duration, plan.duration, abs_tol=1e-6):
        raise ConfigError(
            f"duration is {duration:g} s, but the plan lasts {plan.duration:g} s. Drop one, or edit the plan."
        )
    return plan.duration


def check_against_plan(params: GenerationParams, plan: MusicalPlan) -> None:
    """Raise ConfigError if a musical setting says something else than the plan does."""
    said: list[tuple[str, Any, Any]] = []
    if params.style is not None:
        wished = [name for name, _ in Blend.parse(params.style).shares]
        said.append(("style", " and ".join(sorted(wished)), " and ".join(sorted({plan.style, *plan.blend.values()}))))
    if params.mood is not None:
        said.append(("mood", params.mood, plan.mood or "none"))
    if params.tempo is not None:
        said.append(("tempo", float(params.tempo), float(plan.tempo)))
    if params.rubato is not None:
        said.append(("rubato", float(params.rubato), float(plan.rubato)))
    if params.ritardando is not None:
        said.append(("ritardando", params.ritardando, plan.ritardando > 0))
    if params.key is not None:
        said.append(("key", str(Key.parse(params.key)), str(Key.parse(plan.key))))
    if params.meter is not None:
        said.append(("meter", params.meter, plan.meter))
    if params.bars is not None:
        said.append(("bars", params.bars, plan.num_bars))
    if params.chords is not None:
        bars = [" ".join(map(str, bar.chords)) for bar in plan.bars]
        wanted = [" ".join(str(Chord.parse(symbol)) for symbol in entry.split()) for entry in params.chords]
        said.append(("chords", " ".join(wanted[i % len(wanted)] for i in range(len(bars))), " ".join(bars)))
    if params.sections is not None:
        said.append(("sections", " ".join(params.sections), " ".join(section.name for section in plan.sections)))
    if params.effects is not None:
        planned = style_of(plan).effects
        for name, value in read_effects(params.effects).items():
            said.append((f"effects ({name})", value, planned.get(name, USUAL.get(name, 0.0))))
    for name in params.instruments or ():
        role, program = find_instrument(name)
        if plan.instruments.get(role) not in instrument_family(name):
            said.append((f"instruments ({role})", program, plan.instruments.get(role)))
    for name, wanted_value, planned_value in said:
        if wanted_value != planned_value:
            raise ConfigError(
                f"{name} is {wanted_value}, but the plan says {planned_value}. Drop one, or edit the plan."
            )


def heed_negative(params: GenerationParams) -> None:
    """Warn of words of the negative prompt that mean nothing to the composer.

    Raises:
        ConfigError: none of them means anything, or one names an instrument that shall play.
    """
    if params.negative_prompt is None:
        return
    avoided = params.avoided
    if avoided.is_empty:
        raise ConfigError(
            f"negative_prompt is '{params.negative_prompt}', which names no instrument, role, mood or style that could "
            "be left out. Say one, such as drums, or leave it out."
        )
    for name in params.instruments or ():
        if params.is_silent(*find_instrument(name)):
            raise ConfigError(
                f"instruments has '{name}', but without or the negative prompt forbid it. Take one of them away."
            )
    if avoided.unknown:
        logger.warning("the negative prompt has words that mean nothing here: %s", "; ".join(avoided.unknown))
    if params.plan is not None and (avoided.moods or avoided.styles):
        logger.warning(
            "the plan is given, so these words of the negative prompt have no effect: %s",
            ", ".join((*avoided.moods, *avoided.styles)),
        )
