"""A list of things to render, read row by row: JSONL, CSV, text, Parquet, or a folder of Hugging Face `datasets`.

Knows nothing of music. A row that cannot be read becomes a Row with a reason, so that one bad row never ends a run;
only a manifest that cannot be read at all raises. Memory does not grow with the number of rows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ...errors import ConfigError

__all__ = ["LONGEST_LINE", "Manifest", "Row", "open_manifest"]

LONGEST_LINE = 1 << 24  # bytes; a longer row is refused and never held in memory
TEXTS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".txt": "text"}


class Row(NamedTuple):
    """One row: its number, counted from 1 (blank lines count, a CSV header does not), and values or a reason."""

    number: int
    values: dict[str, Any]
    fault: str = ""


@dataclass(frozen=True)
class Manifest:
    """A manifest that is there and of a known kind.

    Args:
        path: the file or folder.
        read: gives the rows, from the start at every call.
        count: gives how many rows there are, or None if only reading all would tell.
    """

    path: Path
    read: Callable[[], Iterator[Row]]
    count: Callable[[], int | None]

    def rows(self) -> Iterator[Row]:
        """The rows in order."""
        return self.read()


def open_manifest(path: Path) -> Manifest:
    """Recognise a manifest by its suffix, a folder by what lies in it, and check that it can be read.

    Raises:
        ConfigError: it is missing, of an unknown kind, or has no header where one is needed.
        MissingExtraError: Parquet and `datasets` need the extra [batch].
    """
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise ConfigError(f"The manifest '{path}' does not exist. Give a .jsonl, .csv, .txt or .parquet, or a folder.")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from . import tables

        return tables.open_parquet(path, [path])
    if suffix not in TEXTS:
        raise ConfigError(
            f"The manifest '{path}' ends in '{suffix}'; it must be .jsonl, .csv, .tsv, .txt, .parquet, or a folder. "
            "Rename it."
        )
    with open(path, "rb") as file:  # which says at once if it may not be read
        _skip_mark(file)
    readers = {"jsonl": _read_jsonl, "text": _read_text, "csv": _read_csv}
    kind = TEXTS[suffix]
    if kind == "csv":
        _check_header(path)
    return Manifest(path, lambda: readers[kind](path), lambda: _count_lines(path) - (kind == "csv"))


def _open_folder(path: Path) -> Manifest:
    """A folder that `datasets` saved, one with metadata.jsonl or .csv (an audiofolder), or one of Parquet files."""
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(part.name for part in path.iterdir() if part.is_dir()))
        raise ConfigError(f"The manifest '{path}' holds several splits ({splits}). Name one, such as {path}/train.")
    if (path / "state.json").is_file() and (path / "dataset_info.json").is_file():
        from . import tables

        return tables.open_saved(path)
    for name in ("metadata.jsonl", "metadata.csv"):
        if (path / name).is_file():
            return open_manifest(path / name)
    if files := sorted(path.rglob("*.parquet")):
        from . import tables

        return tables.open_parquet(path, files)
    raise ConfigError(
        f"The folder '{path}' is no manifest: it holds neither what save_to_disk of datasets writes, nor "
        "metadata.jsonl or metadata.csv, nor Parquet files. Name a file."
    )


def _skip_mark(file: BinaryIO) -> None:
    """Go past the byte-order mark that some editors write."""
    if file.read(3) != b"\xef\xbb\xbf":
        file.seek(0)


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Each line that is not blank: (number, text, fault); of a line that is too long only its first bytes are read."""
    with open(path, "rb") as file:
        _skip_mark(file)
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            size = len(line)
            while not line.endswith(b"\n") and (more := file.readline(LONGEST_LINE)):
                size, line = size + len(more), more
            if size > LONGEST_LINE:
                yield number, "", f"the row has {size:,} bytes; at most {LONGEST_LINE:,} are read. Shorten it."
                continue
            try:
                text = line.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                yield number, "", _not_utf8(line, error.start)
                continue
            if text:
                yield number, text, ""


def _not_utf8(line: bytes, place: int) -> str:
    return f"byte {place + 1} of the row, 0x{line[place]:02x}, is not UTF-8. Save the file as UTF-8."


def _read_text(path: Path) -> Iterator[Row]:
    for number, text, fault in _lines(path):
        yield Row(number, {} if fault else {"prompt": text}, fault)


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, text, fault in _lines(path):
        values: Any = {}
        if not fault:
            try:
                values = json.loads(text, object_pairs_hook=_no_key_twice)
            except (ValueError, RecursionError) as error:
                fault = f"the row is not JSON ({error}). Write one object a line."
            else:
                if not isinstance(values, dict):
                    fault = f"the row is a {type(values).__name__}; it must be an object of columns. Mend it."
        yield Row(number, {} if fault else values, fault)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' is given twice")
    return found


def _check_header(path: Path) -> None:
    header = next(_csv_lines(path), None)
    if header is None or not any(header) or len(set(header)) < len(header):
        raise ConfigError(f"The manifest '{path}' needs a first line with a different name for each column. Add it.")


def _csv_lines(path: Path) -> Iterator[list[str]]:
    """Cells of each record; a byte that is not UTF-8 comes as a lone surrogate. A fault of csv ends its record."""
    csv.field_size_limit(LONGEST_LINE)
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        while True:
            try:
                yield next(reader)
            except csv.Error as error:
                yield ["\0", str(error)]
            except StopIteration:
                return


def _read_csv(path: Path) -> Iterator[Row]:
    records = _csv_lines(path)
    header = next(records, [])
    for number, cells in enumerate(records, start=1):
        if not any(cell.strip() for cell in cells):
            continue
        fault = ""
        if cells[0] == "\0":
            fault = f"the row is not CSV ({cells[1]}). Mend it."
        elif len(cells) > len(header):
            fault = (
                f"the row has {len(cells)} cells, but the header names {len(header)} columns. Quote commas in texts."
            )
        elif any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell if letter > "\ud7ff"):
            raw = ",".join(cells).encode("utf-8", "surrogateescape")
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                fault = _not_utf8(raw, error.start)
        values = {name: cell for name, cell in zip(header, cells, strict=False) if cell.strip()}
        yield Row(number, {} if fault else values, fault)


def _count_lines(path: Path) -> int:
    """Lines of a file, a last one without a line break counted; cells that hold line breaks make it too many."""
    lines, last = 0, b"\n"
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            lines += block.count(b"\n")
            last = block[-1:]
    return lines + (last != b"\n")
