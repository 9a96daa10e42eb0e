"""Matrices, caches and a machine that runs lists of operations; thin handles of what lives on the C++ side."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..int8 import row_scales
from . import library
from .records import CALL, OP

__all__ = ["ACTIVATIONS", "KINDS", "NORMS", "PRECISIONS", "Cache", "Machine", "Matrix", "Program"]

PRECISIONS = ("fp32", "bf16", "int8", "int4")  # in the order of the enums of matrix.h and machine.h
KINDS = ("embed", "turn", "linear", "attend", "hear", "choose", "tell")
NORMS = ("none", "rms", "layer")
ACTIVATIONS = ("none", "squared_relu", "gelu", "cap")
ROWS_AT_ONCE = 4096  # of a matrix, while it is packed


class Matrix:
    """The weights [n, k] of a linear layer without bias, packed in one of PRECISIONS.

    int4 has a scale for every 64 inputs of an output, int8 one for every output; inputs are rounded to int8 for both.
    """

    def __init__(self, weight: Tensor, precision: str) -> None:
        lib = library.load()
        self.n, self.k = weight.shape
        self.handle = _made(lib.matrix_new(PRECISIONS.index(precision), self.n, self.k), "a matrix")
        weakref.finalize(self, lib.matrix_free, self.handle)
        for first in range(0, self.n, ROWS_AT_ONCE):
            rows = weight[first : first + ROWS_AT_ONCE].detach().float().contiguous()
            # with these, rows of float32 that were stored as int8 give the same codes again
            scales = row_scales(rows) if precision == "int8" else None
            lib.matrix_pack(self.handle, first, len(rows), _at(rows), self.k, _at(scales) if scales is not None else 0)
        self.num_bytes = lib.matrix_bytes(self.handle)


class Cache:
    """Keys and values of `slots` sequences; the last `window` positions of each.

    Args:
        half: keep them in bf16.
    """

    def __init__(self, *, layers: int, slots: int, heads: int, head_dim: int, window: int, half: bool) -> None:
        lib = library.load()
        self.handle = _made(lib.cache_new(layers, slots, heads, head_dim, window, half), "a cache")
        weakref.finalize(self, lib.cache_free, self.handle)
        self.num_bytes = lib.cache_bytes(self.handle)

    def write(self, layer: int, slot: int, keys: Tensor, values: Tensor) -> None:
        """Store keys and values [H, N, head_dim] of positions 0 .. N - 1."""
        keys, values = keys.float().contiguous(), values.float().contiguous()
        library.load().cache_write(self.handle, layer, slot, 0, keys.shape[1], _at(keys), _at(values))


class Program:
    """A list of operations over the buffers of a machine; machine.h says what each does with its fields."""

    def __init__(self, buffers: Mapping[str, int]) -> None:
        self.buffers, self.ops, self.kept = buffers, np.zeros(0, OP), list[Any]()

    def add(self, kind: str, source: str | None = None, to: str | None = None, **fields: Any) -> None:
        """Append an operation from buffer `source` to buffer `to`.

        Names stand for the numbers of norm and activation; objects with memory of their own for its address, and they
        live as long as the program.
        """
        op = np.zeros(1, OP)
        op["kind"], op["level"] = KINDS.index(kind), -1
        op["from"], op["to"] = (self.buffers[name] if name else 0 for name in (source, to))
        for name, value in fields.items():
            if name == "norm":
                value = NORMS.index(value)
            elif name == "activation":
                value = ACTIVATIONS.index(value)
            elif isinstance(value, Matrix | Cache):
                self.kept.append(value)
                value = value.handle
            elif isinstance(value, Tensor):
                value = value.detach().float().contiguous()
                self.kept.append(value)
                value = _at(value)
            op[name] = value
        self.ops = np.concatenate((self.ops, op))


class Machine:
    """Buffers of rows, and threads that run programs over them.

    Args:
        widths: name of each buffer -> floats a row.
        threads: how many work together.
    """

    def __init__(self, widths: Mapping[str, int], threads: int) -> None:
        self.lib = library.load()
        self.buffers = {name: index for index, name in enumerate(widths)}
        self.widths = dict(widths)
        self.threads, self.room = threads, 0
        sizes = np.array(list(widths.values()), np.int32)
        self.handle = _made(self.lib.machine_new(threads, sizes.ctypes.data, len(sizes)), "a machine")
        weakref.finalize(self, self.lib.machine_free, self.handle)
        self.call = np.zeros(1, CALL)

    def make_room(self, rows: int) -> None:
        """Let the buffers hold at least so many rows."""
        if rows > self.room:
            self.lib.machine_make_room(self.handle, rows)
            self.room = rows

    def run(
        self,
        program: Program,
        rows: np.ndarray,
        groups: np.ndarray,
        *,
        card: int,
        codes: np.ndarray | None = None,
        chosen: np.ndarray | None = None,
        given: np.ndarray | None = None,
        apart: bool = False,
        forced: bool = False,
    ) -> None:
        """Run a program once.

        Args:
            rows, groups: ROW and GROUP records; the rows of a group follow each other, group after group.
            card: entries of a codebook.
            codes: [G, K] int32 that are read.
            chosen: [G, K] int32 that are written, or, if `forced`, taken as if they had been chosen.
            given: [M, D] float32 added to what is embedded.
            apart: each thread takes some groups through the whole program, instead of a share of every operation.
        """
        call = self.call
        for name, array in (("codes", codes), ("chosen", chosen), ("given", given)):
            call[name] = 0 if array is None else array.ctypes.data
        call["ops"], call["rows"], call["groups"] = program.ops.ctypes.data, rows.ctypes.data, groups.ctypes.data
        call["num_ops"], call["num_rows"], call["num_groups"] = len(program.ops), len(rows), len(groups)
        call["n_q"], call["card"] = 0 if codes is None and chosen is None else _levels(codes, chosen), card
        call["apart"], call["forced"] = apart, forced
        self.make_room(len(rows))
        self.lib.machine_run(self.handle, call.ctypes.data)

    def read(self, buffer: str, rows: int) -> Tensor:
        """Copy the first `rows` rows of a buffer, [rows, width]."""
        out = torch.empty(rows, self.widths[buffer])
        self.lib.machine_read(self.handle, self.buffers[buffer], 0, rows, _at(out))
        return out


def _levels(codes: np.ndarray | None, chosen: np.ndarray | None) -> int:
    known = codes if codes is not None else chosen
    assert known is not None
    return known.shape[1]


def _at(tensor: Tensor) -> int:
    return tensor.data_ptr()


def _made(handle: int | None, what: str) -> int:
    if not handle:
        raise MemoryError(f"there is no memory for {what}")
    return handle
