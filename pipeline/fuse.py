"""Where conditions enter the language model: added to a frame, before the first one, or by cross-attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..errors import ShapeError

__all__ = ["Fused"]


@dataclass(frozen=True)
class Fused:
    """The conditions of a batch, ready for the loop. M = batch_size * num_passes rows, the passes one after the other.

        pass      full      full      null      null
        item      0         1         0         1           batch_size = 2, num_passes = 2
        row       0         1         2         3

    Args:
        batch_size: B, rows of codes.
        num_passes: passes of guidance, see `Guidance.passes`.
        frame: gives the condition [M, D] of a frame by its number, so that a long piece need not be prepared at once.
        prefix: [M, N, D] positions before the first frame.
        cross: [R, N, cross_width] cross-attention source of the rows of the first passes; R = M if all have one.
        cross_mask: [R, N] bool, False where the source is filler.
    """

    batch_size: int
    num_passes: int = 1
    frame: Callable[[int], Tensor] | None = None
    prefix: Tensor | None = None
    cross: Tensor | None = None
    cross_mask: Tensor | None = None

    def __post_init__(self) -> None:
        if self.prefix is not None and (self.prefix.dim() != 3 or self.prefix.shape[0] != self.rows):
            raise ShapeError(f"prefix has shape {list(self.prefix.shape)}; {self._wanted}.")
        if self.cross is not None and (
            self.cross.dim() != 3 or self.cross.shape[0] % self.batch_size or self.cross.shape[0] > self.rows
        ):
            raise ShapeError(f"cross has shape {list(self.cross.shape)}; {self._wanted}.")
        if self.cross_mask is not None and (self.cross is None or self.cross_mask.shape != self.cross.shape[:2]):
            raise ShapeError(f"cross_mask has shape {list(self.cross_mask.shape)}; give one entry a position of cross.")

    @property
    def rows(self) -> int:
        """M, the rows that the model works on."""
        return self.batch_size * self.num_passes

    @property
    def prefix_length(self) -> int:
        """N, positions before the first frame."""
        return 0 if self.prefix is None else self.prefix.shape[1]

    @property
    def _wanted(self) -> str:
        return (
            f"a batch of {self.batch_size} with {self.num_passes} guidance passes needs 3 axes and {self.rows} rows. "
            "Stack the rows of each pass"
        )

    @classmethod
    def whole(
        cls,
        frames: Tensor,
        *,
        batch_size: int,
        prefix: Tensor | None = None,
        cross: Tensor | None = None,
    ) -> Fused:
        """Use conditions [M, T, D] that are known for all frames; the number of passes is M / batch_size."""
        if frames.dim() != 3 or frames.shape[0] % batch_size:
            raise ShapeError(
                f"frames have shape {list(frames.shape)}; they need [M, T, D] with M a multiple of batch_size = "
                f"{batch_size}. Stack the rows of each guidance pass."
            )
        return cls(batch_size, frames.shape[0] // batch_size, lambda t: frames[:, t], prefix, cross)
