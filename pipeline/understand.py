"""From a prompt to wishes for the composer: exact words first, the classifier for the rest, flags above both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..composition.associations import style_odds, telling_words
from ..composition.avoiding import Avoided
from ..composition.planner import Attributes, Constraints
from ..composition.prompt import parse_prompt
from ..conditioning.attributes import AttributeHeads, Finding, merge, weigh
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
    avoided = params.avoided
    guess = heads.predict(text)[0]
    guess["style"] = weigh(guess["style"], style_odds(prompt))
    found = merge(facts, _allowed(guess, avoided))
    attributes = Attributes(
        style=found["style"].value,
        tempo=found["tempo"].value,
        key=found["key"].value,
        mood=found["mood"].value,
        instruments=tuple(found["instruments"].value or ()),
        only=facts.only,
        rubato=facts.rubato,
        pulse=facts.pulse,
        ritardando=facts.ritardando,
    )
    constraints = dataclasses.replace(params.constraints, seed=seed)
    heard = {
        name: {"value": finding.value, "confidence": round(float(finding.confidence), 3), "by": finding.source}
        for name, finding in found.items()
    }
    if found["style"].source == "classifier" and attributes.style is not None:
        heard["style"]["words"] = telling_words(prompt, attributes.style)
    if params.negative_prompt is not None:
        heard["negative_prompt"] = dataclasses.asdict(avoided)
    return attributes, constraints, heard


def _allowed(guessed: Mapping[str, Finding], avoided: Avoided) -> dict[str, Finding]:
    """Guess style and mood again, among those that shall not be avoided; forbidden instruments the cast leaves out."""
    allowed = dict(guessed)
    for name, names in (("style", avoided.styles), ("mood", avoided.moods)):
        finding = allowed[name]
        if finding.value in names:
            scores = {label: score for label, score in finding.scores.items() if label not in names}
            best = max(scores, key=lambda label: scores[label], default="")
            allowed[name] = dataclasses.replace(finding, value=best or None, confidence=scores.get(best, 0.0))
    return allowed
