"""From the cell of a manifest to a value that `GenerationParams` takes, and what a column's name means."""

from __future__ import annotations

import dataclasses
import difflib
import json
from functools import cache
from pathlib import Path
from typing import Any

from ...composition.plan import MusicalPlan
from ...errors import ConfigError
from ..commands import read_plan, read_role_seed, split_names
from ..params import GenerationParams

__all__ = ["PARAMETERS", "SOURCES", "alternatives", "nearly", "parameter", "plain"]

ALIASES = {"bpm": "tempo", "cfg_coef": "guidance_scale"}
NUMBERS = ("duration", "guidance_scale", "plan_guidance", "temperature", "top_p", "min_p", "tempo", "rubato")
INTEGERS = ("seed", "num_samples", "top_k", "bars")
SWITCHES = ("as_mix", "ritardando")
YES_OR_NO = {"true": True, "false": False, "1": True, "0": False}  # in CSV everything is a text
LISTS = ("without", "chords", "instruments", "sections")
SOURCES = ("melody", "continue_from")  # recordings: paths, which count by what the file holds
PARAMETERS = tuple(field.name for field in dataclasses.fields(GenerationParams))


def parameter(column: str) -> str | None:
    """The parameter that a column gives, or None if it is carried through."""
    name = ALIASES.get(column, column)
    return name if name in PARAMETERS else None


@cache
def nearly(column: str) -> str | None:
    """The parameter that a column's name is almost, as a misspelt one would be; None if it is like none of them."""
    near = difflib.get_close_matches(column.lower(), [*PARAMETERS, *ALIASES, "prompt"], n=1, cutoff=0.8)
    return near[0] if near else None


def alternatives(name: str, value: Any) -> list[Any]:
    """The values that a cell stands for: a list makes an item of each of its entries.

    Where a value is itself a list of names (chords, instruments, sections, without), a list of lists does. A text that
    begins with a bracket is read as JSON, so that CSV can say it too.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ConfigError(f"{name} is {_short(value)}, which is not JSON ({error}). Mend the list.") from None
    if isinstance(value, list) and (name not in LISTS or any(isinstance(entry, list) for entry in value)):
        if not value:
            raise ConfigError(f"{name} is an empty list. Give at least one value, or leave it out.")
        return value
    return [value]


def plain(name: str, value: Any, home: Path) -> Any:
    """Bring one value into the one JSON form that stands for it: 10, "10" and 10.0 seconds are all 10.0.

    Args:
        name: of a parameter.
        value: from any kind of manifest, or from a flag.
        home: the folder that paths are relative to.

    Raises:
        ConfigError: it cannot be such a value. Ranges are left to GenerationParams.
    """
    if name in NUMBERS:
        return _number(name, value)
    if name in INTEGERS:
        number = _number(name, value) if not isinstance(value, int) or isinstance(value, bool) else value
        if number != int(number):
            raise ConfigError(f"{name} is {value!r}; it must be a whole number.")
        return int(number)
    if name in SWITCHES:
        said = YES_OR_NO.get(str(value).strip().lower())
        if said is None:
            raise ConfigError(f"{name} is {_short(value)}; it must be true or false.")
        return said
    if name == "loudness":
        return (
            value if value in ("peak", "none") else _number(name, value, "a LUFS value such as -16, 'peak' or 'none'")
        )
    if name in LISTS:
        names = split_names(value, by_space=name == "chords") if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(entry, str) for entry in names):
            raise ConfigError(f"{name} is {_short(value)}; it must be a list of names, or a text with commas.")
        return list(names)
    if name == "role_seeds":
        return _role_seeds(value)
    if name == "plan":
        return _plan(value, home)
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {_short(value)}; it must be a text.")
    return str(home / value) if name in SOURCES else value


def _number(name: str, value: Any, wanted: str = "a number") -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise ConfigError(f"{name} is {_short(value)}; it must be {wanted}.") from None


def _role_seeds(value: Any) -> dict[str, int]:
    if isinstance(value, str):
        return dict(map(read_role_seed, split_names(value)))
    if not isinstance(value, dict):
        raise ConfigError(f"role_seeds is {_short(value)}; it must be like {{'lead': 5}} or 'lead=5, bass=7'.")
    return {role: seed for role, seed in value.items() if seed is not None}  # Parquet names every role in every row


def _plan(value: Any, home: Path) -> dict[str, Any]:
    """A plan as an object, as its JSON text, or as the path of a plan file or sidecar."""
    if isinstance(value, MusicalPlan):
        plan = value
    elif isinstance(value, dict):
        plan = MusicalPlan.from_dict(value)
    elif isinstance(value, str) and value.lstrip().startswith("{"):
        plan = MusicalPlan.from_json(value)
    elif isinstance(value, str) and (read := read_plan(home / value)) is not None:
        plan = read
    else:
        raise ConfigError(f"plan is {_short(value)}; it must be a plan, or the path of one.")
    found: dict[str, Any] = json.loads(plan.to_json())
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
