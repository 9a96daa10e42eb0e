"""The musical plan: what a piece is, before a note is written. Plain JSON that people read and edit."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError
from .effect_choice import check_effects
from .score import ROLES
from .tempo_map import Place, TempoMap, breathe
from .theory import Chord, Key

__all__ = ["EXPRESSION", "METERS", "PULSE_ROLES", "SECTION_NAMES", "Bar", "MusicalPlan", "Section"]

METERS = {"4/4": 4, "3/4": 3, "6/8": 3}  # quarter notes in a bar
SECTION_NAMES = ("intro", "verse", "chorus", "bridge", "break", "ending")
VERSION = 3  # came later, optional: with 2 `blend`, `expression`, `fade_out`; with 3 `effects`, `rubato`, `ritardando`,
# and last `pulse`, without which a plan of version 3 plays as it always did
EXPRESSION = {  # what a mood changes when the plan is played -> lowest and highest value
    "register": (-24, 24),  # semitones by which the lead is moved
    "density": (-1, 1),  # of the way to the style's patterns with the fewest or the most notes
    "length": (0.1, 2),  # times as long as the style plays a note
    "velocity": (-100, 100),  # added to the MIDI velocity of every note
    "treble_db": (-12, 12),  # above 2 kHz
}
MAX_CHORDS_PER_BAR = 4
PULSE_ROLES = ("chords", "pad", "colour", "bass")  # who can mark the beat, the likeliest first
SLOWEST_END = 0.5  # share of the tempo that a ritardando may take away


class Bar(NamedTuple):
    """One bar of the piece, as the arranger walks through it."""

    section: Section
    index_in_section: int
    chords: tuple[Chord, ...]  # they split the bar equally


@dataclass(frozen=True)
class Section:
    """A stretch of bars with one energy; `chords` holds 1 to 4 chord symbols a bar, which split the bar equally."""

    name: str
    energy: float  # 0 still .. 1 full
    chords: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        _need(self.name in SECTION_NAMES, f"sections: name '{self.name}' must be one of {', '.join(SECTION_NAMES)}.")
        where = f"sections: {self.name}"
        _need(_is_number(self.energy) and 0 <= self.energy <= 1, f"{where}: energy {self.energy!r} must be 0 to 1.")
        _need(len(self.chords) > 0, f"{where}: chords is empty. Give at least one bar, or leave the section out.")
        for number, bar in enumerate(self.chords, start=1):
            _need(
                1 <= len(bar) <= MAX_CHORDS_PER_BAR,
                f"{where}: bar {number} has {len(bar)} chords. A bar holds 1 to {MAX_CHORDS_PER_BAR}.",
            )
            for symbol in bar:
                try:
                    Chord.parse(symbol)
                except ConfigError as error:
                    raise ConfigError(f"plan: {where}: chords, bar {number}: {error}") from None

    @property
    def num_bars(self) -> int:
        return len(self.chords)


@dataclass(frozen=True)
class MusicalPlan:
    """Everything that was decided about a piece, and by whom (`decisions`: field -> sentence).

    The music fills `num_bars` bars. If `duration` leaves half a second or more after them, the last chord is struck
    once more on the next downbeat and rings to the end.

    Raises:
        ConfigError: a value is out of range; the message starts with the name of the field.
    """

    style: str
    tempo: float  # quarter notes per minute, in the mean
    meter: str
    key: str
    sections: tuple[Section, ...]
    instruments: dict[str, int]  # role -> General MIDI program; for drums the kit number
    duration: float  # seconds
    groove: str = ""
    swing: float = 0.0  # how far the off-beat eighth moves towards the triplet: 0 straight, 1 the full triplet
    mood: str = ""  # names with commas; empty if nobody asked for one
    blend: dict[str, str] = field(default_factory=dict)  # part of the music -> another style, which gives it
    expression: dict[str, float] = field(default_factory=dict)  # see EXPRESSION; what is left out stays as it is
    effects: dict[str, Any] = field(default_factory=dict)  # see EFFECTS; what is left out is the style's own
    fade_out: float = 0.0  # seconds at the end of `duration` in which the whole mix falls silent
    rubato: float = 0.0  # how freely the tempo moves within a phrase: 0 steady .. 1, see tempo_map.py
    ritardando: float = 0.0  # share of the tempo that is lost by the end of the last bar
    pulse: tuple[str, ...] = ()  # of PULSE_ROLES: who marks the beat, as nobody drums; see pulse.py
    seed: int = 0
    decisions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_values()
        self._check_instruments()
        _need(len(self.sections) > 0, "sections: the plan has none. Give at least one section of one bar.")
        started = self.second_of_bar(self.num_bars - 1)
        _need(
            self.duration > started,
            f"duration: {self.duration:g} s ends before bar {self.num_bars} begins at {started:.2f} s. "
            "Lengthen the duration or take bars away.",
        )

    def _check_values(self) -> None:
        for name in ("style", "groove", "mood", "meter", "key"):
            value = getattr(self, name)
            _need(isinstance(value, str), f"{name}: {value!r} must be a text.")
        _need(bool(self.style), "style: it is empty. Name a style.")
        _need(_is_number(self.tempo) and 30 <= self.tempo <= 300, f"tempo: {self.tempo!r} must be 30 to 300 BPM.")
        _need(self.meter in METERS, f"meter: '{self.meter}' must be one of {', '.join(METERS)}.")
        _need(_is_number(self.swing) and 0 <= self.swing <= 1, f"swing: {self.swing!r} must be 0 to 1.")
        _need(_is_number(self.duration) and self.duration > 0, f"duration: {self.duration!r} must be above 0 seconds.")
        _need(
            _is_number(self.fade_out) and 0 <= self.fade_out <= self.duration,
            f"fade_out: {self.fade_out!r} must be 0 to the duration, {self.duration:g} seconds.",
        )
        _need(_is_number(self.rubato) and 0 <= self.rubato <= 1, f"rubato: {self.rubato!r} must be 0 to 1.")
        is_share = _is_number(self.ritardando) and 0 <= self.ritardando <= SLOWEST_END
        _need(is_share, f"ritardando: {self.ritardando!r} must be 0 to {SLOWEST_END:g}.")
        for role in self.pulse:
            _need(role in PULSE_ROLES, f"pulse: role '{role}' must be one of {', '.join(PULSE_ROLES)}.")
        _need(_is_integer(self.seed), f"seed: {self.seed!r} must be a whole number.")
        for part, style in self.blend.items():
            _need(isinstance(style, str) and bool(style), f"blend: {part} is {style!r}, and must name a style.")
        for name, value in self.expression.items():
            _need(name in EXPRESSION, f"expression: '{name}' must be one of {', '.join(EXPRESSION)}.")
            low, high = EXPRESSION[name]
            _need(
                _is_number(value) and low <= value <= high, f"expression: {name} {value!r} must be {low:g} to {high:g}."
            )
        try:
            check_effects(self.effects)
        except ConfigError as error:
            raise ConfigError(f"plan: effects: {error}") from None
        for name, sentence in self.decisions.items():
            _need(isinstance(sentence, str), f"decisions: {name} is {sentence!r}, and must be a text.")
        try:
            Key.parse(self.key)
        except ConfigError as error:
            raise ConfigError(f"plan: key: {error}") from None

    def _check_instruments(self) -> None:
        _need(
            len(self.instruments) > 0, f"instruments: none plays. Give one of the roles {', '.join(ROLES)} a program."
        )
        for role, program in self.instruments.items():
            _need(role in ROLES, f"instruments: role '{role}' must be one of {', '.join(ROLES)}.")
            _need(
                _is_integer(program) and 0 <= program <= 127,
                f"instruments: {role} has program {program!r}, and needs a General MIDI number 0 to 127.",
            )

    @property
    def beats_per_bar(self) -> int:
        """Quarter notes in a bar."""
        return METERS[self.meter]

    @property
    def num_bars(self) -> int:
        return sum(section.num_bars for section in self.sections)

    @property
    def seconds_per_bar(self) -> float:
        """Of a bar at the mean tempo; when each bar begins, `second_of_bar` says."""
        return self.beats_per_bar * 60.0 / self.tempo

    @functools.cached_property
    def tempo_map(self) -> TempoMap:
        """When each beat falls."""
        lengths = [section.num_bars for section in self.sections]
        return breathe(self.tempo, self.beats_per_bar, lengths, rubato=self.rubato, ritardando=self.ritardando)

    def second_of_bar(self, number: int) -> float:
        """When a bar begins; bars count from 0, and `num_bars` gives the end of the last one."""
        if self.tempo_map.is_steady:
            return number * self.seconds_per_bar
        return self.tempo_map.seconds(float(number * self.beats_per_bar))

    def bar_at(self, second: Place) -> Place:
        """How many bars have passed by a second, with the part of the one that sounds; an array gives an array."""
        if self.tempo_map.is_steady:
            return second / self.seconds_per_bar
        return self.tempo_map.beats(second) / self.beats_per_bar

    @property
    def beat_times(self) -> list[float]:
        """The second of every beat of the bars, the ring of the last chord left out."""
        return [self.tempo_map.seconds(float(beat)) for beat in range(self.num_bars * self.beats_per_bar)]

    @property
    def bars(self) -> list[Bar]:
        """All bars in order, each as (section, index in the section, chords)."""
        return [
            Bar(section, index, tuple(Chord.parse(symbol) for symbol in symbols))
            for section in self.sections
            for index, symbols in enumerate(section.chords)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; a bar is one string of symbols with spaces between, "Dm7 G7"."""
        data: dict[str, Any] = {"version": VERSION}
        data |= {f.name: getattr(self, f.name) for f in fields(self)}
        data["pulse"] = list(self.pulse)
        data["sections"] = [
            {"name": s.name, "energy": s.energy, "chords": [" ".join(bar) for bar in s.chords]} for s in self.sections
        ]
        return data

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def from_dict(cls, data: Any) -> MusicalPlan:
        """Build a plan from plain data; raises ConfigError on an unknown key, a missing one or a newer version."""
        _need(isinstance(data, dict), f"it is {type(data).__name__}, and must be a mapping of fields.")
        values = dict(data)
        version = values.pop("version", VERSION)
        _need(
            _is_integer(version) and 1 <= version <= VERSION,
            f"version: {version!r} was written by a newer gen-audio; this one reads up to {VERSION}. Upgrade it.",
        )
        required = ("style", "tempo", "meter", "key", "sections", "instruments", "duration")
        _check_keys("", values, {f.name for f in fields(cls)}, required)
        for name in ("instruments", "blend", "expression", "effects", "decisions"):
            _need(isinstance(values.get(name, {}), dict), f"{name}: it must be a mapping.")
        _need(isinstance(values["sections"], list), "sections: it must be a list.")
        _need(isinstance(values.get("pulse", []), list), "pulse: it must be a list of roles.")
        values["pulse"] = tuple(values.get("pulse", []))
        values["sections"] = tuple(_read_section(item) for item in values["sections"])
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> MusicalPlan:
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"The plan is not JSON: {error}. Compare it with a saved plan.") from None
        return cls.from_dict(data)

    @classmethod
    def load(cls, path: str | Path) -> MusicalPlan:
        """Read a plan file; raises ConfigError when it is missing or not a valid plan."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"The plan '{path}' cannot be read: {error}. Give a JSON file.") from None
        return cls.from_json(text)


def _read_section(item: Any) -> Section:
    _need(isinstance(item, dict), f"sections: {item!r} must be a mapping of name, energy and chords.")
    _check_keys("sections: ", item, {"name", "energy", "chords"}, ("name", "energy", "chords"))
    _need(isinstance(item["chords"], list), f"sections: {item['name']}: chords must be a list, one entry a bar.")
    bars = []
    for bar in item["chords"]:
        symbols = tuple(bar.split()) if isinstance(bar, str) else bar
        is_texts = isinstance(symbols, (list, tuple)) and all(isinstance(symbol, str) for symbol in symbols)
        _need(is_texts, f"sections: {item['name']}: bar {bar!r} must be symbols such as 'Dm7 G7'.")
        bars.append(tuple(symbols))
    return Section(item["name"], item["energy"], tuple(bars))


def _check_keys(where: str, data: dict[str, Any], known: set[str], required: tuple[str, ...]) -> None:
    for key in data:
        _need(key in known, f"{where}unknown field '{key}'. Known: {', '.join(sorted(known))}.")
    for key in required:
        _need(key in data, f"{where}field '{key}' is missing. Needed: {', '.join(required)}.")


def _need(is_met: bool, message: str) -> None:
    if not is_met:
        raise ConfigError(f"plan: {message}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
