"""Stems out of codes that are still written, of those rows that play; a row may join later. Knows no words, no mix."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from torch import Tensor

from ..codecs.base import Codec, Sounding

__all__ = ["stems"]

Told = Callable[[list[int], int], Sounding | None]  # some rows and the frame that they join in -> what they may sound


class _Voice:
    """Some rows, decoded together from one frame on, before which they are silent."""

    def __init__(self, codec: Codec, rows: list[int], first: int, pull: Callable[[], bool], told: Told) -> None:
        self.rows, self.begin, self.pull = rows, first * codec.hop_length, pull
        self.waiting: deque[Tensor] = deque()
        self.device = codec.device
        self.pieces = codec.decode_sounding(self._blocks(), told(rows, first))
        self.held = np.zeros((len(rows), 0), np.float32)  # decoded and not yet taken, from sample `begin` on

    def _blocks(self) -> Iterator[Tensor]:
        while self.waiting or self.pull():
            yield self.waiting.popleft()[self.rows].to(self.device)

    def end(self) -> int | None:
        """Decode one more piece; the sample that the sound reaches to now, or None if that was all."""
        piece = next(self.pieces, None)
        if piece is None:
            return None
        self.held = np.concatenate((self.held, piece[:, 0].cpu().numpy()), 1)
        return self.begin + self.held.shape[1]

    def take(self, start: int, stop: int) -> np.ndarray:
        """The sound from sample `start`, from which on nothing was taken yet, to `stop`."""
        while max(self.begin, start) < stop and self.begin + self.held.shape[1] < stop:
            end = self.end()
            assert end is not None, "all rows of a piece end together"
        silence = np.zeros((len(self.rows), min(max(0, self.begin - start), stop - start)), np.float32)
        count = max(0, stop - self.begin)
        sound, self.held, self.begin = self.held[:, :count], self.held[:, count:], max(self.begin, stop)
        return np.concatenate((silence, sound), 1)


def stems(
    codec: Codec,
    blocks: Iterator[Tensor],
    joined: Callable[[], Mapping[int, int]],
    told: Told = lambda rows, first: None,
) -> Iterator[np.ndarray]:
    """Decode the rows that play.

    Args:
        blocks: [R, K, n] each; codes of rows that do not play may be anything.
        joined: gives the rows that play and the frame that each joins in; it is asked after every block, and a row
            may be added until the block comes that it joins in.
        told: says what rows may sound that join in a frame; None: everything.

    Yields:
        [R, n] float32; rows are silent until they join.
    """
    voices: list[_Voice] = []
    frames = done = count = 0

    def pull() -> bool:
        """Hand the next block to those who play; whoever joins in it gets what follows."""
        nonlocal frames, count
        block = next(blocks, None)
        if block is None:
            return False
        for voice in voices:
            voice.waiting.append(block)
        known = {row for voice in voices for row in voice.rows}
        count, length = block.shape[0], block.shape[-1]
        joining = {row: first for row, first in joined().items() if row not in known and first < frames + length}
        for first in sorted(set(joining.values())):
            voice = _Voice(codec, [row for row in joining if joining[row] == first], first, pull, told)
            voice.waiting.append(block[..., first - frames :])
            voices.append(voice)
        frames += length
        return True

    if not pull():
        return
    while (end := voices[0].end()) is not None:
        out = np.zeros((count, end - done), np.float32)
        for voice in voices:
            out[voice.rows] = voice.take(done, end)
        yield out
        done = end
