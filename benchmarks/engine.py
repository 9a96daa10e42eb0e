"""Measure our engine against transformers and audiocraft on MusicGen of random weights, and the embedded etude.

  python -m benchmarks.engine -o out/engine                    musicgen-small and etude, under 25 minutes
  python -m benchmarks.engine -o out/engine --size medium --tables main --frames 500
  python -m benchmarks.engine --list                           the cells, by the names that --cells matches
  python -m benchmarks.engine -o out/int8 --cells 'main/*int8*' 'main/transformers-bf16*'

Equality comes first: if our fp32 logits differ from transformers' by more than 0.001, nothing is timed. Then every cell
runs in a process of its own, one after the other: the main table A B C A B C, the other tables, then the main table and
etude again, until --rounds or --minutes is over. OUT.json holds every run, OUT.md the tables. docs/benchmarks.md says
what is fair and what is disclosed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import cells as cell_list
from benchmarks import machine, tables
from benchmarks.cells import PRECISIONS, ROOT, TABLES, Cell

__all__ = ["main"]

SIZES = ("tiny", "small", "medium", "large")
REPEATED = ("main", "etude")  # tables whose cells run again once every cell has run
TOLERANCE = 1e-3
READ = 512 << 20  # bytes that are read to measure the memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for; returns the exit code."""
    asked = parser().parse_args(arguments)
    frames, batch = (8, [2]) if asked.quick else (asked.frames, asked.batch)
    cells = cell_list.choose(cell_list.plan(asked.tables, frames, batch, asked.quick), asked.cells)
    if asked.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    if not cells:
        return _refuse(f"no cell is left of {', '.join(asked.tables)}. --list shows the names that --cells matches.")
    if asked.output is None:
        return _refuse("nowhere to write to. Give -o OUT, for OUT.json and OUT.md.")
    busy, load = machine.is_busy(asked.threads)
    if busy and not asked.busy:
        return _refuse(
            f"the load average is {load:.2f}, and {asked.threads} threads on an idle machine come to at most "
            f"{asked.threads + 0.3:.1f}. Wait, or say --busy, which the report will say, too."
        )
    return measure(asked, cells, busy)


def measure(asked: argparse.Namespace, cells: list[Cell], busy: bool) -> int:
    """Prove equality, run the cells, write the report."""
    from benchmarks.checkpoints import checkpoint, nano_etude

    started = time.monotonic()
    size = "tiny" if asked.quick else asked.size
    title = f"musicgen-{size} of random weights{', a trial of the command and no measurement' * asked.quick}"
    report: dict[str, Any] = {"title": title, "size": size, "busy": busy, "stopped": "", "equality": None}
    report |= {"machine": machine.describe(asked.threads), "bandwidth": read_memory(asked), "cells": []}
    model = ""
    if any(cell.program != "etude" for cell in cells):
        model = str(checkpoint(asked.models, size))
        report["equality"] = prove(model, asked.threads)
        error = report["equality"]["precisions"]["fp32"]["max_error"]
        print(f"equality: fp32 differs by at most {error:.1e}", flush=True)
        if error > TOLERANCE:
            write(asked.output, report)
            return _refuse(
                f"our fp32 logits differ from transformers' by {error:.1e}, more than {TOLERANCE}: no timing."
            )
    etude = str(nano_etude(asked.models)) if asked.quick else "etude"
    report["cells"] = [{"cell": vars(cell), "name": cell.name, "problem": "", "processes": []} for cell in cells]
    for cell, row in order(cells, report["cells"], 1 if asked.quick else asked.rounds):
        left = started + 60 * asked.minutes - time.monotonic()
        if row["problem"]:
            continue
        if left < 0:
            report["stopped"] = f"Stopped after {asked.minutes:g} minutes (--minutes), before all rounds were over."
            row["problem"] = "" if row["processes"] else "not measured: the time was over (--minutes)"
            continue
        folder = etude if cell.program == "etude" else model
        before = read_memory(asked)["bytes_per_second"]
        found = cell_list.run(cell, folder, asked.threads, min(asked.limit, left + 30))
        after = read_memory(asked)["bytes_per_second"]
        keep(row, found | {"bytes_per_second": (before + after) / 2})
        print(f"{(time.monotonic() - started) / 60:5.1f} min  {tell(cell, row)}", flush=True)
        write(asked.output, report)
    write(asked.output, report)
    print(f"\n{tables.page(report)}")
    return 0


