"""Playing by workers of Ray: each loads the model once and finishes pieces; this process alone writes.

    rows --> items --> [ worker: play together, then set the level and encode, beside the next ] --> store and journal

A worker that dies is replaced, and what it held is made again. As nothing is noted before it is written here, an item
is never lost and never there twice, whoever dies.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...errors import ConfigError, GenAudioError
from .. import interrupt
from . import ray_cluster
from .items import Item
from .ray_player import Fatal, Loaded, Player
from .render import Played
from .settings import Settings
from .sound import Finished
from .watch import Watch

__all__ = ["Crew", "crew"]

HELD = 2  # pieces at a worker for each of its slots: one that is played, and one that is encoded or waits
THREADS = 64  # of a worker, which must be said before it knows its slots; no executor has half as many
TRIES = 3  # how many workers a piece may take with it
LIMIT = 10  # workers, and three times as many as there are, that may die one after another before a piece is made
PATIENCE = 60.0  # seconds until it is said that no worker is there yet


@dataclass(eq=False)
class _Job:
    item: Item
    tries: int = 0  # workers that died while they held it


@dataclass(eq=False)
class _Worker:
    handle: Any
    room: int = 0  # pieces that it may hold; 0 until it is loaded
    jobs: list[_Job] = field(default_factory=list)


class Crew:
    """The workers of one run, seen from the process that writes; use `crew`.

    Attributes:
        model: what `Selection` needs to know of it.
    """

    def __init__(self, ray: Any, workers: ray_cluster.Workers, count: int, arguments: tuple[Any, ...]) -> None:
        self.ray, self.count, self.arguments = ray, count, arguments
        resources = {"num_cpus": workers.cpus, "num_gpus": workers.gpus}
        self.kind = ray.remote(Player).options(**resources, max_concurrency=THREADS, max_restarts=0)
        self.workers: list[_Worker] = []
        self.calls: dict[Any, tuple[_Worker, _Job | None]] = {}  # what Ray works on; no job: it loads
        self.again: deque[_Job] = deque()
        self.deaths = 0  # since a piece was last made
        self.loaded: Loaded | None = None
        self.since = time.perf_counter()
        for _ in range(count):
            self._start()
        while self.loaded is None:
            for _ in self._collect():
                pass
        self.model: dict[str, str] = self.loaded.model

    def play(self, items: Iterable[Item], watch: Watch) -> Iterator[Played]:
        """Have items played, as `render.play` does. No more items are taken than the workers can hold.

        Yields:
            Items with finished pieces, or with the errors that they met, in the order in which they are done.

        Raises:
            CheckpointError, MissingExtraError, OSError, MemoryError: what a worker met and no other item would survive.
            GenAudioError: one worker after another died.
        """
        source = iter(items)
        while True:
            for job in self._hand_out(source):
                watch.playing(job.item.row)
            if not any(job for _, job in self.calls.values()) and not self.again and self.loaded_workers():
                return
            for job, made in self._collect():
                if isinstance(made, Fatal):
                    raise made.error
                yield job.item, made
            watch.show()

    def loaded_workers(self) -> list[_Worker]:
        """Those that can play, those with the least to do first."""
        return sorted((worker for worker in self.workers if worker.room), key=lambda worker: len(worker.jobs))

    def close(self) -> None:
        """End all workers, also on a cluster that goes on."""
        for worker in self.workers:
            self.ray.kill(worker.handle)

    def _start(self) -> None:
        worker = _Worker(self.kind.remote(*self.arguments))
        self.workers.append(worker)
        self.calls[worker.handle.load.remote()] = (worker, None)

    def _hand_out(self, source: Iterator[Item]) -> Iterator[_Job]:
        """Give every worker as much as it may hold, first what was with workers that died."""
        while (worker := self._worker_with_room()) is not None:
            if self.again:
                job = self.again.popleft()
            elif (item := next(source, None)) is not None:
                job = _Job(item)
            else:
                return
            worker.jobs.append(job)
            self.calls[worker.handle.make.remote(job.item)] = (worker, job)
            yield job

    def _worker_with_room(self) -> _Worker | None:
        """The worker with the least to do, if it may be given more.

        What was with a worker that died is played with nothing beside it, so that it takes nothing with it.
        """
        for worker in self.loaded_workers():
            alone = self.again or any(job.tries for job in worker.jobs)
            if len(worker.jobs) < (1 if alone else worker.room):
                return worker
        return None

    def _collect(self) -> Iterator[tuple[_Job, Finished | Exception | Fatal]]:
        """Wait up to a second for a worker to be done with something."""
        done, _ = self.ray.wait(list(self.calls), num_returns=1, timeout=1.0)
        interrupt.check()
        self._say_if_nobody_is_there()
        for call in done:
            worker, job = self.calls.pop(call)
            try:
                made = self.ray.get(call)
            except self.ray.exceptions.RayError as error:
                self._lose(worker, error)
                if job is not None and (failed := self._try_again(job)):
                    yield job, failed
                continue
            if job is None:
                self._welcome(worker, made)
                continue
            worker.jobs.remove(job)
            self.deaths = 0
            yield job, made

    def _welcome(self, worker: _Worker, made: Loaded | Exception) -> None:
        """Take a worker that has loaded its model into the crew."""
        if isinstance(made, Exception):
            raise made
        if self.loaded is None:
            self.loaded = made
            for line in made.said:
                logging.getLogger(__name__).warning("%s", line)
        elif difference := self.loaded.differs(made):
            raise ConfigError(f"The workers would not play alike: {difference}. Give them the same, or --precision.")
        worker.room = min(THREADS, HELD * made.slots)

    def _lose(self, worker: _Worker, error: Exception) -> None:
        """Replace a worker that died; its other calls come back one by one."""
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        self.ray.kill(worker.handle)  # if it is only out of reach
        self.deaths += 1
        if self.deaths > LIMIT + 3 * self.count:
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
            raise GenAudioError(
                f"{self.deaths} workers died and nothing was made meanwhile, the last one so: {reason.strip()} "
                "Use fewer --workers if memory is short, and see what --engine process says. What is done is kept."
            )
        self._start()

    def _try_again(self, job: _Job) -> Exception | None:
        job.tries += 1
        if job.tries < TRIES:
            self.again.append(job)
            return None
        return GenAudioError(
            f"{TRIES} workers died while they played it. Try it with --engine process, which says why."
        )

    def _say_if_nobody_is_there(self) -> None:
        now = time.perf_counter()
        if self.loaded_workers():
            self.since = now
        elif now - self.since > PATIENCE:
            self.since = now
            free = {name: round(self.ray.available_resources().get(name, 0), 2) for name in ("CPU", "GPU")}
            print(f"gen-audio: waiting for a worker; the cluster has {free} free. See ray status.", file=sys.stderr)


@contextmanager
def crew(workers: ray_cluster.Workers, model: str, how: Mapping[str, str], settings: Settings) -> Iterator[Crew]:
    """Workers of Ray that play `model`, loaded as `how` says; they end with this block.

    Raises:
        GenAudioError: the model cannot be loaded, or workers do not agree; as `load` raises it.
    """
    with ray_cluster.joined(workers) as count:
        found = Crew(ray_cluster.need_ray(), workers, count, (model, dict(how), settings, os.getcwd()))
        try:
            yield found
        finally:
            found.close()
