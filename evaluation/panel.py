"""The judges that are installed here, asked together; those that are not are named."""

from __future__ import annotations

from typing import Any

from .. import registry
from ..audio import Waveform
from .faults import faults
from .judges.base import Judge, PairJudge

__all__ = ["Panel"]

FOLDER = "evaluation.judges"


class Panel:
    """Every judge of the folder `judges`, loaded when it is first asked.

    `missing` says of each judge that cannot be asked what is not installed.
    """

    def __init__(self) -> None:
        self.classes: dict[str, Any] = {name: registry.find(FOLDER, name) for name in registry.names(FOLDER)}
        found = {name: cls.missing() for name, cls in self.classes.items()}
        self.missing = {name: message for name, message in found.items() if message}
        self.loaded: dict[str, Any] = {}

    def has(self, name: str) -> bool:
        return name not in self.missing

    def reason(self, name: str) -> str:
        """Why the rows of a judge are not measured."""
        return f"not measured: {self.missing[name]}"

    def hear(self, waveform: Waveform, *names: str) -> dict[str, Any]:
        """All facts that these judges tell, and the faults of the sound; a judge that is missing tells nothing."""
        facts: dict[str, Any] = {"faults": faults(waveform)}
        for name in names:
            if self.has(name):
                judge = self._load(name)
                assert isinstance(judge, Judge)
                facts |= judge.hear(waveform)
        return facts

    def compare(self, name: str, original: Waveform, other: Waveform) -> float | None:
        """The score of a judge of pairs; None if it is missing."""
        if not self.has(name):
            return None
        judge = self._load(name)
        assert isinstance(judge, PairJudge)
        return judge.compare(original, other)

    def close(self) -> None:
        """Let every judge that was asked give back what it holds."""
        for judge in self.loaded.values():
            judge.close()
        self.loaded.clear()

    def _load(self, name: str) -> Judge | PairJudge:
        if name not in self.loaded:
            self.loaded[name] = self.classes[name]()
        judge: Judge | PairJudge = self.loaded[name]
        return judge

    def describe(self) -> list[dict[str, Any]]:
        """Title, licence and state of every judge, for reports."""
        return [
            {"judge": cls.title, "licence": cls.licence, "missing": self.missing.get(name)}
            for name, cls in self.classes.items()
        ]
