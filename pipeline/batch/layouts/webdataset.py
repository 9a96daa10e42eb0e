"""Tar files whose members share a key: `<address>.flac`, `<address>.json` and, if kept, `<address>.codes.safetensors`.

Source: the webdataset library, which writes and reads them.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from ....errors import CheckpointError
from ...outputs import FORMATS
from ..tables import need
from .base import CODES, Layout, Sample

__all__ = ["WebDataset"]


class WebDataset(Layout):
    """Many sounds a tar file, equal bytes for equal sounds."""

    suffix: ClassVar[str] = ".tar"

    def check(self) -> None:
        """Raise MissingExtraError unless webdataset is there."""
        need("webdataset", "The layout webdataset")

    def pack(self, part: Path, samples: Iterable[Sample], format: str) -> None:
        """Write a tar file; a fixed time in it makes it reproducible."""
        with open(part, "wb") as file, need("webdataset", "The layout webdataset").TarWriter(file, mtime=0) as writer:
            for sample in samples:
                text = json.dumps(sample.record, ensure_ascii=False, allow_nan=False)
                members: dict[str, Any] = {"__key__": sample.address, format: sample.audio, "json": text.encode()}
                if sample.codes is not None:
                    members[CODES] = sample.codes
                writer.write(members)

    def unpack(self, path: Path) -> Iterator[Sample]:
        """Read the members of a tar file, key by key."""
        try:
            with tarfile.open(path) as tar:
                found: dict[str, bytes] = {}
                key = ""
                for member in tar:
                    next_key, _, suffix = member.name.partition(".")
                    if next_key != key and found:
                        yield _sample(found)
                        found = {}
                    file = tar.extractfile(member)
                    key, found[suffix] = next_key, file.read() if file else b""
                if found:
                    yield _sample(found)
        except (tarfile.TarError, OSError, KeyError, ValueError, StopIteration) as error:
            raise CheckpointError(f"{path} is truncated or damaged ({error}). Restore it, or render again.") from error


def _sample(found: dict[str, bytes]) -> Sample:
    audio = next(found[suffix] for suffix in FORMATS if suffix in found)
    return Sample(json.loads(found["json"]), audio, found.get(CODES))
