"""A weightless codec: a frame is one averaged sample, quantised in residual levels. For tests and nano pipelines."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Codec

__all__ = ["Toy"]


class Toy(Codec):
    """Residual scalar quantisation of frame averages; exact to a stated error.

    Level k cuts the interval left by level k - 1 into `card` equal parts, so K levels tell `card ** K` values apart:
    a signal that is constant over each frame and inside -1..1 comes back within `max_error(K)`.

    Source: successive approximation, as in a pipelined analogue-to-digital converter; nothing is learnt.
    """

    def __init__(
        self, *, sample_rate: int = 8000, hop_length: int = 320, n_q: int = 4, card: int = 16, channels: int = 1
    ) -> None:
        super().__init__()
        self.sample_rate, self.hop_length, self.channels = sample_rate, hop_length, channels
        self.n_q, self.card, self.context = n_q, card, 0

    def max_error(self, levels: int) -> float:
        """Largest round-trip error of a frame average, for samples in -1..1, with so many levels."""
        return 1.0 / self.card**levels

    def encode(self, audio: Tensor, levels: int | None = None) -> Tensor:
        self.check_audio(audio)
        frames = self.pad(audio).mean(1).unflatten(-1, (-1, self.hop_length)).mean(-1)  # [B, T]
        rest = (frames.clamp(-1, 1) + 1) / 2
        codes = []
        for _ in range(self.check_levels(levels)):
            code = (rest * self.card).floor().clamp(0, self.card - 1)
            rest = rest * self.card - code
            codes.append(code.long())
        return torch.stack(codes, 1)  # [B, K, T]

    def decode(self, codes: Tensor) -> Tensor:
        self.check_codes(codes)
        value = torch.full(codes[:, 0].shape, 0.5, device=codes.device)  # the middle of the last interval
        for code in reversed(codes.unbind(1)):
            value = (value + code) / self.card
        audio = (value * 2 - 1).repeat_interleave(self.hop_length, -1)  # [B, L]
        return audio[:, None].repeat(1, self.channels, 1)
