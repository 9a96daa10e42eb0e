"""Files in folders and a `metadata.jsonl` with a `file_name` in every line.

Source: the AudioFolder builder of Hugging Face `datasets`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from .base import Layout

__all__ = ["AudioFolder"]


class AudioFolder(Layout):
    """One file a sound: data/<first two digits of the address>/<address>.<format>."""

    packed: ClassVar[bool] = False
    index_name: ClassVar[str | None] = "metadata.jsonl"

    def index(self, part: Path, records: Iterable[dict[str, Any]]) -> None:
        """Write one line a sound."""
        with open(part, "w", encoding="utf-8") as file:
            for record in records:
                file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
