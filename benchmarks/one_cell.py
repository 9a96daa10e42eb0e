"""Measure one cell in this process and print JSON; `engine.py` starts it. Usage: one_cell CELL MODEL.

Loading, first call and steady runs are timed apart. Runs in the environment of the program that is measured, so it
imports nothing but the standard library and that program's player.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from typing import Any

from benchmarks.cells import Cell
from benchmarks.stopwatch import peak_bytes

__all__ = ["measure"]

WARM_FRAMES = 8
ENOUGH, MOST = 10.0, 3  # seconds of steady runs after which no further one starts, and how many there are at most


def measure(cell: Cell, model: str) -> dict[str, Any]:
    """Load, warm up, run.

    Returns:
        seconds_to_load; seconds_of_first_call, of WARM_FRAMES frames; runs, each with the seconds of its stages;
        first_sound, seconds from words to the first chunk of a stream (None: the program has no stream); peak_bytes.
        Or {"unavailable": a sentence} if the program says that it cannot do this.
    """
    module = importlib.import_module(f"benchmarks.players.{cell.program}")
    load_before = os.getloadavg()[0]
    try:
        player = module.Player(cell)
        start = time.perf_counter()
        player.load(model)
        loaded = time.perf_counter() - start
    except module.REFUSALS as error:
        return {"unavailable": " ".join(str(error).split())}
    first_calls = []
    for _ in range(player.warm_ups):
        start = time.perf_counter()
        player.play(WARM_FRAMES)
        first_calls.append(time.perf_counter() - start)
    runs: list[dict[str, float]] = []
    while len(runs) < MOST and sum(run["whole"] for run in runs) < ENOUGH:
        runs.append(player.play(cell.frames))
    heard = [player.first_sound(cell.frames) for _ in runs] if cell.batch == 1 else [None]
    sounds = [seconds for seconds in heard if seconds is not None]
    return {
        "seconds_to_load": loaded,
        "seconds_of_first_call": first_calls,
        "runs": runs,
        "first_sound": statistics.median(sounds) if sounds else None,
        "peak_bytes": peak_bytes(),
        "frame_rate": player.frame_rate,
        "facts": player.facts,
        "load_average_before": load_before,
    }


if __name__ == "__main__":
    try:
        found = measure(Cell(**json.loads(sys.argv[1])), sys.argv[2])
    except Exception as error:  # whatever a program fails with becomes its row's sentence
        found = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    print(json.dumps(found))
