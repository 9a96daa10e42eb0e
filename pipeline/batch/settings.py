"""What holds for a whole output folder and is settled when it is begun."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import registry
from ...audio import RATES
from ...errors import CheckpointError, ConfigError, UnknownNameError
from ..checks import check_integer
from ..outputs import FORMATS

__all__ = ["HOME", "LAYOUTS", "VERSION", "Settings", "read", "settle"]

VERSION = 1
HOME = ".gen-audio"  # folder inside OUT for journals, locks and what is not finished
LAYOUTS = "pipeline.batch.layouts"


@dataclass(frozen=True)
class Settings:
    """The form of the output; None leaves the rate to the model."""

    layout: str = "audiofolder"
    format: str = "flac"
    sample_rate: int | None = None  # Hz
    keep_codes: bool = False
    per_file: int = 1000  # sounds in one tar or Parquet file

    def __post_init__(self) -> None:
        if self.layout not in registry.names(LAYOUTS):
            raise UnknownNameError("layout", self.layout, registry.names(LAYOUTS))
        if self.format not in FORMATS:
            raise UnknownNameError("format", self.format, FORMATS)
        check_integer("sample_rate", self.sample_rate, 1000, 192_000)
        known = RATES.get(self.format)
        if known and self.sample_rate is not None and self.sample_rate not in known:
            raise ConfigError(
                f"sample_rate is {self.sample_rate}, but {self.format} has {', '.join(map(str, known))} Hz. Use one of "
                "these, or another format."
            )
        check_integer("per_file", self.per_file, 1, 1_000_000)

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **dataclasses.asdict(self)}, indent=2) + "\n"


def settle(out: Path, given: Mapping[str, Any]) -> Settings:
    """Settings of a folder that was begun, or of a new one.

    Args:
        out: the output folder, which need not exist.
        given: fields of Settings, None where nothing was said.

    Raises:
        ConfigError: the folder was begun with other settings, holds other things, or cannot be made.
        CheckpointError: its settings are damaged or of a newer version.
    """
    said = {name: value for name, value in given.items() if value is not None}
    path = out / HOME / "settings.json"
    if path.is_file():
        begun = _read(path)
        for name, value in said.items():
            if getattr(begun, name) != value:
                raise ConfigError(
                    f"'{out}' was begun with {name} {getattr(begun, name)}, and now it is {value}. Leave it out, or "
                    "choose another --output."
                )
        return begun
    if out.exists() and (not out.is_dir() or any(entry.name != HOME for entry in out.iterdir())):
        raise ConfigError(f"'{out}' holds other things and no run of gen-audio batch. Choose a new folder.")
    if not out.exists() and not out.parent.is_dir():
        raise ConfigError(f"The folder '{out.parent}' does not exist. Make it, or choose another --output.")
    return Settings(**said)


def read(out: Path) -> Settings:
    """Settings of a folder that was begun.

    Raises:
        ConfigError: it was not.
    """
    path = out / HOME / "settings.json"
    if not path.is_file():
        raise ConfigError(f"'{out}' was not written by gen-audio batch: '{path}' is missing. Name such a folder.")
    return _read(path)


def _read(path: Path) -> Settings:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version = found.pop("version")
        if version > VERSION:
            raise CheckpointError(
                f"{path} has version {version}; this release reads up to {VERSION}. Update gen-audio. Nothing was "
                "changed."
            )
        return Settings(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Nothing was changed. Restore it from a copy.") from error
