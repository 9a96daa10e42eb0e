"""THE loop: conditions in, one column of codes out per step. Files, batches and progress bars are its consumers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from .executors.base import Asked, Choosing, Executor
from .fuse import Fused
from .patterns.base import Pattern

__all__ = ["Piece", "Playable", "play", "play_together"]


class Playable:
    """What the loop can play: it says what the model is to do next, and takes what was chosen."""

    executor: Executor

    @property
    def is_playing(self) -> bool:
        """Whether steps are left."""
        raise NotImplementedError

    @property
    def num_bytes(self) -> int:
        """Bytes of keys and values that it holds."""
        raise NotImplementedError

    def ask(self) -> Asked:
        """What the model is to do next."""
        raise NotImplementedError

    def take(self, tokens: Tensor) -> list[Tensor]:
        """Go on by a step whose codes are `tokens` [B, K]; the frames [B, K] that are whole now, if any."""
        raise NotImplementedError


class Piece(Playable):
    """A batch of rows that is being played: what to ask the model next, and the frames that are whole.

    Args:
        executor: runs the model's steps.
        pattern: order of the codebooks.
        fused: conditions of all passes of guidance.
        choosing: sampler, guidance and noise.
        num_frames: T of the whole piece, those that are told included.
        told: [B, K, T0] codes of its first frames, which are decided already; special_token_id where they are not.
    """

    def __init__(
        self,
        executor: Executor,
        pattern: Pattern,
        fused: Fused,
        choosing: Choosing,
        *,
        num_frames: int,
        told: Tensor | None = None,
    ) -> None:
        self.executor, self.pattern, self.fused, self.num_frames = executor, pattern, fused, num_frames
        self.session = executor.open(fused, choosing, fused.prefix_length + pattern.num_steps(num_frames))
        self.column = pattern.first_column(fused.batch_size)  # [B, K], all special
        self.step, self.frame, self.known = 0, 0, None  # type: tuple[int, int, Tensor | None]
        frames = torch.arange(num_frames)
        self.steps = torch.stack([pattern.step_of(k, frames) for k in range(pattern.n_q)], 1).tolist()  # [T, K]
        self.decided: dict[int, Tensor] = {}  # step -> column, of frames that are not whole yet
        if told is not None and told.shape[-1]:
            self._hear(told)

    @property
    def is_playing(self) -> bool:
        return self.step < self.pattern.num_steps(self.num_frames)

    @property
    def num_bytes(self) -> int:
        return self.session.num_bytes

    def ask(self) -> Asked:
        condition = self.fused.frame
        frame = condition(self.pattern.condition_frame(self.step, self.num_frames)) if condition else None
        return Asked(self.session, self.column, frame, self.step)

    def take(self, tokens: Tensor) -> list[Tensor]:
        self.column = self.pattern.mask(tokens, self.step, self.num_frames)  # special where no frame lives
        if self.known is not None and self.step < self.known.shape[-1]:
            told = self.known[..., self.step]
            self.column = torch.where(told == self.pattern.special_token_id, self.column, told)
        self.decided[self.step] = self.column
        self.step += 1
        whole = []
        while self.frame < self.num_frames and max(self.steps[self.frame]) < self.step:
            places = enumerate(self.steps[self.frame])
            whole.append(torch.stack([self.decided[step][:, k] for k, step in places], 1))
            self.frame += 1
        oldest = min(self.steps[self.frame]) if self.frame < self.num_frames else self.step
        self.decided = {step: column for step, column in self.decided.items() if step >= oldest}
        return whole

    def _hear(self, told: Tensor) -> None:
        """Let the model read frames that are decided already; the first step is one that decides another."""
        self.known = self.pattern.interleave(told)  # [B, K, S]
        self.frame = told.shape[-1]
        if (told == self.pattern.special_token_id).any():
            return  # it plays all steps and fills the gaps itself
        self.step = min(self.steps[self.frame])
        first = self.pattern.first_column(len(told))[..., None]
        columns = torch.cat((first, self.known[..., : self.step - 1]), -1)
        self.executor.read(self.session, columns, self._conditions(self.step))
        self.column = self.known[..., self.step - 1]

    def _conditions(self, steps: int) -> Tensor | None:
        """Conditions [M, S, D] of the first steps."""
        condition = self.fused.frame
        if condition is None or steps == 0:
            return None
        return torch.stack([condition(self.pattern.condition_frame(s, self.num_frames)) for s in range(steps)], 1)


def play(piece: Playable) -> Iterator[Tensor]:
    """Play one piece: its frames [B, K], each as soon as its last codebook is decided."""
    for _, frame in play_together([piece], slots=1):
        yield frame


def play_together(pieces: Iterable[Playable | None], slots: int) -> Iterator[tuple[Playable, Tensor]]:
    """Play up to `slots` pieces at a time; when one ends, the next takes its place (continuous batching).

    Fewer play at a time where their keys and values fill the executor's room.

    Args:
        pieces: of one executor; each is taken when there is room for it. None says that the next is not there yet.

    Yields:
        A piece and its next frame [B, K]. A piece makes the same codes alone and in any company, where the executor
        keeps `rows_apart`.
    """
    waiting, playing = iter(pieces), list[Playable]()
    while True:
        while len(playing) < slots and (not playing or _has_room(playing)) and (piece := next(waiting, None)):
            playing.append(piece)
        if not playing:
            return
        tokens = playing[0].executor.step([piece.ask() for piece in playing])
        for piece, codes in zip(playing, tokens, strict=True):
            for frame in piece.take(codes):
                yield piece, frame
        playing = [piece for piece in playing if piece.is_playing]


def _has_room(playing: Sequence[Playable]) -> bool:
    return sum(piece.num_bytes for piece in playing) < playing[0].executor.room
