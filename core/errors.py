"""Every error that gen-audio raises on purpose.

    GenAudioError
    ├── ConfigError (ValueError)        a setting is missing, unknown or out of range
    │   └── UnknownNameError            a name that no plug-in, style or chord answers to
    ├── ShapeError (ValueError)         a tensor or array of the wrong shape
    ├── AudioError                      sound that cannot be read, written or used
    ├── CheckpointError                 weights that are missing, corrupted or of another version
    └── MissingExtraError (ImportError) an optional library or file is not installed

A message says what we got, what we need and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AudioError",
    "CheckpointError",
    "ConfigError",
    "GenAudioError",
    "MissingExtraError",
    "ShapeError",
    "UnknownNameError",
]


class GenAudioError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(GenAudioError, ValueError):
    """A setting is missing, unknown or out of range."""


class UnknownNameError(ConfigError):
    """A name that nothing answers to; the message suggests the nearest known one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        super().__init__(f"No {kind} named '{name}'.{hint} Known: {', '.join(names)}.")


class ShapeError(GenAudioError, ValueError):
    """A tensor or array of the wrong shape."""


class AudioError(GenAudioError):
    """Sound that cannot be read, written or used."""


class CheckpointError(GenAudioError):
    """Weights that are missing, corrupted or of another version."""


class MissingExtraError(GenAudioError, ImportError):
    """An optional library or file is not installed; the message says how to get it."""
