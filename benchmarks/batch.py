"""Try gen-audio batch on the big: a million rows, many items, and a shell loop beside it. kills.py is the cruel.

Usage:
    batch.py rows FOLDER [--rows 1000000]              seconds to the first item, and memory of the bookkeeping
    batch.py many FOLDER [--items 100000] [--family musicgen] [--engine ray] [--seconds 0.02] [--loudness none]
                         [--shards 1]                  memory after 1,000 items and after all
    batch.py throughput FOLDER [--items 8] [--seconds 10] [--model etude]

FOLDER is made, or emptied of what this program wrote there before. But for `throughput` a tiny model of random weights
plays. Each prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STYLES = ("lofi", "house", "blues", "jazz", "techno", "ambient", "folk", "funk")


def manifest(path: Path, count: int, seconds: float) -> Path:
    """Write a manifest of so many different rows."""
    with open(path, "w") as file:
        for number in range(count):
            prompt = f"{STYLES[number % len(STYLES)]} number {number}"
            file.write(json.dumps({"id": f"row-{number}", "prompt": prompt, "duration": seconds}) + "\n")
    return path


def nano(folder: Path, family: str = "etude") -> str:
    """Make the tiny model and play something, so that children of this process need neither load nor import."""
    from gen_audio.evaluation.random_etude import make_model
    from gen_audio.evaluation.random_musicgen import make_checkpoint
    from gen_audio.pipeline import load as loader
    from gen_audio.pipeline.cli import run

    path = str(folder / "nano")
    if family == "etude":
        make_model(folder / "nano")
    else:
        make_checkpoint(folder / "nano", "mono", "tiny")
    pipeline = loader.load(path)
    loader.load = lambda *arguments, **options: pipeline  # type: ignore[assignment]
    with contextlib.redirect_stdout(sys.stderr):
        run(["batch", str(manifest(folder / "warm.jsonl", 2, 0.1)), "-o", str(folder / "warm"), "--model", path])
    return path


def child(arguments: list[str]) -> int:
    """Start the command line in a process of its own, without the seconds of imports; return its id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        from gen_audio.pipeline.cli import run

        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        code = run(arguments)
    finally:
        os._exit(code)


def rows(folder: Path, count: int) -> dict[str, Any]:
    """How soon a huge manifest begins to play, and what its bookkeeping takes."""
    path = manifest(folder / "rows.jsonl", count, 0.4)
    code = (
        "import sys, time, resource; start = time.perf_counter();"
        "from pathlib import Path; from gen_audio.pipeline.batch.manifest import open_manifest;"
        "from gen_audio.pipeline.batch.items import Reader; from gen_audio.pipeline.batch.render import Selection;"
        "from gen_audio.pipeline.batch.store import Ledger; from gen_audio.pipeline.batch.watch import Watch;"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; first = None;"
        "m = open_manifest(Path(sys.argv[1])); watch = Watch(m.count());"
        "chosen = Selection(Reader({}, Path()), dict.fromkeys(('sha256', 'precision', 'executor'), ''));"
        "n = 0\n"
        "for item in chosen.choose(m.rows(), Ledger(Path('nowhere')), watch):\n"
        "    first = first or time.perf_counter() - start; n += 1\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(n, first, time.perf_counter() - start, (peak - base) / 1024, peak / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    items, first, whole, grown, peak = map(float, done.stdout.split())
    names = ("items", "first_item_seconds", "all_items_seconds", "bookkeeping_mib", "peak_mib_without_model")
    return dict(zip(names, (items, first, whole, grown, peak), strict=True))


def many(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Memory of the processes that make 1,000 short items, and of those that make all; one each, or a shard each."""
    model, items, peaks = nano(folder, asked.family), asked.items or 100_000, {}
    for count in sorted({min(1000, items), items}):
        path = manifest(folder / "rows.jsonl", count, asked.seconds or 0.02)
        out = folder / f"many-{count}"
        start = time.perf_counter()
        options = ["--layout", "webdataset", "--format", "wav", "--loudness", asked.loudness, "--engine", asked.engine]
        command = ["batch", str(path), "-o", str(out), "--model", model, *options]
        shards = [["--shard", f"{shard + 1}/{asked.shards}"] for shard in range(asked.shards) if asked.shards > 1]
        processes = [child([*command, *shard]) for shard in shards or [[]]]
        ends = [os.wait4(process, 0)[1:] for process in processes]
        peaks[count] = {
            "exits": [status for status, _ in ends],
            "peak_mib": [round(usage.ru_maxrss / 1024) for _, usage in ends],
            "seconds": round(time.perf_counter() - start, 1),
        }
    return {"items": peaks}


def throughput(folder: Path, items: int, seconds: float, model: str) -> dict[str, Any]:
    """One batch against one process a prompt; model load excluded from neither."""
    path = manifest(folder / "rows.jsonl", items, seconds)
    command = [sys.executable, "-m", "gen_audio"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "batch", str(path), "-o", str(folder / "out"), "--model", model, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    batched = time.perf_counter() - start
    start = time.perf_counter()
    for line in path.read_text().splitlines():
        row = json.loads(line)
        options = ["--duration", str(seconds), "--model", model, "--format", "flac", "-o", str(folder / row["id"])]
        subprocess.run([*command, row["prompt"], *options, "--overwrite"], stdout=subprocess.DEVNULL, check=True)
    looped = time.perf_counter() - start
    found = {
        "batch_seconds": batched,
        "loop_seconds": looped,
        "times": looped / batched,
        "audio_seconds": items * seconds,
    }
    return found | {"summary": json.loads(done.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rows", "many", "throughput"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--loudness", default="none")
    parser.add_argument("--model", default="etude")
    parser.add_argument("--engine", choices=("process", "ray"), default="process")
    parser.add_argument("--family", choices=("etude", "musicgen"), default="etude")
    asked = parser.parse_args()
    folder = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("out", "nano", "warm", *(path.name for path in folder.glob("many-*"))):
        shutil.rmtree(folder / name, ignore_errors=True)
    if asked.what == "rows":
        found = rows(folder, asked.rows)
    elif asked.what == "many":
        found = many(folder, asked)
    else:
        found = throughput(folder, asked.items or 8, asked.seconds or 10.0, asked.model)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
