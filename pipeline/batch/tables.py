"""Manifests that need a library: Parquet files by pyarrow, and folders that `datasets` saved."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...errors import ConfigError, MissingExtraError
from .manifest import Manifest, Row

__all__ = ["need", "open_parquet", "open_saved"]

log = logging.getLogger(__name__)
ROWS = 1000  # read at once


def need(module: str, purpose: str) -> Any:
    """Import an optional library.

    Raises:
        MissingExtraError: it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {module.split('.')[0]}, which is not installed. "
            "Run: pip install 'gen-audio[batch]'"
        ) from error


def open_parquet(path: Path, files: list[Path]) -> Manifest:
    """Open Parquet files as one manifest; columns of bytes, such as audio, are left out and that is said."""
    parquet = need("pyarrow.parquet", "A Parquet manifest")
    try:
        tables = [parquet.ParquetFile(file) for file in files]
    except (OSError, ValueError) as error:
        raise ConfigError(f"The manifest '{path}' cannot be read as Parquet: {error}. Write it again.") from error
    schema = tables[0].schema_arrow
    columns = [field.name for field in schema if "binary" not in str(field.type)]
    _tell_left_out(path, [name for name in schema.names if name not in columns])
    return Manifest(
        path,
        lambda: _numbered(
            row
            for file in files
            for batch in parquet.ParquetFile(file).iter_batches(ROWS, columns=columns)
            for row in batch.to_pylist()
        ),
        lambda: sum(table.metadata.num_rows for table in tables),
    )


def open_saved(path: Path) -> Manifest:
    """Open what `Dataset.save_to_disk` wrote; columns of sound and pictures are left out and that is said."""
    datasets = need("datasets", "A folder of datasets as manifest")
    try:
        found = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"The manifest '{path}' cannot be read by datasets: {error}. Save it again.") from error
    media = tuple(getattr(datasets, name) for name in ("Audio", "Image", "Video") if hasattr(datasets, name))
    heavy = [name for name, feature in found.features.items() if isinstance(feature, media)]
    _tell_left_out(path, heavy)
    table = found.remove_columns(heavy) if heavy else found
    return Manifest(path, lambda: _numbered(iter(table)), lambda: len(table))


def _numbered(rows: Iterable[dict[str, Any]]) -> Iterator[Row]:
    for number, values in enumerate(rows, start=1):
        yield Row(number, {name: value for name, value in values.items() if value is not None})


def _tell_left_out(path: Path, names: list[str]) -> None:
    if names:
        log.warning("%s: left out are the columns of bytes: %s", path, ", ".join(names))
