"""From what was measured to a Markdown page. Knows no program and measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.cells import TABLES, Cell
from benchmarks.etude_table import etude_table
from benchmarks.limits import CODEBOOKS, bytes_of_step

__all__ = ["page"]

COLUMNS = (
    "",
    "loop, frames/s",
    "of the memory's limit",
    "whole, x real time",
    "first sound",
    "peak memory",
    "load",
    "first call",
    "runs",
)


def page(report: dict[str, Any]) -> str:
    """The whole report as Markdown: machine, equality, one table a job, ratios under each."""
    lines = [f"## Engine: {report['title']}", "", *_machine(report), ""]
    if report.get("equality"):
        lines += [*equality_table(report["equality"]), ""]
    for name, what in TABLES.items():
        rows = [r for r in report["cells"] if r["cell"]["table"] == name and (r["processes"] or r["problem"])]
        if not rows:
            continue
        lines += [f"### {name.capitalize()}: {what}", ""]
        lines += etude_table(rows) if name == "etude" else musicgen_table(rows, report)
        if name != "etude":
            lines += ["", *(["No ratios: the machine was not idle."] if report["busy"] else ratios(rows))]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _machine(report: dict[str, Any]) -> list[str]:
    machine, versions = report["machine"], report["machine"]["versions"]
    speeds = report["bandwidth"]["fastest"]
    flags = ", ".join(machine["flags"]) or "none of note"
    reads = ", ".join(f"{rate:.1f} GB/s with {count} thread{'s' * (count != '1')}" for count, rate in speeds.items())
    changed = ", with changes that are not committed" if machine["changed_since"] else ""
    lines = [
        f"{machine['date']} UTC; {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {flags}; "
        f"{machine['threads']} threads. Reading memory, before all cells: {reads} ({report['bandwidth']['how']}); "
        "the share of the limit is of what was read just before and after each process.",
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; commit {machine['commit']}{changed}.",
        f"Load average before: {machine['load_average']:.2f}"
        + ("; **the machine was not idle**, so these figures are no measurement." if report["busy"] else "."),
    ]
    if report["stopped"]:
        lines.append(f"{report['stopped']}")
    return lines


def equality_table(equality: dict[str, Any]) -> list[str]:
    """How far the logits of each precision are from transformers in fp32."""
    lines = [
        f"Teacher-forced logits of {len(equality['prompts'])} prompts x {equality['steps']} steps against "
        f"transformers in fp32, whose logits have a deviation of {equality['logits_std']:.2f}; codecs on the same "
        f"codes differ by at most {equality['codec_max_error']:.1e}. Random weights say nothing about quality.",
        "",
        "| | largest error | KL, nats, per codebook | same best code, per codebook |",
        "|---|---|---|---|",
    ]
    for precision, row in equality["precisions"].items():
        if "unavailable" in row:
            lines.append(f"| {precision} | not available: {row['unavailable']} | | |")
            continue
        divergence = " / ".join(f"{value:.1e}" for value in row["kl"])
        agree = " / ".join(f"{100 * value:.1f} %" for value in row["top_1"])
        lines.append(f"| {precision} | {row['max_error']:.1e} | {divergence} | {agree} |")
    return lines


def musicgen_table(rows: Sequence[dict[str, Any]], report: dict[str, Any]) -> list[str]:
    """One row a cell; those of the same job and precision stand beside each other."""
    cells = [Cell(**row["cell"]) for row in rows]
    frames = sorted({cell.frames for cell in cells})
    tokens = sorted({cell.tokens for cell in cells})
    lines = [
        f"{' and '.join(map(str, frames))} frames a piece ({' and '.join(f'{count / 50:g}' for count in frames)} s), "
        f"prompts of {' and '.join(map(str, tokens))} tokens, guidance 3, top-k 250, temperature 1. Medians, and least "
        "to most; runs in processes.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    for cell, row in sorted(zip(cells, rows, strict=True), key=lambda pair: pair[0].group):
        lines.append(f"| {_label(cell)} | {' | '.join(_figures(cell, row, report))} |")
    return lines


def _label(cell: Cell) -> str:
    batch = f", {cell.batch} piece{'s' * (cell.batch > 1)}" if cell.table == "batch" else ""
    return f"{cell.precision}: {cell.program}{' ' * bool(cell.variant)}{cell.variant}{batch}"


def _figures(cell: Cell, row: dict[str, Any], report: dict[str, Any]) -> list[str]:
    if row["problem"]:
        return [row["problem"], *[""] * (len(COLUMNS) - 2)]
    processes, loops = row["processes"], seconds(row, "loop")
    work = cell.batch * cell.frames
    limit = ""
    if cell.program == "ours":
        steps = cell.frames + CODEBOOKS - 1
        read = steps * bytes_of_step(report["size"], cell.precision, cell.batch, cell.frames, cell.tokens)
        shares = [read / run["loop"] / found["bytes_per_second"] for found in processes for run in found["runs"]]
        limit = f"{spread([100 * share for share in shares])} %"
    whole = "loop only" if cell.program == "audiocraft" else spread([work / 50 / s for s in seconds(row, "whole")], "x")
    sounds = [found["first_sound"] for found in processes if found["first_sound"] is not None]
    first = f"{statistics.median(sounds):.2f} s" if sounds else "no stream" if cell.program != "ours" else ""
    calls = statistics.median(sum(found["seconds_of_first_call"]) for found in processes)
    load = statistics.median(found["seconds_to_load"] for found in processes)
    return [
        spread([work / s for s in loops]),
        limit,
        whole,
        first,
        f"{max(found['peak_bytes'] for found in processes) / 2**30:.2f} GiB",
        "reads no file" if cell.program == "audiocraft" else f"{load:.1f} s",
        f"{calls:.1f} s",
        f"{len(loops)} in {len(processes)}",
    ]


def seconds(row: dict[str, Any], stage: str) -> list[float]:
    """Seconds of a stage in every run of every process."""
    return [run[stage] for found in row["processes"] for run in found["runs"]]


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median, and least to most if there are several."""
    middle = f"{statistics.median(values):.3g}{unit}"
    return middle if len(values) < 2 else f"{middle} ({min(values):.3g} to {max(values):.3g})"


