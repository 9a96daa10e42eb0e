"""Check and time the graph executor on a machine with an NVIDIA GPU. Writes gpu.json and gpu.md into a folder.

Usage: python -m benchmarks.gpu OUT [--size small]

1. MusicGen of random weights: logits of several numbers of slots, and of every recorded length, against the same
   operations run one by one and against the reference in fp32 on the CPU, with our kernels and with PyTorch's alone.
   Exit code 1 if a bound is missed.
2. Steps a second of its loop in bf16, 1 to 64 rows with guidance, with our kernels and without; how long the last step
   takes on the GPU itself; a whole piece, from words to sound.
3. transformers' generate with the same weights, in bf16, without its decoder.
4. etude: frames a second, one piece and many.

gpu.json is written after every part. The random weights go to a temporary folder: 2.4 GB of disk for `small`.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
import transformers
from gen_audio.evaluation.random_musicgen import PROMPTS, SIZES, make_checkpoint
from gen_audio.models.musicgen import MusicGenLM
from gen_audio.pipeline.executors.base import Choosing
from gen_audio.pipeline.executors.graph import Graph
from gen_audio.pipeline.executors.slot_pool import length_of, size_of
from gen_audio.pipeline.generate import Piece, play, play_together
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.load import load
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.patterns.delay import Delay
from gen_audio.pipeline.samplers.base import SamplingParams, build_sampler

from benchmarks.gpu_check import BOUNDS, check, conditions, kernels_of

GUIDANCE, TOP_K, FRAME_RATE = 3.0, 250, 50
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CHECKED = (1, 2, 3, 8, 64)
LENGTHS = (300, 700, 1200)  # positions before the first step: they lead to recordings of 512, 1024 and 1536
STEPS, FRAMES, RUNS = 6, 500, 3
SHORT = 60  # frames that transformers plays


# --- 2. speed of ours -------------------------------------------------------------------------------------------------


def piece(executor: Graph, lm: MusicGenLM, batch: int, frames: int) -> Piece:
    noise = GumbelNoise(range(batch), [0] * batch, n_q=lm.n_q, card=lm.card)
    choosing = Choosing(build_sampler(SamplingParams(top_k=TOP_K)), Guidance(GUIDANCE), noise)
    pattern = Delay(n_q=lm.n_q, special_token_id=lm.card)
    return Piece(executor, pattern, conditions(lm, batch), choosing, num_frames=frames)


def time_loop(
    lm: MusicGenLM, device: str, batches: Sequence[int], frames: int, runs: int, kernels: Literal[False] | None = None
) -> dict[str, Any]:
    """Steps a second by rows in bf16, how long a step takes on the GPU itself, and how long recording took."""
    executor = Graph(lm, "bf16", device, rows=max(batches), kernels=kernels)
    piece(executor, lm, 1, frames)  # makes room
    recording = seconds(lambda: executor.record(max(batches), frames + lm.n_q), device)
    rows = []
    for batch in batches:
        spent = [seconds(lambda n=batch: list(play(piece(executor, lm, n, frames))), device) for _ in range(runs)]
        steps = frames + lm.n_q - 1
        rows.append(
            {
                "kernels": kernels_of(executor),
                "rows": batch,
                "steps_per_second": steps / statistics.median(spent),
                "audio_seconds_per_second": batch * frames / FRAME_RATE / statistics.median(spent),
                "last_step_on_gpu_us": _on_gpu(executor, batch, steps, device),
                "seconds": spent,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device != "cpu" else None
    return {"frames": frames, "recording_seconds": recording, "gib": memory, "rows": rows}


def _on_gpu(executor: Graph, batch: int, positions: int, device: str, times: int = 100) -> float | None:
    """Microseconds of the step that was recorded for so many rows and positions, without us; None on a CPU."""
    graph = executor.pool.graphs.recorded.get((size_of(batch), length_of(positions)))
    if graph is None:
        return None
    return seconds(lambda: [graph.replay() for _ in range(times)], device) / times * 1e6


def time_whole(folder: Path, device: str, duration: float) -> dict[str, float]:
    """Seconds of the stages of one piece, from words to sound, recorded and compiled before."""
    model = load(str(folder), device, executor="graph")
    model.generate(PROMPTS[0], duration=duration, seed=1)
    return model.generate(PROMPTS[0], duration=duration, seed=2).timings


def time_etude(model: Any, duration: float, together: int, device: str) -> dict[str, Any]:
    """A piece of etude and its stages; frames a second of many pieces, composed and played together."""
    told = {"duration": duration, "seed": 7}
    model.generate(PROMPTS[0], **told)  # records; not counted
    timings = model.generate(PROMPTS[0], **told).timings
    params = model.settle(PROMPTS[0], told)

    def play_many() -> None:
        pieces = (model.begin(PROMPTS[0], params, seed).piece for seed in range(together))
        deque(play_together(pieces, together), maxlen=0)

    frames = round(duration * model.codec.frame_rate)
    play_many()  # records; not counted
    spent = seconds(play_many, device)
    return {
        "seconds_of_sound": duration,
        "stages": timings,
        "frames_per_second": frames / timings["perform"],
        "together": together,
        "frames_per_second_together": together * frames / spent,
    }


# --- 3. speed of transformers -----------------------------------------------------------------------------------------


def time_transformers(model: Any, folder: Path, device: str, batches: Sequence[int], frames: int) -> list[dict]:
    """Steps a second of `generate` in bf16, text encoder included and decoder left out."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = model.to(device=device, dtype=torch.bfloat16)
    sound = SimpleNamespace(audio_values=torch.zeros(1, 1, 1, device=device))
    model.audio_encoder.decode = lambda codes, **settings: sound
    rows = []
    for batch in batches:
        told = dict(tokenizer([PROMPTS[0]] * batch, return_tensors="pt").to(device))
        told |= {"do_sample": True, "guidance_scale": GUIDANCE, "top_k": TOP_K}
        model.generate(**told, max_new_tokens=8)  # not counted
        spent = seconds(partial(model.generate, **told, max_new_tokens=frames + 3), device)
        rows.append({"rows": batch, "steps_per_second": (frames + 3) / spent})
        print("transformers", json.dumps(rows[-1]), flush=True)
    return rows


