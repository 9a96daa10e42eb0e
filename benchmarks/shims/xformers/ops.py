"""The names that audiocraft imports."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["LowerTriangularMask", "memory_efficient_attention", "unbind"]


class LowerTriangularMask:
    """Imported to see that it is there, and never made."""


def unbind(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, ...]:
    return torch.unbind(x, dim)


def memory_efficient_attention(*_: Any, **__: Any) -> torch.Tensor:
    raise RuntimeError("xformers is not installed. Call set_efficient_attention_backend('torch') first.")