def order(cells: Sequence[Cell], rows: Sequence[Any], rounds: int) -> list[tuple[Cell, Any]]:
    """Which cell runs after which, with its row: A B C A B C in the main table, the others, and so on in rounds."""
    pairs = list(zip(cells, rows, strict=True))
    main = [pair for pair in pairs if pair[0].table == "main"]
    rest = [pair for pair in pairs if pair[0].table != "main"]
    again = [pair for pair in pairs if pair[0].table in REPEATED]
    return main * min(2, rounds) + rest + again * (rounds - 2)


def keep(row: dict[str, Any], found: dict[str, Any]) -> None:
    """Add what a process found to its cell's row."""
    if "unavailable" in found:
        row["problem"] = f"not available: {found['unavailable']}"
    elif "failed" in found:
        row["problem"] = f"failed: {found['failed']}"
    else:
        row["processes"].append(found)


def tell(cell: Cell, row: dict[str, Any]) -> str:
    """One line about a cell that has just run."""
    if row["problem"]:
        return f"{cell.name}: {row['problem']}"
    rates = [cell.batch * cell.frames / run["loop"] for run in row["processes"][-1]["runs"]]
    return f"{cell.name}: loop {tables.spread(rates)} frames/s"


def read_memory(asked: argparse.Namespace) -> dict[str, Any]:
    """GB/s by number of threads, and `bytes_per_second` with all of them."""
    size = READ >> 6 if asked.quick else READ
    found = {str(count): machine.bandwidth(count, size) for count in sorted({1, asked.threads})}
    fastest = {count: max(ways.values()) for count, ways in found.items()}
    how = f"a buffer of {size >> 20} MiB, median of 7 reads, the faster of {' and '.join(found['1'])}"
    return {"ways": found, "fastest": fastest, "how": how, "bytes_per_second": 1e9 * fastest[str(asked.threads)]}


def prove(model: str, threads: int) -> dict[str, Any]:
    """Compare logits in a process of its own.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.equality", model, *PRECISIONS]
    environment = cell_list.environment(threads)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"engine: the proof of equality failed, so nothing is timed:\n{done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def write(output: Path, report: dict[str, Any]) -> None:
    """Write OUTPUT.json and OUTPUT.md; what stood there is replaced."""
    stem = output.with_suffix("") if output.suffix in (".json", ".md") else output
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    stem.with_name(f"{stem.name}.md").write_text(tables.page(report))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    told = argparse.ArgumentParser(
        prog="python -m benchmarks.engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = told.add_argument
    add("-o", "--output", type=Path, metavar="OUT", help="write OUT.json and OUT.md")
    add("--size", choices=SIZES, default="small", help="of MusicGen (default small); large takes 13 GB of disk")
    add("--models", type=Path, default=ROOT / "build" / "models", help="where checkpoints are kept, made once there")
    add("--tables", nargs="+", choices=list(TABLES), default=list(TABLES), help="which tables (default all)")
    add("--cells", nargs="+", metavar="PATTERN", default=["*"], help="only cells with such a name, such as '*int8*'")
    add("--list", action="store_true", help="print the names of the cells, and measure nothing")
    add("--frames", type=int, default=250, help="of a piece; 250 are 5 s of MusicGen and 10 s of etude (default)")
    add("--batch", nargs="+", type=int, default=[4, 16, 64], metavar="N", help="pieces at once beside 1 (4 16 64)")
    add("--rounds", type=int, default=5, help="processes of each cell of main, one less of etude, 1 of others (5)")
    add("--minutes", type=float, default=23.5, help="after which no further process starts (23.5)")
    add("--limit", type=float, default=240.0, metavar="SECONDS", help="of one process, compiling included (240)")
    add("--threads", type=int, default=machine.cores(), help="of every process (the cores of this machine)")
    add("--busy", action="store_true", help="measure although other work runs; the report says so")
    add("--quick", action="store_true", help="a tiny model and 8 frames: tries the command, measures nothing")
    return told


def _refuse(why: str) -> int:
    print(f"engine: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
