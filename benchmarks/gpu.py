"""Check and time the graph executor on a machine with an NVIDIA GPU. Writes gpu.json and gpu.md into a folder.

Usage: gpu.py OUT [--size small]

1. MusicGen of random weights: logits of every recorded number of slots, and of every recorded length, against the same
   operations run one by one and against the reference in fp32 on the CPU. Exit code 1 if a bound is missed.
2. Steps a second of its loop in bf16, 1 to 64 rows with guidance; frames a second of etude, one piece and many.
3. transformers' generate with the same weights, in bf16, without its decoder.

The random weights go to a temporary folder: 2.4 GB of disk for `small`.
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
from typing import Any

import torch
import transformers
from gen_audio.evaluation.random_musicgen import PROMPTS, SIZES, make_checkpoint
from gen_audio.models.musicgen import MusicGenLM
from gen_audio.pipeline.executors.base import Choosing
from gen_audio.pipeline.executors.graph import Graph
from gen_audio.pipeline.executors.reference import Reference
from gen_audio.pipeline.fuse import Fused
from gen_audio.pipeline.generate import Piece, play, play_together
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.load import load
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.patterns.delay import Delay
from gen_audio.pipeline.samplers.base import SamplingParams, build_sampler

GUIDANCE, TOP_K, FRAME_RATE = 3.0, 250, 50
BATCHES = (1, 2, 4, 8, 16, 32, 64)
LENGTHS = (300, 700, 1200)  # positions before the first step: they lead to recordings of 512, 1024 and 1536
STEPS, FRAMES, RUNS = 6, 250, 3
WORDS = 12  # positions of the text
# Errors as shares of the deviation of the logits: (their deviation from one by one, from the reference).
BOUNDS = {"fp32": (1e-4, 1e-3), "bf16": (0.02, 0.05)}


# --- 1. equality ------------------------------------------------------------------------------------------------------


def conditions(lm: MusicGenLM, batch: int, prefix: int = 0) -> Fused:
    """Random words of several lengths, and so many positions before the first step, with guidance."""
    generator = torch.Generator().manual_seed(0)
    told = torch.arange(WORDS) < torch.tensor([WORDS, 3, 8, 5])[torch.arange(batch) % 4, None]
    words = torch.randn(batch, WORDS, lm.width, generator=generator) * told[..., None]
    before = torch.randn(2 * batch, prefix, lm.width, generator=generator) if prefix else None
    return Fused(batch, 2, prefix=before, cross=words, cross_mask=told)


def check(lm: MusicGenLM, device: str, batches: Sequence[int], lengths: Sequence[int], steps: int) -> list[dict]:
    """A row a precision and size: how far logits are from those one by one and from the reference."""
    many, long = [(batch, 0) for batch in batches], [(2, length) for length in lengths]
    generator = torch.Generator().manual_seed(1)
    told = {batch: torch.randint(lm.card, (batch, lm.n_q, steps), generator=generator) for batch, _ in many + long}
    reference = Reference(lm)
    wanted = {size: reference.logits(conditions(lm, *size), told[size[0]]) for size in many + long}
    rows = []
    for precision in BOUNDS:
        for sizes in (many, long):  # apart, since every slot has room for the longest
            most = max((batch for batch, _ in sizes), default=1)
            players = [Graph(copy.deepcopy(lm), precision, device, rows=most, record=is_on) for is_on in (False, None)]
            for size in sizes:
                plain, recorded = (player.logits(conditions(lm, *size), told[size[0]]) for player in players)
                rows.append(_compared(recorded, plain, wanted[size], precision, size))
            del players
    return rows


def _compared(
    found: torch.Tensor, plain: torch.Tensor, wanted: torch.Tensor, precision: str, size: tuple[int, int]
) -> dict[str, Any]:
    errors = [float((found - other).std() / wanted.std()) for other in (plain, wanted)]
    row = {"precision": precision, "rows": size[0], "positions_before": size[1]}
    row |= {"from_one_by_one": errors[0], "from_reference": errors[1]}
    row["ok"] = all(error < bound for error, bound in zip(errors, BOUNDS[precision], strict=True))
    print(json.dumps(row), flush=True)
    return row


# --- 2. speed of ours -------------------------------------------------------------------------------------------------


def piece(executor: Graph, lm: MusicGenLM, batch: int, frames: int) -> Piece:
    noise = GumbelNoise(range(batch), [0] * batch, n_q=lm.n_q, card=lm.card)
    choosing = Choosing(build_sampler(SamplingParams(top_k=TOP_K)), Guidance(GUIDANCE), noise)
    pattern = Delay(n_q=lm.n_q, special_token_id=lm.card)
    return Piece(executor, pattern, conditions(lm, batch), choosing, num_frames=frames)


def time_loop(
    lm: MusicGenLM, precision: str, device: str, batches: Sequence[int], frames: int, runs: int
) -> dict[str, Any]:
    """Steps a second by rows, and how long recording took."""
    executor = Graph(lm, precision, device, rows=max(batches))
    piece(executor, lm, 1, frames)  # makes room
    recording = seconds(lambda: executor.record(max(batches), frames + lm.n_q), device)
    rows = []
    for batch in batches:
        spent = [seconds(lambda n=batch: list(play(piece(executor, lm, n, frames))), device) for _ in range(runs)]
        steps = frames + lm.n_q - 1
        rows.append(
            {
                "rows": batch,
                "steps_per_second": steps / statistics.median(spent),
                "audio_seconds_per_second": batch * frames / FRAME_RATE / statistics.median(spent),
                "seconds": spent,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device != "cpu" else None
    return {"precision": precision, "frames": frames, "recording_seconds": recording, "gib": memory, "rows": rows}


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
) -> dict[str, Any]:
    """Everything, on one device; the model of transformers comes last, because it is changed.

    Args:
        batches: rows to check and time.
        lengths: positions before the first step, to check.
        frames: of MusicGen, to time.
        duration: seconds of sound of a piece of etude.
        together: pieces of etude that share steps.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = make_checkpoint(folder, "mono", size)
        lm: Any = load(name, "cpu", "fp32", "reference").parts.lm  # type: ignore[attr-defined]
        report = {"size": size, "machine": machine(device), "equality": check(lm, device, batches, lengths, STEPS)}
        report["loop"] = time_loop(lm, "bf16", device, batches, frames, RUNS)
        report["etude"] = time_etude(load("etude", device, executor="graph"), duration, together, device)
        few = sorted({batches[0], batches[len(batches) // 2], batches[-1]})
        report["transformers"] = time_transformers(theirs, folder, device, few, frames)
    return report


def machine(device: str) -> str:
    name = torch.cuda.get_device_name(device) if device != "cpu" else platform.machine()
    return f"{name}; torch {torch.__version__}, CUDA {torch.version.cuda}, transformers {transformers.__version__}"


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    bad = [row for row in report["equality"] if not row["ok"]]
    lines = [f"MusicGen-{report['size']} of random weights. {report['machine']}.", ""]
    lines += ["| precision | largest error from one by one | from the reference | bounds |", "|---|---|---|---|"]
    for precision, bounds in BOUNDS.items():
        rows = [row for row in report["equality"] if row["precision"] == precision]
        worst = [max(row[name] for row in rows) for name in ("from_one_by_one", "from_reference")]
        lines.append(f"| {precision} | {worst[0]:.1e} | {worst[1]:.1e} | {bounds[0]:g}, {bounds[1]:g} |")
    lines += [
        "",
        f"Errors are shares of the logits' deviation; {len(bad)} of {len(report['equality'])} sizes fail.",
        "",
    ]
    lines += ["| rows, with guidance | steps/s | audio, times real time | transformers, steps/s |", "|---|---|---|---|"]
    theirs = {row["rows"]: f"{row['steps_per_second']:.0f}" for row in report["transformers"]}
    for row in report["loop"]["rows"]:
        lines.append(
            f"| {row['rows']} | {row['steps_per_second']:.0f} | {row['audio_seconds_per_second']:.1f} "
            f"| {theirs.get(row['rows'], '')} |"
        )
    etude, loop = report["etude"], report["loop"]
    lines += [
        "",
        f"Both in bf16, {loop['frames']} frames. Recording took {loop['recording_seconds']:.1f} s.",
        f"etude, all stems: {etude['frames_per_second']:.0f} frames/s, "
        f"{etude['frames_per_second_together']:.0f} with {etude['together']} pieces together; "
        f"a piece of {etude['seconds_of_sound']:g} s takes {sum(etude['stages'].values()):.2f} s.",
    ]
    return "\n".join(lines) + "\n"


def main(out: Path, size: str) -> int:
    if not torch.cuda.is_available():
        print(f"gpu.py: this PyTorch ({torch.__version__}) sees no CUDA device, and there is nothing else to check.")
        return 2
    report = measure("cuda:0", size)
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "gpu.md").write_text(table(report))
    print(table(report))
    return 0 if all(row["ok"] for row in report["equality"]) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=list(SIZES), default="small")
    asked = parser.parse_args()
    sys.exit(main(asked.out, asked.size))
