"""Rows to items: one item is one sound to be made. Templates, sweeps and samples are multiplied out here."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...composition.plan import MusicalPlan
from ...errors import ConfigError
from ..params import check_prompt, resolve_params
from . import identity
from .columns import PARAMETERS, alternatives, nearly, parameter, plain
from .manifest import Row

__all__ = ["MAX_ITEMS", "MAX_PROMPT", "Item", "Reader"]

MAX_PROMPT = 10_000  # characters; no text encoder reads even that many
MAX_ITEMS = 100_000  # that one row may stand for
SLOT = re.compile(r"\{([A-Za-z_]\w*)\}")  # in a template
PATHS = ("id", "file_name")  # columns whose values name files in many data sets


@dataclass(frozen=True)
class Item:
    """One sound to be made.

    Args:
        row, part: place in the manifest: the row, and which of the items it stands for, from 0.
        prompt: in words, no template any more.
        given: parameters in their one JSON form, `seed` always among them and never `num_samples`.
        id: the row's own name for it, or "".
        carried: columns that are no parameters.
        content: hash of what is asked for; with the model it makes the address.
    """

    row: int
    part: int
    prompt: str
    given: Mapping[str, Any]
    id: str
    carried: Mapping[str, Any] = field(default_factory=dict)
    content: str = ""

    def told(self) -> dict[str, Any]:
        """Keyword arguments for `Pipeline.generate`."""
        told = dict(self.given)
        if "plan" in told:
            told["plan"] = MusicalPlan.from_dict(told["plan"])
        return told

    def check(self) -> None:
        """Raise ConfigError if no model could play it; what one model cannot play, that model says."""
        resolve_params(self.prompt, **self.told())


@dataclass(frozen=True)
class Reader:
    """How rows are read.

    Args:
        defaults: parameters for rows that do not give them.
        home: the folder that paths in rows are relative to.
        prompt_column: the column that holds the prompt.
        carry: columns that are no parameters although their names look like misspelt ones.
    """

    defaults: Mapping[str, Any]
    home: Path
    prompt_column: str = "prompt"
    carry: tuple[str, ...] = ()

    def items(self, row: Row) -> Iterator[Item]:
        """Multiply a row out.

        Raises:
            ConfigError: the row cannot be understood. Its number is not in the message.
        """
        if row.fault:
            raise ConfigError(row.fault)
        prompts, sweeps, carried = self._sort(row.values)
        num_samples = plain("num_samples", sweeps.pop("num_samples", [1])[0], self.home)
        if not 1 <= num_samples <= 1000:
            raise ConfigError(f"num_samples is {num_samples}; it must be a whole number from 1 to 1000.")
        slots = {name for prompt in prompts for name in SLOT.findall(prompt)}
        fillings = self._fillings(slots, sweeps, carried)
        choices = [prompts, *sweeps.values(), *fillings.values(), range(num_samples)]
        count = math.prod(map(len, choices))
        if count > MAX_ITEMS:
            raise ConfigError(f"the row stands for {count:,} items; at most {MAX_ITEMS:,} are made of one. Split it.")
        name = _checked_id(carried.pop("id", None))
        for part, (prompt, *chosen) in enumerate(itertools.product(*choices)):
            given = dict(zip(sweeps, chosen, strict=False))
            filled = dict(zip(fillings, chosen[len(sweeps) :], strict=False))
            text = _checked_prompt(_fill(prompt, {**given, **filled}))
            yield self._item(row, part, text, given, name, {**carried, **filled}, chosen[-1], count)

    def _sort(self, values: Mapping[str, Any]) -> tuple[list[str], dict[str, list[Any]], dict[str, Any]]:
        """Split the columns of a row into prompts, alternatives of each parameter, and what is carried through."""
        given: dict[str, Any] = {}
        carried: dict[str, Any] = {}
        slots = SLOT.findall(str(values.get(self.prompt_column, "")))
        for column, value in values.items():
            name = parameter(column)
            if column == self.prompt_column or value in (None, ""):
                continue
            if name is None:
                near = nearly(column) if column != "prompt" else None  # which it is not if another column was named
                if near and column not in self.carry and column not in slots:
                    raise ConfigError(
                        f"column '{column}' is no parameter. Did you mean '{near}'? Rename it, or add "
                        f"--carry {column} to carry it through."
                    )
                carried[column] = value
            elif name in given:
                raise ConfigError(f"{name} is given twice, once as '{column}'. Give it once.")
            else:
                given[name] = value
        for name, value in self.defaults.items():
            given.setdefault(name, value)
        prompt = values.get(self.prompt_column)
        if prompt in (None, ""):
            raise ConfigError(f"the prompt is missing: there is no column '{self.prompt_column}', or it is empty.")
        prompts = [_checked_prompt(text) for text in (prompt if isinstance(prompt, list) else [prompt])]
        if not prompts:
            raise ConfigError("prompt is an empty list. Give at least one text.")
        sweeps = {
            name: [plain(name, value, self.home) for value in alternatives(name, given[name])]
            for name in PARAMETERS  # in one order, whatever the row's is
            if name in given
        }
        return prompts, sweeps, carried

    def _fillings(self, slots: set[str], sweeps: Mapping[str, Any], carried: Mapping[str, Any]) -> dict[str, list[Any]]:
        """The columns that fill slots of a template and are no parameters, each with its alternatives."""
        for name in sorted(slots):
            if name not in sweeps and name not in carried:
                raise ConfigError(f"the prompt has a slot {{{name}}}, but the row has no column '{name}'. Add it.")
        return {name: alternatives(name, carried[name]) for name in sorted(slots) if name in carried}

    def _item(
        self,
        row: Row,
        part: int,
        prompt: str,
        given: dict[str, Any],
        name: str,
        carried: dict[str, Any],
        sample: int,
        count: int,
    ) -> Item:
        """Number the sample, which takes the next seed if one is given, and else has one of its own."""
        if "seed" in given:
            given["seed"] += sample
            sample = 0
        content = identity.content(prompt, given, name, sample)
        given.setdefault("seed", identity.seed(content))
        label = f"{name}-{part}" if name and count > 1 else name
        return Item(row.number, part, prompt, given, label, _carriable(carried), content)


def _checked_prompt(text: Any) -> str:
    prompt = check_prompt(text)
    if len(prompt) > MAX_PROMPT:
        raise ConfigError(f"the prompt has {len(prompt):,} characters; at most {MAX_PROMPT:,} are read. Shorten it.")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise ConfigError("the prompt holds half of a surrogate pair, which is no text. Mend its escapes.") from None
    return prompt


def _checked_id(value: Any) -> str:
    """Refuse what would be no name, or what would lie outside of OUT if somebody made a path of it."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ConfigError(f"id is {value!r}; it must be a text or a whole number.")
    name = str(value).strip()
    if _climbs(name) or re.match(r"[/\\]|[A-Za-z]:", name):
        raise ConfigError(f"id is '{name}', a path that climbs out of the output folder. Give a plain name.")
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise ConfigError(f"id is {name[:60]!r}; it must be 1 to 200 printable characters.")
    return name


def _climbs(path: str) -> bool:
    return ".." in path.replace("\\", "/").split("/")


def _carriable(values: dict[str, Any]) -> dict[str, Any]:
    """Values that JSON can hold; of what it cannot, the text."""
    if not values:
        return {}
    for column in PATHS:
        if _climbs(str(values.get(column, ""))):
            raise ConfigError(f"{column} is '{values[column]}', a path that climbs out of its folder. Mend it.")
    try:
        text = json.dumps(values, default=str, allow_nan=False, ensure_ascii=False)
        text.encode()
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"a column that is carried through holds what JSON cannot ({error}). Mend it.") from None
    return found


def _fill(template: str, words: Mapping[str, Any]) -> str:
    return SLOT.sub(lambda slot: _word(words[slot[1]]), template)


def _word(value: Any) -> str:
    """A value as a template says it: 80 and not 80.0, a list with commas."""
    if isinstance(value, list):
        return ", ".join(map(_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
