"""Convolution of sound that comes piece by piece. Knows no torch."""

from __future__ import annotations

from collections import deque

import numpy as np

__all__ = ["Convolver", "convolve"]

SIZE = 1 << 14  # samples of an FFT: what it works on stays in a CPU's cache, however long the impulse response is


class Convolver:
    """Convolution with an impulse response [C, M] of sound that comes piece by piece; what still rings is kept.

    A long response is cut into parts that are as long as a block of sound; a block of the result is the sum of the last
    blocks of sound, each with the part that it has come to, and all sums but the inverse FFT are over spectra.

        sound     | a | b | c |            result   third block: c * first + b * second + a * third
        response  | first | second | third |

    Source: uniformly partitioned overlap-add, Stockham 1966, "High-speed convolution and correlation"; Wefers 2015,
    "Partitioned convolution algorithms for real-time auralization".
    """

    def __init__(self, impulse: np.ndarray) -> None:
        channels, taps = impulse.shape
        self.step = SIZE // 2 if taps > SIZE // 2 else SIZE - taps + 1  # samples of a block of sound
        parts = -(-taps // self.step)
        padded = np.pad(impulse, ((0, 0), (0, parts * self.step - taps)))
        self.spectra = [_spectrum(part) for part in np.split(padded, parts, 1)]
        self.ringing = np.zeros((channels, taps - 1), np.float32)

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        """Return the next [C, n] samples for those of `sound`."""
        (channels, length), step = sound.shape, self.step
        blocks = -(-length // step)
        count = blocks + len(self.spectra) - 1  # of the result, with what rings on after the sound
        out = np.zeros((channels, count * step + SIZE), np.float32)
        out[:, : self.ringing.shape[1]] = self.ringing
        heard: deque[np.ndarray | None] = deque(maxlen=len(self.spectra))  # the last block first
        product = np.empty_like(self.spectra[0])
        for number in range(count):
            heard.appendleft(_spectrum(sound[:, number * step :][:, :step]) if number < blocks else None)
            total = np.zeros_like(product)
            for part, block in zip(self.spectra, heard, strict=False):
                if block is not None:
                    total += np.multiply(part, block, out=product)
            out[:, number * step :][:, :SIZE] += np.fft.irfft(total, SIZE)
        self.ringing = out[:, length:][:, : self.ringing.shape[1]].copy()
        return out[:, :length]


def convolve(sound: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """Convolve [C, L] with [C, M] and keep the first L samples."""
    return Convolver(impulse)(sound)


def _spectrum(block: np.ndarray) -> np.ndarray:
    return np.fft.rfft(block, SIZE).astype(np.complex64, copy=False)
