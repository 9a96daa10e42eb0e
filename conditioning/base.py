"""The contract between what is asked for and the network. A conditioner never sees codes, audio or the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ShapeError

__all__ = ["Condition", "Conditioner"]


@dataclass(frozen=True)
class Condition:
    """What a conditioner says to the network: `tensor` [B, N, D] and `mask` [B, N], True where a position is real."""

    tensor: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.tensor.dim() != 3 or self.mask.shape != self.tensor.shape[:2]:
            raise ShapeError(
                f"a condition has tensor {list(self.tensor.shape)} and mask {list(self.mask.shape)}; "
                "it needs [B, N, D] and [B, N]."
            )

    @classmethod
    def full(cls, tensor: Tensor) -> Condition:
        """Wrap [B, N, D] of which every position is real."""
        return cls(tensor, torch.ones(tensor.shape[:2], dtype=torch.bool, device=tensor.device))


class Conditioner(nn.Module):
    """Turns one kind of wish into vectors of the network's width.

    `prepare` is host work (parsing, tokenising, drawing rolls) and returns tensors by name, as `forward` takes them:

        condition = conditioner(**conditioner.prepare(...), drop=drop)

    A row with `drop` True becomes the learned null vector, "nothing said", which guidance also uses. Dropped or not,
    a row never looks at another row.

    Attributes:
        width: D.
        per_frame: N is the number of frames if True, else 1 position speaks for the whole piece.
        margin: frames on either side that can change the condition of a frame; 0 unless a subclass says otherwise.
    """

    width: int
    per_frame: bool
    margin: int = 0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.null_vector = nn.Parameter(torch.randn(width) * 0.02)

    def prepare(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Turn wishes, one per row, into the named tensors that `forward` takes."""
        raise NotImplementedError

    def forward(self, *args: Any, **kwargs: Any) -> Condition:
        """Turn prepared tensors, and `drop` [B] bool or None, into a Condition."""
        raise NotImplementedError

    def example(self, batch: int, length: int) -> dict[str, Tensor]:
        """Return some valid prepared tensors of `batch` rows and `length` frames, for tests and warm-up."""
        raise NotImplementedError

    def null(self, batch: int, length: int = 1) -> Condition:
        """Return the condition [B, N, D] of rows that say nothing; N = `length`."""
        return Condition.full(self.null_vector.expand(batch, length, self.width))

    def replace_dropped(self, tensor: Tensor, drop: Tensor | None) -> Tensor:
        """Put the null vector into the rows of [B, N, D] that `drop` [B] marks."""
        if drop is None:
            return tensor
        if drop.dtype != torch.bool or drop.shape != tensor.shape[:1]:
            raise ShapeError(
                f"drop is {drop.dtype} of shape {list(drop.shape)}; it needs bool [{tensor.shape[0]}], one per row."
            )
        return torch.where(drop[:, None, None], self.null_vector.to(tensor.dtype), tensor)
