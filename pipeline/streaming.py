"""Music while it is being made. Knows neither models nor codecs: codes come in frame by frame, sound goes out.

The first chunk is as short as it can be, so that something is heard soon, and each is twice as long as the one before,
because a long one costs less than two that are half as long.

    frames of codes    context + 5    10    20    40    80    80  ...

A codec needs `context` frames more before the first sound is final, and never again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio import Waveform
from ..errors import ConfigError

__all__ = ["FIRST", "LONGEST", "SoundStream", "check", "cut", "in_blocks"]

FIRST, LONGEST = 5, 80  # frames


@dataclass(frozen=True)
class SoundStream:
    """A piece on its way: iterate to get Waveforms, each as soon as it is final; they join without a seam."""

    pieces: Iterator[np.ndarray]  # [C, n]
    sample_rate: int
    channels: int
    length: int  # samples of the whole piece
    seed: int
    facts: Callable[[], Mapping[str, Any]]  # for the sidecar: prompt, plan, parameters, model, provenance

    def __iter__(self) -> Iterator[Waveform]:
        for piece in cut(self.pieces, self.length):
            yield Waveform(piece, self.sample_rate)


def check(params: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a stream, loudness being none.

    Raises:
        ConfigError: one that needs the whole piece, or more pieces than one.
    """
    if params.get("loudness") not in (None, "none"):
        raise ConfigError(
            f"loudness is {params['loudness']!r}, but it is measured on a whole piece, and a stream is heard before "
            "there is one. Leave it out, or make a file."
        )
    if params.get("num_samples") not in (None, 1):
        raise ConfigError(f"num_samples is {params['num_samples']}, but a stream is one piece. Leave it out.")
    return {**params, "loudness": "none"}


def in_blocks(columns: Iterable[Tensor], context: int) -> Iterator[Tensor]:
    """Gather columns [B, K] into blocks [B, K, n], n as drawn above."""
    block: list[Tensor] = []
    size, wanted = FIRST, context + FIRST
    for column in columns:
        block.append(column)
        if len(block) == wanted:
            yield torch.stack(block, -1)
            size = min(2 * size, LONGEST)
            block, wanted = [], size
    if block:
        yield torch.stack(block, -1)


def cut(pieces: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Hand out pieces [C, n], and of the last only so much that `length` samples come out."""
    for piece in pieces:
        if length <= 0:
            return
        yield np.ascontiguousarray(piece[:, :length], dtype=np.float32)
        length -= piece.shape[1]
