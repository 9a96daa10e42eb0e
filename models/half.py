"""Linear layers that keep their weights in bf16 and compute in float32, for CPUs whose own bf16 products are slow."""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["HalfLinear", "has_fast_bf16", "to_half"]


def has_fast_bf16() -> bool:
    """Whether this CPU has units for bf16. Without them a product is 5 to 50 times slower than in float32."""
    if platform.machine() in ("x86_64", "AMD64"):
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class HalfLinear(nn.Module):
    """A linear layer without bias, for inference: bf16 weights, one layer of them at a time turned into float32."""

    weight: Tensor  # [N, D] bf16

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] of any float type -> [..., N] float32."""
        return F.linear(x.float(), self.weight.float())


def to_half(module: nn.Module) -> None:
    """Replace the bf16 linear layers without bias inside `module` and turn its norms into float32."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and child.bias is None:
            setattr(module, name, HalfLinear(child.weight.detach()))
        elif isinstance(child, nn.LayerNorm):
            child.float()
        else:
            to_half(child)
