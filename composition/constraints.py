"""What a piece is asked to be: what a prompt seems to say, and what the user wants without fail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from .blending import Blend
from .casting import check_names
from .effect_choice import check_effects
from .moods import read_moods
from .plan import METERS, SECTION_NAMES
from .style import load_style
from .theory import Chord, Key
from .timing import FASTEST, SLOWEST

__all__ = ["Attributes", "Constraints", "check_number", "need"]

LONGEST = 3600.0  # seconds
MOST_BARS = 5000


@dataclass(frozen=True)
class Attributes:
    """What a prompt seems to say; None or empty is silence. They yield to Constraints."""

    style: str | None = None  # one, or a blend: "70% jazz, 30% house"
    tempo: float | None = None  # BPM, approximate
    key: str | None = None  # "A minor", or a mode alone: "minor"
    mood: str | None = None  # names with commas
    instruments: Sequence[str] = ()
    only: bool = False  # nobody plays but these instruments
    rubato: float | None = None  # 0..1
    pulse: bool | None = None  # whether the beat shall be heard: True for a tempo in numbers, False for "no beat"
    ritardando: bool | None = None


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
    without: Sequence[str] = ()  # roles, instruments or families of them
    style: str | None = None  # one, or a blend: "70% jazz, 30% house"
    blend: Mapping[str, str] | None = None  # parts that other styles than `style` give, if they are dealt already
    mood: str | None = None  # names with commas
    effects: Mapping[str, Any] | None = None  # effect -> value; the others are drawn from what the style allows
    avoid_styles: Sequence[str] = ()
    avoid_moods: Sequence[str] = ()
    bars: int | None = None
    duration: float | None = None  # seconds, the ring of the last chord included
    seed: int = 0
    sections: Sequence[str] = ()  # names in order
    only: bool = False  # nobody plays but `instruments`
    rubato: float | None = None  # 0 steady .. 1
    ritardando: bool | None = None  # whether the last bar slows down

    def __post_init__(self) -> None:
        for name in ("chords", "instruments", "without", "sections", "avoid_styles", "avoid_moods"):
            value = getattr(self, name)
            need(not isinstance(value, str), f"{name}: {value!r} is one text. Give a list of names.")
            object.__setattr__(self, name, tuple(value or ()))
        check_number("tempo", self.tempo, SLOWEST, FASTEST)
        check_number("duration", self.duration, 0.0, LONGEST)
        check_number("rubato", self.rubato, 0.0, 1.0)
        need(self.ritardando in (None, True, False), f"ritardando: {self.ritardando!r} must be true or false.")
        need(self.duration is None or self.duration > 0, "duration: 0 s is nothing. Ask for more than 0.")
        is_count = isinstance(self.bars, int) and not isinstance(self.bars, bool) and 1 <= self.bars <= MOST_BARS
        need(self.bars is None or is_count, f"bars: {self.bars!r} must be a whole number from 1 to {MOST_BARS}.")
        need(self.meter is None or self.meter in METERS, f"meter: '{self.meter}' must be one of {', '.join(METERS)}.")
        for section in self.sections:
            need(section in SECTION_NAMES, f"sections: '{section}' must be one of {', '.join(SECTION_NAMES)}.")
        for entry in self.chords:
            need(1 <= len(entry.split()) <= 4, f"chords: '{entry}' must hold 1 to 4 symbols, which split one bar.")
            for symbol in entry.split():
                Chord.parse(symbol)
        need(not self.only or bool(self.instruments), "only: it needs instruments. Name the ones that play.")
        check_names(self.without)
        if self.key is not None:
            Key.parse(self.key)
        check_effects(self.effects or {})
        self._check_taste()

    def _check_taste(self) -> None:
        """Refuse a style or mood that is wished for and shall be avoided, and names that nobody knows."""
        object.__setattr__(self, "avoid_styles", tuple(load_style(name).name for name in self.avoid_styles))
        object.__setattr__(self, "avoid_moods", read_moods(self.avoid_moods))
        styles = [name for name, _ in Blend.parse(self.style).shares] if self.style is not None else []
        moods = read_moods(self.mood) if self.mood is not None else ()
        for kind, wished, avoided in (("style", styles, self.avoid_styles), ("mood", moods, self.avoid_moods)):
            for name in wished:
                need(name not in avoided, f"{kind}: '{name}' is asked for and shall be avoided. Take one of them away.")


def check_number(name: str, value: float | None, low: float, high: float) -> None:
    """Raise ConfigError unless `value` is None or a number from `low` to `high`."""
    if value is not None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        need(is_number and low <= value <= high, f"{name}: {value!r} must be {low:g} to {high:g}.")


def need(is_met: bool, message: str) -> None:
    """Raise ConfigError with the message unless the condition is met."""
    if not is_met:
        raise ConfigError(message)
