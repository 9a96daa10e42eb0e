"""Effects that repeat what they hear: echoes in time with the beat, and a chorus.

Both take sound [2, n] that comes piece by piece and return what is to be added to it, [2, n] float32. Know no torch.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from .effects import slowly

__all__ = ["Chorus", "Delay"]

SIDES = np.array([[1.25], [0.66]], np.float32)  # of the first echo; the squares sum to 2, as those of both sides do
DULL_HZ = 12000.0  # where an echo ends; at half of that it is 6 dB softer, with every echo
DEPTH, MIDDLE = 0.003, 0.012  # seconds: how far a chorus' voices swing, and around which delay
SWINGS_HZ = (0.55, 0.71)  # of the left and of the right voice


class Delay:
    """Echoes, each on the other side than the one before, softer and duller.

        heard    |  .    .    .    .        left  (.    :    .)
        echoes        |    :    .           every `seconds`, times `feedback`

    Args:
        seconds: from echo to echo.
        feedback: how loud an echo is beside the one before, below 1.

    Source: a digital delay line with feedback, Zölzer (ed.) 2011, DAFX, chapter 2. Ours filters by a raised cosine.
    """

    def __init__(self, *, sample_rate: int, seconds: float, feedback: float) -> None:
        self.taps = _duller(sample_rate)
        self.reach = len(self.taps) // 2  # samples on either side that an echo is made of
        self.count = max(4 * self.reach, round(seconds * sample_rate))
        self.feedback = np.float32(feedback)
        self.line = np.zeros((2, self.count + self.reach), np.float32)  # echoes next: what was heard, and its echoes

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        heard = sound.mean(0) * SIDES
        out = np.empty((2, sound.shape[1]), np.float32)
        step = self.count - self.reach
        for start in range(0, sound.shape[1], step):
            part = heard[:, start : start + step]
            length = part.shape[1]
            echo = sum(tap * self.line[:, shift : shift + length] for shift, tap in enumerate(self.taps))
            out[:, start : start + length] = echo
            self.line = np.concatenate((self.line[:, length:], part + self.feedback * echo[::-1]), 1)
        return out

    @property
    def is_silent(self) -> bool:
        """Whether nothing that was heard echoes any more."""
        return not np.abs(self.line).max(initial=0.0) > 1e-7


class Chorus:
    """A second voice left and a third right, whose delays swing slowly, so that they are a little out of tune.

    Args:
        start: sample of the piece that the first piece of sound begins with.

    Source: Dattorro 1997, "Effect design, part 2", Journal of the Audio Engineering Society 45.
    """

    def __init__(self, *, sample_rate: int, start: int = 0) -> None:
        self.sample_rate, self.place = sample_rate, start
        self.past = np.zeros((2, round((MIDDLE + DEPTH) * sample_rate) + 2), np.float32)

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        held = np.concatenate((self.past, sound), 1)
        first, length = self.past.shape[1], sound.shape[1]
        out = np.empty_like(sound)
        for side, hz in enumerate(SWINGS_HZ):
            delay = slowly(partial(_swing, hz), sample_rate=self.sample_rate, start=self.place, length=length)
            source = np.arange(first, first + length) - delay * self.sample_rate
            whole = source.astype(np.int64)
            share = (source - whole).astype(np.float32)
            out[side] = held[side, whole] * (1 - share) + held[side, whole + 1] * share
        self.past, self.place = held[:, length:], self.place + length
        return out

    @property
    def is_silent(self) -> bool:
        """Whether nothing that was heard is still to come."""
        return not np.abs(self.past).max(initial=0.0) > 1e-7


def _swing(hz: float, time: np.ndarray) -> np.ndarray:
    """Seconds of delay of a chorus' voice."""
    delay: np.ndarray = MIDDLE + DEPTH * np.sin(2 * np.pi * hz * time)
    return delay


def _duller(sample_rate: int) -> np.ndarray:
    """Taps of the filter that an echo goes through, an odd number of them: a raised cosine that ends at DULL_HZ.

    At twice DULL_HZ a second, and below, they are 1/4, 1/2, 1/4; at higher rates what lies between those.
    """
    times = max(1.0, sample_rate / (2 * DULL_HZ))
    reach = math.ceil(1 if times == 1 else 3 * times)
    at = np.arange(-reach, reach + 1) / times
    taps = (np.sinc(at) / 2 + np.sinc(at - 1) / 4 + np.sinc(at + 1) / 4) / times
    return (taps / taps.sum()).astype(np.float32)
