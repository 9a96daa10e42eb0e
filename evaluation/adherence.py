"""Whether a model plays what free words ask for: a style that a listener would accept, the instruments it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..composition.instruments import find_instrument
from ..composition.style import style_names
from .control import values
from .ear import Ear, f1, families, family
from .measure import Measure
from .takes import Take

__all__ = ["adherence_measures"]


def adherence_measures(takes: Sequence[Take], ears: tuple[Ear, Ear] | None, missing: str | None) -> list[Measure]:
    """All rows of styles and instruments.

    Args:
        ears: one that learnt from composed clips, and one that knows the codec, too; None if they could not learn:
            then `missing` says why.
    """
    ear, used = ears or (None, None)
    free, noise, stated = ([t for t in takes if t.item.kind == kind] for kind in ("free", "noise", "stated"))
    chance = sum(len(t.item.styles) for t in noise) / max(1, len(noise)) / len(style_names())
    named = _named(ear, "unheard composed clips")
    coded = _named(used, "of them through the codec, from which it learnt as well")
    heard = f"families; the classifier has {ear.own.f1:.2f} on unheard composed clips" if ear else ""
    chosen = {t.item.name: float(t.plan.style in t.item.styles) for t in free if t.plan is not None}

    def row(name: str, items: Mapping[str, Mapping[str, float]], note: str, **more: Any) -> Measure:
        return Measure("text", name, items, note=note, missing=missing, **more)

    near = f"chance is {chance:.0%}; asked for: near it"
    return [
        row("free words: a style that fits is named first", _styles(free, ear), named, target=0.8, is_share=True),
        row(
            "free words: so by a classifier that knows the codec", _styles(free, used), coded, target=0.8, is_share=True
        ),
        Measure("text", "free words: the plan has a style that fits", {"model": chosen}, is_share=True),
        row("noise for words: their style is named", _styles(noise, ear), near, better=-1, is_share=True),
        row("instruments that play are heard, F1", _instruments(stated, ear), heard, target=0.7),
        row("instruments asked for are heard", _asked(stated, ear), "families; recall", is_share=True),
    ]


def _named(ear: Ear | None, clips: str) -> str:
    return f"the classifier names {ear.own.accuracy:.0%} of {ear.own.count} {clips}" if ear else ""


def _styles(takes: Sequence[Take], ear: Ear | None) -> dict[str, dict[str, float]]:
    def score(take: Take, facts: Mapping[str, Any]) -> float | None:
        if ear is None or not ear.can_hear(facts):
            return None
        return float(ear.name_style(facts) in take.item.styles)

    return values(takes, score)


def _instruments(takes: Sequence[Take], ear: Ear | None) -> dict[str, dict[str, float]]:
    def score(take: Take, facts: Mapping[str, Any]) -> float | None:
        if ear is None or take.plan is None or not ear.can_hear(facts):
            return None
        return f1(ear.hear_families(facts), families(take.plan))

    return values(takes, score)


def _asked(takes: Sequence[Take], ear: Ear | None) -> dict[str, dict[str, float]]:
    def score(take: Take, facts: Mapping[str, Any]) -> float | None:
        if ear is None or not take.item.instruments or not ear.can_hear(facts):
            return None
        wanted = {family(*find_instrument(name)) for name in take.item.instruments}
        return len(wanted & ear.hear_families(facts)) / len(wanted)

    return values(takes, score)
