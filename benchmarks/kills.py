"""Kill gen-audio batch at random moments with SIGKILL, let it go on, and compare with a run that nobody disturbed.

Usage:
    kills.py FOLDER [--kills 50] [--items 40] [--scenes audiofolder webdataset parquet shards ray]

    audiofolder, webdataset, parquet    one process in that layout
    shards                              three shards that run side by side, one of which is killed (webdataset)
    ray                                 two workers; one of them is killed, or the process that writes (audiofolder)

Every scene has so many kills, in as many rounds as it takes; a round ends when everything is done, and is compared:
sounds, codes and records, byte for byte, each there once. A tiny model of random weights plays. Prints JSON; the exit
code is 1 if anything differs, fails, or outlives the run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import batch

SCENES = ("audiofolder", "webdataset", "parquet", "shards", "ray")
GRACE = 30.0  # seconds that processes of Ray may take to end after the one that writes was killed


class Ray:
    """Kills a worker or the process that writes, and sees to it that nothing outlives that one."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.workers = self.writers = 0
        self.slowest = 0.0  # seconds until the last process of Ray was gone
        self.left: list[int] = []

    def kill(self, writer: int) -> int | None:
        """Kill a process and return its id; None if it was a worker's turn and the run ended before it had one."""
        from gen_audio.pipeline.batch.ray_guard import descendants

        if self.workers <= self.writers:
            while _title(writer):
                for process in self.dice.sample(family := sorted(descendants(writer)), len(family)):
                    if _title(process).startswith("ray::Player"):
                        self.workers += 1
                        os.kill(process, signal.SIGKILL)
                        return process
                time.sleep(0.05)
            return None
        self.writers += 1
        family = sorted(descendants(writer))
        os.kill(writer, signal.SIGKILL)
        start = time.perf_counter()
        while (alive := [process for process in family if _title(process)]) and time.perf_counter() - start < GRACE:
            time.sleep(0.05)
        self.left += alive
        self.slowest = max(self.slowest, time.perf_counter() - start)
        return writer

    def told(self) -> dict[str, Any]:
        seconds = round(self.slowest, 1)
        return {"workers": self.workers, "writers": self.writers, "gone_after_seconds": seconds, "left": self.left}


def _title(process: int) -> str:
    """The command line of a process that runs; "" of one that is gone or only waits to be counted."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _kill(process: int) -> int:
    os.kill(process, signal.SIGKILL)
    return process


def one_round(
    starts: list[list[str]], most: int, longest: float, kill: Callable[[int], int | None], dice: random.Random
) -> tuple[int, list[int]]:
    """Run command lines side by side to their end; return the number of kills and exit codes that are not 0.

    Args:
        most: kills.
        longest: seconds between two of them.
        kill: takes one of the processes, kills it or one of its own, and returns whom.
    """
    running = {batch.child(arguments): arguments for arguments in starts}
    died, wrong = 0, []
    while running:
        moment = time.perf_counter() + dice.uniform(0.0, longest)
        while running and (time.perf_counter() < moment or died == most):
            for process in list(running):
                done, status = os.waitpid(process, os.WNOHANG)
                if done:
                    running.pop(process)
                    wrong += [status] if status else []
            time.sleep(0.002)
        if running and died < most:
            victim = dice.choice(sorted(running))
            dead = kill(victim)
            died += dead is not None
            if dead == victim:
                os.waitpid(victim, 0)
                arguments = running.pop(victim)
                running[batch.child(arguments)] = arguments
    return died, wrong


def scene(name: str, folder: Path, model: str, kills: int, items: int) -> dict[str, Any]:
    """Play one scene until there were so many kills."""
    layout = {"shards": "webdataset", "ray": "audiofolder"}.get(name, name)
    rows = batch.manifest(folder / "rows.jsonl", items, 0.2)
    common = ["batch", str(rows), "--model", model, "--keep-codes", "--layout", layout, "--per-file", "4"]
    common += ["--format", "wav"]
    engine = ["--engine", "ray", "--workers", "2"] if name == "ray" else []
    calm, killed = folder / f"calm-{name}", folder / f"killed-{name}"
    os.waitpid(batch.child([*common, "-o", str(calm)]), 0)
    start = time.perf_counter()
    os.waitpid(batch.child([*common, "-o", str(killed), *engine]), 0)
    whole = time.perf_counter() - start
    parts = [["--shard", f"{shard}/3"] for shard in (1, 2, 3)] if name == "shards" else [engine]
    dice = random.Random(0)
    ray = Ray(dice)
    died, rounds, different, wrong = 0, 0, differences(calm, killed, layout), list[int]()
    while died < kills:
        shutil.rmtree(killed)
        starts = [[*common, "-o", str(killed), *part] for part in parts]
        longest = whole if name == "ray" else 0.3 * whole
        more, codes = one_round(starts, kills - died, longest, ray.kill if name == "ray" else _kill, dice)
        died, rounds, wrong = died + more, rounds + 1, wrong + codes
        different += differences(calm, killed, layout)
    found = {"killed": died, "rounds": rounds, "seconds_undisturbed": round(whole, 2), "different": different}
    return {**found, "wrong_exits": wrong, **(ray.told() if name == "ray" else {})}


def differences(one: Path, other: Path, layout: str) -> list[str]:
    """What two output folders do not share, byte for byte, in sounds, codes and records."""
    sets = [contents(one, layout), contents(other, layout)]
    return sorted(key for key in sets[0].keys() | sets[1].keys() if sets[0].get(key) != sets[1].get(key))


def contents(out: Path, layout: str) -> dict[str, Any]:
    """Name -> bytes of everything that a data set says."""
    from gen_audio import registry

    if layout == "audiofolder":
        files = [out / "metadata.jsonl", out / "README.md", *out.glob("data/**/*.*"), *out.glob("codes/**/*.*")]
        return {str(path.relative_to(out)): path.read_bytes() for path in files}
    reader = registry.build("pipeline.batch.layouts", layout)
    found = [sample for path in out.glob("data-*") for sample in reader.unpack(path)]
    once = {sample.address: sample for sample in found}
    return {**once, "README.md": (out / "README.md").read_bytes(), "count": len(found)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--scenes", choices=SCENES, nargs="+", default=SCENES)
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as workers of Ray have it; sums in another order round differently
    folder = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("nano", "warm", *(f"{kind}-{name}" for kind in ("calm", "killed") for name in SCENES)):
        shutil.rmtree(folder / name, ignore_errors=True)
    model = batch.nano(folder)
    found = {name: scene(name, folder, model, asked.kills, asked.items) for name in asked.scenes}
    print(json.dumps(found, indent=1))
    return int(any(part["different"] or part["wrong_exits"] or part.get("left") for part in found.values()))


if __name__ == "__main__":
    sys.exit(main())
