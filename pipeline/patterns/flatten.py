"""One code a step, frame after frame."""

from __future__ import annotations

from torch import Tensor

from .base import Pattern

__all__ = ["Flatten"]


class Flatten(Pattern):
    """Decide one code at a time, so that every code sees all codes before it, at K steps a frame.

        a0 a1        a0  . a1  .
        b0 b1   ->    . b0  . b1        K = 2

    Needs a parallel head: a depth head would work through all levels in every step, for one code.

    Source: Copet et al. 2023, arXiv:2306.05284, section 2.2 ("flattening"); Agostinelli et al. 2023 (MusicLM),
    arXiv:2301.11325.
    """

    def num_steps(self, num_frames: int) -> int:
        return num_frames * self.n_q

    def num_frames(self, num_steps: int) -> int:
        return num_steps // self.n_q

    def step_of(self, level: int, frames: Tensor) -> Tensor:
        return frames * self.n_q + level

    def frame_of(self, level: int, step: int) -> int:
        frame, turn = divmod(step, self.n_q)
        return frame if turn == level else -1
