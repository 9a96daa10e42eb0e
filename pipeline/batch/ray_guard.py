"""Clears up behind a run that was killed: a process of its own, which outlives the run by a moment.

On Linux the servers of Ray die with the process that started them, but two of their helpers wait a minute for an answer
that will not come, and the folder of sockets and logs stays. This file is run by its path and needs the standard
library only.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

__all__ = ["Guard", "descendants"]

OFTEN, SELDOM = 0.2, 1.0  # seconds between two looks
TRIES = 50  # at removing the folder
STARTING = 60.0  # seconds in which Ray starts most of what it starts


class Guard:
    """Waits until this process is gone, ends what it had started, directly or not, and removes a folder."""

    def __init__(self, folder: str) -> None:
        command = [sys.executable, "-I", __file__, folder, str(os.getpid())]
        quiet = subprocess.DEVNULL
        # A session of its own, so that Ctrl-C and the end of a terminal do not reach it.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, text=True, start_new_session=True
        )

    def dismiss(self) -> None:
        """Have the folder removed, and wait for it; processes are left to Ray, which ends them in order."""
        self.process.communicate("ended\n")


def descendants(root: int) -> set[int]:
    """Children of a process, their children, and so on; none where there is no /proc."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        parents[int(path.parent.name)] = int(fields[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found and child not in found}:
        found |= more
    return found - {root}


def main() -> None:
    folder, run = sys.argv[1], int(sys.argv[2])
    # A look that is taken while the run dies may miss some, so the one before counts as well. Older ones do not: an id
    # may have been given to another process since.
    looks: deque[set[int]] = deque(maxlen=2)
    start = time.monotonic()
    while not select.select([sys.stdin], [], [], OFTEN if time.monotonic() - start < STARTING else SELDOM)[0]:
        looks.append(descendants(run) - {os.getpid()})
    if "ended" not in sys.stdin.read():  # which stops when the run does, however that ends
        for process in set().union(*looks):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(OFTEN)  # somebody who was about to end wrote into it meanwhile


if __name__ == "__main__":
    main()
