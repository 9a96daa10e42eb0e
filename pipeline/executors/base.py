"""The contract of what runs a language model's steps. It sees integers, tensors and rules; no text, no sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fuse import Fused
from ..guidance import Guidance
from ..noise import GumbelNoise
from ..samplers.base import Sampler

__all__ = ["Asked", "Choosing", "Executor", "Session", "columns_before"]


@dataclass(frozen=True)
class Choosing:
    """How the codes of a batch are chosen from logits."""

    sampler: Sampler
    guidance: Guidance
    noise: GumbelNoise


class Session:
    """A batch of rows on its way through the model: what it has read so far. Its memory is freed with it."""

    num_bytes: int = 0  # of its keys and values


@dataclass(frozen=True)
class Asked:
    """One step of a session: read `column` [B, K] and choose the codes of `step`.

    `frame` [M, D], M rows of all passes of guidance, is the condition of the frame to predict; or None.
    """

    session: Session
    column: Tensor
    frame: Tensor | None
    step: int


class Executor:
    """Plays a language model of `n_q` codebooks with `card` entries; special_token_id is `card`.

    A subclass writes the four methods.
    """

    name: str
    precision: str
    slots: int = 1  # pieces that it is best given at a time
    room: float = float("inf")  # bytes of keys and values, beyond which no further piece is to begin
    device = torch.device("cpu")  # where the model runs; what goes in and comes out may be on the CPU
    rows_apart: bool  # whether a row comes out the same to the bit whatever rows are beside it

    def __init__(self, n_q: int, card: int) -> None:
        self.n_q, self.card = n_q, card

    @property
    def special_token_id(self) -> int:
        return self.card

    def open(self, fused: Fused, choosing: Choosing, num_positions: int) -> Session:
        """Begin a batch: read what comes before the first frame, and make room for `num_positions` positions."""
        raise NotImplementedError

    def read(self, session: Session, columns: Tensor, frames: Tensor | None = None) -> None:
        """Read known columns [B, K, S], the special column first, with the conditions [M, S, D] of their steps."""
        raise NotImplementedError

    def step(self, asked: Sequence[Asked]) -> list[Tensor]:
        """Run a step of one or more sessions together; the codes [B, K] int64 of each."""
        raise NotImplementedError

    def logits(self, fused: Fused, steps: Tensor) -> Tensor:
        """Score known steps [B, K, S] (teacher forcing), to measure and to compare with another executor.

        Returns:
            [M, K, S, card] float32, before guidance; the rows of a pass follow each other.
        """
        raise NotImplementedError


def columns_before(steps: Tensor, special_token_id: int) -> Tensor:
    """What the model reads when it predicts steps [B, K, S]: the special column, then all but the last."""
    return torch.cat((torch.full_like(steps[..., :1], special_token_id), steps[..., :-1]), -1)
