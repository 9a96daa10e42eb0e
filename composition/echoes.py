"""Effects that repeat what they hear: echoes in time with the beat, and a chorus.

Both take sound [2, n] that comes piece by piece and return what is to be added to it, [2, n] float32. Know no torch.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Chorus", "Delay"]

SIDES = np.array([[1.25], [0.66]], np.float32)  # of the first echo; the squares sum to 2, as those of both sides do
DULLER = np.float32(0.25)  # of both neighbours of a sample: 6 dB less at a quarter of the sample rate, with every echo
DEPTH, MIDDLE = 0.003, 0.012  # seconds: how far a chorus' voices swing, and around which delay
SWINGS_HZ = (0.55, 0.71)  # of the left and of the right voice


class Delay:
    """Echoes, each on the other side than the one before, softer and duller.

        heard    |  .    .    .    .        left  (.    :    .)
        echoes        |    :    .           every `seconds`, times `feedback`

    Args:
        seconds: from echo to echo.
        feedback: how loud an echo is beside the one before, below 1.

    Source: a digital delay line with feedback, Zölzer (ed.) 2011, DAFX, chapter 2. Ours filters by three taps.
    """

    def __init__(self, *, sample_rate: int, seconds: float, feedback: float) -> None:
        self.count = max(4, round(seconds * sample_rate))
        self.feedback = np.float32(feedback)
        self.line = np.zeros((2, self.count + 1), np.float32)  # what echoes next: what was heard and its echoes

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        heard = sound.mean(0) * SIDES
        out = np.empty((2, sound.shape[1]), np.float32)
        for start in range(0, sound.shape[1], self.count - 1):
            part = heard[:, start : start + self.count - 1]
            length = part.shape[1]
            before, at, after = (self.line[:, shift : shift + length] for shift in range(3))
            echo = (1 - 2 * DULLER) * at + DULLER * (before + after)
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
        index = np.arange(length)
        time = (self.place + index) / self.sample_rate
        out = np.empty_like(sound)
        for side, swing in enumerate(SWINGS_HZ):
            delay = MIDDLE + DEPTH * np.sin(2 * np.pi * swing * time)
            source = first + index - delay * self.sample_rate
            whole = source.astype(np.int64)
            share = (source - whole).astype(np.float32)
            out[side] = held[side, whole] * (1 - share) + held[side, whole + 1] * share
        self.past, self.place = held[:, length:], self.place + length
        return out

    @property
    def is_silent(self) -> bool:
        """Whether nothing that was heard is still to come."""
        return not np.abs(self.past).max(initial=0.0) > 1e-7
