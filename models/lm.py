"""The language model of codec codes: embeddings -> transformer over frames -> head over the levels of a frame.

It sees integers and tensors only: no text, no audio, no pattern, no randomness.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, ShapeError
from .heads import build_head
from .kv_cache import KVCache
from .transformer import Transformer, dropout

__all__ = ["CodecLM"]


class CodecLM(nn.Module):
    """Predict a frame's codes from the frames before it and from what the conditions say about it.

        frame          0              1              2
        reads          special        codes 0        codes 1        (embeddings of the K levels, summed)
                     + condition 0  + condition 1  + condition 2    (`frames`, the `sum` fuse)
        predicts       codes 0        codes 1        codes 2

    A prefix, if any, comes before frame 0 as earlier positions, and leaves the window like any other position.

    Args:
        n_q: codebooks K.
        card: entries of a codebook; the id `card` is special_token_id and means "no frame here".
        width: D.
        num_layers: blocks of the transformer over frames.
        num_heads: attention heads; width must be a multiple of 2 * num_heads.
        window: frames that attention reaches back, the present one included.
        head: {"name": "depth", "width": .., "num_layers": .., "num_heads": ..} or {"name": "parallel"}.
        dropout: in training, after every sub-layer and on the input.
        cross_width: width of a cross-attention source; None builds no cross-attention.
    """

    offsets: Tensor  # where the table of each codebook starts in the one embedding matrix

    def __init__(
        self,
        *,
        n_q: int,
        card: int,
        width: int = 256,
        num_layers: int = 6,
        num_heads: int = 4,
        window: int = 256,
        head: Mapping[str, Any] | None = None,
        dropout: float = 0.1,
        cross_width: int | None = None,
    ) -> None:
        super().__init__()
        if n_q < 1 or card < 2:
            raise ConfigError(f"n_q is {n_q} and card is {card}; use n_q >= 1 and card >= 2, as the codec says.")
        self.n_q, self.card, self.width, self.cross_width = n_q, card, width, cross_width
        self.dropout = dropout
        self.embedding = nn.Embedding(n_q * (card + 1), width)
        nn.init.normal_(self.embedding.weight, std=n_q**-0.5)  # the sum of K of them has unit variance
        self.transformer = Transformer(
            width=width,
            num_layers=num_layers,
            num_heads=num_heads,
            window=window,
            dropout=dropout,
            cross_width=cross_width,
        )
        self.head = build_head(head or {"name": "depth"}, n_q=n_q, card=card, input_width=width, dropout=dropout)
        self.register_buffer("offsets", torch.arange(n_q) * (card + 1), persistent=False)

    @property
    def special_token_id(self) -> int:
        return self.card

    @property
    def window(self) -> int:
        return self.transformer.window

    def embed(self, columns: Tensor) -> Tensor:
        """Sum the embeddings of the K codes of each column, [B, K] -> [B, D]."""
        return F.embedding_bag(columns + self.offsets, self.embedding.weight, mode="sum")

    def hidden(
        self,
        codes: Tensor,
        frames: Tensor | None = None,
        *,
        prefix: Tensor | None = None,
        history: Tensor | None = None,
        cross: Tensor | None = None,
    ) -> Tensor:
        """Run whole pieces at once, as in training.

        Args:
            codes: [B, K, T] the codes to predict, 0..card.
            frames: [B, T, D] a condition of each frame, added to what the frame reads.
            prefix: [B, N, D] positions before the first frame.
            history: [B, K, T] read in the place of `codes` (corrupted ones, for instance), shifted just the same.
            cross: [B, N, cross_width] source of cross-attention. Rows of zeros carry no content.

        Returns:
            [B, T, D]; row t is to predict codes[..., t] and has not seen them.
        """
        past = codes if history is None else history
        if past.dim() != 3 or past.shape[1] != self.n_q:
            raise ShapeError(f"codes have shape {list(past.shape)}; this model needs [B, {self.n_q}, T].")
        b, k, t = past.shape
        first = torch.full_like(past[..., :1], self.special_token_id)
        columns = torch.cat((first, past[..., :-1]), -1).transpose(1, 2).reshape(b * t, k)
        x = self.embed(columns).view(b, t, self.width)
        if frames is not None:
            x = x + frames
        if prefix is not None:
            x = torch.cat((prefix.to(x.dtype), x), 1)  # [B, N+T, D]
        x = dropout(x, self.dropout, self.training)
        return self.transformer(x, cross)[:, -t:]

    def forward(
        self,
        codes: Tensor,
        frames: Tensor | None = None,
        *,
        prefix: Tensor | None = None,
        history: Tensor | None = None,
        cross: Tensor | None = None,
    ) -> Tensor:
        """Return the teacher-forced logits [B, K, T, card] of all codes; arguments as in `hidden`."""
        hidden = self.hidden(codes, frames, prefix=prefix, history=history, cross=cross)
        b, k, t = codes.shape
        logits = self.head.logits(hidden.reshape(b * t, -1), codes.transpose(1, 2).reshape(b * t, k))
        return logits.reshape(b, t, k, self.card).transpose(1, 2)

    def new_cache(self, rows: int, length: int | None = None) -> KVCache:
        """Memory for decoding `rows` rows: B, times the passes of guidance; `length` positions if that is less."""
        return self.transformer.new_cache(rows, length)

    def prefill(
        self,
        cache: KVCache,
        prefix: Tensor | None = None,
        cross: Tensor | None = None,
        cross_mask: Tensor | None = None,
    ) -> None:
        """Read the conditions that come before any sound into an empty cache.

        Args:
            cache: changed in place.
            prefix: [M, N, D], M the rows of the cache.
            cross: [M, N, cross_width]; its keys and values are worked out here, once.
            cross_mask: must be None; filler is made of zeros here.
        """
        if cross_mask is not None or (cross is not None and len(cross) != cache.rows):
            raise ShapeError("this model wants a cross-attention source for every row and no mask; fill up with zeros.")
        if cross is not None:
            cache.cross = self.transformer.cross_keys(cross)
        if prefix is not None:
            for position in prefix.unbind(1):
                self.transformer.step(position, cache)

    def step(self, column: Tensor, frame: Tensor | None, cache: KVCache) -> Tensor:
        """Read one column and return the hidden vector that predicts the next.

        Args:
            column: [B, K], the last column; the special column at first. If the cache has more rows than B (passes of
                guidance, one after the other), every pass reads the same column.
            frame: [M, D] condition of the frame to predict, M the rows of the cache; or None.
            cache: changed in place.

        Returns:
            [M, D], for `head.sample`.
        """
        x = self.embed(column)
        if cache.rows != column.shape[0]:
            x = x.repeat(cache.rows // column.shape[0], 1)  # [M, D]
        return self.transformer.step(x if frame is None else x + frame, cache)
