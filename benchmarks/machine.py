"""The machine: what it is, how busy it is, and how fast it reads its memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["bandwidth", "cores", "describe", "is_busy", "memory_available"]

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8", "asimd", "sve")
RUNS = 7


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_busy(threads: int) -> tuple[bool, float]:
    """Whether other work runs, and the load average of the last minute; up to 0.3 beyond our own threads is none."""
    load = os.getloadavg()[0]
    return load > threads + 0.3, load


def memory_available() -> int | None:
    """Bytes that can be had without swapping, where the system says so."""
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    line = next(line for line in path.read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def bandwidth(threads: int, size: int) -> dict[str, float]:
    """Read a buffer of `size` bytes, which no cache should hold, in two ways.

    Returns:
        way -> GB/s (1e9 bytes), the median of 7 reads after one that is not counted.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    data = torch.ones(size // 4)
    ways = {"sum": lambda: data.sum(), "dot product with itself": lambda: torch.dot(data, data)}
    found = {}
    for name, read in ways.items():
        read()
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            read()
            times.append(time.perf_counter() - start)
        found[name] = size / statistics.median(times) / 1e9
    torch.set_num_threads(before)
    return found


def describe(threads: int) -> dict[str, Any]:
    """CPU, versions, commit and environment, for the report."""
    import torch

    versions = {name: importlib.metadata.version(name) for name in ("gen-audio", "torch", "transformers")}
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "threads": threads,
        "flags": [flag for flag in FLAGS if flag in _cpu_info("flags", "Features").split()],
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not told",
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {"Python": platform.python_version(), **versions},
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed_since": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "environment": {
            name: value for name, value in os.environ.items() if name.startswith(("OMP_", "MKL_", "GOMP_"))
        },
        "load_average": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


def _cpu() -> str:
    family, model = _cpu_info("cpu family"), _cpu_info("model")
    detail = f", family {family} model {model}" if family else ""
    return f"{_cpu_info('model name') or platform.machine()}{detail}"


def _cpu_info(*names: str) -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def _read(path: str) -> str:
    return Path(path).read_text().strip() if Path(path).is_file() else ""


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"engine: no commit in the report, git says: {error}", file=sys.stderr)
        return ""
    return done.stdout.strip()
