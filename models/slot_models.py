"""The two models, and the depth head, as `Steps`: what differs between them."""

from __future__ import annotations

from types import ModuleType
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .heads import DepthHead, soft_cap
from .lm import CodecLM
from .musicgen import MusicGenLM, sinusoid_rates
from .slot_step import Pick, Steps
from .transformer import Rotation, rotate

__all__ = ["CodecSteps", "Levels", "MusicGenSteps", "steps_of"]


def steps_of(
    lm: CodecLM | MusicGenLM, device: torch.device, dtype: torch.dtype, kernels: ModuleType | None = None
) -> Steps:
    """The step of a model, see `Steps`; of MusicGen with our own kernels, if they are given."""
    if isinstance(lm, CodecLM):
        return CodecSteps(lm, device, dtype)
    if kernels is None:
        return MusicGenSteps(lm, device, dtype)
    from .kernel_steps import KernelSteps

    return KernelSteps(lm, device, dtype, kernels)


def rotary_rates(head_dim: int, device: torch.device) -> Tensor:
    """Radians a position of each pair, [head_dim / 2] float64: float32 loses the phase of a position after hours."""
    return 10000.0 ** (-torch.arange(0, head_dim, 2, dtype=torch.float64, device=device) / head_dim)


class CodecSteps(Steps):
    """The step of a `CodecLM`: rotary positions, a window, norms without gains."""

    def __init__(self, lm: CodecLM, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(lm, device, dtype)
        self.blocks, self.heads = lm.transformer.blocks, lm.transformer.num_heads
        self.window = lm.window
        self.rates = rotary_rates(self.head_dim, device)
        self.levels = Levels(lm.head, device) if isinstance(lm.head, DepthHead) else None

    def norm(self, x: Tensor, block: nn.Module, name: str) -> Tensor:
        return _rms_norm(x)

    def last_norm(self, x: Tensor) -> Tensor:
        return _rms_norm(x)

    def place(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Rotation | None]:
        return x, self.turn(positions)

    def turn(self, positions: Tensor) -> Rotation:
        """Angles of positions [R, S], as transformer.rotation has them, [R, 1, S, head_dim] each."""
        angles = positions[:, None, :, None].double() * self.rates
        cos, sin = angles.cos().float(), angles.sin().float()
        return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)

    def pick(self, hidden: Tensor, forced: Tensor, pick: Pick) -> tuple[Tensor, Tensor]:
        return super().pick(hidden, forced, pick) if self.levels is None else self.levels.pick(hidden, forced, pick)

    def project(self, x: Tensor, block: Any, turn: Rotation | None) -> tuple[Tensor, ...]:
        query, key, value = super().project(x, block, turn)
        assert turn is not None
        query, key = (rotate(_rms_norm(part.float()), turn).type_as(value) for part in (query, key))
        return query, key, value

    def act(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


class Levels(CodecSteps):
    """A depth head, which is a small transformer over the levels of one step, in float32."""

    def __init__(self, head: DepthHead, device: torch.device) -> None:
        inner = head.transformer
        self.part, self.device, self.dtype = head, device, torch.float32
        self.blocks, self.width, self.heads = inner.blocks, inner.width, inner.num_heads
        self.rates = rotary_rates(self.head_dim, device)
        self.turns = [self.turn(torch.tensor([[level]], device=device)) for level in range(head.n_q)]

    def pick(self, hidden: Tensor, forced: Tensor, pick: Pick) -> tuple[Tensor, Tensor]:
        """As `Steps.pick`, level by level."""
        x = self.part.project(hidden.flatten(0, 1))[:, None]  # [R, 1, width]
        past: list[list[Tensor]] = [[] for _ in self.blocks]
        codes: list[Tensor] = []
        scores: list[Tensor] = []

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            past[layer].append(torch.stack((key, value)))
            return F.scaled_dot_product_attention(query, *torch.cat(past[layer], 3))

        for level, turn in enumerate(self.turns):
            read = self.run(x, turn, attend)[:, 0]
            scores.append(soft_cap(self.part.out[level](read)).unflatten(0, hidden.shape[:2]))  # [n, P, card]
            chosen = pick(scores[-1][:, :, None], level)[:, 0]
            codes.append(torch.where(forced[:, level] < 0, chosen, forced[:, level]))
            if level + 1 < len(self.turns):  # every pass reads the same code
                x = self.part.embedding(codes[-1] + level * (self.part.card + 1))
                x = x[:, None].expand(-1, hidden.shape[1], -1).reshape(-1, 1, self.width)
        return torch.stack(codes, 1), torch.stack(scores, 2)


class MusicGenSteps(Steps):
    """The step of a `MusicGenLM`: sinusoids, no window, layer norms."""

    def __init__(self, lm: MusicGenLM, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(lm, device, dtype)
        self.blocks, self.heads, self.final = lm.blocks, lm.num_heads, lm.norm
        self.rates = sinusoid_rates(lm.width, device)

    def norm(self, x: Tensor, block: nn.Module, name: str) -> Tensor:
        return cast(Tensor, getattr(block, name)(x))

    def last_norm(self, x: Tensor) -> Tensor:
        return self.final(x)

    def place(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Rotation | None]:
        angles = positions[..., None].float() * self.rates
        return x + torch.cat((angles.cos(), angles.sin()), -1).type_as(x), None

    def act(self, x: Tensor) -> Tensor:
        return F.gelu(x)


def _rms_norm(x: Tensor) -> Tensor:
    """As transformer.rms_norm, without its constant, which lies on the CPU."""
    y = x.float()
    norm = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    return (y / (norm * x.shape[-1] ** -0.5 + 1e-6)).type_as(x)
