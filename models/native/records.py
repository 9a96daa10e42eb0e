"""The records that Python writes and C++ reads; the mirror of the structs in machine.h and sampling.h."""

from __future__ import annotations

import numpy as np

__all__ = ["CALL", "CHOICE", "GROUP", "MOST_LEVELS", "MOST_PASSES", "OP", "RECORDS", "ROW"]

MOST_LEVELS, MOST_PASSES = 16, 4
POINTER = "u8"

OP = np.dtype(
    [
        *((name, "i4") for name in ("kind", "from", "to", "norm", "activation")),
        *((name, "i4") for name in ("add", "layer", "level", "first", "rotary")),
        ("number", "f8"),
        *((name, POINTER) for name in ("matrix", "cache", "table", "bias")),
    ],
    align=True,
)
ROW = np.dtype(
    [
        *((name, POINTER) for name in ("cache", "source")),
        *((name, "i4") for name in ("slot", "position", "source_slot", "source_length")),
    ],
    align=True,
)
CHOICE = np.dtype(
    [
        ("key", "u8"),
        ("step", "i8"),
        ("top_k", "i4"),
        ("top_p", "f4"),
        ("margin", "f4"),
        ("temperature", "f4", MOST_LEVELS),
    ],
    align=True,
)
GROUP = np.dtype(
    [("first_row", "i4"), ("passes", "i4"), ("weights", "f4", MOST_PASSES), ("choice", CHOICE)],
    align=True,
)
CALL = np.dtype(
    [
        *((name, POINTER) for name in ("ops", "rows", "groups", "codes", "chosen", "given")),
        *((name, "i4") for name in ("num_ops", "num_rows", "num_groups", "n_q", "card", "apart", "forced", "unused")),
    ],
    align=True,
)
RECORDS = (OP, ROW, GROUP, CALL)
