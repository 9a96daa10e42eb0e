"""Two models on the same prompts and seeds, row by row: what changed, how surely, and what that means in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from .statistics import paired

__all__ = ["check_comparable", "compare", "comparison_table", "verdict"]


def check_comparable(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Raise ConfigError unless both reports asked for the same items."""
    if one.get("protocol") != other.get("protocol"):
        raise ConfigError(
            f"the reports asked for different items ({one.get('size')}, {one.get('protocol')}; {other.get('size')}, "
            f"{other.get('protocol')}). Measure both with one --size and one version of gen-audio."
        )


def compare(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for everything that both measured on two items or more: the difference and what it says."""
    known = {(row["group"], row["name"]): row for row in other}
    rows = []
    for row in one:
        rival = known.get((row["group"], row["name"]))
        if rival is None or row["value"] is None or rival["value"] is None:
            continue
        found = paired(row["items"].get("model", {}), rival["items"].get("model", {}))
        if found is None:
            continue
        higher = {1: True, -1: False}.get(row["better"])
        facts = {"group": row["group"], "name": row["name"], "a": row["value"], "b": rival["value"]}
        facts |= vars(found) | {"verdict": found.verdict(higher), "is_share": row["is_share"], "unit": row["unit"]}
        rows.append(facts)
    return rows


def verdict(a: str, b: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """One sentence: in what A is better, worse, or not told apart from B."""
    if not rows:
        return f"{a} and {b} cannot be compared: no row was measured on the same items."
    named = {
        what: [f"{row['group']}: {row['name']}" for row in rows if row["verdict"] == what]
        for what in ("better", "worse", "higher", "lower")
    }
    parts = [f"{what} in {len(names)} rows ({'; '.join(names)})" for what, names in named.items() if names]
    same = sum(row["verdict"] == "not told apart" for row in rows)
    said = ", ".join([*parts, f"not told apart in {same}"]) if parts else f"not told apart in any of {same} rows"
    chance = f"Of {len(rows)} rows about {len(rows) / 20:.0f} would differ by chance."
    return f"{a} against {b}: {said}. {chance}"


def comparison_table(a: str, b: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown lines."""
    lines = [
        f"| | {a} | {b} | difference (95 %) | items | larger, smaller | sign test, p | {a} is |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        scale, digits, unit = (100, 0, " %") if row["is_share"] else (1, 3, f" {row['unit']}".rstrip())

        def say(value: float, scale: int = scale, digits: int = digits, sign: str = "") -> str:
            return f"{value * scale:{sign}.{digits}f}"

        low, high = say(row["low"], sign="+"), say(row["high"], sign="+")
        lines.append(
            f"| {row['group']}: {row['name']} | {say(row['a'])}{unit} | {say(row['b'])}{unit} | "
            f"{say(row['difference'], sign='+')} ({low} to {high}) | {row['count']} | {row['more']}, {row['less']} | "
            f"{row['sign_p']:.3f} | {row['verdict']} |"
        )
    return lines
