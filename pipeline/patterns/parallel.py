"""All codebooks of a frame in one step."""

from __future__ import annotations

from torch import Tensor

from .base import Pattern

__all__ = ["Parallel"]


class Parallel(Pattern):
    """Leave the codes as they are; one step is one frame.

        a0 a1 a2        a0 a1 a2
        b0 b1 b2   ->   b0 b1 b2        K = 2

    The order for a depth head, whose levels see each other inside the step. With a parallel head the codes of a frame
    are drawn independently of each other.

    Source: Copet et al. 2023, arXiv:2306.05284, section 2.2 ("parallel").
    """

    def num_steps(self, num_frames: int) -> int:
        return num_frames

    def num_frames(self, num_steps: int) -> int:
        return num_steps

    def step_of(self, level: int, frames: Tensor) -> Tensor:
        return frames

    def frame_of(self, level: int, step: int) -> int:
        return step
