"""The loop: items in, sounds and journal lines out. What plays them stands behind `play`, which may be replaced."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import AudioError, ConfigError, GenAudioError
from .. import interrupt
from ..generation import Generation
from ..params import check_prompt
from ..together import Request, play_requests
from . import identity
from .compact import CompactTable
from .items import Item, Reader
from .manifest import Row
from .sound import Finished, finish
from .store import DONE, FAILED, Ledger, Store
from .watch import Watch

if TYPE_CHECKING:
    from ..pipeline import Pipeline

__all__ = ["Played", "Selection", "play", "render"]

AHEAD = 8  # pieces that may wait to be written while others are played, since those of a batch may end together
Played = tuple[Item, Generation | Finished | Exception]


def play(pipeline: Pipeline, items: Iterable[Item | None], watch: Watch | None = None) -> Iterator[Played]:
    """Play items, as many at a time as the executor has slots, before their level is set.

    Args:
        items: None says that the next is not there yet, as for `play_requests`.
        watch: is told what is begun, and shows how far it is; None for nobody.

    Yields:
        Each item with its piece, or with the error that it met, in the order in which they end.

    Raises:
        CheckpointError, MissingExtraError, OSError, MemoryError: what no other item would survive either.
    """
    refused: deque[Played] = deque()

    def requests() -> Iterator[Request | None]:
        for item in items:
            interrupt.check()
            if item is None:
                yield None
                continue
            try:
                params = pipeline.settle(check_prompt(item.prompt), {**item.told(), "loudness": "none"})
            except GenAudioError as error:
                refused.append((item, error))
                continue
            if watch:
                watch.playing(item.row)
            yield Request(item.prompt.strip(), params, params.seeds[0], item)

    def progress(request: Request, done: int, total: int) -> None:
        interrupt.check()
        if watch:
            watch.show()

    for request, made in play_requests(pipeline, requests(), pipeline.executor.slots, progress):
        interrupt.check()
        yield request.tag, made
        while refused:
            yield refused.popleft()
    yield from refused


@dataclass
class Selection:
    """Which items of a manifest are to be made now.

    Args:
        reader: turns rows into items.
        model: what plays, as `identity.of` says it.
        shard: (i, n).
        retry_failed: whether items that failed in an earlier run are tried again.
        limit: the most items to make; None for all.
    """

    reader: Reader
    model: dict[str, str]
    shard: tuple[int, int] = (1, 1)
    retry_failed: bool = False
    limit: int | None = None
    ids: CompactTable = field(default_factory=CompactTable)  # hashes of those that were seen -> 1

    def address(self, item: Item) -> str:
        """The content address of an item."""
        return identity.address(item.content, self.model)

    def choose(self, rows: Iterable[Row], ledger: Ledger, watch: Watch) -> Iterator[Item]:
        """Go through the rows, tell refused ones, and give the items that are not done."""
        left = self.limit
        for row in rows:
            watch.row = row.number
            try:
                for item in self.reader.items(row):
                    if self._is_mine(item, watch) and self._is_new(item, ledger, watch):
                        if left is not None and left <= 0:
                            return
                        left = None if left is None else left - 1
                        yield item
            except GenAudioError as error:
                watch.fault(row.number, str(row.values.get("id", ""))[:60], str(error))

    def _is_mine(self, item: Item, watch: Watch) -> bool:
        """Whether this shard makes it; an id that was used before, in whatever shard, is refused."""
        if item.id:
            key = hash(item.id) % 2**64
            if self.ids.get(key):
                watch.fault(item.row, item.id, "an earlier row has the same id. Give each row its own.")
                return False
            self.ids[key] = 1
        return identity.shard_of(item.content, self.shard[1]) == self.shard[0]

    def _is_new(self, item: Item, ledger: Ledger, watch: Watch) -> bool:
        """Whether it is to be made: neither done nor failed in an earlier run, nor met before in this one."""
        address = int(self.address(item), 16)
        state = ledger.states.get(address)
        if state > 0:
            reason = f"prompt and parameters are those of row {state}, so it would be the same sound. Give it an id or "
            watch.fault(item.row, item.id, reason + "a seed of its own, or use num_samples.")
            return False
        ledger.states[address] = item.row
        if state == FAILED and not self.retry_failed:
            watch.fault(item.row, item.id, f"failed in an earlier run: {ledger.reason(address)} Try --retry-failed.")
            return False
        watch.skipped += state == DONE
        return state != DONE


def render(played: Iterable[Played], store: Store, address: Callable[[Item], str], watch: Watch) -> None:
    """Write what a player gives; a thread of its own measures, encodes and writes, so playing never waits for a disk.

    Args:
        played: from `play`, or from another player, whose pieces may be finished already.

    Raises:
        OSError: the disk is full or fails. All that was noted as done is whole.
    """
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "writer") as writer:
        start = time.perf_counter()
        for item, made in played:
            watch.busy += time.perf_counter() - start
            if isinstance(made, ConfigError):  # the row is at fault; it is looked at again in the next run
                watch.fault(item.row, item.id, str(made))
            elif isinstance(made, Exception):
                reason = f"{type(made).__name__}: {made}"
                waiting.append(writer.submit(_fail, store, item, address(item), reason, watch))
            else:
                waiting.append(writer.submit(_write, store, item, address(item), made, watch))
            while len(waiting) > AHEAD or (waiting and waiting[0].done()):
                waiting.popleft().result()
            start = time.perf_counter()
        for future in waiting:
            future.result()


def _fail(store: Store, item: Item, address: str, reason: str, watch: Watch) -> None:
    store.fail(item, address, reason)
    watch.fault(item.row, item.id, reason)


def _write(store: Store, item: Item, address: str, made: Generation | Finished, watch: Watch) -> None:
    try:
        finished = made if isinstance(made, Finished) else finish(item, made, store.settings)
    except AudioError as error:
        _fail(store, item, address, str(error), watch)
        return
    store.put(item, address, finished)
    watch.made += 1
    watch.audio += finished.record["duration"]
    watch.show()
