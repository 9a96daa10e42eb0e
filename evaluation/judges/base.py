"""What a judge is: a program that is not ours and says what it hears in a sound.

A judge knows no model, no plan and no prompt. One that is not installed is named, and what it would have measured is
reported as not measured.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ...audio import Waveform
from ...errors import MissingExtraError

__all__ = ["Judge", "PairJudge"]

EXTRA = "pip install 'gen-audio[eval]'"


class Expert(ABC):
    """What both kinds of judges say of themselves."""

    title: ClassVar[str]  # as reports name it
    licence: ClassVar[str]  # of the code and weights that judge
    needs: ClassVar[tuple[str, ...]]  # what must be importable
    install: ClassVar[str] = EXTRA

    @classmethod
    def missing(cls) -> str | None:
        """None if the judge can hear here; else what is not installed, and how to get it."""
        absent = [name for name in cls.needs if importlib.util.find_spec(name) is None]
        return f"{cls.title} needs {', '.join(absent)}: {cls.install}" if absent else None

    @classmethod
    def check(cls) -> None:
        """Raise MissingExtraError if something is not installed."""
        if message := cls.missing():
            raise MissingExtraError(f"{message}.")

    def close(self) -> None:  # noqa: B027
        """Give back what only the operating system would; most judges hold nothing of the kind."""


class Judge(Expert):
    """Hears one sound at a time. Adding a judge is adding a file to this folder."""

    @abstractmethod
    def hear(self, waveform: Waveform) -> dict[str, Any]:
        """Facts about a sound of any rate and number of channels, by name; those that it cannot tell are absent.

        tempo (BPM), beats (seconds), key ("A minor"), chords (triads at CHORD_RATE: 0..11 major from C upwards,
        12..23 minor, 24 none), and arrays of features, one row a window.
        """


class PairJudge(Expert):
    """Compares a sound with its original."""

    @abstractmethod
    def compare(self, original: Waveform, other: Waveform) -> float:
        """A score of two sounds of the same notes, of any rate; more is better."""
