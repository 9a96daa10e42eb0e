"""Codes -> stems as they are heard: the codec, told the notes, and the highs above it. Knows no network and no mix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from ..audio import Waveform
from ..codecs.base import Codec
from ..composition.score import ROLES, Score
from .highs import Highs
from .sounding import sounding
from .voices import Told, stems

__all__ = ["BLOCK", "Decoder"]

BLOCK = 250  # frames of codes that are decoded at a time; their spectra stay in a CPU's cache


class Decoder:
    """A codec and, if the model has any, its highs.

    Args:
        highs: what stands above the codec's band; None leaves the sound at the codec's rate.
    """

    def __init__(self, codec: Codec, highs: Highs | None) -> None:
        self.codec, self.highs = codec, highs
        self.sample_rate = codec.sample_rate * (2 if highs else 1)

    def num_frames(self, duration: float) -> int:
        """Frames of codes that cover round(duration * sample_rate) samples."""
        length = round(duration * self.sample_rate)
        return self.codec.num_frames(-(-length * self.codec.sample_rate // self.sample_rate))

    @torch.inference_mode()
    def decode(self, codes: Mapping[str, Tensor], duration: float, score: Score | None) -> dict[str, Waveform]:
        """Turn codes [K, T] by role into stems of exactly round(duration * sample_rate) samples; each by itself.

        Args:
            score: what the network was told to play, if it was told notes; the codec hears of it, too.
        """
        length, decoded = round(duration * self.sample_rate), {}
        for role, rows in codes.items():
            told = sounding(self.codec, [role], lambda: [(0, score)]) if score else None
            blocks = rows[None].to(self.codec.device).split(BLOCK, -1)
            pieces = (piece[0].cpu().numpy() for piece in self.codec.decode_sounding(blocks, told))
            sound = self.highs.extend_blocks(pieces, [role]) if self.highs else pieces
            decoded[role] = Waveform(np.concatenate(list(sound), 1)[:, :length], self.sample_rate)
        return decoded

    def stream(
        self, blocks: Iterator[Tensor], joined: Callable[[], Mapping[int, int]], told: Told
    ) -> Iterator[np.ndarray]:
        """As `stems` of voices, with a row for every role, at the rate of the model."""
        rows = stems(self.codec, blocks, joined, told)
        return self.highs.extend_blocks(rows, ROLES) if self.highs else rows
