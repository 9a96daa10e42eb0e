"""Files that a power cut cannot halve: written aside, flushed to the disk, renamed, and the rename flushed too."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["fingerprint", "move", "sync", "write"]


def sync(path: Path) -> None:
    """Have the disk keep a file's content, or a folder's names, before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def move(files: Mapping[Path, Path]) -> None:
    """Give finished temporary files their names, making folders as needed; each appears whole or not at all."""
    for part, path in files.items():
        sync(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, path)
    for folder in {path.parent for path in files.values()}:
        sync(folder)
        sync(folder.parent)  # which may have got a new folder


def write(path: Path, content: str | bytes, aside: Path) -> None:
    """Write a small file by way of `aside`, a path on the same file system."""
    aside.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    move({aside: path})


def fingerprint(path: Path) -> dict[str, int | str]:
    """Size and sha256 of a file, as the journal keeps them."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}
