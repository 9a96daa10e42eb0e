"""What a mood asks of the music: a place in valence, arousal and power, and from there the cues that carry it.

The places and rules are data, `moods.yaml`. Knows no style; those who plan and play lean on what their style allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..errors import UnknownNameError
from .naming import bare, mood_names, mood_words

__all__ = ["Cues", "busier", "cues_of", "lean", "mood_places", "read_moods", "span", "weigh_modes"]

T = TypeVar("T")
COORDINATES = ("valence", "arousal", "power")
AVOIDED = -0.5  # how much of a mood that shall be avoided counts: half of its opposite
# How happy a mode sounds: Temperley and Tan (2013) found the order, lydian below major and phrygian last.
HAPPINESS = {"major": 1.0, "mixolydian": 0.8, "lydian": 0.7, "dorian": -0.4, "minor": -0.8, "phrygian": -1.0}


@dataclass(frozen=True)
class Cues:
    """What a mood does, each from -1 to 1; 0 leaves the style as it is. The comments of `moods.yaml` say what 1 is."""

    mode: float = 0.0
    tempo: float = 0.0
    register: float = 0.0
    density: float = 0.0
    articulation: float = 0.0
    loudness: float = 0.0
    brightness: float = 0.0

    @property
    def expression(self) -> dict[str, float]:
        """What remains to be done when the plan is played, in the units of `MusicalPlan.expression`; only what is."""
        length = -self.articulation if self.articulation > 0 else -self.articulation / 3
        told = {
            "register": round(self.register * span("register")),
            "density": round(self.density * span("density"), 2),
            "length": round(1 + length * span("articulation"), 2),
            "velocity": round(self.loudness * span("loudness")),
            "treble_db": round(self.brightness * span("brightness"), 1),
        }
        return {name: value for name, value in told.items() if value != (1 if name == "length" else 0)}


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("moods.yaml").read_text(encoding="utf-8"))
    return data


def span(name: str) -> float:
    """How far a cue of 1 goes, in the unit that `moods.yaml` names."""
    return float(_data()["spans"][name])


def mood_places() -> dict[str, dict[str, float]]:
    """Mood -> its valence, arousal and power, -1 to 1."""
    return {name: {axis: entry.get(axis, 0.0) for axis in COORDINATES} for name, entry in _data()["moods"].items()}


def read_moods(text: str | Sequence[str]) -> tuple[str, ...]:
    """Resolve "melancholic, tense" to the plain words of the moods, each once.

    Raises:
        UnknownNameError: no mood of that name.
    """
    words = [word.strip() for word in (text.split(",") if isinstance(text, str) else text)]
    for word in words:
        if bare(word) not in mood_words():
            raise UnknownNameError("mood", word, mood_names())
    return tuple(dict.fromkeys(mood_words()[bare(word)] for word in words))


def cues_of(moods: Sequence[str], avoided: Sequence[str] = ()) -> Cues:
    """The cues of moods, their mean if there are several, less half of those that shall be avoided."""
    asked = _mean([_cues(name) for name in moods])
    shunned = _mean([_cues(name) for name in avoided])
    return Cues(**{f.name: _held(asked[f.name] + AVOIDED * shunned[f.name]) for f in fields(Cues)})


def _cues(name: str) -> dict[str, float]:
    entry = _data()["moods"][name]
    by_rule = {
        cue: _held(sum(weight * entry.get(axis, 0.0) for axis, weight in rule.items()))
        for cue, rule in _data()["rules"].items()
    }
    return by_rule | {cue: entry[cue] for cue in by_rule if cue in entry}


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {f.name: sum(row[f.name] for row in rows) / max(1, len(rows)) for f in fields(Cues)}


def _held(value: float) -> float:
    return max(-1.0, min(1.0, round(value, 6)))


def lean(value: float, low: float, high: float, amount: float) -> float:
    """Move a value towards `high` by a share of the way, or towards `low` if the amount is negative; 0 keeps it.

    Example:
        >>> lean(100, 80, 140, 0.5), lean(100, 80, 140, -0.5), lean(100, 80, 140, 0)
        (120.0, 90.0, 100)
    """
    if not amount:
        return value
    return value + amount * (high - value) if amount > 0 else value + amount * (value - low)


def busier(options: Sequence[T], count: Callable[[T], float], amount: float) -> list[T]:
    """Exchange each option for one that has more notes, or fewer if the amount is negative.

    There are as many as before, each in its old place, so that the same dice choose a relative of what they chose.

    Args:
        count: how many notes an option has.
        amount: -1 only the one with the fewest notes, 1 only the one with the most.
    """
    ranked = sorted(options, key=count)
    places = [next(i for i, each in enumerate(ranked) if each is option) for option in options]
    return [ranked[round(lean(place, 0, len(ranked) - 1, amount))] for place in places]


def weigh_modes(modes: Mapping[str, float], amount: float) -> dict[str, float]:
    """Make the happy modes of a style likelier, or the sad ones if the amount is negative; none comes in or goes."""
    leaning = {mode: weight * math.exp(amount * span("mode") * HAPPINESS[mode]) for mode, weight in modes.items()}
    total = sum(leaning.values())
    return {mode: weight / total for mode, weight in leaning.items()} if amount else dict(modes)
