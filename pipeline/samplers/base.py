"""From logits to codes. A sampler sees logits and noise; it knows no model, and it keeps nothing between two calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ... import registry
from ...errors import ConfigError

__all__ = ["Chain", "Sampler", "SamplingParams", "build_sampler", "only_best"]

EXCLUDED = float("-inf")


def only_best(logits: Tensor) -> Tensor:
    """Exclude all entries but the highest; the first of equals stays."""
    best = logits.argmax(-1, keepdim=True)
    return torch.full_like(logits, EXCLUDED).scatter(-1, best, logits.gather(-1, best))


class Sampler:
    """A rule that reshapes the logits; the code is then drawn from their softmax by adding Gumbel noise.

    A subclass writes `transform` alone: logits [..., card] float32 -> the same shape, -inf where a code is excluded.
    """

    def transform(self, logits: Tensor, level: int) -> Tensor:
        raise NotImplementedError

    def __call__(self, logits: Tensor, noise: Tensor, level: int = 0) -> Tensor:
        """Draw codes [...] int64 of codebook `level` from logits [..., card] and Gumbel noise [..., card]."""
        return (self.transform(logits.float(), level) + noise).argmax(-1)

    def choose(self, noise: Tensor, logits: Tensor, level: int) -> Tensor:
        """Draw codes [B] for one level with the noise [B, K, card] of a whole step."""
        return self(logits, noise[:, level], level)


class Chain(Sampler):
    """Apply several samplers, one after the other; none of them means softmax sampling as it is."""

    def __init__(self, samplers: Sequence[Sampler]) -> None:
        self.samplers = tuple(samplers)

    def transform(self, logits: Tensor, level: int) -> Tensor:
        for sampler in self.samplers:
            logits = sampler.transform(logits, level)
        return logits


@dataclass(frozen=True)
class SamplingParams:
    """The usual settings together; the defaults change nothing.

    Args:
        temperature: 0 is greedy; a tuple gives one value a level, the last holding for all levels after it.
        top_k: 0 is off.
        top_p: 1 is off.
        min_p: 0 is off.
    """

    temperature: float | tuple[float, ...] = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


def build_sampler(params: SamplingParams) -> Sampler:
    """Compose the samplers that `params` switches on: top_k, top_p, min_p, then temperature.

    Temperature comes last, so that the filters judge the model's own probabilities and a high temperature only moves
    weight between the codes that they kept. Libraries that apply it first keep more codes at the same settings.
    """
    settings: list[tuple[str, str, float | tuple[float, ...], float]] = [
        ("top_k", "k", params.top_k, 0),
        ("top_p", "p", params.top_p, 1.0),
        ("min_p", "p", params.min_p, 0.0),
        ("temperature", "temperature", params.temperature, 1.0),
    ]
    return Chain([registry.build("pipeline.samplers", name, **{key: v}) for name, key, v, off in settings if v != off])


def check_share(name: str, value: float) -> None:
    """Raise ConfigError unless 0 < value <= 1."""
    if not (math.isfinite(value) and 0 < value <= 1):
        raise ConfigError(f"{name} is {value}; it is a share of probability. Use more than 0 and at most 1.")
