"""What an item is: a hash of everything that decides how it sounds, and the seed that follows from it.

    content = prompt + parameters + id + number of the sample        address = content + player + SOUND_VERSION

The same row has the same address in every run, process, shard and machine; a changed parameter makes another item.
Parameters count as they were given: what is not given has a default, and a change of defaults raises SOUND_VERSION.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from .columns import SOURCES

if TYPE_CHECKING:
    from ..pipeline import Pipeline

__all__ = ["SOUND_VERSION", "address", "content", "decoded_address", "of", "seed", "shard_of"]

# Raise it with every change of the code that alters what the same weights play for the same parameters.
SOUND_VERSION = 7
_hashes: dict[tuple[str, int, int], str] = {}


def content(prompt: str, given: Mapping[str, Any], name: str, sample: int) -> str:
    """Hash what is asked for, as 64 hexadecimal digits.

    Args:
        prompt: in words.
        given: parameters in their one JSON form, without a seed if the row has none.
        name: the row's id, so that equal rows with different ids become different sounds.
        sample: which of num_samples, if they have no seeds of their own.
    """
    plain = {key: _file_hash(value) if key in SOURCES else value for key, value in given.items()}
    return _digest([prompt, plain, name, sample])


def seed(content: str) -> int:
    """The seed of an item that has none, below 2**31."""
    return int(_digest(["seed", content])[:8], 16) % 2**31


def of(pipeline: Pipeline) -> dict[str, str]:
    """What tells one player from another: weights, what stands beside them, and what rounds their products."""
    settings = _digest([pipeline.config.get(name) for name in ("sampling", "highs")])[:16]
    return {
        "sha256": pipeline.sha256,
        "settings": settings,
        "precision": pipeline.precision,
        "executor": pipeline.executor.name,
    }


def address(content: str, model: Mapping[str, str]) -> str:
    """The address, 16 hexadecimal digits, of an item played by a `model`, which is described as by `of`."""
    player = [model[name] for name in ("sha256", "settings", "precision", "executor")]
    return _digest([content, *player, SOUND_VERSION])[:16]


def decoded_address(source: str, levels: int | None, loudness: float | str) -> str:
    """The address of an item that is decoded again from kept codes."""
    return _digest(["decoded", source, levels, loudness, SOUND_VERSION])[:16]


def shard_of(content: str, count: int) -> int:
    """Which of `count` shards, from 1, an item belongs to: equal items to the same one, whoever asks."""
    return int(content[:12], 16) % count + 1


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _file_hash(path: str) -> str:
    """Hash a recording; remembered as long as its size and time stay."""
    try:
        facts = Path(path).stat()
        key = (path, facts.st_size, facts.st_mtime_ns)
        if key not in _hashes:
            with open(path, "rb") as file:
                _hashes[key] = hashlib.sha256(file.read()).hexdigest()
        return _hashes[key]
    except OSError as error:
        raise ConfigError(f"the recording '{path}' cannot be read: {error.strerror}. Name one that is there.") from None
