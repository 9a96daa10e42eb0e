"""Tensors in safetensors files, one file or shards, read one by one into memory that is already there.

Nothing is mapped and nothing is read twice, so loading takes the memory of the loaded weights and no more, whatever
their type on disk is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ..errors import CheckpointError

__all__ = ["TensorFiles", "read_json"]

STAGE = 1 << 20  # numbers that are turned into another type at a time
INDEX = "model.safetensors.index.json"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int  # first byte in the file
    size: int  # bytes


class TensorFiles:
    """All tensors of a folder (`model.safetensors`, or the shards that its index names) or of one file.

    Raises:
        CheckpointError: no such file, a missing or truncated shard, or a file that is no safetensors.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self._staging: Tensor | None = None
        self.files = [path] if path.is_file() else _files(path)
        for file in self.files:
            self.entries |= _header(file)

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    @property
    def num_bytes(self) -> int:
        """Size of all tensors on disk."""
        return sum(entry.size for entry in self.entries.values())

    def shape(self, name: str) -> tuple[int, ...]:
        return self.entries[name].shape

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Read one tensor, floats as `dtype` if that is given."""
        entry = self.entries[name]
        wanted = dtype if dtype is not None and entry.dtype.is_floating_point else entry.dtype
        return self.read_into(name, torch.empty(entry.shape, dtype=wanted))

    def read_into(self, name: str, out: Tensor) -> Tensor:
        """Read one tensor into contiguous `out` of its shape, turned into the type of `out`, and return it."""
        entry, flat = self.entries[name], out.reshape(-1)
        with open(entry.path, "rb") as file:
            file.seek(entry.start)
            if out.dtype == entry.dtype:
                self._fill(file, flat, name)
                return out
            for start in range(0, flat.numel(), STAGE):
                part = self._stage(entry.dtype)[: flat.numel() - start]
                self._fill(file, part, name)
                flat[start : start + len(part)].copy_(part)
        return out

    def _stage(self, dtype: torch.dtype) -> Tensor:
        """A small buffer, always the same: large ones that come and go leave holes in the memory of a process."""
        if self._staging is None or self._staging.dtype != dtype:
            self._staging = torch.empty(STAGE, dtype=dtype)
        return self._staging

    def _fill(self, file: IO[bytes], out: Tensor, name: str) -> None:
        """Read the next bytes of a file into a flat tensor."""
        if out.numel() == 0:
            return
        got = file.readinto(out.view(torch.uint8).numpy().data)  # type: ignore[attr-defined]
        if got != out.numel() * out.element_size():
            raise CheckpointError(f"{self.entries[name].path} ended while {name} was read. Copy the file again.")


def _files(folder: Path) -> list[Path]:
    """The weight files of a folder."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    index = folder / INDEX
    if not index.is_file():
        others = sorted(p.name for p in folder.glob("*.bin"))
        hint = f" {others[0]} is a pickle, which is never opened; save it again as safetensors." if others else ""
        raise CheckpointError(f"{folder} holds neither model.safetensors nor {INDEX}.{hint}")
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{index} cannot be read: {error!r}. Copy the file again.") from error
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise CheckpointError(f"{index} names shards that are not there: {', '.join(missing)}. Copy them, too.")
    return [folder / name for name in names]


def _header(path: Path) -> dict[str, Entry]:
    """Read where the tensors of one file lie; its header is a length in 8 bytes, then JSON."""
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size, 100_000_000):
                raise ValueError(f"its header would be {length} bytes long")
            table: dict[str, Any] = json.loads(file.read(length))
        table.pop("__metadata__", None)
        entries = {
            name: Entry(
                path,
                DTYPES[facts["dtype"]],
                tuple(facts["shape"]),
                8 + length + facts["data_offsets"][0],
                facts["data_offsets"][1] - facts["data_offsets"][0],
            )
            for name, facts in table.items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is no safetensors file, or it is damaged: {error!r}. Copy it again.") from error
    needed = max((entry.start + entry.size for entry in entries.values()), default=0)
    if size < needed:
        raise CheckpointError(f"{path} is truncated: it has {size} bytes of {needed}. Copy it again.")
    return entries


def read_json(path: Path) -> dict[str, Any]:
    """Read the settings beside some weights.

    Raises:
        CheckpointError: there are none, or they are damaged.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Weights need it beside them; copy it again.") from error
    if not isinstance(said, dict):
        raise CheckpointError(f"{path} holds a {type(said).__name__} and no settings. Copy it again.")
    return said
