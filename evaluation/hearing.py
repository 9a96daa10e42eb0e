"""Judges at work in processes of their own, while the model plays on: judging takes longer than playing."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from ..audio import Waveform
from ..composition.plan import MusicalPlan
from .panel import Panel
from .stability import hear_sections, hear_windows

__all__ = ["Hearing", "compare_sounds", "hear_long", "hear_sound"]

MOST = 8  # processes; each takes half a gigabyte
Task = Callable[..., Any]  # its first argument is the panel; a function of a module, so that it can be sent
_panel: list[Panel] = []  # of this worker process


class Hearing:
    """Runs tasks of judges; `panel` says which there are.

    Args:
        workers: processes, each with judges of its own and one thread; 0 does everything at once, here. None is one a
            core, up to MOST.
    """

    def __init__(self, workers: int | None = None) -> None:
        workers = min(MOST, os.cpu_count() or 1) if workers is None else workers
        self.panel = Panel()
        self.pool: ProcessPoolExecutor | None = None
        if workers:
            spawn = multiprocessing.get_context("spawn")  # a fork would take over threads of torch that stand still
            self.pool = ProcessPoolExecutor(workers, spawn, initializer=_begin)

    def __enter__(self) -> Hearing:
        return self

    def __exit__(self, *error: object) -> None:
        self.panel.close()
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def submit(self, task: Task, *args: Any) -> Future[Any]:
        """Start task(panel, *args)."""
        if self.pool is not None:
            return self.pool.submit(_run, task, *args)
        done: Future[Any] = Future()
        done.set_result(task(self.panel, *args))
        return done


def hear_sound(panel: Panel, waveform: Waveform, *judges: str) -> dict[str, Any]:
    """All facts that these judges tell."""
    return panel.hear(waveform, *judges)


def hear_long(panel: Panel, waveform: Waveform, plan: MusicalPlan | None) -> dict[str, Any]:
    """Faults, windows and, with a plan, sections of a long piece."""
    facts = panel.hear(waveform) | {"windows": hear_windows(panel, waveform)}
    return facts | ({"sections": hear_sections(waveform, plan)} if plan is not None else {})


def compare_sounds(panel: Panel, judge: str, original: Waveform, other: Waveform) -> float | None:
    """The score of a judge of pairs; None if it is missing."""
    return panel.compare(judge, original, other)


def _begin() -> None:
    import torch

    torch.set_num_threads(1)
    _panel.append(Panel())


def _run(task: Task, *args: Any) -> Any:
    return task(_panel[0], *args)
