"""Time gen-audio on an idle machine: cold processes, the loop, the decoder, long pieces. Writes a JSON file.

Usage: speed.py FILE [--runs 5]. Every figure is a median, but for the piece of 120 s, which is played once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "gen_audio"]
PROMPT = "lofi jazz piano"


def cold(arguments: list[str]) -> tuple[float, float]:
    """Run one process: seconds and peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        child = subprocess.Popen([*COMMAND, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            sys.exit(f"speed.py: {arguments} failed: {child.stderr.read().decode() if child.stderr else ''}")
    return seconds, usage.ru_maxrss / 1024


def stages(pipeline: Any, seconds: float, runs: int) -> dict[str, float]:
    """Median seconds of every stage of a loaded pipeline."""
    found = [pipeline.generate(PROMPT, duration=seconds, seed=7).timings for _ in range(runs)]
    return {stage: statistics.median(t[stage] for t in found) for stage in found[0]}


def streamed(pipeline: Any, seconds: float, runs: int) -> tuple[float, float]:
    """Median seconds to the first sound and to the last."""
    first, last = [], []
    for _ in range(runs):
        start = time.perf_counter()
        for number, _chunk in enumerate(pipeline.stream(PROMPT, duration=seconds, seed=7)):
            if number == 0:
                first.append(time.perf_counter() - start)
        last.append(time.perf_counter() - start)
    return statistics.median(first), statistics.median(last)


def main(path: Path, runs: int) -> None:
    helped = [cold(["--help"])[0] for _ in range(runs)]
    played = [cold([PROMPT, "--seed", "7"]) for _ in range(runs)]
    import torch
    from gen_audio import load

    pipeline = load("etude")
    pipeline.generate(PROMPT, duration=2.0, seed=1)  # warm-up, not counted
    lengths = {seconds: stages(pipeline, seconds, runs if seconds == 10 else 1) for seconds in (10, 120)}
    whole = {seconds: sum(timing.values()) for seconds, timing in lengths.items()}
    ten = lengths[10]
    first, last = streamed(pipeline, 10.0, runs)
    report = {
        "help_seconds": statistics.median(helped),
        "cold_seconds": statistics.median(seconds for seconds, _ in played),
        "cold_peak_mib": max(memory for _, memory in played),
        "stages_10_s": ten,
        "stages_120_s": lengths[120],
        "loop_real_time_factor": 10 / ten["perform"],
        "decode_real_time_factor": 10 / ten["decode"],
        "stream_first_seconds": first,
        "stream_over_whole": last / whole[10],
        "cost_120_over_10": whole[120] / whole[10],
        "peak_mib_with_120_s": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "runs": runs,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    main(asked.out, asked.runs)
