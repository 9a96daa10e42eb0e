"""The contract of an output layout: how finished sounds and what is known of them lie in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

__all__ = ["CODES", "Layout", "Sample"]

CODES = "codes.safetensors"  # suffix of kept codes


class Sample(NamedTuple):
    """One sound as it is packed and unpacked."""

    record: dict[str, Any]  # flat: texts, numbers, null
    audio: bytes  # a whole sound file
    codes: bytes | None = None  # a whole file of kept codes

    @property
    def address(self) -> str:
        return str(self.record["address"])


class Layout:
    """Sounds as files of their own with an index, or `packed` many to a file."""

    packed: ClassVar[bool] = True
    suffix: ClassVar[str] = ""  # of a packed file
    index_name: ClassVar[str | None] = None  # file with all records, if sounds lie apart

    def check(self) -> None:
        """Raise MissingExtraError unless the libraries that this layout needs are there."""

    def index(self, part: Path, records: Iterable[dict[str, Any]]) -> None:
        """Write the index to `part`."""
        raise NotImplementedError

    def pack(self, part: Path, samples: Iterable[Sample], format: str) -> None:
        """Write samples to one file, `part`; `format` is that of their audio."""
        raise NotImplementedError

    def unpack(self, path: Path) -> Iterator[Sample]:
        """Read a packed file again.

        Raises:
            CheckpointError: it is truncated or damaged.
        """
        raise NotImplementedError
