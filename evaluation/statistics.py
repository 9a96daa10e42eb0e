"""How sure a number is: intervals of means and shares, and whether two models differ on the same prompts and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["LEVEL", "Z", "Paired", "bootstrap", "interval", "paired"]

LEVEL = 0.95
DRAWS = 2000
Z = 1.959964  # of a normal distribution at LEVEL


def interval(values: Sequence[float], is_share: bool = False) -> tuple[float, float]:
    """LEVEL interval of the mean, by bootstrap; Wilson's for a share of items that are all 0 or 1.

    One value, or none, says nothing of its spread: NaN.
    """
    if len(values) < 2:
        return math.nan, math.nan
    if is_share and set(values) <= {0.0, 1.0}:
        return _wilson(sum(values), len(values))
    return bootstrap(np.asarray(values, float))


def bootstrap(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean of [N] values under DRAWS resamplings."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _wilson(hits: float, count: int) -> tuple[float, float]:
    """Source: Wilson 1927, doi:10.1080/01621459.1927.10502953."""
    share, weight = hits / count, Z * Z / count
    middle = share + weight / 2
    spread = Z * math.sqrt(share * (1 - share) / count + weight / count / 4)
    low = 0.0 if hits == 0 else (middle - spread) / (1 + weight)
    return low, 1.0 if hits == count else (middle + spread) / (1 + weight)


@dataclass(frozen=True)
class Paired:
    """The difference of two models, A minus B, over items that both made."""

    count: int
    difference: float
    low: float  # of the LEVEL interval, by bootstrap over items
    high: float
    more: int  # items where A has the larger value
    less: int
    sign_p: float  # two-sided sign test over the items that differ; 1 where none does

    def verdict(self, higher_is_better: bool | None) -> str:
        """`better`, `worse` or `not told apart`, of A against B; `higher` or `lower` where neither is better."""
        if not self.low > 0 and not self.high < 0:
            return "not told apart"
        if higher_is_better is None:
            return "higher" if self.low > 0 else "lower"
        return "better" if (self.low > 0) == higher_is_better else "worse"


def paired(a: Mapping[str, float], b: Mapping[str, float]) -> Paired | None:
    """Compare the values of items that stand in both; None for fewer than two."""
    names = [name for name in a if name in b]
    if len(names) < 2:
        return None
    differences = np.array([a[name] - b[name] for name in names])
    low, high = bootstrap(differences)
    more, less = int((differences > 0).sum()), int((differences < 0).sum())
    return Paired(len(names), float(differences.mean()), low, high, more, less, _sign_test(more, less))


def _sign_test(more: int, less: int) -> float:
    count = more + less
    tail = sum(math.comb(count, k) for k in range(min(more, less) + 1)) / 2**count
    return min(1.0, 2 * tail)
