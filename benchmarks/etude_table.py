"""The rows of the embedded model, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.cells import Cell

__all__ = ["etude_table"]

COLUMNS = ("", "loop, frames/s", "loop", "decode", "whole", "first sound", "peak memory", "load", "first call", "runs")


def etude_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One row a cell; factors of real time are of all pieces together."""
    cells = [Cell(**row["cell"]) for row in rows]
    lines = [
        f"{cells[0].frames} frames a piece, every stem of it; the stages in x real time of all pieces together, "
        "medians. No share of the memory's limit: the matrices fit into a cache.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    for cell, row in sorted(zip(cells, rows, strict=True), key=lambda pair: pair[0].group):
        pieces = f"{cell.batch} piece{'s' * (cell.batch > 1)}"
        lines.append(f"| {cell.precision}, {pieces} | {' | '.join(_figures(cell, row))} |")
    return lines


def _figures(cell: Cell, row: dict[str, Any]) -> list[str]:
    if row["problem"]:
        return [row["problem"], *[""] * (len(COLUMNS) - 2)]
    processes = row["processes"]
    runs = [run for found in processes for run in found["runs"]]
    work = cell.batch * cell.frames
    rates = [work / run["loop"] for run in runs]
    played = work / processes[0]["frame_rate"]
    factors = [
        f"{statistics.median(played / run[stage] for run in runs):.3g}x" for stage in ("loop", "decode", "whole")
    ]
    sounds = [found["first_sound"] for found in processes if found["first_sound"] is not None]
    load = statistics.median(found["seconds_to_load"] for found in processes)
    calls = statistics.median(sum(found["seconds_of_first_call"]) for found in processes)
    return [
        f"{statistics.median(rates):.3g} ({min(rates):.3g} to {max(rates):.3g})",
        *factors,
        f"{statistics.median(sounds):.2f} s" if sounds else "",
        f"{max(found['peak_bytes'] for found in processes) / 2**30:.2f} GiB",
        f"{load:.1f} s",
        f"{calls:.1f} s",
        f"{len(runs)} in {len(processes)}",
    ]
