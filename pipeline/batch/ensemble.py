"""Items that come one by one, from threads that wait for theirs, played together by a thread of its own.

    thread: play(item) --> waiting --> playing, as many as the executor has slots --> the piece, to who waits for it

Knows neither Ray nor what becomes of a piece.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..generation import Generation
from .items import Item
from .render import play
from .sound import Finished

if TYPE_CHECKING:
    from ..pipeline import Pipeline

__all__ = ["Ensemble"]

Made = Generation | Finished | Exception


@dataclass(eq=False)
class _Asked:
    item: Item
    made: Future[Made] = field(default_factory=Future)


class Ensemble:
    """Plays what any number of threads ask for; each piece is the one that would be made alone."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.waiting: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self.playing: list[_Asked] = []  # of the thread that plays alone
        threading.Thread(target=self._play_on, name="ensemble", daemon=True).start()

    def play(self, item: Item) -> Made:
        """Wait for the piece of an item, or for the error that it alone met; its level is not set.

        Raises:
            CheckpointError, MissingExtraError, OSError, MemoryError: what no other item would survive either.
        """
        asked = _Asked(item)
        self.waiting.put(asked)
        return asked.made.result()

    def _play_on(self) -> None:
        while True:
            with suppress(Exception):  # it may be the fault of any of those that play, or of none
                for item, made in play(self.pipeline, self._items()):
                    asked = next(asked for asked in self.playing if asked.item is item)
                    self.playing.remove(asked)
                    asked.made.set_result(made)
            self._play_apart()

    def _items(self) -> Iterator[Item | None]:
        """What is to be played next; it waits for it only while nothing is playing, and else gives None."""
        while True:
            try:
                asked = self.waiting.get(block=not self.playing)
            except queue.Empty:
                yield None
                continue
            self.playing.append(asked)
            yield asked.item

    def _play_apart(self) -> None:
        """Play again, each alone, what an error left unfinished, so that what fails does so by itself."""
        while self.playing:
            asked = self.playing.pop(0)
            try:
                ((_, made),) = play(self.pipeline, [asked.item])
                asked.made.set_result(made)
            except Exception as error:
                asked.made.set_exception(error)
