"""A step ahead: while the host reads the codes of one step, the GPU already plays the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Coming", "Guess"]


class Coming:
    """Numbers that a device is still working out, on their way to the CPU."""

    def __init__(self, numbers: Tensor) -> None:
        self.event: torch.cuda.Event | None = None
        if numbers.device.type == "cuda" and type(numbers) is Tensor:
            self.page = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            self.page.copy_(numbers, non_blocking=True)
            self.event = torch.cuda.Event()
            self.event.record(torch.cuda.current_stream(numbers.device))
        else:
            self.page = numbers.cpu().clone()

    def wait(self) -> Tensor:
        """The numbers, as soon as they are there."""
        if self.event is not None:
            self.event.synchronize()
        return self.page


class Guess:
    """A step that was begun before it was asked for: each row reads what it has just chosen, one position on.

    That is what is asked for nearly always. It is not where a pattern writes special tokens into a column (the first
    and last steps of a delay), where a beginning is told, or where pieces enter and leave. Then the step runs again, as
    it was asked for, and writes over the positions that the guess has written.

    Args:
        held: slots of the step before.
        rows: what they were told, [n, 2 K + 2], see `Pool.numbers`.
        codes: what they chose, [n, K].
        coming: what the guess chooses.
    """

    def __init__(self, held: Sequence[int], rows: np.ndarray, codes: Tensor, coming: Coming) -> None:
        self.held, self.rows, self.coming = list(held), rows.copy(), coming
        self.rows[:, : codes.shape[1]] = codes.numpy()
        self.rows[:, -2:] += 1

    def is_right(self, held: Sequence[int], rows: np.ndarray) -> bool:
        """Whether these slots, told this, are what was guessed."""
        return self.held == list(held) and np.array_equal(self.rows, rows)