def ratios(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Our loop over the baselines', one job a line: the same precision first, others after it and named."""
    rates: dict[tuple[int, int], dict[str, dict[str, float]]] = {}
    for row in rows:
        cell = Cell(**row["cell"])
        if not row["problem"]:
            rate = cell.batch * cell.frames / statistics.median(seconds(row, "loop"))
            side = "ours" if cell.program == "ours" else f"{cell.program} {cell.variant}".strip()
            rates.setdefault((cell.tokens, cell.batch), {}).setdefault(cell.precision, {})[side] = rate
    lines = []
    for (_, batch), by_precision in sorted(rates.items()):
        said = []
        for precision, sides in by_precision.items():
            others = {side: rate for side, rate in sides.items() if side != "ours"}
            if "ours" in sides and others:
                best = max(others, key=lambda side: others[side])
                said.append(f"{precision} {sides['ours'] / others[best]:.2f} x {best} in {precision}")
        said += _across(by_precision)
        if said:
            lines.append(f"* Our loop{f', {batch} pieces' if batch > 1 else ''}: {'; '.join(said)}.")
    return lines


def _across(by_precision: dict[str, dict[str, float]]) -> list[str]:
    """Our precisions that the baselines lack, against the fastest of theirs."""
    theirs = {
        f"{side} in {precision}": rate
        for precision, sides in by_precision.items()
        for side, rate in sides.items()
        if side != "ours"
    }
    if not theirs:
        return []
    best = max(theirs, key=lambda side: theirs[side])
    return [
        f"{precision} (other arithmetic) {sides['ours'] / theirs[best]:.2f} x {best}, their fastest here"
        for precision, sides in by_precision.items()
        if "ours" in sides and len(sides) == 1
    ]
