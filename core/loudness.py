"""Integrated loudness of sound that arrives in blocks, so that hours can be measured in little memory."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["LoudnessMeter"]

HOP = 0.1  # seconds between blocks of the standard, which last four of them
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0  # LUFS; LU below the mean of what passes the first
OFFSET = -0.691  # so that a sine of 997 Hz at full scale in one channel measures -3.01
MEMORY = 1.0  # seconds after which the filters have forgotten


class LoudnessMeter:
    """Feed it [C, n] blocks; `lufs` is the integrated loudness of all of them.

    Source: ITU-R BS.1770-4. The filters are torchaudio's, and so is the result, to 0.01 LU.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.peak = 0.0
        self.energies: list[np.ndarray] = []  # mean square of each whole hop, [C, hops]
        self.before = self.rest = None  # type: np.ndarray | None

    def add(self, block: np.ndarray) -> None:
        """Hear the next samples [C, n]."""
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
        weighted = self._weighted(block)
        if self.rest is not None:
            weighted = np.concatenate((self.rest, weighted), 1)
        hop = round(HOP * self.sample_rate)
        whole = weighted.shape[1] // hop
        if whole:
            squares = np.square(weighted[:, : whole * hop], dtype=np.float64)
            self.energies.append(squares.reshape(len(squares), whole, hop).mean(2))
        self.rest = weighted[:, whole * hop :]

    def _weighted(self, block: np.ndarray) -> np.ndarray:
        """Filter by how the ear weighs frequencies, with enough of the past to know the filters' state."""
        import torch
        import torchaudio.functional as audio

        before = block[:, :0] if self.before is None else self.before
        sound = torch.from_numpy(np.concatenate((before, block), 1))
        sound = audio.treble_biquad(sound, self.sample_rate, 4.0, 1500.0, 1 / math.sqrt(2))
        sound = audio.highpass_biquad(sound, self.sample_rate, 38.0, 0.5)
        self.before = np.concatenate((before, block), 1)[:, -round(MEMORY * self.sample_rate) :]
        return sound.numpy()[:, before.shape[1] :]

    @property
    def lufs(self) -> float:
        """Integrated loudness; -inf for silence, and for less than 0.4 s."""
        hops = np.concatenate(self.energies, 1) if self.energies else np.zeros((1, 0))
        if hops.shape[1] < 4:
            return -math.inf
        blocks = np.lib.stride_tricks.sliding_window_view(hops, 4, axis=1).mean(2).sum(0)  # all channels alike
        blocks = blocks[_lufs(blocks) > ABSOLUTE_GATE]
        if not len(blocks):
            return -math.inf
        loud = blocks[_lufs(blocks) > _lufs(blocks.mean()) + RELATIVE_GATE]
        return float(_lufs(loud.mean())) if len(loud) else -math.inf


def _lufs(energy: np.ndarray) -> np.ndarray:
    return OFFSET + 10 * np.log10(np.maximum(energy, 1e-20))
