"""Read the tensors of a TensorFlow checkpoint without TensorFlow: an index of names, and the bytes that it points to.

The index is a LevelDB table without compression, its values are BundleEntry messages. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import CheckpointError

__all__ = ["read_checkpoint"]

FOOTER, MAGIC = 48, bytes.fromhex("57fb808b247547db")
FLOAT = 1  # TensorFlow's number of the type
DTYPE, SHAPE, OFFSET, SIZE = 1, 2, 4, 5  # fields of a BundleEntry


def read_checkpoint(folder: Path) -> dict[str, np.ndarray]:
    """All float32 tensors by name, of a folder with the files ".index" and ".data-00000-of-00001".

    Raises:
        CheckpointError: a file is missing, damaged, or compressed.
    """
    index, data = folder / ".index", folder / ".data-00000-of-00001"
    try:
        table, numbers = index.read_bytes(), data.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"'{folder}' holds no checkpoint ({error.strerror}). Install its package again."
        ) from error
    if table[-8:] != MAGIC:
        raise CheckpointError(f"'{index}' is no index of TensorFlow. Install its package again.")
    tensors = {}
    _, place = _varints(table, len(table) - FOOTER, 2)  # of the meta index, which is not needed
    (first, length), _ = _varints(table, place, 2)
    for _, handle in _entries(table, first, length):
        (start, extent), _ = _varints(handle, 0, 2)
        for key, value in _entries(table, start, extent):
            entry = _message(value)
            if key and entry.get(DTYPE) == FLOAT:
                shape = _shape(entry.get(SHAPE, b""))
                begin, size = entry.get(OFFSET, 0), entry[SIZE]
                assert isinstance(begin, int) and isinstance(size, int)
                raw = numbers[begin : begin + size]
                tensors[key.decode()] = np.frombuffer(raw, "<f4").reshape(shape)
    return tensors


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key repeats the beginning of the one before."""
    if table[start + size]:
        raise CheckpointError("the checkpoint's index is compressed, which only TensorFlow reads. Save it anew.")
    block = table[start : start + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")  # restart points and their number close it
    place, key = 0, b""
    while place < end:
        (shared, own, length), place = _varints(block, place, 3)
        key = key[:shared] + block[place : place + own]
        place += own
        yield key, block[place : place + length]
        place += length


def _varints(data: bytes, place: int, count: int) -> tuple[list[int], int]:
    """`count` integers of seven bits a byte, and where the next thing begins."""
    found = []
    for _ in range(count):
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        found.append(value)
    return found, place


def _message(data: bytes) -> dict[int, int | bytes]:
    """Fields of a protocol-buffer message by number; of a repeated field the last."""
    return dict(_fields(data))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(data):
        (tag,), place = _varints(data, place, 1)
        kind = tag & 7
        if kind == 0:
            (value,), place = _varints(data, place, 1)
            yield tag >> 3, value
        elif kind == 2:
            (length,), place = _varints(data, place, 1)
            yield tag >> 3, data[place : place + length]
            place += length
        else:  # 5: four bytes, 1: eight
            width = 4 if kind == 5 else 8
            yield tag >> 3, int.from_bytes(data[place : place + width], "little")
            place += width


def _shape(message: int | bytes) -> tuple[int, ...]:
    assert isinstance(message, bytes)
    sizes = []
    for number, dimension in _fields(message):
        if number == 2 and isinstance(dimension, bytes):
            size = _message(dimension).get(1, 0)
            assert isinstance(size, int)
            sizes.append(size)
    return tuple(sizes)
