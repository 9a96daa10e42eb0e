"""What the process keeps of the memory that it frees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FREED = """
import ctypes, sys
import numpy as np
from gen_audio.memory import keep_freed

def size():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

keeps = sys.argv[1] == "keep" and keep_freed()
arrays = [np.ones(100_000) for _ in range(100)]  # 80 MB
before = size()
del arrays
print(keeps, before - size() > 40_000_000)
"""


def freed(*args: str, **variables: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FREED, *args]
    done = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_memory_is_kept_unless_the_user_says_otherwise() -> None:
    assert freed("usual") == ["False", "True"]
    assert freed("keep") == ["True", "False"]
    assert freed("keep", MALLOC_TRIM_THRESHOLD_="131072") == ["False", "True"]
