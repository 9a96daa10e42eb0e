"""Draw the curves of a run: every logged number over the steps, held-out beside training, as one PNG."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

__all__ = ["draw_curves"]

ASIDE = ("step", "seconds")
SMOOTH = 8  # training points averaged into one line; the points themselves are drawn pale


def draw_curves(metrics: Path, picture: Path) -> None:
    """Read `metrics.jsonl` and replace `picture`; nothing is drawn before the second logged step.

    One panel a number, `loss` first. `held_out/x` shares the panel of `x` if there is one.
    """
    rows = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    series: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            if name not in ASIDE:
                series[name].append((row["step"], value))
    if len(rows) < 2:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(name.removeprefix("held_out/") for name in series))
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4 * columns, 2.6 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for number, name in enumerate(panels):
        axis = figure.add_subplot(lines, columns, number + 1)
        _panel(axis, name, series)
    part = picture.with_suffix(".part")
    figure.savefig(part, format="png", dpi=90)
    os.replace(part, picture)


def _panel(axis: Any, name: str, series: dict[str, list[tuple[int, float]]]) -> None:
    axis.set_title(name, fontsize=9)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
    if trained := series.get(name):
        steps, values = zip(*trained, strict=True)
        axis.plot(steps, values, color="tab:blue", alpha=0.25, linewidth=0.6)
        smooth = [sum(values[max(0, i - SMOOTH) : i + 1]) / (i + 1 - max(0, i - SMOOTH)) for i in range(len(values))]
        axis.plot(steps, smooth, color="tab:blue", linewidth=1.2, label="training")
    if held_out := series.get(f"held_out/{name}"):
        axis.plot(*zip(*held_out, strict=True), color="tab:orange", marker=".", linewidth=1.0, label="held out")
        axis.legend(fontsize=7)
