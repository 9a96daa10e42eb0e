"""A report in one picture: what was measured, its interval, its two anchors and its target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from .report import cell

__all__ = ["draw_report"]

MARKS = {"composed": ("D", "tab:green", "composed original"), "codec": ("s", "tab:orange", "through the codec")}
MEASURED = "tab:blue"
COLUMNS = 4  # of small pictures


def draw_report(report: Mapping[str, Any], path: Path) -> None:
    """Write a PNG: shares on one axis of per cent, every other number on a small axis of its own.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("The picture needs matplotlib. Install it with: pip install matplotlib") from error
    rows = [row for row in report["rows"] if row["value"] is not None]
    shares, others = ([row for row in rows if row["is_share"] == kind] for kind in (True, False))
    strips = -(-len(others) // COLUMNS)
    heights = [0.32 * max(1, len(shares)) + 0.8, 1.05 * max(1, strips)]
    figure = Figure(figsize=(13, sum(heights) + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(report["title"], parse_math=False)
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    top, bottom = parts
    _draw_shares(top.subplots(), shares)
    if others:
        axes = bottom.subplots(strips, COLUMNS, squeeze=False).ravel()
        for axis, row in zip(axes, others, strict=False):
            _draw_number(axis, row)
        for axis in axes[len(others) :]:
            axis.axis("off")
    figure.savefig(path, format="png", dpi=100)


def _draw_shares(axis: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    for place, row in enumerate(rows):
        _draw_row(axis, row, place, 100)
    names = [f"{row['group']}: {row['name']}" for row in rows]
    axis.set_yticks(range(len(rows)), names, fontsize=8, parse_math=False)
    axis.set(xlim=(-3, 118), ylim=(len(rows) - 0.4, -0.6), xlabel="per cent")
    axis.grid(axis="x", alpha=0.3)
    for mark, colour, label in [("o", MEASURED, "measured, 95 %"), *MARKS.values(), ("|", "tab:red", "asked for")]:
        axis.plot([], [], mark, color=colour, label=label, markersize=8)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8, frameon=False)


def _draw_number(axis: Any, row: Mapping[str, Any]) -> None:
    _draw_row(axis, row, 0, 1)
    axis.set_title(f"{row['name']}: {cell(row, 'value')}", fontsize=7.5, parse_math=False)
    axis.set_yticks([])
    axis.set_ylim(-1, 1)
    axis.margins(x=0.15)
    axis.tick_params(labelsize=7)


def _draw_row(axis: Any, row: Mapping[str, Any], place: int, scale: float) -> None:
    for name, (mark, colour, _) in MARKS.items():
        if row[name] is not None:
            axis.plot(row[name] * scale, place, mark, color=colour, markersize=5, alpha=0.8)
    if row["low"] is not None:
        axis.plot([row["low"] * scale, row["high"] * scale], [place, place], color=MEASURED, linewidth=1.5)
    axis.plot(row["value"] * scale, place, "o", color=MEASURED, markersize=6)
    if row["target"] is not None:
        axis.plot(row["target"] * scale, place, "|", color="tab:red", markersize=13, markeredgewidth=2)
