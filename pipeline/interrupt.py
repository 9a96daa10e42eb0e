"""Ctrl-C that is not lost: a KeyboardInterrupt that meets a library while it is imported may be swallowed there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["check", "was_pressed", "watched"]

_presses = 0


def _note(number: int, frame: Any) -> None:
    global _presses
    _presses += 1
    raise KeyboardInterrupt


@contextmanager
def watched() -> Iterator[None]:
    """Remember every Ctrl-C inside this block; elsewhere than in the main thread nothing can be watched."""
    global _presses
    _presses = 0
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def was_pressed() -> bool:
    """Whether Ctrl-C was pressed since the block began, even if nobody let it through."""
    return _presses > 0


def check() -> None:
    """Raise KeyboardInterrupt again if one was swallowed."""
    if was_pressed():
        raise KeyboardInterrupt
