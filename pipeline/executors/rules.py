"""A sampler as numbers, for executors that choose codes without calling it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import ConfigError
from ..samplers.base import Chain, Sampler
from ..samplers.greedy import Greedy
from ..samplers.min_p import MinP
from ..samplers.temperature import Temperature
from ..samplers.top_k import TopK
from ..samplers.top_p import TopP

__all__ = ["Rules", "read_rules"]

ORDER = (TopK, TopP, MinP, Temperature, Greedy)  # in which they are applied


@dataclass(frozen=True)
class Rules:
    """What samplers do, in the order of the fields; the defaults change nothing.

    Args:
        top_k: codes to keep; 0 is all.
        top_p: share of the probability to keep; 1 is all.
        margin: how far below the best logit a code is still kept.
        temperature: one a level, the last holding for all levels after it; 0 is greedy.
    """

    top_k: int = 0
    top_p: float = 1.0
    margin: float = math.inf
    temperature: tuple[float, ...] = (1.0,)

    def temperatures(self, levels: int) -> list[float]:
        """One number for each of so many levels."""
        return [self.temperature[min(level, len(self.temperature) - 1)] for level in range(levels)]


def read_rules(sampler: Sampler) -> Rules:
    """Read the numbers of the samplers that are known here, in the order in which they are known.

    Raises:
        ConfigError: another sampler, or another order.
    """
    told: dict[str, int | float | tuple[float, ...]] = {}
    place = -1
    for one in sampler.samplers if isinstance(sampler, Chain) else (sampler,):
        if type(one) not in ORDER or ORDER.index(type(one)) <= place:
            raise ConfigError(
                f"the fast loop does not know the sampler {type(one).__name__} at this place. "
                "Use the reference executor."
            )
        place = ORDER.index(type(one))
        if isinstance(one, TopK):
            told["top_k"] = one.k
        elif isinstance(one, TopP):
            told["top_p"] = one.p
        elif isinstance(one, MinP):
            told["margin"] = one.margin
        elif isinstance(one, Temperature):
            told["temperature"] = tuple(one.values)
        else:
            told["temperature"] = (0.0,)
    return Rules(**told)  # type: ignore[arg-type]
