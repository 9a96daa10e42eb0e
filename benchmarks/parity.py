"""Compare our loop with transformers on MusicGen of random weights, and time the loading. Writes JSON and Markdown.

Usage: python -m benchmarks.parity OUT [--size small] [--kind mono stereo melody] [--steps 200]

For every kind: teacher-forced logits on 3 prompts x 64 steps in fp32, greedy codes with guidance, and in a process of
its own the time from disk to the first step and the peak of memory. The weights go to a temporary folder; `small` takes
2.4 GB of disk and 7 GB of memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from gen_audio.evaluation.random_musicgen import KINDS, PROMPTS, SIZES, codes_of, make_checkpoint
from gen_audio.pipeline.executors.base import Choosing, columns_before
from gen_audio.pipeline.fuse import Fused
from gen_audio.pipeline.generate import Piece, play
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.load import load
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.samplers.greedy import Greedy

from benchmarks.stopwatch import peak_bytes

GUIDANCE = 3.0


@torch.inference_mode()
def compare(folder: Path, reference: Any, kind: str, steps: int) -> dict[str, Any]:
    """Largest difference of logits, and the share of greedy codes that agree."""
    model: Any = load(str(folder), precision="fp32")
    player, told = model.executor, model.parts.text.prepare(list(PROMPTS))
    text = model.parts.text(**told)
    chroma = _chroma(model) if kind == "melody" else None
    heard = None if chroma is None else lambda second: chroma
    extra = {} if chroma is None else {"input_features": chroma.expand(len(PROMPTS), -1, -1)}

    codes = torch.randint(player.card, (len(PROMPTS), player.n_q, 64), generator=torch.Generator().manual_seed(1))
    columns = columns_before(codes, player.card).flatten(0, 1)
    wanted = reference(**told, decoder_input_ids=columns, **extra).logits[:, -64:]
    fused = model.conditions(text, heard, False, 0)
    found = player.logits(fused, codes).flatten(0, 1)

    theirs = codes_of(reference, **told, **extra, do_sample=False, guidance_scale=GUIDANCE, max_new_tokens=steps)
    ours = torch.stack(list(play(greedy(model, model.conditions(text, heard, True, 0), theirs.shape[-1]))), -1)
    return {
        "logits_max_error": float((found - wanted).abs().max()),
        "logits_std": float(wanted.std()),
        "greedy_steps": steps,
        "greedy_codes_equal": float((ours == theirs).float().mean()),
    }


def greedy(model: Any, fused: Fused, num_frames: int) -> Piece:
    """A piece of the likeliest codes."""
    rows, player = fused.batch_size, model.executor
    noise = GumbelNoise([0] * rows, [0] * rows, n_q=player.n_q, card=player.card)
    return Piece(player, model.pattern, fused, Choosing(Greedy(), Guidance(GUIDANCE), noise), num_frames=num_frames)


def _chroma(model: Any) -> torch.Tensor:
    seconds = torch.arange(2 * 32000) / 32000
    pitch = 220 * 2 ** ((seconds * 4).floor() / 12)
    return model.parts.melody.chroma(torch.sin(2 * torch.pi * pitch.cumsum(0) / 32000)[None], 32000)


def time_loading(folder: Path, precision: str) -> dict[str, float]:
    """In this process: seconds from disk to the first step, and peak memory beyond that of the libraries."""
    import gen_audio.pipeline.musicgen  # noqa: F401
    from transformers import T5EncoderModel  # noqa: F401

    before = peak_bytes()
    start = time.perf_counter()
    model: Any = load(str(folder), precision=precision)
    loaded = time.perf_counter()
    with torch.inference_mode():
        fused = model.conditions(model.parts.text(**model.parts.text.prepare(["rock"])), None, True, 0)
        next(play(greedy(model, fused, 1)))
    modules = [module for name, module in model.parts.modules().items() if name != "lm"]
    weights = model.executor.num_bytes + sum(t.numel() * t.element_size() for m in modules for t in _distinct(m))
    return {
        "seconds_to_load": loaded - start,
        "seconds_to_first_step": time.perf_counter() - start,
        "weights_mib": weights / 2**20,
        "peak_over_weights": (peak_bytes() - before) / weights,
    }


def _distinct(module: torch.nn.Module) -> list[torch.Tensor]:
    return list({t.data_ptr(): t for t in module.state_dict().values()}.values())


def main(out: Path, size: str, kinds: list[str], steps: int) -> None:
    report: dict[str, Any] = {
        "size": size,
        "kinds": {},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
    report["versions"] = f"torch {torch.__version__}, transformers {transformers.__version__}"
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            reference = make_checkpoint(Path(folder), kind, size)
            row = compare(Path(folder), reference, kind, steps)
            del reference
            gc.collect()
            for precision in ("fp32", "bf16"):
                command = [sys.executable, "-m", "benchmarks.parity", folder, "--time", precision]
                row[precision] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        report["kinds"][kind] = row
        print(kind, json.dumps(row), flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"parity-{size}.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / f"parity-{size}.md").write_text(table(report))


def table(report: dict[str, Any]) -> str:
    lines = [
        f"| {report['size']} | logits, largest error (their deviation) | greedy codes equal | bf16: disk to first step "
        "| peak memory over weights, bf16 |",
        "|---|---|---|---|---|",
    ]
    for kind, row in report["kinds"].items():
        lines.append(
            f"| {kind} | {row['logits_max_error']:.1e} ({row['logits_std']:.2f}) | {row['greedy_codes_equal']:.1%} of "
            f"{row['greedy_steps']} steps | {row['bf16']['seconds_to_first_step']:.1f} s "
            f"| {row['bf16']['peak_over_weights']:.2f} |"
        )
    return "\n".join([*lines, "", f"{report['versions']}; {report['machine']}."]) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--time", metavar="PRECISION", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.time:
        print(json.dumps(time_loading(asked.out, asked.time)))
    else:
        main(asked.out, asked.size, asked.kind, asked.steps)
