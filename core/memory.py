"""How the C library hands out the memory of arrays."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["keep_freed"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT = 256 << 20  # bytes of freed memory at most that this process keeps
LARGE = 32 << 20  # bytes of an array from which on it is mapped by itself and given back at once


def keep_freed() -> bool:
    """Let the process keep what it frees, for the next array; return whether it now does.

    By default glibc gives an array of some hundred kilobytes back to the system when it is freed, and the next one is
    mapped anew and cleared page by page: a third of the time of a mix went there. Environment variables of the user
    (MALLOC_..., GLIBC_TUNABLES, LD_PRELOAD) stand, and other C libraries are left alone.

    Source: mallopt(3).
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")) for name in os.environ):
        return False
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    return bool(library.mallopt(M_MMAP_THRESHOLD, LARGE) and library.mallopt(M_TRIM_THRESHOLD, KEPT))
