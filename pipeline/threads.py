"""How many threads a stage of the work gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["at_most"]


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Let operations use no more than `count` threads for a while.

    A step of a small model is a thousand operations of some microseconds each. Waking a second thread for them costs
    as much as it saves on an idle machine, and on a busy one every operation waits until it is given a core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
