"""Work on endless sound block by block, for processes whose result at a sample depends on a bounded neighbourhood."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

__all__ = ["blockwise"]


def blockwise(
    blocks: Iterable[np.ndarray],
    process: Callable[[np.ndarray, int], np.ndarray],
    *,
    past: int,
    future: int,
    align: int = 1,
) -> Iterator[np.ndarray]:
    """Apply `process` to sound that arrives in blocks; what is yielded, joined, is the process of the whole sound.

    Every block is processed with its past and future, which are thrown away again. So no process carries a state, and
    nothing can drift.

    Args:
        blocks: [C, n] each.
        process: takes an excerpt [C, L] and the sample of the whole that it begins with; returns [any, L].
        past, future: samples on either side that can change a sample's result.
        align: excerpts begin at multiples of so many samples.

    Yields:
        [any, n], as soon as no later block can change it.
    """
    held: np.ndarray | None = None
    begin = done = 0  # samples of the whole: where `held` begins, and up to where was yielded
    for block in blocks:
        held = block if held is None else np.concatenate((held, block), 1)
        ready = begin + held.shape[1] - future
        if ready > done:
            yield process(held, begin)[:, done - begin : ready - begin]
            done = ready
            keep = max(begin, (done - past) // align * align)
            held, begin = held[:, keep - begin :], keep
    if held is not None and begin + held.shape[1] > done:
        yield process(held, begin)[:, done - begin :]
