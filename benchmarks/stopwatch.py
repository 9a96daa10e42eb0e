"""Seconds that parts of a program take, and the memory that a process needed. Knows neither ours nor any other program.

The same clock is put on every program that is compared: what is spent inside its text encoder and its codec is known,
and what remains of the whole is its loop.
"""

from __future__ import annotations

import functools
import inspect
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["Stopwatch", "peak_bytes"]


class Stopwatch:
    """Replaces methods of an object by timed ones; a stage that calls itself is counted once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside: set[str] = set()

    def watch(self, owner: Any, method: str, stage: str) -> None:
        """Count the time in `owner.method` as `stage`; of a generator, the time that its items take."""
        original = getattr(owner, method)
        timed = self._generator(original, stage) if inspect.isgeneratorfunction(original) else None
        setattr(owner, method, timed or self._function(original, stage))

    def run(self, work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
        """Run `work` with all stages at zero: its result, and seconds of each stage and of the `whole`."""
        self.seconds = {}
        start = time.perf_counter()
        result = work()
        return result, {**self.seconds, "whole": time.perf_counter() - start}

    def _function(self, original: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @functools.wraps(original)
        def timed(*arguments: Any, **options: Any) -> Any:
            return self._spend(stage, lambda: original(*arguments, **options))

        return timed

    def _generator(self, original: Callable[..., Iterator[Any]], stage: str) -> Callable[..., Iterator[Any]]:
        @functools.wraps(original)
        def timed(*arguments: Any, **options: Any) -> Iterator[Any]:
            items, end = original(*arguments, **options), object()
            while (item := self._spend(stage, lambda: next(items, end))) is not end:
                yield item

        return timed

    def _spend(self, stage: str, work: Callable[[], Any]) -> Any:
        if stage in self._inside:
            return work()
        self._inside.add(stage)
        start = time.perf_counter()
        try:
            return work()
        finally:
            self._inside.remove(stage)
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def peak_bytes() -> int:
    """Most memory that this process has had (VmHWM); getrusage would count that of the process which started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