def seconds(work: Callable[[], Any], device: str) -> float:
    """Wall-clock time until the device has done the work, too."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


# --- report -----------------------------------------------------------------------------------------------------------


def measure(
    device: str,
    size: str,
    batches: Sequence[int] = BATCHES,
    lengths: Sequence[int] = LENGTHS,
    frames: int = FRAMES,
    duration: float = 10.0,
    together: int = 16,
    keep: Callable[[dict[str, Any]], None] = lambda report: None,
) -> dict[str, Any]:
    """Everything, on one device; the model of transformers comes late, because it is changed.

    Args:
        batches: rows to time; those of CHECKED among them are checked.
        lengths: positions before the first step, to check.
        frames: of MusicGen, to time.
        duration: seconds of sound of a piece.
        together: pieces of etude that share steps.
        keep: is given the report after every part.
    """
    report: dict[str, Any] = {"size": size, "machine": machine(device)}
    few = sorted({batches[0], batches[len(batches) // 2], batches[-1]})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = make_checkpoint(folder, "mono", size)
        lm: Any = load(name, "cpu", "fp32", "reference").parts.lm  # type: ignore[attr-defined]
        parts: dict[str, Callable[[], Any]] = {
            "loop": lambda: time_loop(copy.deepcopy(lm), device, batches, frames, RUNS),
            "loop_pytorch": lambda: time_loop(copy.deepcopy(lm), device, few, frames, RUNS, False),
            "equality": lambda: check(lm, device, sorted({*batches} & {*CHECKED} | {batches[0]}), lengths, STEPS),
            "whole": lambda: time_whole(folder, device, duration),
            "transformers": lambda: time_transformers(theirs, folder, device, few, min(frames, SHORT)),
            "etude": lambda: time_etude(load("etude", device, executor="graph"), duration, together, device),
        }
        for part, work in parts.items():
            report[part] = work()
            keep(report)
    return report


def machine(device: str) -> str:
    name = torch.cuda.get_device_name(device) if device != "cpu" else platform.machine()
    return f"{name}; torch {torch.__version__}, CUDA {torch.version.cuda}, transformers {transformers.__version__}"


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    bad = [row for row in report["equality"] if not row["ok"]]
    lines = [f"MusicGen-{report['size']} of random weights. {report['machine']}.", ""]
    lines += [
        "| kernels | precision | largest error from one by one | from the reference | bounds |",
        "|---|---|---|---|---|",
    ]
    for kernels, precision in sorted({(row["kernels"], row["precision"]) for row in report["equality"]}):
        rows = [row for row in report["equality"] if (row["kernels"], row["precision"]) == (kernels, precision)]
        worst = [max(row[name] for row in rows) for name in ("from_one_by_one", "from_reference")]
        bounds = BOUNDS[precision]
        lines.append(f"| {kernels} | {precision} | {worst[0]:.1e} | {worst[1]:.1e} | {bounds[0]:g}, {bounds[1]:g} |")
    lines += [
        "",
        f"Errors are shares of the logits' deviation; {len(bad)} of {len(report['equality'])} sizes fail.",
        "",
    ]
    lines += [
        "| rows, with guidance | steps/s | of one row's real time, all rows | last step on the GPU, us "
        "| PyTorch's kernels, steps/s | transformers, steps/s |",
        "|---|---|---|---|---|---|",
    ]
    others = [
        {row["rows"]: f"{row['steps_per_second']:.0f}" for row in rows}
        for rows in (report["loop_pytorch"]["rows"], report["transformers"])
    ]
    for row in report["loop"]["rows"]:
        cells = [f"{row['rows']}", f"{row['steps_per_second']:.0f}", f"{row['audio_seconds_per_second']:.1f}"]
        cells.append(f"{row['last_step_on_gpu_us']:.0f}" if row["last_step_on_gpu_us"] else "")
        lines.append(f"| {' | '.join(cells + [other.get(row['rows'], '') for other in others])} |")
    etude, loop, whole = report["etude"], report["loop"], report["whole"]
    stages = ", ".join(f"{name} {spent:.2f}" for name, spent in whole.items())
    lines += [
        "",
        f"All in bf16, {loop['frames']} frames. Recording all sizes, compilers included, took "
        f"{loop['recording_seconds']:.1f} s.",
        f"A whole piece: {sum(whole.values()):.2f} s ({stages}).",
        f"etude, all stems: {etude['frames_per_second']:.0f} frames/s, "
        f"{etude['frames_per_second_together']:.0f} with {etude['together']} pieces together; "
        f"a piece of {etude['seconds_of_sound']:g} s takes {sum(etude['stages'].values()):.2f} s.",
    ]
    return "\n".join(lines) + "\n"


def main(out: Path, size: str) -> int:
    if not torch.cuda.is_available():
        print(f"benchmarks.gpu: this PyTorch ({torch.__version__}) sees no CUDA device, so nothing can be checked.")
        return 2
    out.mkdir(parents=True, exist_ok=True)
    report = measure(
        "cuda:0", size, keep=lambda so_far: (out / "gpu.json").write_text(json.dumps(so_far, indent=1) + "\n")
    )
    (out / "gpu.md").write_text(table(report))
    print(table(report))
    return 0 if all(row["ok"] for row in report["equality"]) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=list(SIZES), default="small")
    asked = parser.parse_args()
    sys.exit(main(asked.out, asked.size))
