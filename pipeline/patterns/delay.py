"""Every codebook some frames later than the one before it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...errors import ConfigError
from .base import Pattern

__all__ = ["Delay"]


class Delay(Pattern):
    """Delay each codebook, so that one step predicts one code of every codebook and fine codes see coarse ones.

        a0 a1 a2        a0 a1 a2  .
        b0 b1 b2   ->    . b0 b1 b2        K = 2, delays = (0, 1)

    Args:
        delays: K numbers of frames, 0 or more, the least of them 0; None means 0, 1, 2, ...

    Example:
        >>> import torch
        >>> codes = torch.tensor([[[1, 2, 3], [4, 5, 6]]])
        >>> Delay(n_q=2, special_token_id=9).interleave(codes)[0].tolist()
        [[1, 2, 3, 9], [9, 4, 5, 6]]

    Source: Copet et al. 2023, arXiv:2306.05284, section 2.2. We add no leading special step; the loop feeds it.
    """

    def __init__(self, *, n_q: int, special_token_id: int, delays: Sequence[int] | None = None) -> None:
        super().__init__(n_q=n_q, special_token_id=special_token_id)
        self.delays = tuple(range(n_q)) if delays is None else tuple(delays)
        if len(self.delays) != n_q or min(self.delays) != 0:
            raise ConfigError(
                f"delays are {list(self.delays)}; they must be {n_q} numbers, one a codebook, the least of them 0."
            )

    def num_steps(self, num_frames: int) -> int:
        return num_frames + max(self.delays)

    def num_frames(self, num_steps: int) -> int:
        return num_steps - max(self.delays)

    def step_of(self, level: int, frames: Tensor) -> Tensor:
        return frames + self.delays[level]

    def frame_of(self, level: int, step: int) -> int:
        return step - self.delays[level]
