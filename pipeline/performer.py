"""The trained half of a model: conditioners and transformer, learnt and stored together.

Knows no codec and no sound: prepared conditions in, vectors per frame and codes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from .. import registry
from ..errors import ConfigError
from ..models.lm import CodecLM

__all__ = ["Performer"]


class Performer(nn.Module):
    """A CodecLM and the conditioners that feed it.

    Args:
        lm: settings of CodecLM.
        conditioners: name of each conditioner -> its settings; the width is the transformer's.

    Raises:
        UnknownNameError, ConfigError: a conditioner or setting that does not exist.
    """

    def __init__(self, *, lm: Mapping[str, Any], conditioners: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__()
        self.lm = CodecLM(**lm)
        width = self.lm.width
        parts = {
            name: registry.build("conditioning", name, width=width, **settings)
            for name, settings in conditioners.items()
        }
        # each conditioner prepares a kind of wish of its own, which no common type describes
        self.conditioners = cast("dict[str, Any]", nn.ModuleDict(parts))

    @property
    def device(self) -> torch.device:
        """Where the conditioners are; the transformer may be elsewhere."""
        return next(cast(nn.Module, self.conditioners).parameters()).device

    def frames(
        self, prepared: Mapping[str, Mapping[str, Tensor]], drop: Mapping[str, Tensor] | None = None, trim: int = 0
    ) -> Tensor:
        """Sum what all conditioners say to each frame.

        Args:
            prepared: name of the conditioner -> its prepared tensors; a conditioner that is not named says nothing.
                They are prepared on the CPU, and here they move to where the conditioners are.
            drop: name -> [B] bool, rows that shall not hear this conditioner; likewise.
            trim: frames that were prepared at either end only as margin for the notes.

        Returns:
            [B, T, D].
        """
        unknown = set(prepared) - set(self.conditioners)
        if unknown or not prepared:
            raise ConfigError(f"conditions {sorted(unknown)} are not among this model's {sorted(self.conditioners)}")
        device = self.device
        prepared = {name: {key: value.to(device) for key, value in told.items()} for name, told in prepared.items()}
        drop = {name: rows.to(device) for name, rows in drop.items()} if drop else None
        total: Tensor | float = 0.0
        rows = next(iter(next(iter(prepared.values())).values())).shape[0]
        for name, conditioner in self.conditioners.items():
            if name not in prepared:
                total = total + conditioner.null(rows).tensor
                continue
            dropped = {"drop": drop[name]} if drop and name in drop else {}
            if drop and f"{name}_program" in drop:
                dropped["drop_program"] = drop[f"{name}_program"]
            condition = conditioner(**prepared[name], **dropped, **({"trim": trim} if conditioner.margin else {}))
            total = total + condition.tensor
        return total  # type: ignore[return-value]
