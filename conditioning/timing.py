"""Where in the piece a frame is, so that the network knows when to begin, to build and to end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .base import Condition, Conditioner

__all__ = ["Timing"]


class Timing(Conditioner):
    """Position, total length and elapsed fraction, each in `bins` learned vectors that are summed per frame.

    Seconds are binned logarithmically: about half a second wide at the start, wider later; everything from
    `max_seconds` on shares the last bin. The fraction is binned evenly over 0..1.

    Source: Dhariwal et al. 2020 (Jukebox), arXiv:2005.00341, section 3.3. Theirs bins seconds evenly, because theirs
    are songs of similar length.
    """

    per_frame = True

    def __init__(self, *, width: int, bins: int = 64, max_seconds: float = 600.0) -> None:
        super().__init__(width)
        if bins < 2 or max_seconds <= 0:
            raise ConfigError(f"timing has bins {bins} and max_seconds {max_seconds}; need 2 or more, and above 0.")
        self.bins, self.max_seconds = bins, max_seconds
        self.position, self.total, self.fraction = (nn.Embedding(bins, width) for _ in range(3))
        for table in (self.position, self.total, self.fraction):
            nn.init.normal_(table.weight, std=0.2)

    def prepare(
        self, start_frames: Sequence[int], num_frames: int, totals: Sequence[float], frame_rate: float
    ) -> dict[str, Tensor]:
        """Say for each row the first frame of its window and the piece's length in seconds.

        Raises:
            ConfigError: a total is not positive.
        """
        if min(totals) <= 0:
            raise ConfigError(f"a piece lasts {min(totals)} s; timing needs the whole length, above 0.")
        frames = torch.tensor(list(start_frames), dtype=torch.float32)[:, None] + torch.arange(num_frames)
        return {"position": frames / frame_rate, "total": torch.tensor(list(totals), dtype=torch.float32)}

    def forward(self, position: Tensor, total: Tensor, drop: Tensor | None = None) -> Condition:
        """Turn positions [B, T] and totals [B], in seconds, into a Condition [B, T, D]; `drop` is [B] bool."""
        part = (position / total[:, None] * self.bins).long().clamp(0, self.bins - 1)
        tensor = self.position(self._bin(position)) + self.total(self._bin(total))[:, None] + self.fraction(part)
        return Condition.full(self.replace_dropped(tensor, drop))

    def example(self, batch: int, length: int) -> dict[str, Tensor]:
        """Return windows that start one second apart."""
        return self.prepare([25 * i for i in range(batch)], length, [10.0 + i for i in range(batch)], 25.0)

    def _bin(self, seconds: Tensor) -> Tensor:
        """Number the logarithmic bin of each length."""
        scale = 4.0  # seconds; below it bins are nearly even, above it they widen with time
        share = torch.log1p(seconds.clamp_min(0) / scale) / math.log1p(self.max_seconds / scale)
        return (share * self.bins).long().clamp_max(self.bins - 1)
