"""Residual vector quantisation: each level quantises what the levels before it left over."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ResidualQuantiser", "k_means"]


def k_means(points: Tensor, card: int, iterations: int = 10) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm: points [M, D] -> centres [card, D] and how many points each holds [card]."""
    centres = points[torch.randperm(points.shape[0], device=points.device)[:card]].clone()
    counts = points.new_zeros(card)
    for _ in range(iterations):
        nearest = nearest_entry(points, centres)
        counts = torch.bincount(nearest, minlength=card).to(points.dtype)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        fallen = counts == 0
        centres = torch.where(fallen[:, None], centres, sums / counts.clamp(min=1)[:, None])
        if fallen.any():  # an empty cluster restarts on a random point
            centres[fallen] = points[torch.randint(points.shape[0], (int(fallen.sum()),), device=points.device)]
    return centres, counts


def nearest_entry(points: Tensor, centres: Tensor) -> Tensor:
    """Index of the nearest centre for each point: [M, D] x [card, D] -> [M]."""
    return (centres.square().sum(1) - 2 * points @ centres.T).argmin(1)


class ResidualQuantiser(nn.Module):
    """K codebooks of `card` entries learnt by moving averages, with k-means start and restart of dead entries.

    The codebooks are buffers, not parameters: they follow the encoder and no gradient touches them. The gradient
    passes straight through to the encoder, and a commitment loss keeps it near the entries.

    Source: Zeghidour et al. 2021 (SoundStream), arXiv:2107.03312, section III.C; straight-through from
    van den Oord et al. 2017, arXiv:1711.00937. We drop levels per item, as SoundStream does per batch.
    """

    codebooks: Tensor  # [K, card, D]
    counts: Tensor  # [K, card], how often each entry was chosen lately
    sums: Tensor  # [K, card, D], of the points that chose it

    def __init__(self, n_q: int, card: int, width: int, decay: float = 0.99) -> None:
        super().__init__()
        self.n_q, self.card, self.decay = n_q, card, decay
        self.register_buffer("codebooks", torch.zeros(n_q, card, width))
        self.register_buffer("counts", torch.zeros(n_q, card), persistent=False)
        self.register_buffer("sums", torch.zeros(n_q, card, width), persistent=False)

    def encode(self, latent: Tensor, levels: int | None = None) -> Tensor:
        """[B, T, D] -> codes [B, levels, T], of all levels by default."""
        rest, codes = latent.flatten(0, 1).float(), []
        for codebook in self.codebooks[:levels]:
            codes.append(nearest_entry(rest, codebook))
            rest = rest - codebook[codes[-1]]
        return torch.stack(codes).unflatten(1, latent.shape[:2]).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, K', T], coarse levels first -> latent [B, T, D]."""
        return torch.stack([self.codebooks[k][codes[:, k]] for k in range(codes.shape[1])]).sum(0)

    @torch.no_grad()
    def start(self, latent: Tensor) -> None:
        """Set all codebooks by k-means on latents [M, D], level after level."""
        rest = latent.float()
        for k in range(self.n_q):
            centres, counts = k_means(rest, self.card)
            self.codebooks[k] = centres
            self.counts[k] = counts.clamp(min=1)
            self.sums[k] = centres * self.counts[k, :, None]
            rest = rest - centres[nearest_entry(rest, centres)]

    def forward(self, latent: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise in training and move the codebooks.

        Args:
            latent: [B, T, D].
            keep: [B] how many levels each item uses (quantiser dropout), 1..K.

        Returns:
            The quantised latent [B, T, D] with straight-through gradient, the commitment loss, and the share of
            entries in use at each level [K].
        """
        flat = latent.flatten(0, 1).float()
        kept = keep.repeat_interleave(latent.shape[1])  # [M]
        rest, total, losses = flat.detach(), torch.zeros_like(flat), []
        for k in range(self.n_q):
            index = nearest_entry(rest, self.codebooks[k])
            entry = self.codebooks[k][index]
            if self.training:
                self._follow(k, rest, index)
            on = (kept > k)[:, None].to(flat.dtype)
            total = total + entry * on
            losses.append(((flat - total.detach()).square() * on).mean())
            rest = rest - entry
        used = (self.counts > 0.05).float().mean(1)
        quantised = flat + (total - flat).detach()
        return quantised.view_as(latent).to(latent.dtype), torch.stack(losses).mean(), used

    @torch.no_grad()
    def _follow(self, level: int, points: Tensor, index: Tensor) -> None:
        """Move one codebook towards the points that chose it; entries that nobody chooses restart on a point."""
        seen = torch.bincount(index, minlength=self.card).to(points.dtype)
        sums = torch.zeros_like(self.sums[level]).index_add_(0, index, points)
        self.counts[level].mul_(self.decay).add_(seen, alpha=1 - self.decay)
        self.sums[level].mul_(self.decay).add_(sums, alpha=1 - self.decay)
        dead = self.counts[level] < 0.05
        if dead.any():
            chosen = points[torch.randint(points.shape[0], (int(dead.sum()),), device=points.device)]
            self.sums[level][dead] = chosen
            self.counts[level][dead] = 1.0
        self.codebooks[level] = self.sums[level] / self.counts[level][:, None]
