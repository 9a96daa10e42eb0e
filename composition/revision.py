"""A change of mind while a piece plays: from the plan so far and new wishes, the plan of the rest. Rules only."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigError
from .blending import Blend
from .casting import Cast
from .manner import style_of
from .pacing import choose_pulse
from .plan import METERS, MusicalPlan
from .planner import Attributes, Constraints, plan_music
from .prompt import parse_prompt
from .score import ROLES
from .theory import MODES, Key
from .timing import FASTEST, SLOWEST, snap_tempo

__all__ = ["Wishes", "next_bar", "read_wishes", "revise"]

FASTER = 1.2  # what "faster" means; "slower" is one over it, and "much" is that squared
SHORTEST = 0.5  # seconds of music that a plan is made for


@dataclass(frozen=True)
class Wishes:
    """What shall be different from now on; None or empty stays as it is."""

    tempo: float | None = None  # BPM
    pace: float = 1.0  # how many times as fast, if `tempo` says nothing
    key: str | None = None  # or a mode alone
    meter: str | None = None
    style: str | None = None  # one, or a blend
    mood: str | None = None  # names with commas
    chords: Sequence[str] = ()  # one entry a bar
    sections: Sequence[str] = ()
    effects: Mapping[str, Any] | None = None  # kept in another style, which draws the others
    instruments: Sequence[str] = ()  # who joins, or takes over a role
    without: Sequence[str] = ()  # roles or instruments that leave
    only: bool = False  # all but `instruments` leave
    rubato: float | None = None
    ritardando: bool | None = None


def read_wishes(prompt: str) -> Wishes:
    """Take out of a prompt what it says in so many words: "faster", "in A minor", "with strings", "no drums".

    Raises:
        ConfigError: it asks for a length or for a number of bars, which are fixed when a piece has begun.
    """
    facts = parse_prompt(prompt)
    for name, value in {"duration": facts.duration, "bars": facts.bars}.items():
        if value is not None:
            raise ConfigError(f"'{prompt}' asks for {name} {value:g}, but the piece has begun. Leave the length out.")
    pace = 1.0
    for much, word in re.findall(r"\b(much\s+|a lot\s+)?(faster|slower)\b", prompt.lower()):
        pace *= (FASTER if word == "faster" else 1 / FASTER) ** (2 if much else 1)
    meter = facts.meter if facts.meter in METERS else None
    said = {
        "style": facts.blend or facts.style,
        "instruments": facts.instruments,
        "without": facts.without,
        "only": facts.only,
        "rubato": facts.rubato,
        "ritardando": facts.ritardando,
    }
    mood = ", ".join(facts.moods) or None
    return Wishes(tempo=facts.tempo, pace=pace, key=facts.key, meter=meter, mood=mood, **said)  # type: ignore[arg-type]


def next_bar(plan: MusicalPlan, second: float) -> float | None:
    """The first bar line after a second, both counted from the plan's beginning; None if no further bar begins."""
    number = math.floor(plan.bar_at(second) + 1e-9) + 1
    return plan.second_of_bar(number) if number < plan.num_bars else None


def revise(plan: MusicalPlan, start: float, wishes: Wishes, duration: float) -> MusicalPlan:
    """Write the plan of the rest of a piece; what nobody wishes to be different stays as it is.

    A new style brings its own tempo, groove and players, and keeps the key. A new key, meter or style brings new
    chords; otherwise those that were planned for the rest are played. A new mood changes how they are played, but
    neither key nor tempo.

    Args:
        plan: what played until now.
        start: bar line of `plan`, in seconds, at which the rest begins.
        duration: seconds of the rest.

    Raises:
        ConfigError: wishes that contradict each other or cannot be met in the rest.
    """
    if duration < SHORTEST:
        raise ConfigError(f"only {duration:.2f} s are left, and a change needs {SHORTEST} s. Begin a new piece.")
    now = {plan.style, *plan.blend.values()}
    is_other_style = wishes.style is not None and {name for name, _ in Blend.parse(wishes.style).shares} != now
    mood = wishes.mood or plan.mood or None
    key = _key(plan, wishes)
    meter = wishes.meter or plan.meter
    tempo = _tempo(plan, wishes, is_other_style)
    names, chords = tuple(wishes.sections), tuple(wishes.chords)
    bars = max(1, math.floor(duration * (tempo or plan.tempo) / 60 / METERS[meter]))
    if not names and not is_other_style:
        names = _names_from(plan, start)[-bars:]
    if not chords and not is_other_style and (key, meter) == (str(Key.parse(plan.key)), plan.meter):
        chords = _chords_from(plan, start)[:bars]
    told: dict[str, Any] = {"tempo": tempo, "key": key, "meter": meter, "chords": chords, "sections": names}
    told |= {"rubato": wishes.rubato, "ritardando": wishes.ritardando}
    if is_other_style:
        return _in_other_style(wishes, Constraints(duration=duration, seed=plan.seed, mood=mood, **told))
    programs, reason = _cast(plan, wishes)
    drums = ("drums",) if "drums" in programs else ()  # for the groove; who plays is known
    told |= {"style": plan.style, "blend": plan.blend, "mood": mood, "instruments": drums}
    if wishes.rubato is None:
        told["rubato"] = 0.0 if drums else plan.rubato
    slows = Attributes(ritardando=bool(plan.ritardando) and not drums)  # if there is time for it
    revised = plan_music(slows, Constraints(duration=duration, seed=plan.seed, **told))
    revised, told_pulse = _with_pulse(plan, replace(revised, instruments=programs), wishes)
    is_same_groove = drums and plan.groove and meter == plan.meter
    return replace(
        revised,
        groove=plan.groove if is_same_groove else revised.groove if drums else "",
        swing=plan.swing,
        effects=plan.effects,
        fade_out=min(plan.fade_out, revised.duration),
        expression=plan.expression if wishes.mood is None else revised.expression,
        decisions={**revised.decisions, "instruments": reason, "effects": "rule: as before", "pulse": told_pulse},
    )


