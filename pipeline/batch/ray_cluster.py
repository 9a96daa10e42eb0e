"""A Ray cluster for one run: one of this machine that ends with the run, or one that is there, joined and left again.

Knows nothing of music. Ray is imported here and nowhere else.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, MissingExtraError
from .ray_guard import Guard

__all__ = ["Workers", "joined", "need_ray", "size"]

STORE = 256 * 2**20  # bytes of shared memory for finished pieces on their way; what does not fit goes to the disk
HELP = (
    "Start one with ray start --head, or leave out --ray-address. If it asks for a token, set RAY_AUTH_MODE=token for "
    "this command, too."
)
# Nothing is reported to anybody, and a worker that dies is told by us and not by Ray.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_TQDM_PATCH_PRINT": "0",
    "RAY_task_events_report_interval_ms": "0",  # which would keep a note of every item in memory
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # all of them
}


@dataclass(frozen=True)
class Workers:
    """How many processes play, and what each may use.

    Args:
        count: None for as many as fit.
        cpus, gpus: of each worker; fractions share one, such as 0.5 for two workers on a GPU.
        address: of a cluster that is there: "auto" on one of its machines, or host:port. None for a local one.
    """

    count: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigError(f"--workers is {self.count}; it must be 1 or more.")
        for name, value in (("cpus", self.cpus), ("gpus", self.gpus)):
            if not 0 <= value <= 1024 or (value > 1 and value != int(value)):
                raise ConfigError(f"--worker-{name} is {value:g}; it must be a fraction up to 1, or a whole number.")
        if not self.cpus and not self.gpus:
            raise ConfigError("--worker-cpus and --worker-gpus are both 0. Say what a worker may use.")

    def fit(self, machine: Mapping[str, float]) -> int:
        """How many fit on a machine with so many "CPU" and "GPU"."""
        wanted = (("CPU", self.cpus), ("GPU", self.gpus))
        return min(int(machine.get(name, 0) / each + 1e-9) for name, each in wanted if each)


def need_ray() -> Any:
    """Import Ray.

    Raises:
        MissingExtraError: it is not installed.
    """
    for name, value in QUIET.items():  # which it reads when it is imported
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtraError(
            "--engine ray needs the package ray, which is not installed. Run: pip install 'gen-audio[ray]'"
        ) from error


@contextmanager
def joined(workers: Workers) -> Iterator[int]:
    """Start or join a cluster, and give the number of workers that it is to have.

    Raises:
        ConfigError: no cluster answers, or not one worker has room.
    """
    ray = need_ray()
    if workers.address is not None:
        _check_reachable(workers.address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    guard = None
    if workers.address is None:
        folder = tempfile.mkdtemp(prefix="gen-audio-ray-", dir=_short_folder())
        guard = Guard(folder)
        options |= {"num_cpus": _local_cpus(workers), "object_store_memory": STORE, "_temp_dir": folder}
        options |= {"include_dashboard": False}
    try:
        try:
            ray.init(address=workers.address or "local", **options)
        except (OSError, ValueError, RuntimeError) as error:
            if workers.address is None:
                raise ConfigError(f"Ray did not start: {error}. Try --engine process.") from error
            raise ConfigError(f"The Ray cluster at '{workers.address}' cannot be joined: {error}. {HELP}") from error
        yield size(workers, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    finally:
        ray.shutdown()
        if guard:
            guard.dismiss()


def _check_reachable(address: str) -> None:
    """Ask at the door, because Ray itself goes on asking for many minutes; "auto" it looks up in a file."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto" or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise ConfigError(f"No Ray cluster answers at '{address}' ({error}). {HELP}") from None


def size(workers: Workers, machines: list[Mapping[str, float]] | None = None) -> int:
    """How many workers there will be.

    Args:
        machines: "CPU" and "GPU" of each; None for this one, as it is before Ray has started.

    Raises:
        ConfigError: they do not fit. A cluster that is there may grow, so there only a number that was not given can
            be too small.
    """
    if machines is None:
        import torch

        machines = [{"CPU": _local_cpus(workers), "GPU": torch.cuda.device_count()}]
    room = sum(map(workers.fit, machines))
    if room < (workers.count or 1) and (workers.address is None or workers.count is None):
        there = " + ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in machines)
        raise ConfigError(
            f"{workers.count or 1} workers of {workers.cpus:g} CPU and {workers.gpus:g} GPU do not fit into {there}. "
            "Lower --workers, --worker-cpus or --worker-gpus."
        )
    return workers.count or room


def _local_cpus(workers: Workers) -> int:
    """What a local cluster may give away: who asks for more workers than there are cores shall have them."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, cores if workers.count is None else math.ceil(workers.count * workers.cpus))


def _short_folder() -> str:
    """A folder for Ray's sockets, whose paths must stay below about 100 characters."""
    usual = tempfile.gettempdir()
    return usual if len(usual) < 20 or sys.platform == "win32" else "/tmp"
