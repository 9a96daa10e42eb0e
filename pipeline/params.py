"""What goes into a generation. Frozen, checked once, and free of torch."""

from __future__ import annotations

import dataclasses
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..composition.avoiding import Avoided, read_negative
from ..composition.blending import Blend
from ..composition.casting import ROLE_WORDS, check_names
from ..composition.effect_choice import read_effects
from ..composition.instruments import find_instrument, forbidden
from ..composition.moods import read_moods
from ..composition.plan import METERS, SECTION_NAMES, MusicalPlan
from ..composition.planner import Constraints
from ..composition.prompt import parse_prompt
from ..composition.score import ROLES
from ..composition.theory import Chord, Key
from ..config import check_keys
from ..errors import ConfigError, UnknownNameError
from .agreement import agreed_duration, check_against_plan
from .checks import check_integer, check_number

if TYPE_CHECKING:
    from ..audio import Waveform

__all__ = [
    "DEFAULT_DURATION",
    "LONG",
    "MAX_DURATION",
    "EXECUTORS",
    "PRECISIONS",
    "RUNGS",
    "GenerationParams",
    "check_prompt",
    "resolve_params",
]

logger = logging.getLogger(__name__)
PRECISIONS = ("auto", "fp32", "bf16", "int8", "int4")  # of the matrices while playing
EXECUTORS = ("auto", "native", "reference", "graph")
RUNGS = {"notes": (), "plan": ("notes",), "text": ("notes", "plan")}  # what the network is not told
DEFAULT_DURATION = 10.0  # seconds
MAX_DURATION = 3600.0  # seconds; beyond an hour, make several pieces
LONG = 120.0  # seconds beyond which a file without stems is made piece by piece, in memory that does not grow
MAX_SEED = 2**63 - 1
ALIASES = {"cfg_coef": "guidance_scale"}


