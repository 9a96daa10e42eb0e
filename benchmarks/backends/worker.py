"""One backend in a process of its own: builds it, checks its logits, then plays steps whenever it is told to.

It writes a line of JSON to standard output when it is ready, and one for every number of steps that it reads.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import torch

from .workload import CHECKED, Backend, Work

__all__ = ["BOUNDS", "FILES", "bits", "build", "errors", "serve", "variants"]

FILES = {"ours": "native", "PyTorch": "pytorch", "OpenVINO": "openvino", "onnxruntime": "onnx"}  # file of each backend
CLASSES = {"ours": "Ours", "PyTorch": "PyTorch", "OpenVINO": "OpenVino", "onnxruntime": "OnnxRuntime"}
BOUNDS = {32: 1e-4, 16: 0.05, 8: 0.1, 4: 0.6}  # share of error that the rounding of weights explains, by their bits


def bits(variant: str) -> int:
    """Of the weights: "fbgemm int8" -> 8."""
    return int(re.findall(r"(?:fp|bf|int)(\d+)", variant)[0])


def build(name: str, variant: str, work: Work, threads: int) -> Backend:
    module = importlib.import_module(f"{__package__}.{FILES[name]}")
    backend: Backend = getattr(module, CLASSES[name])(work, variant, threads)
    return backend


def variants(name: str) -> tuple[str, ...]:
    """Precisions of a backend. Raises ImportError if its library is not installed."""
    return tuple(importlib.import_module(f"{__package__}.{FILES[name]}").VARIANTS)


def serve(name: str, variant: str, path: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    work = Work(path)
    variants(name)  # the library is loaded
    work.model()  # what PyTorch loads when it is first used is no backend's memory
    before, start = own_bytes(), time.perf_counter()
    backend = build(name, variant, work, threads)
    ready: dict[str, Any] = {"seconds_to_build": time.perf_counter() - start}
    ready |= errors(backend, work)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system, so that what is held can be told
    ready["mib"] = (own_bytes() - before) / 2**20
    say(ready)
    number = CHECKED
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            backend.step(number)
            times.append(1000 * (time.perf_counter() - start))
            number += 1
        say(times)


def errors(backend: Backend, work: Work) -> dict[str, float]:
    """Play the first steps; the largest error of a logit, and the errors as a share of the logits' deviation."""
    found = []
    for number in range(CHECKED):
        backend.step(number)
        found.append(backend.logits().float().clone())
    error = torch.stack(found) - work.wanted
    return {"largest_error": float(error.abs().max()), "error": float(error.std() / work.wanted.std())}


def own_bytes() -> int:
    """Memory of this process that is no mapped file."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def say(what: object) -> None:
    print(json.dumps(what), flush=True)
