"""Kept codes of one piece: all its rows in one safetensors file, and what else it takes to hear them again.

Tensors: role -> [K, T] uint16; `mix` is the one row of a model without stems. Metadata: one key, `gen_audio`, with
JSON, because several keys would be written in an order that changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ...errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["VERSION", "dump", "first_difference", "hash_codes", "parse"]

VERSION = 1


def dump(codes: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """The file as bytes, equal for equal codes and facts."""
    told = json.dumps({"version": VERSION, **facts}, sort_keys=True, ensure_ascii=False)
    return bytes(save({role: _uint16(rows) for role, rows in codes.items()}, metadata={"gen_audio": told}))


def parse(content: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Codes by role, [K, T] int64, and the facts; `name` is for errors.

    Raises:
        CheckpointError: truncated, damaged, something else, or of a newer version.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["gen_audio"])
        codes = {role: rows.astype(np.int64) for role, rows in load(content).items()}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{name}: the kept codes are damaged ({error}). Render the item again.") from error
    if facts.get("version", 0) > VERSION:
        raise CheckpointError(f"{name}: the kept codes have version {facts['version']}; update gen-audio.")
    return codes, facts


def hash_codes(codes: Mapping[str, Tensor]) -> str:
    """Hash codes by role, whatever file they are kept in."""
    digest = hashlib.sha256()
    for role in sorted(codes):
        rows = _uint16(codes[role])
        digest.update(f"{role} {list(rows.shape)}\n".encode())
        digest.update(rows.tobytes())
    return digest.hexdigest()


def first_difference(kept: Mapping[str, np.ndarray], made: Mapping[str, Tensor]) -> str:
    """Say where two sets of codes part."""
    if set(kept) != set(made):
        return f"the roles are {', '.join(sorted(made))} instead of {', '.join(sorted(kept))}"
    for role in sorted(kept):
        one, other = kept[role], _uint16(made[role])
        if one.shape != other.shape:
            return f"{role} has shape {list(other.shape)} instead of {list(one.shape)}"
        if (frames := np.nonzero((one != other).any(0))[0]).size:
            return f"{role} differs from frame {frames[0]} of {one.shape[1]} on"
    return "nowhere"


def _uint16(rows: Tensor) -> np.ndarray:
    return np.ascontiguousarray(rows.numpy(), np.uint16)
