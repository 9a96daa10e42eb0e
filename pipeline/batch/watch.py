"""What a run tells while it goes on and at its end: progress, failures, a summary."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from . import durable

__all__ = ["Watch", "clock"]

SHOWN = 20  # failures on the screen; the file has all
EVERY = 60.0  # seconds between two lines where nobody watches


@dataclass
class Watch:
    """Counts what happens, draws a bar for people and prints a line a minute for log files.

    Args:
        rows: in the manifest, or None if unknown.
        failed: file for the list of failures; None for none.
        aside: folder in which it is written before it is whole.
    """

    rows: int | None
    failed: Path | None = None
    aside: Path | None = None
    row: int = 0
    made: int = 0
    skipped: int = 0
    faults: int = 0
    audio: float = 0.0  # seconds made
    busy: float = 0.0  # seconds that the model played
    told: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)
    _first: tuple[float, int] | None = None  # when the first item was begun, and at which row
    _said: float = field(default_factory=time.perf_counter)
    _guard: Any = field(default_factory=threading.Lock)
    _bar: Any = None
    _file: IO[str] | None = None

    def __enter__(self) -> Watch:
        if self.failed is not None and self.aside is not None:
            self._file = open(self.aside / self.failed.name, "w", encoding="utf-8")
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("row {task.completed}"), BarColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task(self.line(), total=self.rows)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._file is None or self.failed is None or self.aside is None:
            return
        self._file.close()
        if error is None:
            durable.move({self.aside / self.failed.name: self.failed})

    def fault(self, row: int, name: str, reason: str) -> None:
        """Note that a row, or an item of it, was refused or failed."""
        reason = " ".join(reason.split())
        line = json.dumps({"row": row, "id": name or None, "reason": reason}) + "\n"
        with self._guard:  # rows are refused in one thread and fail in another
            self.faults += 1
            if len(self.told) < SHOWN:
                self.told.append(f"row {row}{f' ({name})' if name else ''}: {reason}")
            if self._file is not None:
                self._file.write(line)
                self._file.flush()

    def playing(self, row: int) -> None:
        """Note that an item of a row is begun."""
        if self._first is None:
            self._first = (time.perf_counter(), row)

    def show(self) -> None:
        """Draw the bar, or print a line now and then."""
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.row, description=self.line())
        elif now - self._said > EVERY:
            self._said = now
            print(f"gen-audio: row {self.row}, {self.line()}", file=sys.stderr)

    def line(self) -> str:
        """Made, skipped, failed, speed and time to go."""
        seconds = time.perf_counter() - self._first[0] if self._first else 0.0
        rows = self.row - self._first[1] if self._first else 0
        speed = f", {self.audio / seconds:.1f} s of audio a second" if seconds > 0 else ""
        to_go = seconds / rows * max(0, self.rows - self.row) if rows and self.rows is not None else None
        left = "" if to_go is None else f", {clock(to_go)} to go"
        return f"{self.made} made, {self.skipped} there already, {self.faults} failed{speed}{left}"

    def summary(self) -> dict[str, Any]:
        """Everything that was counted."""
        seconds = time.perf_counter() - self.begun
        return {
            "made": self.made,
            "already_there": self.skipped,
            "failed": self.faults,
            "audio_seconds": round(self.audio, 2),
            "seconds": round(seconds, 2),
            "playing_share": round(self.busy / seconds, 3) if seconds else 0.0,
        }

    def tell_faults(self) -> None:
        """Print the first failures, and where the others stand."""
        for line in self.told:
            print(f"gen-audio: {line}", file=sys.stderr)
        if self.faults > len(self.told):
            print(f"gen-audio: {self.faults - len(self.told)} more: {self.failed}", file=sys.stderr)


def clock(seconds: float) -> str:
    """Seconds as people say them: "2:05 h", "0:07 min"."""
    minutes, hours = int(seconds // 60) % 60, int(seconds // 3600)
    return f"{hours}:{minutes:02d} h" if hours else f"{minutes}:{int(seconds) % 60:02d} min"
