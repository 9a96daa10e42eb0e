"""`gen-audio doctor`: what this machine will use, what is missing, and how fast it should be, measured in seconds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from .. import __version__
from ..errors import GenAudioError
from ..models.int8 import available
from ..models.kernel_steps import find_kernels
from ..models.native import library
from .device import has_fast_gpu
from .generation import Generation

__all__ = ["examine", "main"]

PROMPT, SECONDS = "lofi jazz piano", 4.0
READ = 256 << 20  # bytes that are read to measure the memory; no cache holds them
STEP_WEIGHTS = {"small": 361e6, "medium": 1598e6, "large": 2835e6}  # parameters that MusicGen reads a step
BYTES = {"fp32": 4, "bf16": 2, "int8": 1, "int4": 0.53}
STEPS_PER_SECOND = 50  # of MusicGen, for sound in real time


def main(as_json: bool = False, quick: bool = False) -> None:
    """Print what was found; `quick` leaves out what takes seconds."""
    found = examine(quick)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for title, facts in found.items():
        print(title)
        for name, value in facts.items():
            print(f"  {name:24} {value}")


def examine(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Topic -> fact -> what was found, in words."""
    found = {"software": _software(), "machine": _machine(), "extras": _extras()}
    if not quick:
        found["speed, measured now"] = _speed()
        found["etude"] = _etude()
    return found


def _software() -> dict[str, str]:
    versions = {"gen-audio": __version__, "Python": platform.python_version()}
    for name in ("torch", "torchaudio", "transformers", "encodec", "soundfile"):
        versions[name] = importlib.metadata.version(name)
    return versions


def _machine() -> dict[str, str]:
    return {
        "CPU": f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "threads": f"{torch.get_num_threads()} (OMP_NUM_THREADS changes it)",
        "GPU": _gpu(),
        "executor": (executor := _executor()),
        "etude plays in": "int8"
        if executor.startswith("native") or available()
        else "fp32, for want of an int8 product",
        "MusicGen plays in": "bf16 on the GPU, unless --precision says fp32"
        if has_fast_gpu()
        else "fp32, unless --precision says bf16, int8 or int4",
    }


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none; playing needs none"
    name, kernels = torch.cuda.get_device_name(), find_kernels(torch.device("cuda", 0))
    takes = "MusicGen plays on it; for etude the CPU is faster" if has_fast_gpu() else "--device cuda plays on it"
    return f"{name}; {takes}; kernels: {'ours' if kernels else 'PyTorch, for want of Triton'}"


def _executor() -> str:
    """What runs the loop, or why it is the slower one."""
    try:
        lib = library.load()
    except library.NativeError as error:
        return f"reference, which is PyTorch: {error}"
    return f"native, compiled here for {lib.instructions().decode()}"


def _extras() -> dict[str, str]:
    from ..composition.renderer import find_font

    try:
        font = str(find_font(None))
    except GenAudioError as error:
        font = f"none: {error}"
    synth = "there" if importlib.util.find_spec("tinysoundfont") else "not there: pip install --no-deps tinysoundfont"
    return {"SoundFont": font, "tinysoundfont": f"{synth} (compose and training need both)"}


def _speed() -> dict[str, str]:
    """Memory and matrix products; medians of a few runs."""
    data = torch.ones(READ // 4)
    bandwidth = READ / _median(lambda: data.sum()) / 1e9
    matrix = torch.randn(1024, 1024)
    facts = {"read of memory": f"{bandwidth:.1f} GB/s"}
    for name in ("fp32", "bf16"):
        x = matrix if name == "fp32" else matrix.bfloat16()
        facts[f"product in {name}"] = f"{2 * 1024**3 / _median(partial(torch.mm, x, x)) / 1e9:.0f} GFLOP/s"
    for size, weights in STEP_WEIGHTS.items():
        limits = {name: bandwidth * 1e9 / (weights * width) / STEPS_PER_SECOND for name, width in BYTES.items()}
        facts[f"musicgen-{size}, at most"] = ", ".join(f"{limit:.2f}x in {name}" for name, limit in limits.items())
    facts["at most"] = "of real time, since every step reads all weights; native comes to about four fifths of it"
    return facts


def _etude() -> dict[str, str]:
    """Play the embedded model and time it."""
    from .load import load

    start = time.perf_counter()
    model = load("etude")
    loaded = time.perf_counter() - start
    model.generate(PROMPT, duration=1.0, seed=1)  # loads the text encoder; not counted
    made = model.generate(PROMPT, duration=SECONDS, seed=1)
    assert isinstance(made, Generation)
    start = time.perf_counter()
    next(iter(model.stream(PROMPT, duration=SECONDS, seed=1)))
    return {
        "weights": f"sha256 {model.sha256[:12]}, as they should be",
        "load": f"{loaded:.1f} s",
        "loop": f"{SECONDS / made.timings['perform']:.1f}x real time",
        "decoder": f"{SECONDS / made.timings['decode']:.0f}x real time",
        "first sound of a stream": f"{time.perf_counter() - start:.2f} s",
    }


def _median(work: Callable[[], Any], runs: int = 7) -> float:
    """Median seconds of some runs after one that is not counted."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
