"""CUDA graphs: a function of fixed shapes on fixed addresses is recorded once and replayed with one launch."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

__all__ = ["Graphs"]

WARM_UPS = 2  # libraries choose kernels and take their workspaces in the first runs, which must not be recorded


class Graphs:
    """What was recorded, by key; all recordings share one pool of memory, since they never run at the same time.

    Args:
        device: a CUDA device; None runs the function as it is every time.
    """

    def __init__(self, device: torch.device | None) -> None:
        self.device = device
        self.recorded: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self.pool = torch.cuda.graph_pool_handle() if device is not None else None

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Do the work: record it if it is new, then replay it.

        Args:
            key: equal for equal shapes and addresses.
            work: reads and writes tensors that stay where they are, may run more than once, and waits for nothing.
        """
        if self.device is None:
            work()
            return
        with torch.cuda.device(self.device):
            if key not in self.recorded:
                self.recorded[key] = self._record(work)
            self.recorded[key].replay()

    def wait(self) -> None:
        """Wait until what was run is done."""
        if self.device is not None:
            torch.cuda.current_stream(self.device).synchronize()

    def forget(self) -> None:
        """Drop all recordings, because the tensors have moved."""
        self.recorded.clear()

    def _record(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": another thread, one that writes files for instance, may go on meanwhile
        with torch.cuda.graph(graph, pool=self.pool, stream=stream, capture_error_mode="thread_local"):
            work()
        return graph
