"""What is measured: one cell is one program in one precision doing one job. Each runs in a process of its own.

Knows how to start a cell, not what it does: that is `one_cell.py`.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PRECISIONS", "ROOT", "TABLES", "Cell", "choose", "environment", "plan", "run"]

ROOT = Path(__file__).resolve().parents[1]
AUDIOCRAFT = ROOT / ".venv-audiocraft"  # made by benchmarks/setup_audiocraft
TABLES = {
    "main": "one piece, end to end, every program",
    "variants": "the baselines' other settings: eager attention, torch.compile",
    "prompts": "the long prompt",
    "batch": "several pieces at once",
    "etude": "the embedded model",
}
PRECISIONS = ("fp32", "bf16", "int8", "int4")
SHORT, LONG = 16, 64  # tokens of the two prompts, the end token included
FEW, FEWER = 50, 25  # frames where many settings are compared; --frames lowers them, never raises them


@dataclass(frozen=True)
class Cell:
    """One thing to measure."""

    table: str
    program: str  # ours, transformers, audiocraft or etude
    precision: str
    variant: str = ""  # of transformers: sdpa, eager or compiled
    batch: int = 1
    tokens: int = SHORT
    frames: int = 250

    @property
    def name(self) -> str:
        """What --cells matches, such as main/transformers-fp32-sdpa-x1."""
        parts = [self.program, self.precision, self.variant, f"x{self.batch}", "" if self.tokens == SHORT else "long"]
        return f"{self.table}/{'-'.join(part for part in parts if part)}"

    @property
    def group(self) -> tuple[int, int, int, int]:
        """Cells of the same job in the same precision stand beside each other."""
        programs = ("transformers", "audiocraft", "ours", "etude")
        return self.tokens, self.batch, PRECISIONS.index(self.precision), programs.index(self.program)


def plan(tables: Sequence[str], frames: int, batches: Sequence[int], quick: bool = False) -> list[Cell]:
    """All cells of the named tables, in the order in which they run."""
    few, fewer = min(FEW, frames), min(FEWER, frames)
    sizes = [size for size in batches if size > 1]
    ours = PRECISIONS
    cells = [Cell("main", "transformers", p, "sdpa", frames=frames) for p in ("fp32", "bf16")]
    cells += [Cell("main", "audiocraft", "fp32", frames=frames)]
    cells += [Cell("main", "ours", p, frames=frames) for p in ours]
    for size in (1, *(size for size in sizes if size <= 16)):
        cells += [Cell("etude", "etude", p, batch=size, frames=frames) for p in ("fp32", "int8")]
    cells += [Cell("variants", "transformers", p, v, frames=few) for p in ("fp32", "bf16") for v in ("sdpa", "eager")]
    cells += [Cell("variants", "transformers", p, "compiled", frames=few) for p in ("fp32", "bf16")]
    cells += [Cell("variants", "ours", p, frames=few) for p in ("fp32", "bf16")]
    for precision in ("fp32", "bf16"):
        cells += [Cell("prompts", "transformers", precision, "sdpa", tokens=LONG, frames=few)]
    cells += [Cell("prompts", "ours", p, tokens=LONG, frames=few) for p in ours]
    for size in (1, *sizes):
        cells += [Cell("batch", "transformers", p, "sdpa", size, frames=fewer) for p in ("fp32", "bf16")]
        cells += [Cell("batch", "ours", p, batch=size, frames=fewer) for p in ours]
    return [cell for cell in cells if cell.table in tables and (not quick or _is_quick(cell))]


def _is_quick(cell: Cell) -> bool:
    """A few cells that between them walk every path of the command but torch.compile and audiocraft."""
    kind = (cell.program, cell.precision)
    if cell.table == "main":
        return kind in {("transformers", "fp32"), ("ours", "fp32"), ("ours", "int4")}
    return (cell.table, cell.batch, *kind) in {("batch", 2, "ours", "fp32"), ("etude", 1, "etude", "fp32")}


def choose(cells: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
    """The cells whose name matches one of the shell patterns, such as 'main/*' or '*ours-int8*'."""
    return [cell for cell in cells if any(fnmatch.fnmatch(cell.name, pattern) for pattern in patterns)]


def run(cell: Cell, model: str, threads: int, limit: float) -> dict[str, Any]:
    """Run one cell in a fresh process.

    Args:
        model: folder of the checkpoint, or the name of an embedded model.
        threads: of the process.
        limit: seconds after which it is stopped.

    Returns:
        What `one_cell.measure` returns; or {"failed": a sentence}.
    """
    python = sys.executable
    if cell.program == "audiocraft":
        python = str(AUDIOCRAFT / "bin" / "python")
        if not (AUDIOCRAFT / "ready").is_file():
            return {"unavailable": _why_not()}
    command = [python, "-m", "benchmarks.one_cell", json.dumps(dataclasses.asdict(cell)), model]
    streams: dict[str, Any] = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # in a session of its own, because torch.compile starts workers, which must end with it
    with subprocess.Popen(command, cwd=ROOT, env=environment(threads), start_new_session=True, **streams) as child:
        try:
            out, errors = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return {"failed": f"it took more than {limit:g} s (--limit) and was stopped."}
        finally:
            _end(child)
    if child.returncode:
        said = [line for line in errors.splitlines() if line.strip()] or [f"exit code {child.returncode}"]
        return {"failed": said[-1][:300]}
    return json.loads(out.splitlines()[-1])


def _why_not() -> str:
    """Why audiocraft is not there."""
    said = AUDIOCRAFT / "why-not"
    return said.read_text().strip() if said.is_file() else "run benchmarks/setup_audiocraft, which tries to install it"


def environment(threads: int) -> dict[str, str]:
    """Of every process that is measured, whatever its program."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}


def _end(child: subprocess.Popen[str]) -> None:
    """End a process and all that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