@dataclass(frozen=True)
class GenerationParams:
    """Everything that decides how a prompt becomes music; None means free, or the model's own choice.

    Raises:
        ConfigError: a value is out of its range, or two of them contradict each other.
        UnknownNameError: no style, instrument or role of that name.
    """

    duration: float | None = DEFAULT_DURATION  # seconds; None: as long as `plan` or `bars` says
    seed: int | None = None  # item i of num_samples gets seed + i; None: drawn by `resolve_params`
    num_samples: int = 1
    guidance_scale: float | None = None  # towards the text; 1 = off
    plan_guidance: float = 1.0  # towards plan and notes; 1 = off
    as_mix: bool = False  # one row of codes plays everybody at once, instead of one row each
    rung: str = "notes"  # how much the network is told: text alone, text and plan, or the arranged notes too
    temperature: float = 1.0  # 0 = greedy
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    effects: str | None = None  # "reverb=hall, delay=0.4", or "dry"; the others are drawn from the style's
    loudness: float | str = -16.0  # LUFS, "peak" or "none"
    without: tuple[str, ...] = ()  # roles or instruments that must not play
    role_seeds: Mapping[str, int] = field(default_factory=dict)  # roles that are played with another seed
    negative_prompt: str | None = None  # words for what shall not be heard, with commas
    style: str | None = None  # one, or a blend: "70% jazz, 30% house"
    mood: str | None = None  # names with commas
    tempo: float | None = None  # beats (quarter notes) per minute
    rubato: float | None = None  # how freely the tempo moves: 0 steady .. 1
    ritardando: bool | None = None  # whether the last bar slows down
    key: str | None = None  # "A minor", "F# dorian"
    meter: str | None = None
    chords: tuple[str, ...] | None = None  # one entry a bar, "Am7", or "Dm7 G7" for two in it; repeated
    instruments: tuple[str, ...] | None = None
    sections: tuple[str, ...] | None = None  # names in order
    bars: int | None = None
    plan: MusicalPlan | None = None
    melody: str | Path | Waveform | None = None  # a recording whose tune to follow
    continue_from: str | Path | Waveform | None = None  # a recording to go on from; `duration` counts it in

    def __post_init__(self) -> None:
        for name in ("without", "chords", "instruments", "sections"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ConfigError(f"{name} is the text {value!r}; give a list of names.")
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        object.__setattr__(self, "role_seeds", dict(self.role_seeds))
        self._check_numbers()
        self._check_sampling()
        self._check_music()

    def _check_numbers(self) -> None:
        check_number("duration", self.duration, 0.0, MAX_DURATION, unit=" seconds", above=True)
        check_integer("seed", self.seed, 0, MAX_SEED)
        for role, seed in self.role_seeds.items():
            if role not in ROLES:
                raise UnknownNameError("role", role, ROLES)
            check_integer(f"role_seeds, {role}", seed, 0, MAX_SEED)
        if self.as_mix and self.role_seeds:
            raise ConfigError("as_mix plays all roles as one, so role_seeds has no effect. Drop one of both.")
        check_integer("num_samples", self.num_samples, 1, 1000)
        check_number("guidance_scale", self.guidance_scale, 0.0, 100.0)
        check_number("plan_guidance", self.plan_guidance, 0.0, 100.0)
        check_number("tempo", self.tempo, 30.0, 300.0, unit=" BPM")
        check_number("rubato", self.rubato, 0.0, 1.0)
        if self.ritardando not in (None, True, False):
            raise ConfigError(f"ritardando is {self.ritardando!r}; it must be true or false.")
        check_integer("bars", self.bars, 1, 2000)
        if self.loudness not in ("peak", "none"):
            if isinstance(self.loudness, str):
                raise ConfigError(f"loudness is '{self.loudness}'; give a LUFS value such as -16, 'peak' or 'none'.")
            check_number("loudness", self.loudness, -70.0, 0.0, unit=" LUFS")

    def _check_sampling(self) -> None:
        if self.rung not in RUNGS:
            raise UnknownNameError("rung", self.rung, RUNGS)
        if self.rung == "text" and self.plan_guidance != 1:
            raise ConfigError("rung 'text' tells the network no plan, so plan_guidance has no effect. Drop one.")
        check_number("temperature", self.temperature, 0.0, 10.0)
        check_integer("top_k", self.top_k, 1, 1_000_000)
        check_number("top_p", self.top_p, 0.0, 1.0, above=True)
        check_number("min_p", self.min_p, 0.0, 1.0, above=True)
        rules = [name for name in ("top_k", "top_p", "min_p") if getattr(self, name) is not None]
        if rules and self.temperature == 0:
            raise ConfigError(f"temperature 0 always takes the likeliest code, so {rules[0]} has no effect. Drop one.")

    def _check_music(self) -> None:
        """Parse every musical name, so that a misspelt one fails before anything is loaded."""
        check_names(self.without)
        if self.style is not None:
            Blend.parse(self.style)
        if self.mood is not None:
            object.__setattr__(self, "mood", ", ".join(read_moods(self.mood)))
        if self.effects is not None:
            read_effects(self.effects)
        if self.negative_prompt is not None:
            object.__setattr__(self, "negative_prompt", check_prompt(self.negative_prompt, "negative_prompt", "drums"))
        if self.key is not None:
            Key.parse(self.key)
        if self.meter is not None and self.meter not in METERS:
            raise UnknownNameError("meter", self.meter, METERS)
        if self.chords is not None and not self.chords:
            raise ConfigError("chords is empty. Give at least one chord, such as Am7.")
        for symbol in " ".join(self.chords or ()).split():
            Chord.parse(symbol)
        for section in self.sections or ():
            if section not in SECTION_NAMES:
                raise UnknownNameError("section", section, SECTION_NAMES)
        for name in self.instruments or ():
            find_instrument(name)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of every sample; needs a seed that is set."""
        if self.seed is None:
            raise ConfigError("seed is not set yet. Use resolve_params, which draws one.")
        return tuple(self.seed + i for i in range(self.num_samples))

    @property
    def constraints(self) -> Constraints:
        """The musical wishes, as the planner takes them; for item i of several, replace the seed."""
        names = ("tempo", "key", "meter", "chords", "instruments", "style", "mood", "bars", "duration", "sections")
        free = ("rubato", "ritardando", "seed")
        wishes = {name: getattr(self, name) for name in (*names, *free) if getattr(self, name) is not None}
        avoided = self.avoided
        return Constraints(
            **wishes,
            effects=read_effects(self.effects) if self.effects is not None else None,
            without=(*self.without, *avoided.without),
            avoid_styles=avoided.styles,
            avoid_moods=avoided.moods,
        )

    @property
    def avoided(self) -> Avoided:
        """What the negative prompt means to the composer."""
        return read_negative(self.negative_prompt) if self.negative_prompt is not None else Avoided()

    def is_silent(self, role: str, program: int) -> bool:
        """Whether `without` or the negative prompt names this role, or an instrument that `program` is."""
        for word in (*self.without, *self.avoided.without):
            if word.lower() in ROLE_WORDS:
                if ROLE_WORDS[word.lower()] == role:
                    return True
                continue
            is_drums, programs = forbidden(word)
            if is_drums == (role == "drums") and program in programs:
                return True
        return False

    @property
    def tells_notes(self) -> bool:
        """Whether the network is told the notes, and not left to compose."""
        return "notes" not in RUNGS[self.rung]

    def silent_roles(self, instruments: Mapping[str, int]) -> list[str]:
        """The roles of a plan's instruments (role -> program) that shall not be heard."""
        return [role for role, program in instruments.items() if self.is_silent(role, program)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the plan left out: it has its own place in the sidecar."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "plan"}
        for name in ("melody", "continue_from"):
            source = plain[name]
            plain[name] = source if source is None else str(source) if isinstance(source, (str, Path)) else "a Waveform"
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def resolve_params(prompt: str | None = None, **given: Any) -> GenerationParams:
    """Check what a caller gave, settle it against the prompt and the plan, and draw an absent seed.

    Args:
        prompt: what it says of length, bars, meter and silence counts unless `given` says otherwise.
        given: fields of GenerationParams; the alias `cfg_coef` means `guidance_scale`. None means not given.

    Returns:
        Parameters whose seed is set. Their duration is None only when `bars` decides it.

    Raises:
        ConfigError: an unknown field, a value out of range, or one that contradicts `plan`.
    """
    given = {name: value for name, value in given.items() if value is not None}
    for alias, name in ALIASES.items():
        if alias in given:
            if name in given:
                raise ConfigError(f"{alias} and {name} are the same setting. Give one of them.")
            given[name] = given.pop(alias)
    check_keys(given, [f.name for f in dataclasses.fields(GenerationParams)], "generate")
    plan = given.get("plan")
    if plan is not None:
        given["duration"] = agreed_duration(plan, given.get("duration"))
    elif prompt is not None:
        given = {**_stated(prompt, given), **given}
    if "bars" in given:
        given.setdefault("duration", None)
    given.setdefault("seed", secrets.randbelow(2**31))
    params = GenerationParams(**given)
    if plan is not None:
        check_against_plan(params, plan)
    return params


def _stated(prompt: str, given: dict[str, Any]) -> dict[str, Any]:
    """What the prompt says of length, meter and silence; a length that was given rules out another."""
    facts = parse_prompt(prompt)
    names = ("meter", "without") if "duration" in given or "bars" in given else ("meter", "without", "bars", "duration")
    said = {name: getattr(facts, name) for name in names if getattr(facts, name)}
    if said.get("meter", "4/4") not in METERS:
        logger.warning(
            "the prompt asks for %s, which is left out: only %s can be played", said.pop("meter"), list(METERS)
        )
    return said


def check_prompt(prompt: str, name: str = "prompt", example: str = "lofi jazz piano") -> str:
    """Return the prompt without outer spaces; raise ConfigError if nothing is left."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise ConfigError(f"{name} is {prompt!r}; it must hold words, such as '{example}'.")
    return prompt.strip()