def _with_pulse(plan: MusicalPlan, revised: MusicalPlan, wishes: Wishes) -> tuple[MusicalPlan, str]:
    """Who marks the beat from now on: somebody if somebody did, or if a tempo is said."""
    silent = replace(revised, pulse=())
    if not plan.pulse and wishes.tempo is None:
        return silent, "rule: as before"
    pulse, reason = choose_pulse(Attributes(pulse=True), Constraints(), style_of(silent), silent)
    return replace(silent, pulse=pulse), reason


def _in_other_style(wishes: Wishes, wished: Constraints) -> MusicalPlan:
    """Let a new style choose its players."""
    players = {"instruments": wishes.instruments, "without": wishes.without, "only": wishes.only}
    wished = replace(wished, style=wishes.style, effects=wishes.effects, **players)  # type: ignore[arg-type]
    return plan_music(None, wished)


def _key(plan: MusicalPlan, wishes: Wishes) -> str:
    """The key as a plan spells it; a mode alone keeps the tonic."""
    if wishes.key in MODES:
        return str(Key(Key.parse(plan.key).tonic, wishes.key))
    return str(Key.parse(wishes.key or plan.key))


def _tempo(plan: MusicalPlan, wishes: Wishes, is_other_style: bool) -> float | None:
    """The tempo, None if a new style is to choose it."""
    if wishes.tempo is not None:
        return wishes.tempo
    if wishes.pace != 1:
        tempo = plan.tempo * wishes.pace
        if not SLOWEST <= tempo <= FASTEST:
            raise ConfigError(
                f"{plan.tempo:g} BPM times {wishes.pace:.3g} is {tempo:.0f} BPM. Tempos go from {SLOWEST:g} to "
                f"{FASTEST:g}."
            )
        return snap_tempo(tempo)
    return None if is_other_style else plan.tempo


def _names_from(plan: MusicalPlan, start: float) -> tuple[str, ...]:
    """Names of the sections that have a bar from second `start` on."""
    number = round(plan.bar_at(start))
    return tuple(dict.fromkeys(bar.section.name for bar in plan.bars[number:]))


def _chords_from(plan: MusicalPlan, start: float) -> tuple[str, ...]:
    """Chords of the bars from second `start` on."""
    number = round(plan.bar_at(start))
    return tuple(" ".join(map(str, bar.chords)) for bar in plan.bars[number:])


def _cast(plan: MusicalPlan, wishes: Wishes) -> tuple[dict[str, int], str]:
    """Who plays: those of the plan, less who leaves, and who joins or takes over."""
    cast = Cast(style_of(plan).roles, tuple(wishes.without), random.Random(f"{plan.seed}:revision"))
    cast.seat(tuple(wishes.instruments), "user")
    if wishes.only:
        cast.play_alone()
    else:
        for role, program in plan.instruments.items():
            cast.keep(role, program)
    if not cast.programs:
        raise ConfigError(f"without is {', '.join(wishes.without)}, which leaves nobody. Leave one role in.")
    return {role: cast.programs[role] for role in ROLES if role in cast.programs}, "; ".join(cast.reasons)
