"""From a prompt to wishes for the composer: exact words first, the classifier for the rest, flags above both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from ..composition.planner import Attributes, Constraints
from ..composition.prompt import parse_prompt
from ..conditioning.attributes import AttributeHeads, merge
from .params import GenerationParams

__all__ = ["understand"]


def understand(
    prompt: str, text: Tensor, heads: AttributeHeads, params: GenerationParams, seed: int
) -> tuple[Attributes, Constraints, dict[str, Any]]:
    """Decide what a prompt asks for.

    Args:
        prompt: the words.
        text: [1, E], their embedding.
        heads: the classifier of embeddings.
        params: the user's flags, and what the prompt says in exact words, which become constraints.
        seed: of the plan.

    Returns:
        Attributes heard in the prompt, constraints, and for the sidecar what was heard, how surely and by whom.
    """
    facts = parse_prompt(prompt)
    found = merge(facts, heads.predict(text)[0])
    attributes = Attributes(
        style=found["style"].value,
        tempo=found["tempo"].value,
        key=found["key"].value,
        mood=found["mood"].value,
        instruments=tuple(found["instruments"].value or ()),
        only=facts.only,
    )
    constraints = replace(params.constraints, seed=seed)
    heard = {
        name: {"value": finding.value, "confidence": round(float(finding.confidence), 3), "by": finding.source}
        for name, finding in found.items()
    }
    return attributes, constraints, heard
