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
    changer: Callable[..., float] | None = None  # does what `change` says

    def __iter__(self) -> Iterator[Waveform]:
        for piece in cut(self.pieces, self.length):
            yield Waveform(piece, self.sample_rate)

    def change(self, prompt: str | None = None, **wishes: Any) -> float:
        """Play something else from the next bar line on; may be called between two chunks or from another thread.

        Args:
            prompt: what shall be different, in words: "now with drums, faster". What it does not say stays; a prompt
                that names another style brings that style's tempo and players.
            wishes: tempo, key, meter, style, mood, chords, sections, instruments, without, rubato or ritardando, as for
                `generate`; or a whole `plan` for the rest of the piece.

        Returns:
            The second of the piece from which it holds: a bar line after everything that was made by now.

        Raises:
            ConfigError: a wish that cannot be met, no further bar, or a model that cannot change while it plays; the
                music goes on as it was.
        """
        if self.changer is None:
            raise ConfigError(
                "this stream cannot change while it plays: its model is told its words once and has no bars. Begin a "
                "new stream, or use etude."
            )
        return self.changer(prompt, **wishes)


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
    if params.get("as_mix"):
        raise ConfigError("as_mix has no stream: who plays may change while it runs. Leave it out, or make a file.")
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
