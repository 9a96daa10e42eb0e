"""From the hidden vector of a frame to its K codes: all at once, or level by level.

A head knows neither time nor noise: the caller's `choose` picks a code from logits, its `guide` mixes guidance rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, UnknownNameError
from .transformer import Transformer

__all__ = ["Choose", "DepthHead", "Guide", "Head", "ParallelHead", "build_head"]

Choose = Callable[[Tensor, int], Tensor]  # logits [B, card], level -> codes [B]
Guide = Callable[[Tensor], Tensor]  # logits [M, card] -> [B, card]

SOFT_CAP = 30.0  # no logit leaves -30..30 (Gemma 2, arXiv:2408.00118); float32 from here on


def soft_cap(logits: Tensor, cap: float = SOFT_CAP) -> Tensor:
    return cap * torch.tanh(logits.float() / cap)


class Head(nn.Module):
    """What the language model asks of a head."""

    def logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Score every code of any M frames, the true codes given (teacher forcing).

        Args:
            hidden: [M, D], any subset of frames.
            codes: [M, K] the codes of those frames, 0..card (card = special_token_id).

        Returns:
            [M, K, card] float32; level k saw the codes of levels 0..k-1 at most.
        """
        raise NotImplementedError

    def sample(self, hidden: Tensor, choose: Choose, guide: Guide) -> Tensor:
        """Choose the K codes of one frame.

        Args:
            hidden: [M, D]; M = B, or the B rows of each guidance pass stacked one pass after the other.
            choose: picks codes [B] from float32 logits [B, card] of a level.
            guide: mixes logits [M, card] of the passes into [B, card]; the identity when guidance is off.

        Returns:
            codes [B, K] int64.
        """
        raise NotImplementedError


class ParallelHead(Head):
    """K independent matrices: one pass, levels do not see each other (they must be delayed instead).

    Args:
        cap: no logit leaves -cap..cap; None for weights that were trained without.

    Source: Copet et al. 2023 (MusicGen), arXiv:2306.05284.
    """

    def __init__(self, *, n_q: int, card: int, input_width: int, cap: float | None = SOFT_CAP) -> None:
        super().__init__()
        self.n_q, self.card, self.cap = n_q, card, cap
        self.out = nn.Linear(input_width, n_q * card, bias=False)

    def logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        logits = self.out(hidden).float()
        return (soft_cap(logits, self.cap) if self.cap else logits).view(-1, self.n_q, self.card)

    def sample(self, hidden: Tensor, choose: Choose, guide: Guide) -> Tensor:
        logits = self.logits(hidden, hidden)  # [M, K, card]; codes are not looked at
        return torch.stack([choose(guide(logits[:, level]), level) for level in range(self.n_q)], -1)


class DepthHead(Head):
    """A small transformer over the levels of one frame; a level sees the levels already chosen.

        position   0         1         2                 (K = 3)
        reads      hidden    code 0    code 1
        predicts   code 0    code 1    code 2

    Source: Yang et al. 2023 (UniAudio), arXiv:2310.00704; Défossez et al. 2024 (Moshi), arXiv:2410.00037. We share the
    blocks between the levels and keep only embeddings and output matrices apart.
    """

    offsets: Tensor  # where the table of each level starts in the one embedding matrix

    def __init__(
        self,
        *,
        n_q: int,
        card: int,
        input_width: int,
        width: int = 192,
        num_layers: int = 2,
        num_heads: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_q, self.card = n_q, card
        self.project = nn.Linear(input_width, width, bias=False)
        self.embedding = nn.Embedding((n_q - 1) * (card + 1), width)  # the last level is read by nobody
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.transformer = Transformer(
            width=width, num_layers=num_layers, num_heads=num_heads, window=n_q, dropout=dropout
        )
        outputs = [nn.Linear(width, card, bias=False) for _ in range(n_q)]
        for output in outputs:
            nn.init.normal_(output.weight, std=0.02)
        self.out = nn.ModuleList(outputs)
        self.register_buffer("offsets", torch.arange(n_q - 1) * (card + 1), persistent=False)

    def logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        seen = self.embedding(codes[:, :-1] + self.offsets)  # [M, K-1, width]
        x = torch.cat((self.project(hidden)[:, None].to(seen.dtype), seen), 1)  # [M, K, width]
        levels = self.transformer(x).unbind(1)  # K times [M, width]
        return soft_cap(torch.stack([out(level) for out, level in zip(self.out, levels, strict=True)], 1))

    def sample(self, hidden: Tensor, choose: Choose, guide: Guide) -> Tensor:
        cache = self.transformer.new_cache(hidden.shape[0])
        x = self.project(hidden).type_as(hidden)  # [M, width]
        codes: list[Tensor] = []
        for level in range(self.n_q):
            logits = soft_cap(self.out[level](self.transformer.step(x, cache)))  # [M, card]
            codes.append(choose(guide(logits), level))
            if level + 1 < self.n_q:
                x = self.embedding(codes[-1] + level * (self.card + 1))
                if len(x) != len(hidden):  # passes of guidance, which all read the same codes
                    x = x.repeat(len(hidden) // len(x), 1)
        return torch.stack(codes, -1)


def build_head(settings: Mapping[str, Any], *, n_q: int, card: int, input_width: int, dropout: float) -> Head:
    """Construct the head that `settings` = {"name": "depth" | "parallel", ...} describes."""
    settings = dict(settings)
    name = settings.pop("name", "depth")
    if name == "depth":
        allowed = {"width", "num_layers", "num_heads"}
    elif name == "parallel":
        allowed = set()
    else:
        raise UnknownNameError("head", str(name), ("depth", "parallel"))
    if unknown := sorted(set(settings) - allowed):
        raise ConfigError(
            f"head '{name}' has no setting '{unknown[0]}'. Known: {', '.join(sorted(allowed)) or 'none'}."
        )
    if name == "parallel":
        return ParallelHead(n_q=n_q, card=card, input_width=input_width)
    return DepthHead(n_q=n_q, card=card, input_width=input_width, dropout=dropout, **settings)
