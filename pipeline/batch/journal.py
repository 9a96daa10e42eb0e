"""What was done, one JSON line an item, only ever appended to; a line that a crash cut off counts for nothing.

    {"journal":1}
    {"done":"<address>","row":3,"part":0,...,"record":{...}}
    {"failed":"<address>","row":4,"part":0,"reason":"..."}
    {"packed":"data-000000.tar","items":[...],...}

Address, row and part stand at the start of a line, so that a million lines are looked through without parsing them.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import CheckpointError
from .compact import CompactTable

__all__ = ["VERSION", "Entry", "Journal", "in_order", "read_at", "scan"]

VERSION = 1
KINDS = ("done", "failed", "packed")
HEAD = re.compile(rb'\{"(done|failed)":"([0-9a-f]{16})","row":(\d+),"part":(\d+)')


class Entry(NamedTuple):
    """Where a line stands and what it is about."""

    kind: str  # done, failed or packed
    address: int  # 0 for packed
    row: int
    part: int
    offset: int  # bytes from the start of the file


class Journal:
    """A journal that is open for appending; what was cut off at its end is taken away first.

    Raises:
        CheckpointError: it is damaged, or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open(path, "a+b")
        try:
            self._mend()
        except BaseException:
            self.file.close()
            raise

    def _mend(self) -> None:
        size = self.file.seek(0, os.SEEK_END)
        whole = _end_of_lines(self.file, size)
        if whole:
            _check_version(self.path)
        if whole < size:
            self.file.truncate(whole)
        if not whole:
            self._write({"journal": VERSION})

    def append(self, kind: str, value: str, row: int = 0, part: int = 0, **facts: Any) -> None:
        """Add a line, which the disk has kept when this returns."""
        assert kind in KINDS
        self._write({kind: value, "row": row, "part": part, **facts})

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self.file.write(text.encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def _end_of_lines(file: Any, size: int) -> int:
    """How many bytes stand before the end of the last whole line."""
    stop = size
    while stop > 0:
        start = max(0, stop - (1 << 16))
        file.seek(start)
        found = file.read(stop - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        stop = start
    return 0


def _check_version(path: Path) -> None:
    with open(path, "rb") as file:
        try:
            version = json.loads(file.readline())["journal"]
        except (ValueError, KeyError, TypeError):
            raise CheckpointError(f"{path} is no journal of gen-audio. Nothing was changed; see what it is.") from None
    if not isinstance(version, int) or version > VERSION:
        raise CheckpointError(
            f"{path} has version {version}; this release reads up to {VERSION}. Update gen-audio. Nothing was changed."
        )


def scan(path: Path) -> Iterator[Entry]:
    """Look through a journal, which another process may be appending to.

    Raises:
        CheckpointError: a line in the middle is damaged, or the version is newer.
    """
    with open(path, "rb") as file:
        offset = len(first := file.readline())
        if not first.endswith(b"\n"):
            return
        _check_version(path)
        for line in file:
            if not line.endswith(b"\n"):
                return
            if match := HEAD.match(line):
                yield Entry(match[1].decode(), int(match[2], 16), int(match[3]), int(match[4]), offset)
            elif line.startswith(b'{"packed":'):
                yield Entry("packed", 0, 0, 0, offset)
            else:
                raise CheckpointError(
                    f"{path} is damaged at byte {offset}. Nothing was changed. Restore it from a copy, or take the "
                    "line out: its item will be made again."
                )
            offset += len(line)


def read_at(path: Path, offset: int) -> dict[str, Any]:
    """Parse the line that begins at `offset`."""
    with open(path, "rb") as file:
        file.seek(offset)
        return _parse(path, offset, file.readline())


def in_order(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Each item that is done, once, in the manifest's order, from all journals of a folder.

    The order is found in about 50 bytes an item; the lines themselves are read one by one.
    """
    files = sorted(paths)
    places, starts = _places(files)
    handles = [open(path, "rb") for path in files]
    try:
        for place in map(int, places):
            number = bisect_right(starts, place) - 1
            handles[number].seek(place - starts[number])
            yield _parse(files[number], place - starts[number], handles[number].readline())
    finally:
        for handle in handles:
            handle.close()


def _places(files: Sequence[Path]) -> tuple[np.ndarray, list[int]]:
    """Where each item that is done is noted first, in the manifest's order, and where each journal begins.

    A place counts bytes as if the journals were one file.
    """
    found, starts, start, seen = array("Q"), [], 0, CompactTable()
    for path in files:
        starts.append(start)
        for entry in scan(path):
            if entry.kind == "done" and not seen.get(entry.address):
                seen[entry.address] = 1
                found.extend((entry.address, entry.part, entry.row, start + entry.offset))
        start += path.stat().st_size
    del seen
    table = np.frombuffer(found, np.uint64).reshape(-1, 4) if found else np.empty((0, 4), np.uint64)
    return table[np.lexsort(table[:, :3].T), 3], starts


def _parse(path: Path, offset: int, line: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise CheckpointError(
            f"{path} is damaged at byte {offset} ({error}). Nothing was changed. Restore it from a copy, or take the "
            "line out: its item will be made again."
        ) from None
    return found
