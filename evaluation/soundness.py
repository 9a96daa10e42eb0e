"""Rows that any listener notices: levels, clipping, holes, endings, and whether long pieces stay what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..composition.theory import Key
from .control import key_score, no_beats, values
from .faults import is_clean_ending
from .measure import Measure
from .stability import contrast, drift
from .takes import Take

__all__ = ["fault_measures", "long_measures"]

QUIETEST = -40.0  # LUFS
LONGEST_HOLE = 1.0  # seconds


def fault_measures(takes: Sequence[Take]) -> list[Measure]:
    """Rows of faults, over all items."""

    def share(test: Any) -> dict[str, dict[str, float]]:
        return values(takes, lambda take, facts: float(test(facts["faults"])))

    holes = f"more than {LONGEST_HOLE:g} s of silence between sounds"
    return [
        _share("clean endings", share(is_clean_ending), 0.95, "died away, and not two seconds early"),
        _share("not too quiet", share(lambda f: f["loudness"] >= QUIETEST), 1.0, f"below {QUIETEST:g} LUFS"),
        _share("no holes", share(lambda f: f["silence"] <= LONGEST_HOLE), 1.0, holes),
        _share("no clipping", share(lambda f: f["clipped"] == 0), None, "three full samples in a row"),
    ]


def _share(name: str, items: Mapping[str, Mapping[str, float]], target: float | None, note: str) -> Measure:
    return Measure("faults", name, items, target=target, is_share=True, note=note)


def long_measures(takes: Sequence[Take], missing: Mapping[str, str]) -> list[Measure]:
    """Rows of pieces of two minutes, heard in windows of 20 s."""
    long = [take for take in takes if take.item.kind == "long"]
    if not long:
        return []
    beats, pitch = no_beats(missing), missing.get("basic_pitch")
    return [
        Measure(
            "two minutes",
            "tempo drift",
            values(long, lambda take, facts: drift(facts["windows"])),
            better=-1,
            target=0.02,
            is_share=True,
            note="last half against the first; octaves allowed",
            missing=beats,
        ),
        Measure(
            "two minutes",
            "windows in the key of the plan",
            values(long, _key),
            is_share=True,
            note="MIREX weights",
            missing=pitch,
        ),
        Measure(
            "two minutes",
            "sections differ and return",
            values(long, lambda take, facts: contrast(facts["sections"]) if "sections" in facts else None),
            target=0.0,
            unit="dB",
            note="other names less the same name, mel and chroma, our own arithmetic; above 0 they do",
        ),
    ]


def _key(take: Take, facts: Mapping[str, Any]) -> float | None:
    keys = [window["key"] for window in facts["windows"] if window.get("key")]
    if take.plan is None or not keys:
        return None
    wanted = str(Key.parse(take.plan.key))
    return sum(key_score(key, wanted) for key in keys) / len(keys)
