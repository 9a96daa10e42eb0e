"""Modules filled from stored tensors, all accounted for: missing, left over or misshapen ones are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import CheckpointError

__all__ = ["Audit", "Keep", "Stored"]

Keep = Callable[[str, Tensor], Tensor]
MOST_NAMES = 8  # of tensors in one message


class Stored(Protocol):
    """Tensors by name, in files or in memory; `TensorFiles` is one."""

    path: Path
    files: list[Path]

    @property
    def entries(self) -> Mapping[str, Any]: ...

    def __contains__(self, name: str) -> bool: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def read_into(self, name: str, out: Tensor) -> Tensor: ...


class Audit:
    """Fills modules from files and keeps account of every stored tensor."""

    def __init__(self, files: Stored) -> None:
        self.files = files
        self.used: set[str] = set()
        self.missing: list[str] = []
        self.wrong: list[str] = []

    def fill(
        self, module: nn.Module, sources: Mapping[str, Sequence[str]], dtype: torch.dtype, keep: Keep | None = None
    ) -> None:
        """Read all tensors of `module`; each is allocated once, in `dtype`, and read in place.

        `keep`, if given, takes every tensor with its name as soon as it is read, and says what the module holds of it.
        """
        filled: dict[str, Tensor] = {}
        made: dict[tuple[str, ...], Tensor] = {}  # tied tensors stay one
        for name, tensor in module.state_dict().items():
            stored = tuple(sources[name])
            self.used.update(stored)
            if absent := [source for source in stored if source not in self.files]:
                self.missing += absent
                continue
            if stored not in made:
                read = self._read(stored, tensor, dtype)
                made[stored] = keep(name, read) if keep and not self.wrong else read
            filled[name] = made[stored]
        if not self.missing and not self.wrong:
            module.load_state_dict(filled, assign=True)

    def _read(self, stored: tuple[str, ...], like: Tensor, dtype: torch.dtype) -> Tensor:
        kind = dtype if like.is_floating_point() else like.dtype
        shape = (like.shape[0] // len(stored), *like.shape[1:]) if len(stored) > 1 else tuple(like.shape)
        out = torch.empty(like.shape, dtype=kind, device="cpu")
        rows = [out] if len(stored) == 1 else out.split(like.shape[0] // len(stored))
        for source, part in zip(stored, rows, strict=True):
            if self.files.shape(source) != shape:
                self.wrong.append(f"{source} is {list(self.files.shape(source))} instead of {list(shape)}")
            else:
                self.files.read_into(source, part)
        return out

    def ignore(self, *prefixes: str) -> None:
        """Let stored tensors whose names begin so be left over."""
        self.used.update(name for name in self.files.entries if name.startswith(prefixes))

    def close(self) -> None:
        """Raise CheckpointError if anything was missing, left over or of the wrong shape."""
        extra = sorted(set(self.files.entries) - self.used)
        said = [
            f"{what}: {_few(names)}"
            for what, names in (("missing", self.missing), ("of the wrong shape", self.wrong), ("unknown", extra))
            if names
        ]
        if said:
            raise CheckpointError(
                f"the tensors in {self.files.path} do not fit its configuration; {'; '.join(said)}. "
                "Use the weights and the configuration of one and the same model."
            )


def _few(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
