"""What the process keeps of the memory that it frees."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

FREED = """
import os, sys
import numpy as np
from gen_audio.memory import keep_freed

def size():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

keeps = sys.argv[1] == "keep" and keep_freed()
arrays = [np.ones(100_000) for _ in range(100)]  # 80 MB
before = size()
del arrays
print(keeps, before - size() > 40_000_000)
"""


OTHERS = ("MALLOC_", "GLIBC_", "LD_PRELOAD")
HAS_GLIBC = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def freed(*args: str, **variables: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
    command = [sys.executable, "-c", FREED, *args]
    done = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(not HAS_GLIBC, reason="needs glibc, and /proc")
def test_freed_memory_is_kept_unless_the_user_says_otherwise() -> None:
    assert freed("usual") == ["False", "True"]
    assert freed("keep") == ["True", "False"]
    assert freed("keep", MALLOC_TRIM_THRESHOLD_="131072") == ["False", "True"]
