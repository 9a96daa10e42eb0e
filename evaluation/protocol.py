"""What a model is asked for in an evaluation: prompts, seeds, lengths, and how many of each.

The same size gives the same items for every model, so that two can be compared item by item.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from ..composition.planner import Attributes, Constraints, plan_music
from ..composition.style import style_names
from ..errors import UnknownNameError

__all__ = ["KINDS", "SIZES", "Item", "Size", "find_size", "fingerprint", "held_out_plan", "items", "nonsense"]

KINDS = ("stated", "free", "noise", "repeat", "long")
SYLLABLES = ("zor", "bi", "vane", "kuth", "li", "mod", "sa", "prel", "ush", "net", "gra", "oum")
HELD_OUT = "yardstick"  # seeds of composed music that judges learn from; the training pool has others


@dataclass(frozen=True)
class Size:
    """How many of everything; seconds are those of one piece."""

    stated: int
    free: int
    noise: int
    repeat: tuple[int, int]  # prompts, seeds of each
    long: int
    composed: int  # clips of every style that the classifiers learn from, and that sets are compared with
    codec: int  # round trips that ViSQOL hears, and all judges with all levels
    training: int  # pieces of the training stream that copies are looked for in
    seconds: float = 10.0
    long_seconds: float = 120.0


SIZES = {
    "tiny": Size(2, 2, 2, (1, 2), 0, 2, 1, 2, seconds=4.0),  # says nothing of a model; shows that all runs
    "quick": Size(24, 32, 16, (4, 4), 1, 6, 8, 12),
    "full": Size(48, 200, 64, (8, 23), 6, 24, 48, 200),
}


@dataclass(frozen=True)
class Item:
    """One piece that is asked for, and what of it can be heard."""

    name: str
    kind: str  # one of KINDS
    prompt: str
    seed: int
    seconds: float
    tempo: float | None = None  # BPM
    key: str | None = None
    chords: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()  # that a listener would accept


def items(size: Size) -> list[Item]:
    """Everything a model is asked for, in a fixed order."""
    known = _prompts()
    found = [
        Item(
            f"stated-{i:03d}", "stated", line["say"], i, size.seconds, line.get("tempo"), line.get("key"), *_told(line)
        )
        for i, line in enumerate(_stated(known["stated"])[: size.stated])
    ]
    free = _in_turns(known["free"])
    for i, (text, styles) in enumerate(free[: size.free]):
        found.append(Item(f"free-{i:03d}", "free", text, i, size.seconds, styles=tuple(styles)))
    rng = random.Random(HELD_OUT)
    for i, (_, styles) in enumerate(free[: size.noise]):
        found.append(Item(f"noise-{i:03d}", "noise", nonsense(rng), i, size.seconds, styles=tuple(styles)))
    prompts, seeds = size.repeat
    for i, text in enumerate(known["repeat"][:prompts]):
        found += [Item(f"repeat-{i:02d}-{s:02d}", "repeat", text, s, size.seconds) for s in range(seeds)]
    for i, text in enumerate(known["long"][: size.long]):
        found.append(Item(f"long-{i:02d}", "long", text, i, size.long_seconds))
    return found


def fingerprint(size: Size) -> str:
    """A hash of all items: only reports with the same one can be compared item by item."""
    text = json.dumps([asdict(item) for item in items(size)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def find_size(name: str) -> Size:
    """Raises UnknownNameError if there is no such size."""
    if name not in SIZES:
        raise UnknownNameError("size", name, SIZES)
    return SIZES[name]


def held_out_plan(style: str, number: int, seconds: float) -> Any:
    """The plan of a composed clip that no model has learnt from; the composer decides all but the style."""
    seed = random.Random(f"{HELD_OUT}:{style}:{number}").getrandbits(32)
    return plan_music(Attributes(style=style), Constraints(duration=seconds, seed=seed))


def nonsense(rng: random.Random) -> str:
    """Words that mean nothing, as many as a prompt has."""
    return " ".join("".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))) for _ in range(rng.randint(3, 7)))


@cache
def _prompts() -> dict[str, Any]:
    text = resources.files("gen_audio.evaluation").joinpath("prompts.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _told(line: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(line.get("chords", ())), tuple(line.get("instruments", ()))


def _stated(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two lines with tempo and key, then one with chords, and so on, so that a small size has both."""
    facts, chords = (iter([line for line in lines if ("chords" in line) == told]) for told in (False, True))
    return [next(chords if i % 3 == 2 else facts) for i in range(len(lines))]


def _in_turns(lines: list[Any]) -> list[Any]:
    """One line of every style, then the next of every style: any beginning of it is even."""
    by_style: dict[str, list[Any]] = {name: [] for name in style_names()}
    for line in lines:
        by_style[line[1][0]].append(line)
    most = max(map(len, by_style.values()))
    return [rows[i] for i in range(most) for rows in by_style.values() if i < len(rows)]
