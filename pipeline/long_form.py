"""Pieces longer than a model hears at once: windows that overlap, each told the codes of the one before.

Knows frames only; what each window is told of text or melody is its caller's business.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import ConfigError
from .executors.base import Asked, Choosing, Executor
from .fuse import Fused
from .generate import Piece, Playable
from .patterns.base import Pattern

__all__ = ["LongPiece", "first_frame"]


def first_frame(done: int, window: int, stride: int) -> int:
    """First frame of the window that decides frame `done`: the earliest multiple of `stride` that reaches it.

    window = 30, stride = 18     window    frames         told     new
                                 0         0 .. 30        -        0 .. 30
                                 1        18 .. 48        18..30   30 .. 48
    """
    return max(0, -(-(done - window + 1) // stride) * stride)


class LongPiece(Playable):
    """A piece of `num_frames` frames, those `given` [B, K, T0] first and unchanged, window after window.

    A code draws the noise of its own address in the piece, whichever window decides it, so a short piece is the
    beginning of the long one with the same seed, up to the last frames before the end.

    Args:
        conditions: gives what the window that starts at a frame is told.
        num_frames: T of the whole piece, the given frames included.
        window: frames that the model hears at once.
        stride: frames from one window's start to the next; window - stride frames are told again.

    Source: Copet et al. 2023, arXiv:2306.05284, section 4, and its released code: 30 s windows, 18 s apart.
    """

    def __init__(
        self,
        executor: Executor,
        pattern: Pattern,
        conditions: Callable[[int], Fused],
        choosing: Choosing,
        *,
        num_frames: int,
        window: int,
        stride: int,
        given: Tensor | None = None,
    ) -> None:
        self.executor, self.pattern, self.conditions, self.choosing = executor, pattern, conditions, choosing
        self.num_frames, self.length, self.stride = num_frames, window, stride
        self.fused = conditions(0)
        if given is None:
            given = torch.empty((self.fused.batch_size, executor.n_q, 0), dtype=torch.int64)
        if given.shape[-1] >= num_frames:
            raise ConfigError(f"{given.shape[-1]} frames are given and {num_frames} asked for. Ask for a longer piece.")
        self.ready = list(given.unbind(-1))  # frames that nobody has been given yet
        self.heard, self.done = list(self.ready), len(self.ready)
        self.window = self._next()

    @property
    def is_playing(self) -> bool:
        return self.window.is_playing

    @property
    def num_bytes(self) -> int:
        return self.window.num_bytes

    def ask(self) -> Asked:
        return self.window.ask()

    def take(self, tokens: Tensor) -> list[Tensor]:
        new = self.window.take(tokens)
        self.heard, self.done = self.heard + new, self.done + len(new)
        if not self.window.is_playing and self.done < self.num_frames:
            self.window = self._next()
        ready, self.ready = self.ready + new, []
        return ready

    def _next(self) -> Piece:
        """The window that decides the first frame that is not done."""
        start = first_frame(self.done, self.length, self.stride)
        self.fused = self.conditions(start) if start else self.fused
        self.heard = self.heard[len(self.heard) - (self.done - start) :]  # of this window; older ones are not needed
        return Piece(
            self.executor,
            self.pattern,
            self.fused,
            dataclasses.replace(self.choosing, noise=self.choosing.noise.shifted(start)),
            num_frames=min(self.num_frames - start, self.length),
            told=torch.stack(self.heard, -1) if self.heard else None,
        )
