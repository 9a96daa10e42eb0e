"""From a prompt to wishes for the composer: exact words first, the classifier for the rest, flags above both."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..composition.planner import Attributes, Constraints
from ..composition.prompt import parse_prompt
from ..conditioning.attributes import AttributeHeads
from .params import GenerationParams

__all__ = ["understand"]
