"""What a loaded model of ours says of codes that it is told, in the precision that it plays in."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["teacher_forced"]


def teacher_forced(model: Any, lm: Any, fused: Any, steps: Tensor) -> Tensor:
    """Score known steps [B, K, S] under the conditions `fused` of a single pass: logits [B, K, S, card] float32.

    A pipeline that plays through an executor is asked through it, so what is judged is what is heard; `lm` is asked
    where there is none.
    """
    executor = getattr(model, "executor", None)
    if executor is not None:
        return executor.logits(fused, steps).float()
    told = {"prefix": fused.prefix, "cross": fused.cross}
    if fused.cross_mask is not None:
        told["cross_mask"] = fused.cross_mask
    if fused.frame is not None:
        import torch

        told["frames"] = torch.stack([fused.frame(step) for step in range(steps.shape[-1])], 1)  # [B, S, D]
    return lm(steps, **told).float()
