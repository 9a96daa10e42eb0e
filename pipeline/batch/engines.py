"""Who plays: this process, or workers of Ray. Whoever it is, items have the same addresses and the same sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ConfigError, UnknownNameError
from ..commands import PLAYER
from . import identity
from .ray_cluster import Workers, joined, need_ray, size

if TYPE_CHECKING:
    from .items import Item
    from .render import Played
    from .settings import Settings
    from .watch import Watch

__all__ = ["ENGINES", "Engine", "check", "count_workers", "open_engine"]

ENGINES = ("process", "ray")
FLAGS = {"workers": "count", "worker_cpus": "cpus", "worker_gpus": "gpus", "ray_address": "address"}


class Engine(NamedTuple):
    """Something that plays items."""

    model: dict[str, str]  # what plays, as `identity.of` says it
    play: Callable[[Iterable[Item], Watch], Iterator[Played]]


def check(options: Mapping[str, Any]) -> Workers | None:
    """Read the flags; None for this process.

    Raises:
        ConfigError: no such engine, or flags of the other one.
        MissingExtraError: Ray is not installed.
    """
    if options["engine"] not in ENGINES:
        raise UnknownNameError("engine", options["engine"], ENGINES)
    given = {name: options[flag] for flag, name in FLAGS.items() if options[flag] is not None}
    if options["engine"] == "ray":
        need_ray()
        return Workers(**given)
    for flag in FLAGS:
        if options[flag] is not None:
            raise ConfigError(
                f"--{flag.replace('_', '-')} has no effect without --engine ray. Add it, or leave it out."
            )
    return None


def count_workers(workers: Workers | None) -> int:
    """How many will play, for a dry run: a local cluster is not started for it, another one is asked."""
    if workers is None:
        return 1
    if workers.address is None:
        return size(workers)
    with joined(workers) as count:
        return count


@contextmanager
def open_engine(workers: Workers | None, options: Mapping[str, Any], settings: Settings) -> Iterator[Engine]:
    """Load the model, here or in workers, until the block ends."""
    name, how = options["model"], {option: options[option] for option in PLAYER}
    if workers is not None:
        from .ray_workers import crew

        with crew(workers, name, how, settings) as found:
            yield Engine(found.model, found.play)
        return
    from ..load import load
    from .render import play

    pipeline = load(name, **how)
    yield Engine(identity.of(pipeline), partial(play, pipeline))
