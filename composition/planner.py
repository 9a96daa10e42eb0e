"""Write a MusicalPlan: hard wishes are obeyed or refused, a prompt's attributes are followed, the rest is sampled."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigError
from .casting import Cast, check_names, pick
from .form import build_sections, infer_key, progressions_of
from .harmony import KEY_CHANGE
from .plan import METERS, SECTION_NAMES, MusicalPlan
from .score import ROLES
from .style import Style, load_style, style_names
from .theory import MODES, Chord, Key, note_name
from .timing import FASTEST, SLOWEST, TimeWish, Timing, fit_time, grid_tempos, snap_tempo

__all__ = ["Attributes", "Constraints", "plan_music"]

LONGEST = 3600.0  # seconds
MOST_BARS = 5000


@dataclass(frozen=True)
class Attributes:
    """What a prompt seems to say; None or empty is silence. They yield to Constraints."""

    style: str | None = None
    tempo: float | None = None  # BPM, approximate
    key: str | None = None  # "A minor", or a mode alone: "minor"
    mood: str | None = None
    instruments: Sequence[str] = ()
    only: bool = False  # nobody plays but these instruments


@dataclass(frozen=True)
class Constraints:
    """The user's hard wishes; None or empty is free. Each is obeyed exactly, or plan_music raises ConfigError.

    Raises:
        ConfigError: a wish is out of range or makes no sense alone; the message starts with its name.
    """

    tempo: float | None = None  # BPM
    key: str | None = None
    meter: str | None = None
    chords: Sequence[str] = ()  # one entry a bar ("Am7", or "Dm7 G7" for two), cycling
    instruments: Sequence[str] = ()
    without: Sequence[str] = ()  # roles or instruments
    style: str | None = None
    bars: int | None = None
    duration: float | None = None  # seconds, the ring of the last chord included
    seed: int = 0
    sections: Sequence[str] = ()  # names in order
    only: bool = False  # nobody plays but `instruments`

    def __post_init__(self) -> None:
        for name in ("chords", "instruments", "without", "sections"):
            value = getattr(self, name)
            _need(not isinstance(value, str), f"{name}: {value!r} is one text. Give a list of names.")
            object.__setattr__(self, name, tuple(value or ()))
        _check_number("tempo", self.tempo, SLOWEST, FASTEST)
        _check_number("duration", self.duration, 0.0, LONGEST)
        _need(self.duration is None or self.duration > 0, "duration: 0 s is nothing. Ask for more than 0.")
        is_count = isinstance(self.bars, int) and not isinstance(self.bars, bool) and 1 <= self.bars <= MOST_BARS
        _need(self.bars is None or is_count, f"bars: {self.bars!r} must be a whole number from 1 to {MOST_BARS}.")
        _need(self.meter is None or self.meter in METERS, f"meter: '{self.meter}' must be one of {', '.join(METERS)}.")
        for section in self.sections:
            _need(section in SECTION_NAMES, f"sections: '{section}' must be one of {', '.join(SECTION_NAMES)}.")
        for entry in self.chords:
            _need(1 <= len(entry.split()) <= 4, f"chords: '{entry}' must hold 1 to 4 symbols, which split one bar.")
            for symbol in entry.split():
                Chord.parse(symbol)
        _need(not self.only or bool(self.instruments), "only: it needs instruments. Name the ones that play.")
        check_names(self.without)
        if self.key is not None:
            Key.parse(self.key)


def plan_music(attributes: Attributes | None = None, constraints: Constraints | None = None) -> MusicalPlan:
    """Write the plan of one piece; the same wishes and seed give the same plan.

    Every choice draws a fixed count of random numbers, so fixing the tempo, say, leaves instruments and chords alone.

    Raises:
        ConfigError: two wishes contradict, or one cannot be met; the message names both sides.
        UnknownNameError: no style or instrument of that name.
    """
    heard, hard = attributes or Attributes(), constraints or Constraints()
    rng = random.Random(f"{hard.seed}:planner")
    style, decisions = _choose_style(heard, hard, rng.random())
    mood, decisions["mood"] = _choose_mood(heard, style, rng.random())
    meter, decisions["meter"] = _choose_meter(hard, style, rng.random())
    key, decisions["key"] = _choose_key(heard, hard, style, (rng.random(), rng.random()))
    timing, told = _choose_time(heard, hard, style, METERS[meter], rng)
    decisions |= told
    programs, decisions["instruments"] = _choose_cast(heard, hard, style, rng)
    groove, decisions["groove"] = _choose_groove(style, meter, "drums" in programs, rng.random())
    swing, decisions["swing"] = _choose_swing(style, meter, rng.random())
    known = progressions_of(style.progressions, key.mode)
    sections, told = build_sections(
        style.sections,
        known,
        key,
        timing.num_bars,
        rng,
        chords=hard.chords,
        names=hard.sections,
        harmony=_devices(heard, hard, style),
    )
    decisions |= told
    decisions["seed"] = f"user: {hard.seed}" if hard.seed else "rule: 0 unless another is asked for"
    return MusicalPlan(
        style=style.name,
        tempo=timing.tempo,
        meter=meter,
        key=str(key),
        sections=sections,
        instruments=programs,
        duration=timing.duration,
        groove=groove,
        swing=swing,
        mood=mood,
        seed=hard.seed,
        decisions=decisions,
    )


def _choose_style(heard: Attributes, hard: Constraints, dice: float) -> tuple[Style, dict[str, str]]:
    if hard.style is not None:
        return load_style(hard.style), {"style": f"user: {hard.style}"}
    if heard.style is not None:
        return load_style(heard.style), {"style": f"prompt: {heard.style}"}
    names = style_names()
    return load_style(names[int(dice * len(names))]), {"style": f"sampled equally from {len(names)} styles"}


def _choose_mood(heard: Attributes, style: Style, dice: float) -> tuple[str, str]:
    if heard.mood:
        return heard.mood, f"prompt: {heard.mood}"
    moods = list(style.moods)
    return moods[int(dice * len(moods))], f"sampled equally from {', '.join(moods)}"


def _choose_meter(hard: Constraints, style: Style, dice: float) -> tuple[str, str]:
    if hard.meter is not None:
        return hard.meter, f"user: {hard.meter}"
    return pick(dice, style.meters), f"sampled from {_weights(style.meters)}"


def _choose_key(heard: Attributes, hard: Constraints, style: Style, dice: tuple[float, float]) -> tuple[Key, str]:
    if hard.key is not None:
        return Key.parse(hard.key), f"user: {hard.key}"
    mode, why = pick(dice[0], style.modes), f"mode sampled from {_weights(style.modes)}"
    if heard.key in MODES:
        mode, why = heard.key or mode, f"prompt: {heard.key}"
    elif heard.key:
        return Key.parse(heard.key), f"prompt: {heard.key}"
    if hard.chords:
        chords = [Chord.parse(symbol) for entry in hard.chords for symbol in entry.split()]
        return infer_key(chords), "rule: the key that holds most notes of the user's chords"
    tonic = int(dice[1] * 12)
    return Key(tonic, mode), f"{why}; tonic {note_name(tonic)} sampled equally from the twelve notes"


def _choose_time(
    heard: Attributes, hard: Constraints, style: Style, beats: int, rng: random.Random
) -> tuple[Timing, dict[str, str]]:
    low, high, typical = style.tempo
    sampled = rng.triangular(low, high, typical)
    wish, source = sampled, f"sampled near {sampled:.0f} from {low:g} to {high:g} BPM, mostly {typical:g}"
    tempos = grid_tempos(low, high) or (float(sampled),)
    if hard.tempo is not None:
        wish, source, tempos = float(hard.tempo), f"user: {hard.tempo:g} BPM", (float(hard.tempo),)
    elif heard.tempo is not None:
        _check_number("tempo", heard.tempo, SLOWEST, FASTEST)
        wish, source, tempos = heard.tempo, f"prompt: {heard.tempo:g} BPM", (snap_tempo(heard.tempo),)
    needs = {"chords": len(hard.chords), "sections": len(hard.sections), "bars": 1}
    reason = max(needs, key=lambda name: needs[name])
    timing = fit_time(
        TimeWish(
            beats=beats,
            tempos=tempos,
            wish=wish,
            is_fixed=hard.tempo is not None,
            bars=hard.bars,
            duration=hard.duration,
            min_bars=needs[reason],
            min_reason=reason,
            phrase=len(hard.chords) or 4,
        )
    )
    if abs(timing.tempo - wish) > 1e-6:
        on_grid = math.isclose(1500 / timing.tempo, round(1500 / timing.tempo), rel_tol=1e-9)
        source += f"; rule: {timing.tempo:.2f} fits the bars{' and whole codec frames a beat' if on_grid else ''}"
    ring = timing.duration - timing.num_bars * 60.0 * beats / timing.tempo
    fitted = f"rule: {timing.num_bars} bars and a ring of {ring:.2f} s" if ring > 0 else "rule: cut inside the only bar"
    return timing, {
        "tempo": source,
        "bars": f"user: {hard.bars}" if hard.bars is not None else f"{fitted} fill the duration",
        "duration": f"user: {hard.duration:g} s" if hard.duration is not None else fitted,
    }


def _choose_cast(heard: Attributes, hard: Constraints, style: Style, rng: random.Random) -> tuple[dict[str, int], str]:
    cast = Cast(style.roles, hard.without, rng)
    cast.seat(hard.instruments, "user")
    if not hard.only:
        cast.seat(tuple(heard.instruments or ()), "prompt")
    if hard.only or (heard.only and heard.instruments and cast.programs):
        cast.play_alone()
    else:
        cast.fill(style.presence)
    _need(
        bool(cast.programs),
        f"without is {', '.join(hard.without)}, which leaves style {style.name} with nobody. Leave one role in.",
    )
    return {role: cast.programs[role] for role in ROLES if role in cast.programs}, "; ".join(cast.reasons)


def _choose_groove(style: Style, meter: str, has_drums: bool, dice: float) -> tuple[str, str]:
    if not has_drums:
        return "", "rule: no drums play"
    steps = 4 * METERS[meter]
    grooves = style.drums["grooves"]
    fitting = [name for name, voices in grooves.items() if all(len(row) == steps for row in voices.values())]
    names = fitting or list(grooves)
    why = f"sampled equally from {', '.join(names)}"
    return names[int(dice * len(names))], why if fitting else f"{why}; none of them is written for {meter}"


def _choose_swing(style: Style, meter: str, dice: float) -> tuple[float, str]:
    if meter == "6/8":
        return 0.0, "rule: 6/8 has its triplets already"
    low, high = style.swing
    return round(low + dice * (high - low), 2), f"sampled from {low:g} to {high:g}"


def _devices(heard: Attributes, hard: Constraints, style: Style) -> dict[str, float]:
    """The style's devices of harmony; a key that somebody named is kept to the end."""
    is_named = hard.key is not None or (heard.key is not None and heard.key not in MODES)
    return {name: chance for name, chance in style.harmony.items() if name != KEY_CHANGE or not is_named}


def _weights(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items())


def _check_number(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        _need(is_number and low <= value <= high, f"{name}: {value!r} must be {low:g} to {high:g}.")


def _need(is_met: bool, message: str) -> None:
    if not is_met:
        raise ConfigError(message)
