"""An evaluation as JSON, Markdown and a picture: every number with its interval, anchors, target and count."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import Any

from ..pipeline.outputs import staged

__all__ = ["cell", "machine", "markdown", "report_paths", "write_report"]

SUFFIXES = (".json", ".md", ".png")


def report_paths(output: Path) -> list[Path]:
    """REPORT, REPORT.json, REPORT.md and REPORT.png all mean the three files."""
    stem = output.with_suffix("") if output.suffix.lower() in SUFFIXES else output
    return [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]


def machine() -> dict[str, Any]:
    """Where and when something was measured."""
    import torch

    names = {line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")}
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": ", ".join(sorted(names)) or platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def cell(row: Mapping[str, Any], name: str) -> str:
    """A number of a row as a reader wants it: per cent, or three digits and the unit; `-` for none."""
    value = row.get(name)
    if value is None:
        return "-"
    if row["is_share"]:
        return f"{100 * value:.{1 if abs(value) < 0.1 and value else 0}f} %"
    return f"{value:.3g} {row['unit']}".rstrip()


def _target(row: Mapping[str, Any]) -> str:
    if row["target"] is None:
        return ""
    sign = "" if row["better"] >= 0 else "at most "
    return f"{sign}{cell(row, 'target')} {'met' if row['met'] else 'missed'}"


def _range(row: Mapping[str, Any]) -> str:
    return "" if row["low"] is None else f" ({cell(row, 'low')} to {cell(row, 'high')})"


def markdown(report: Mapping[str, Any]) -> str:
    """The whole report as a page."""
    lines = [f"# {report['title']}", "", report["summary"], ""]
    lines += table(report["rows"])
    if absent := [row for row in report["rows"] if row["value"] is None]:
        lines += ["", "Not measured:", "", *(f"- {row['group']}: {row['name']}: {row['missing']}" for row in absent)]
    lines += ["", "Judges:", "", "| judge | licence | |", "|---|---|---|"]
    lines += [f"| {j['judge']} | {j['licence']} | {j['missing'] or 'heard'} |" for j in report["judges"]]
    for text in report.get("notes", ()):
        lines += ["", text]
    return "\n".join([*lines, "", *report.get("more", ())]) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown lines of all rows with a number, group by group."""
    measured = [row for row in rows if row["value"] is not None]
    lines = ["| | measured (95 %) | composed original | through the codec | asked for | items | |", "|---" * 7 + "|"]
    for group, some in groupby(measured, lambda row: row["group"]):
        lines.append(f"| **{group}** | | | | | | |")
        for row in some:
            cells = [row["name"], f"{cell(row, 'value')}{_range(row)}", cell(row, "composed"), cell(row, "codec")]
            lines.append("| " + " | ".join([*cells, _target(row), str(row["count"] or ""), row["note"]]) + " |")
    return lines


def write_report(report: Mapping[str, Any], paths: Sequence[Path]) -> None:
    """Write REPORT.json, REPORT.md and REPORT.png; all or none."""
    from .report_picture import draw_report

    with staged(paths) as (plain, page, picture):
        text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False, default=float)
        plain.write_text(text + "\n", encoding="utf-8")
        page.write_text(markdown(report), encoding="utf-8")
        draw_report(report, picture)
