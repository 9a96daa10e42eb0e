"""Time whole steps of every way to run them, in turns on one machine, and print a table.

Usage: python -m benchmarks.backends [--json FILE] [--only ours PyTorch ...] [--threads 2] [--size small]

Each precision of each backend is a process of its own with weights of its own. Those of about the same bytes are built
one after the other, checked against the reference, and then play a few steps in turns, round after round, so that all
meet the same machine. A step reads codes and ends with guided logits on the host, but ours ends with codes: it samples
too. What the others' sampling would take is printed below the table.

Where the system happens to put the weights moves OpenVINO in fp32 and bf16 by up to a third, here from 30 to 40 ms and
from 21 to 29; ours lays them out by itself. So look at a second run with MALLOC_MMAP_THRESHOLD_=33554432 in the
environment, which the processes inherit, and take the better one of each.

Needs an idle machine, 16 GiB of memory and `pip install openvino onnxruntime onnx`. A backend that is not installed is
left out, and said to be.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.samplers.base import build_sampler

from .worker import BOUNDS, FILES, bits, serve, variants
from .workload import CHECKED, SAMPLING, SIZES, STEPS, Work, make

LIBRARIES = {"OpenVINO": "openvino", "onnxruntime": "onnxruntime"}

ROUNDS, WARM, TIMED = 4, 2, 8  # turns of every process, and its steps in a turn
assert CHECKED + ROUNDS * (WARM + TIMED) == STEPS
ALLOCATOR = ("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_")


class Player:
    """A process that plays one precision of one backend."""

    def __init__(self, name: str, variant: str, path: Path, asked: argparse.Namespace) -> None:
        self.name, self.variant = name, variant
        command = [sys.executable, "-m", __package__, "--serve", name, variant, str(path)]
        command += ["--threads", str(asked.threads)]
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "KMP_"))}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=plain)
        self.told: dict[str, Any] = self._hear()
        self.times: list[float] = []

    def play(self, steps: int) -> list[float]:
        """Milliseconds of each of the next steps."""
        assert self.process.stdin
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self._hear()

    def stop(self) -> None:
        self.process.communicate()

    def _hear(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} {self.variant} ended with {self.process.wait()}; its last words are above.")
        return json.loads(line)


def measure(path: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    pairs = [(name, variant) for name in asked.only for variant in installed(name)]
    rows = []
    for width in BOUNDS:
        rows += together([pair for pair in pairs if bits(pair[1]) == width], path, asked)
    return rows


def together(pairs: list[tuple[str, str]], path: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure backends and precisions in turns."""
    players = []
    for name, variant in pairs:
        players.append(Player(name, variant, path, asked))
        print(f"{name}, {variant}: {json.dumps(players[-1].told)}", file=sys.stderr)
    for _ in range(ROUNDS):
        for player in players:
            time.sleep(0.1)  # threads of the one before may still be waiting actively
            player.times += player.play(WARM + TIMED)[WARM:]
    rows = []
    for player in players:
        player.stop()
        timed = {"milliseconds": statistics.median(player.times), "fastest": min(player.times)}
        timed |= {"slowest": max(player.times)}
        rows.append({"backend": player.name, "precision": player.variant, **player.told, **timed})
    return rows


def installed(name: str) -> tuple[str, ...]:
    try:
        return variants(name)
    except ImportError as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return ()


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| backend | weights | ms a step (fastest, slowest) | built in | memory | error of logits (largest) |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        time = f"{row['milliseconds']:.1f} ({row['fastest']:.1f}, {row['slowest']:.1f})"
        error = f"{row['error']:.2g} ({row['largest_error']:.2g}){doubt(row)}"
        built = f"{row['seconds_to_build']:.1f} s | {row['mib']:.0f} MiB"
        lines.append(f"| {row['backend']} | {row['precision']} | {time} | {built} | {error} |")
    return "\n".join(lines)


def doubt(row: dict[str, Any]) -> str:
    """A warning if the error is not that of the precision: the graph may compute something else."""
    bound = BOUNDS[bits(row["precision"])]
    return "" if row["error"] < bound else f" MORE THAN {bound}"


@torch.inference_mode()
def sampling(path: Path, threads: int) -> float:
    """Median milliseconds that the reference takes to choose the codes of a step."""
    torch.set_num_threads(threads)
    logits, sampler, times = Work(path).wanted, build_sampler(SAMPLING), []
    noise = GumbelNoise([0], [0], n_q=logits.shape[1], card=logits.shape[2])
    for number in range(WARM + ROUNDS * TIMED):
        start = time.perf_counter()
        drawn = noise(number)
        for level, scores in enumerate(logits[number % len(logits)]):
            sampler.choose(drawn, scores[None], level)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARM:])


def versions(only: list[str]) -> dict[str, str]:
    names = dict.fromkeys(["torch", *(LIBRARIES[name] for name in only if name in LIBRARIES)])
    return {name: version(name) for name in names if importlib.util.find_spec(name)}


def allocator() -> dict[str, str]:
    """What the environment says about memory."""
    return {name: value for name, value in os.environ.items() if name.startswith(ALLOCATOR)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(FILES), default=list(FILES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", choices=list(SIZES), default="small", help="tiny, to try the command")
    parser.add_argument("--json", type=Path, help="write everything there too")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        name, variant, path = asked.serve
        serve(name, variant, Path(path), asked.threads)
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "work.safetensors")
        make(path, asked.size)
        rows = measure(path, asked)
        choosing = sampling(path, asked.threads)
    report = {"rows": rows, "sampling_milliseconds": choosing, "load_before": load, "size": asked.size}
    report |= {"threads": asked.threads, "allocator": allocator(), "versions": versions(asked.only)}
    report["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"
    print(table(rows))
    print(
        f"\nMedians of {ROUNDS * TIMED} steps, {asked.threads} threads, {report['machine']}; load before: {load:.1f}."
    )
    print(f"Sampling by the reference: {choosing:.1f} ms a step more for all but ours. {report['versions']}")
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
