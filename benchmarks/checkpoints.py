"""Checkpoints of random weights in the public shapes, made once and kept in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.limits import checkpoint_bytes
from benchmarks.machine import memory_available

__all__ = ["checkpoint", "nano_etude"]


def checkpoint(folder: Path, size: str) -> Path:
    """The folder of musicgen-random-`size` inside `folder`; made if it is not there.

    Raises:
        SystemExit: there is not enough disk or memory to make it.
    """
    path = folder / f"musicgen-random-{size}"
    if path.is_dir():
        return path
    needed = checkpoint_bytes(size)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"making {path}: random weights, {needed / 1e9:.1f} GB of disk and about as much memory, once", flush=True)
    disk, memory = shutil.disk_usage(folder).free, memory_available()
    if disk < 1.1 * needed or (memory is not None and memory < 1.3 * needed):
        memory_said = "unknown" if memory is None else f"{memory / 1e9:.1f} GB"
        raise SystemExit(
            f"engine: {size} needs {needed / 1e9:.1f} GB of disk and a third more of memory; {disk / 1e9:.1f} GB and "
            f"{memory_said} are free. Take a smaller --size, or another --models folder."
        )
    from gen_audio.evaluation.random_musicgen import make_checkpoint

    part = path.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    make_checkpoint(part, "mono", size)
    part.rename(path)
    return path


def nano_etude(folder: Path) -> Path:
    """The folder of a tiny etude of random weights, for trying the command out."""
    from gen_audio.evaluation.random_etude import make_model

    path = folder / "etude-random-nano"
    return path if path.is_dir() else make_model(path)
