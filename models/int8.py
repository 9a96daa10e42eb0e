"""Linear layers that keep their weights as int8: a quarter of the bytes that every step has to read.

A step of the loop multiplies a handful of rows with every matrix of the network, so its time is the time that the
matrices take to come from memory.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn

__all__ = ["Int8Linear", "available", "quantise_rows", "row_scales", "to_int8"]


def available() -> bool:
    """Whether this PyTorch multiplies with int8 weights on this CPU at a speed that is worth it."""
    fast = platform.machine() in ("arm64", "aarch64") or torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return fast and hasattr(torch, "_weight_int8pack_mm")


def quantise_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a matrix [N, D] to int8 codes [N, D] and a scale a row [N] bf16, so that codes * scale is near it.

    The scale is cut to bf16, never rounded up, so the largest code of a row is 127 and quantising codes * scale again
    gives the same codes and scales: weights that were stored as int8 lose nothing here. What lies above 127 scales is
    clipped, by less than one code.
    """
    scale = row_scales(weight)
    codes = (weight.float() / scale[:, None]).round().clamp(-127, 127)
    return codes.to(torch.int8), scale.bfloat16()


def row_scales(weight: Tensor) -> Tensor:
    """The scales of `quantise_rows`, [N] float32."""
    exact = torch.linalg.vector_norm(weight.float(), float("inf"), 1).clamp(min=1e-8) / 127
    return (exact.view(torch.int32) & ~0xFFFF).view(torch.float32)  # bf16 is the upper half of float32


class Int8Linear(nn.Module):
    """A linear layer without bias, for inference: int8 weights, activations in bf16, sums in float32.

    A row comes out the same to the bit whatever other rows there are.
    """

    weight: Tensor  # [N, D] int8
    scale: Tensor  # [N] bf16

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        codes, scale = quantise_rows(weight)
        self.register_buffer("weight", codes)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] of any float type -> [..., N] bf16."""
        x = x.bfloat16()
        if x.dim() == 2:  # a step of the loop
            return torch._weight_int8pack_mm(x, self.weight, self.scale)
        return torch._weight_int8pack_mm(x.flatten(0, -2), self.weight, self.scale).unflatten(0, x.shape[:-1])

    __call__ = forward  # a step calls dozens of these, and none has hooks for nn.Module to look for


def to_int8(module: nn.Module) -> None:
    """Replace the linear layers without bias inside `module`; it is for inference on a CPU from now on.

    Layers whose input is no multiple of 32 wide stay as they are: the product reads whole vectors and checks nothing.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and child.bias is None and child.in_features % 32 == 0:
            setattr(module, name, Int8Linear(child.weight.detach()))
        else:
            to_int8(child)
