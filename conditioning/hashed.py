"""Text as hashed words: no vocabulary, no download, nothing known of the language. For tests and nano pipelines."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .base import Condition, Conditioner

__all__ = ["Hashed"]


class Hashed(Conditioner):
    """Mean of learned vectors, one per word; two words share a vector when their hashes meet.

    Source: the hashing trick, Weinberger et al. 2009, arXiv:0902.2206. CRC-32 gives the same numbers on every machine.
    """

    per_frame = False

    def __init__(self, *, width: int, buckets: int = 4096) -> None:
        super().__init__(width)
        if buckets < 1:
            raise ConfigError(f"buckets is {buckets}; need 1 or more.")
        self.buckets = buckets
        self.words = nn.Embedding(buckets + 1, width, padding_idx=buckets)

    def prepare(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Number the words of each text; rows of `words` [B, W] are filled up with the number `buckets`.

        Raises:
            ConfigError: a text holds no word.
        """
        rows = [self._numbers(text) for text in texts]
        words = torch.full((len(rows), max(map(len, rows))), self.buckets)
        for i, row in enumerate(rows):
            words[i, : len(row)] = torch.tensor(row)
        return {"words": words}

    def forward(self, words: Tensor, drop: Tensor | None = None) -> Condition:
        """Turn word numbers [B, W] into a Condition [B, 1, D]; `drop` is [B] bool."""
        count = (words != self.buckets).sum(1, keepdim=True)
        tensor = (self.words(words).sum(1) / count)[:, None]  # [B, 1, D]
        return Condition.full(self.replace_dropped(tensor, drop))

    def example(self, batch: int, length: int) -> dict[str, Tensor]:
        """Return texts of different lengths."""
        return self.prepare(["calm piano " + "and strings " * i for i in range(batch)])

    def _numbers(self, text: str) -> list[int]:
        words = re.findall(r"\w+[#']?\w*", text.lower())
        if not words:
            raise ConfigError(f"the prompt {text!r} holds no word. Say what to play, for example 'lofi jazz piano'.")
        return [zlib.crc32(word.encode()) % self.buckets for word in words]
