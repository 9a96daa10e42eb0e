"""The order in which the codes of a piece are decided: which (codebook, frame) belongs to which step.

Knows indices only. A pattern is four small formulas; everything else follows from them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import ConfigError, ShapeError

__all__ = ["Pattern"]


class Pattern:
    """Codes [B, K, T] to steps [B, K, S] and back; a slot that holds no frame is special_token_id.

    A subclass writes `num_steps`, `num_frames`, `frame_of` and `step_of`.

    Args:
        n_q: codebooks K.
        special_token_id: as the codec says; outside 0..card-1.
    """

    def __init__(self, *, n_q: int, special_token_id: int) -> None:
        if n_q < 1:
            raise ConfigError(f"a pattern over n_q = {n_q} codebooks; it needs at least 1. Ask the codec for its n_q.")
        self.n_q, self.special_token_id = n_q, special_token_id

    def num_steps(self, num_frames: int) -> int:
        """S, the steps that T frames take."""
        raise NotImplementedError

    def num_frames(self, num_steps: int) -> int:
        """T, the frames that S steps hold; the inverse of `num_steps`."""
        raise NotImplementedError

    def step_of(self, level: int, frames: Tensor) -> Tensor:
        """Steps at which codebook `level` of the given frames is decided."""
        raise NotImplementedError

    def frame_of(self, level: int, step: int) -> int:
        """Frame whose codebook `level` is decided at `step`; a number that is no frame where there is none."""
        raise NotImplementedError

    def condition_frame(self, step: int, num_frames: int) -> int:
        """Frame whose condition a step reads: the newest that it decides, or the last of the piece."""
        newest = max(self.frame_of(level, step) for level in range(self.n_q))
        return min(max(newest, 0), num_frames - 1)

    def first_column(self, batch_size: int, device: torch.device | str | None = None) -> Tensor:
        """What the model reads before step 0: [B, K], all special_token_id."""
        return torch.full((batch_size, self.n_q), self.special_token_id, dtype=torch.int64, device=device)

    def mask(self, column: Tensor, step: int, num_frames: int) -> Tensor:
        """Write special_token_id into a column [B, K] where `step` decides no frame of 0..num_frames-1."""
        lives = [0 <= self.frame_of(level, step) < num_frames for level in range(self.n_q)]
        if all(lives):
            return column
        return column.masked_fill(~torch.tensor(lives, device=column.device), self.special_token_id)

    def interleave(self, codes: Tensor) -> Tensor:
        """Put codes [B, K, T] into the order of the steps, [B, K, S]; `codes` are not modified.

        Raises:
            ShapeError: `codes` is not [B, K, T] with this pattern's K.
        """
        self._check(codes, "codes", "T")
        frames = torch.arange(codes.shape[-1], device=codes.device)
        shape = (codes.shape[0], self.n_q, self.num_steps(codes.shape[-1]))
        steps = codes.new_full(shape, self.special_token_id)
        for level in range(self.n_q):
            steps[:, level, self.step_of(level, frames)] = codes[:, level]
        return steps

    def deinterleave(self, steps: Tensor) -> Tensor:
        """Put steps [B, K, S] back into codes [B, K, T]; the inverse of `interleave`.

        Raises:
            ShapeError: `steps` is not [B, K, S] with this pattern's K, or S belongs to no whole number of frames.
        """
        self._check(steps, "steps", "S")
        num_frames = self.num_frames(steps.shape[-1])
        if num_frames < 0 or self.num_steps(num_frames) != steps.shape[-1]:
            raise ShapeError(
                f"{steps.shape[-1]} steps hold no whole number of frames; 1 frame needs {self.num_steps(1)} steps and "
                f"2 need {self.num_steps(2)}. Collect all columns of the loop."
            )
        frames = torch.arange(num_frames, device=steps.device)
        return torch.stack([steps[:, level, self.step_of(level, frames)] for level in range(self.n_q)], 1)

    def _check(self, tensor: Tensor, name: str, last: str) -> None:
        if tensor.dim() != 3 or tensor.shape[1] != self.n_q:
            raise ShapeError(f"{name} have shape {list(tensor.shape)}; this pattern needs [B, {self.n_q}, {last}].")
