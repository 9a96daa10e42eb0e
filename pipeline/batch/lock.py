"""One writer at a time: locks that the operating system drops when their process dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ...errors import ConfigError

__all__ = ["alone", "in_turn"]


@contextmanager
def alone(folder: Path, tag: str) -> Iterator[None]:
    """Hold the lock of one shard, `tag`, such as "1-of-3"; shards of one division may work side by side.

    Raises:
        ConfigError: another process works on this shard, or on the same folder divided otherwise; it is named.
    """
    with ExitStack() as held:
        _take(held, folder / f"{tag}.lock", folder)
        for path in folder.glob("*.lock"):
            if path.stem.split("-of-")[-1] != tag.split("-of-")[-1] and "-of-" in path.stem:
                with ExitStack() as probed:
                    _take(probed, path, folder)
        yield


def _take(held: ExitStack, path: Path, folder: Path) -> None:
    file = held.enter_context(open(path, "a+"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise ConfigError(
            f"'{folder.parent}' is being written by {file.read().strip() or 'another process'} (shard {path.stem}). "
            "Wait for it, end it, or choose another --output."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"'{folder.parent}' cannot be locked ({error.strerror}), so two runs could mix. Choose a folder on a file "
            "system that knows locks."
        ) from error
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait for a lock, and hold it."""
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
