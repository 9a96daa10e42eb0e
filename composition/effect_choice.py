"""Which effects a piece gets: what they are called and how far they go, and the draw within what its style allows.

Knows no sound; `effects.py` makes it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, UnknownNameError

__all__ = ["DRY", "EFFECTS", "REVERBS", "USUAL", "check_effects", "check_ranges", "draw_effects", "read_effects"]

REVERBS = ("none", "room", "hall", "plate")
EFFECTS: dict[str, tuple[float, float]] = {  # but for `reverb`, which is one of REVERBS: lowest and highest value
    "reverb_seconds": (0.1, 10.0),  # until it is 60 dB down
    "reverb_amount": (0.0, 2.0),  # times as much as the roles' sends say
    "delay": (0.0, 1.0),  # how loud the first echo is, as a share of the send
    "delay_beats": (0.125, 4.0),  # quarter notes from echo to echo
    "delay_feedback": (0.0, 0.8),  # how loud each echo is beside the one before
    "chorus": (0.0, 1.0),  # of chords and pad
    "drive": (0.0, 1.0),
    "tape": (0.0, 1.0),
    "vinyl": (0.0, 1.0),
    "lowpass_hz": (0.0, 24000.0),  # 0 is off
    "width": (0.0, 1.0),
}
USUAL: dict[str, Any] = {
    "reverb": "none",
    "reverb_seconds": 1.0,
    "reverb_amount": 1.0,
    "delay_beats": 0.75,
    "delay_feedback": 0.4,
}  # else 0
DRY = {"reverb": "none"} | dict.fromkeys(("delay", "chorus", "drive", "tape", "vinyl", "lowpass_hz", "width"), 0.0)


def check_effects(values: Mapping[str, Any]) -> None:
    """Refuse an effect that there is not, or a value out of its range.

    Raises:
        UnknownNameError, ConfigError: the message names the effect.
    """
    for name, value in values.items():
        if name == "reverb":
            if value not in REVERBS:
                raise UnknownNameError("reverb", str(value), REVERBS)
            continue
        if name not in EFFECTS:
            raise UnknownNameError("effect", name, ("reverb", *EFFECTS))
        low, high = EFFECTS[name]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (is_number and low <= value <= high):
            raise ConfigError(f"{name} is {value!r}; it must be {low:g} to {high:g}.")


def check_ranges(ranges: Mapping[str, Any], middle: Mapping[str, Any]) -> None:
    """Refuse ranges of a style that hold what no effect takes, or that do not hold the style's own value.

    Args:
        ranges: effect -> [low, high], or value -> weight.
        middle: effect -> value where nothing is drawn; what is missing is off.

    Raises:
        UnknownNameError, ConfigError: the message names the effect.
    """
    for name, drawn in ranges.items():
        is_choice = isinstance(drawn, Mapping)
        if not drawn or (not is_choice and (len(drawn) != 2 or drawn[0] > drawn[1])):
            raise ConfigError(f"{name} is {drawn!r}; it must be [low, high], or a mapping of value to weight.")
        for value in drawn:
            check_effects({name: value})
        own = middle.get(name)
        if own is not None and not (own in drawn if is_choice else drawn[0] <= own <= drawn[1]):
            raise ConfigError(f"{name} is {drawn!r}, which leaves out the style's own value {own!r}.")


def draw_effects(
    ranges: Mapping[str, Any], seed: int, wished: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], str]:
    """Draw the effects of a piece; what is wished for is taken as it is.

    Every effect has dice of its own, so a wish for one, or a style file that gains one, leaves the others alone.

    Args:
        ranges: of the style, as for `check_ranges`.
        seed: of the piece.
        wished: effect -> value.

    Returns:
        Effect -> value, and a sentence that says who decided.
    """
    drawn, told = {}, []
    for name, among in ranges.items():
        if wished and name in wished:
            continue
        dice = random.Random(f"{seed}:effects:{name}")
        if isinstance(among, Mapping):
            drawn[name] = dice.choices(list(among), list(among.values()))[0]
            told.append(f"{name} from {', '.join(f'{value} {weight:g}' for value, weight in among.items())}")
        else:
            drawn[name] = _rounded(dice.uniform(*among))
            told.append(f"{name} from {among[0]:g} to {among[1]:g}")
    said = [f"user: {', '.join(f'{name}={value}' for name, value in wished.items())}"] if wished else []
    said += [f"sampled by the seed: {'; '.join(told)}"] if told else []
    return {**drawn, **(wished or {})}, "; ".join(said) or "rule: the style's own"


def _rounded(value: float) -> float:
    """Two digits after the point, none for hertz: what a person would write."""
    return float(round(value, 2 if value < 100 else -1))


def read_effects(text: str) -> dict[str, Any]:
    """Read "reverb=hall, delay=0.4"; "dry" or "none" turns everything off, before what follows it.

    Raises:
        UnknownNameError, ConfigError: no such effect, or no such value.
    """
    values: dict[str, Any] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        if entry.lower() in ("dry", "none"):
            values |= DRY
            continue
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not equals:
            raise ConfigError(f"effects has '{entry}'. Write dry, or name=value, such as reverb=hall or delay=0.4.")
        values[name] = value if name == "reverb" else _number(name, value)
    if not values:
        raise ConfigError("effects is empty. Write dry, or name=value, such as reverb=hall or delay=0.4.")
    check_effects(values)
    return values


def _number(name: str, text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # which check_effects refuses by name
