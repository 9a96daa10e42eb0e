"""From a prompt to wishes for the composer: exact words first, the classifier for the rest, flags above both."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..composition.planner import Attributes, Constraints
from ..composition.prompt import parse_prompt
from ..conditioning.attributes import AttributeHeads, merge
from .params import GenerationParams

__all__ = ["understand"]

WISHES = ("tempo", "key", "meter", "chords", "instruments", "style", "bars", "duration")


def understand(
    prompt: str, text: Tensor, heads: AttributeHeads, params: GenerationParams, seed: int
) -> tuple[Attributes, Constraints, dict[str, Any]]:
    """Decide what a prompt asks for.

    Args:
        prompt: the words.
        text: [1, E], their embedding.
        heads: the classifier of embeddings.
        params: the user's flags, which become constraints.
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
    given = {name: getattr(params, name) for name in WISHES if getattr(params, name) is not None}
    said = {"meter": facts.meter} if facts.meter in ("3/4", "4/4", "6/8") else {}
    without = tuple(dict.fromkeys((*params.without, *facts.without)))
    constraints = Constraints(**{**said, **given}, without=without, seed=seed)
    heard = {
        name: {"value": finding.value, "confidence": round(float(finding.confidence), 3), "by": finding.source}
        for name, finding in found.items()
    }
    return attributes, constraints, heard
