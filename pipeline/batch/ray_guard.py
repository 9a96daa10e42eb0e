"""Clears up behind a run that was killed: a process of its own, which outlives the run by a moment.

On Linux the servers of Ray die with the process that started them, but two of their helpers wait a minute for an answer
that will not come, and the folder of sockets and logs stays. This file is run by its path and needs the standard
library only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

__all__ = ["Guard"]


class Guard:
    """Removes a folder, and ends processes, as soon as this process is gone or calls `dismiss`."""

    def __init__(self, folder: str) -> None:
        command = [sys.executable, "-I", __file__, folder]
        quiet = subprocess.DEVNULL
        # A session of its own, so that Ctrl-C and the end of a terminal do not reach it.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, text=True, start_new_session=True
        )

    def watch(self) -> None:
        """Note which processes were started by this one, directly or not."""
        assert self.process.stdin is not None
        found = descendants(os.getpid()) - {self.process.pid}
        self.process.stdin.write(" ".join(map(str, found)) + "\n")
        self.process.stdin.flush()

    def dismiss(self) -> None:
        """Have the folder removed and wait for it; no process is ended that Ray ended in order."""
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
    told = sys.stdin.read().split()  # ends when the run does, however it ends
    if "ended" not in told:
        for process in map(int, told):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
