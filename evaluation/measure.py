"""A measured number with what is needed to read it: anchors, interval, target, and the items behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .statistics import interval

__all__ = ["VOICES", "Measure", "mean"]

VOICES = ("model", "composed", "codec")  # the model; the composed original of its plan; that through the codec


def mean(values: Mapping[str, float]) -> float:
    """NaN for none."""
    return sum(values.values()) / len(values) if values else math.nan


@dataclass(frozen=True)
class Measure:
    """One row of a report.

    Args:
        items: the value of every item, by voice of VOICES; its mean is the number.
        whole: numbers of sets that are no mean over items: voice -> (value, low, high).
        better: 1 if more is better, -1 if less is, 0 if neither.
        target: the limit that was asked for.
        is_share: said in per cent.
        missing: why nothing was measured.
    """

    group: str
    name: str
    items: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    whole: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    better: int = 1
    target: float | None = None
    is_share: bool = False
    unit: str = ""
    note: str = ""
    missing: str | None = None

    def value(self, voice: str) -> float | None:
        """The number of a voice, None where there is none."""
        number = self.whole[voice][0] if voice in self.whole else mean(self.items.get(voice, {}))
        return number if math.isfinite(number) else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Of the model's number."""
        low, high = (
            self.whole["model"][1:]
            if "model" in self.whole
            else interval([*self.items["model"].values()], self.is_share)
        )
        return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one, or without a number."""
        value = self.value("model")
        if self.target is None or value is None:
            return None
        return value >= self.target - 1e-9 if self.better >= 0 else value <= self.target + 1e-9

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        row: dict[str, Any] = {"group": self.group, "name": self.name}
        if self.missing is not None or self.value("model") is None:
            return row | {"value": None, "missing": self.missing or "no item had this to be measured on"}
        low, high = self.interval
        row |= {"value": self.value("model"), "low": low, "high": high, "count": len(self.items.get("model", {}))}
        row |= {voice: self.value(voice) for voice in VOICES[1:]}
        row |= {"target": self.target, "met": self.met, "better": self.better, "is_share": self.is_share}
        return row | {"unit": self.unit, "note": self.note, "items": {k: dict(v) for k, v in self.items.items()}}
