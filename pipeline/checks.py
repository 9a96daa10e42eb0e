"""Range checks that say what came and what is needed."""

from __future__ import annotations

import math
import numbers
from typing import Any

from ..errors import ConfigError

__all__ = ["check_integer", "check_number"]


def check_number(name: str, value: Any, low: float, high: float, *, unit: str = "", above: bool = False) -> None:
    """Raise ConfigError unless `value` is None or a finite number in low..high (above low, if `above`)."""
    if value is None:
        return
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or not low <= value <= high or (above and value == low):
        bounds = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
        raise ConfigError(f"{name} is {value!r}; it must be a number {bounds}{unit}.")


def check_integer(name: str, value: Any, low: int, high: int) -> None:
    """Raise ConfigError unless `value` is None or a whole number in low..high."""
    if value is None:
        return
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not low <= int(value) <= high:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number from {low} to {high}.")
