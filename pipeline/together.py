"""Many pieces at a time: requests of any prompt, length and settings enter and leave one running batch.

Knows neither models nor codecs: a pipeline begins a piece and finishes it, and between the two the loop plays it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import CheckpointError, MissingExtraError
from .generate import Playable, play_together

if TYPE_CHECKING:
    from .generation import Generation
    from .params import GenerationParams
    from .pipeline import Pipeline

__all__ = ["Begun", "Request", "play_requests", "report_of"]

FATAL = (CheckpointError, MissingExtraError, OSError, MemoryError)  # what no other request would survive either


@dataclass(frozen=True)
class Request:
    """One piece to make, its settings settled; `tag` is for whoever asks."""

    prompt: str
    params: GenerationParams
    seed: int
    tag: Any = None


@dataclass
class Begun:
    """A piece on its way.

    Args:
        piece: what the loop plays.
        num_frames: frames it will have.
        finish: turns its codes [R, K, T] into the finished piece.
    """

    piece: Playable
    num_frames: int
    finish: Callable[[Tensor], Generation]
    frames: list[Tensor] = field(default_factory=list)  # [R, K] int16 each

    def add(self, frame: Tensor) -> None:
        self.frames.append(frame.short())

    @property
    def is_whole(self) -> bool:
        return len(self.frames) == self.num_frames

    def end(self) -> Generation:
        """Decode what was played."""
        return self.finish(torch.stack(self.frames, -1).long())


def play_requests(
    pipeline: Pipeline,
    requests: Iterable[Request | None],
    slots: int,
    progress: Callable[[Request, int, int], Any] | None = None,
) -> Iterator[tuple[Request, Generation | Exception]]:
    """Play requests, up to `slots` of them at a time; each result equals the one made alone.

    Args:
        requests: taken one by one, when a slot is free. None says that the next is not there yet: what plays goes on,
            and if nothing does, this ends.
        progress: called with a request, its frames done and its frames in all.

    Yields:
        Each request with its piece, or with the error that it alone met, in the order in which they end.

    Raises:
        CheckpointError, MissingExtraError, OSError, MemoryError: what no other request would survive either.
    """
    playing: dict[Playable, tuple[Request, Begun]] = {}
    failed: deque[tuple[Request, Exception]] = deque()

    def pieces() -> Iterator[Playable | None]:
        for request in requests:
            if request is None:
                yield None
                continue
            try:
                begun = pipeline.begin(request.prompt, request.params, request.seed)
            except FATAL:
                raise
            except Exception as error:
                failed.append((request, error))
                continue
            playing[begun.piece] = (request, begun)
            yield begun.piece

    with _Decoder(aside=pipeline.executor.device.type != "cpu") as decoder:
        for piece, frame in play_together(pieces(), slots):
            request, begun = playing[piece]
            begun.add(frame)
            if progress:
                progress(request, len(begun.frames), begun.num_frames)
            if begun.is_whole:
                del playing[piece]
                decoder.take(request, begun)
            yield from decoder.done(at_most=slots)
            while failed:
                yield failed.popleft()
        yield from decoder.done(at_most=0)
    yield from failed


class _Decoder:
    """Ends pieces: aside, while a GPU plays on, or at once, where playing and decoding would share the same cores."""

    def __init__(self, aside: bool) -> None:
        self.thread = ThreadPoolExecutor(1, "decoder") if aside else None
        self.waiting: deque[tuple[Request, Future[Generation | Exception]]] = deque()

    def __enter__(self) -> _Decoder:
        return self

    def __exit__(self, *error: object) -> None:
        if self.thread is not None:
            self.thread.shutdown(cancel_futures=True)

    def take(self, request: Request, begun: Begun) -> None:
        if self.thread is not None:
            future = self.thread.submit(_end, begun)
        else:
            future = Future()
            future.set_result(_end(begun))
        self.waiting.append((request, future))

    def done(self, at_most: int) -> Iterator[tuple[Request, Generation | Exception]]:
        """Give out what is ready, and wait until no more than `at_most` pieces are left."""
        while self.waiting and (self.waiting[0][1].done() or len(self.waiting) > at_most):
            request, future = self.waiting.popleft()
            yield request, future.result()


def _end(begun: Begun) -> Generation | Exception:
    try:
        return begun.end()
    except FATAL:
        raise
    except Exception as error:
        return error


def report_of(progress: Callable[[int, int], Any], count: int) -> Callable[[Request, int, int], Any]:
    """Report frames of `count` pieces that are played side by side, as if each were as long as the one heard of."""
    parts: dict[int, float] = {}

    def report(request: Request, done: int, total: int) -> Any:
        parts[request.tag] = done / total
        return progress(round(sum(parts.values()) * total), count * total)

    return report
