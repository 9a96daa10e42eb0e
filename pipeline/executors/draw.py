"""Guidance, filters and dice for many slots at once, every slot with numbers of its own, in tensor operations alone.

What samplers/ and guidance.py do with Python numbers. All three filters keep what reaches a threshold, so they are one.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ..guidance import Guidance
from ..noise import GumbelNoise, gumbel
from .rules import Rules

__all__ = ["Wishes"]

WARPS = 4  # of the kernel, for each code
OFF = 2.0  # of top_p: no sum of probabilities reaches it, whatever its rounding


class Wishes:
    """How the codes of every slot are chosen: tensors [slots, ...] at addresses that stay.

    Args:
        slots: how many.
        passes: of guidance.
        n_q, card: codebooks and their entries.
        device: where they are.
        kernels: gpu_kernels, whose one kernel does what `pick` does in a hundred; or None.
    """

    def __init__(
        self, slots: int, passes: int, n_q: int, card: int, device: torch.device, kernels: ModuleType | None = None
    ) -> None:
        self.n_q, self.card, self.kernels = n_q, card, kernels
        self.keys = torch.zeros(slots, dtype=torch.int64, device=device)  # of the noise
        self.weights = torch.zeros(slots, passes, device=device)  # of the passes of guidance; zero where there is none
        self.top_k = torch.full((slots, 1, 1), card, device=device)
        self.top_p = torch.full((slots, 1, 1), OFF, device=device)
        self.margin = torch.full((slots, 1, 1), float("inf"), device=device)
        self.temperature = torch.ones(slots, n_q, device=device)
        self.dice = torch.ones(slots, n_q, device=device)  # 0: the noise decides nothing

    def set(self, slots: list[int], guidance: Guidance, rules: Rules, noise: GumbelNoise | None) -> None:
        """Write what the rows of a batch wish into their slots."""
        which, rows = torch.tensor(slots, device=self.keys.device), len(slots)
        weights = torch.zeros(self.weights.shape[1])
        weights[: len(guidance.weights)] = torch.tensor(list(guidance.weights.values()))
        temperatures = torch.tensor(rules.temperatures(self.n_q))
        told = (
            (self.weights, weights),
            (self.keys, noise.keys if noise is not None else torch.zeros(rows, dtype=torch.int64)),
            (self.top_k, torch.tensor(min(rules.top_k or self.card, self.card))),
            (self.top_p, torch.tensor(rules.top_p if rules.top_p < 1 else OFF)),
            (self.margin, torch.tensor(rules.margin)),
            (self.temperature, torch.where(temperatures == 0, 1.0, temperatures)),
            (self.dice, (temperatures != 0).float()),
        )
        for tensor, wished in told:
            shape = (rows, *tensor.shape[1:])
            tensor.index_copy_(0, which, wished.to(tensor).expand(shape))

    def copy_from(self, other: Wishes) -> None:
        """Take over all slots of a smaller one."""
        for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):
            mine[tuple(slice(size) for size in theirs.shape)] = theirs

    def move(self, old: int, new: int) -> None:
        """Let a row go on in another slot."""
        for tensor in self._tensors():
            tensor[new] = tensor[old]

    def pick(self, logits: Tensor, first: int, turns: Tensor) -> Tensor:
        """Choose codes.

        Args:
            logits: [n, P, k, card] float32 of the first n slots and of k levels.
            first: the first of those levels.
            turns: [n] steps of the pieces, which the noise depends on.

        Returns:
            [n, k] int64.
        """
        if self.kernels is not None:
            return self._pick_at_once(logits, first, turns)
        count, levels = len(logits), slice(first, first + logits.shape[2])
        noise = gumbel(self.keys[:count], turns, logits.shape[2:], first)
        weights = self.weights[:count, :, None, None]
        mixed = weights[:, 0] * logits[:, 0]
        for one in range(1, logits.shape[1]):
            mixed = mixed + weights[:, one] * logits[:, one]  # [n, k, card]
        lowest = self._threshold(mixed)
        kept = mixed.masked_fill(mixed < lowest, float("-inf"))
        dice = noise * self.dice[:count, levels, None]
        return (kept / self.temperature[:count, levels, None] + dice).argmax(-1)

    def _pick_at_once(self, logits: Tensor, first: int, turns: Tensor) -> Tensor:
        assert self.kernels is not None
        count, passes, levels, card = logits.shape
        codes = torch.empty(count, levels, dtype=torch.int64, device=logits.device)
        self.kernels.choose[(count, levels)](
            logits.contiguous(), *self._tensors(), codes, turns, turns.stride(0), card, first,
            self.n_q, levels, passes, 1 << (card - 1).bit_length(), num_warps=WARPS,
        )  # fmt: skip
        return codes

    def _threshold(self, logits: Tensor) -> Tensor:
        """The logit that a code must reach, [n, k, 1], for logits [n, k, card].

        top_p judges what top_k left. It compares logits where samplers/top_p.py compares probabilities; codes that are
        equally likely stay together all the same.
        """
        count = len(logits)
        ordered = logits.sort(-1, descending=True).values
        by_rank = ordered.gather(-1, (self.top_k[:count] - 1).expand(-1, logits.shape[1], -1))
        shares = ordered.masked_fill(ordered < by_rank, float("-inf")).softmax(-1)
        late = shares.cumsum(-1) - shares >= self.top_p[:count]  # enough probability lies ahead of it
        by_share = ordered.masked_fill(late, float("inf")).amin(-1, keepdim=True)
        by_best = ordered[..., :1] - self.margin[:count]
        return torch.maximum(torch.maximum(by_rank, by_share), by_best)

    def _tensors(self) -> list[Tensor]:
        return [self.weights, self.keys, self.top_k, self.top_p, self.margin, self.temperature, self.dice]
