"""Parquet files with an `audio` column of {bytes, path}, which `datasets` and the Hub know as sound.

Source: the Audio feature of Hugging Face `datasets`; its note in the schema is written by hand, so pyarrow is enough.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from ....errors import CheckpointError
from ..tables import need
from .base import Layout, Sample

__all__ = ["Parquet"]

# Types of our own columns that are no text; a column without a single value could not show its type.
KNOWN = dict.fromkeys(("seed", "sample_rate", "channels", "levels"), "int64")
KNOWN |= dict.fromkeys(("duration", "tempo", "loudness_lufs"), "float64")
GROUP = 100  # rows of a group: what a reader must hold at once; the Hub advises 100 for audio


class Parquet(Layout):
    """Many sounds a file, a column for every fact; carried columns that hold no plain value become JSON text."""

    suffix: ClassVar[str] = ".parquet"

    def check(self) -> None:
        """Raise MissingExtraError unless pyarrow is there."""
        need("pyarrow.parquet", "The layout parquet")

    def pack(self, part: Path, samples: Iterable[Sample], format: str) -> None:
        """Write one Parquet file."""
        arrow, parquet = need("pyarrow", "The layout parquet"), need("pyarrow.parquet", "The layout parquet")
        found = list(samples)
        records = [sample.record for sample in found]
        columns: dict[str, tuple[str, list[Any]]] = {}
        for name in dict.fromkeys(name for record in records for name in record):
            values = [record.get(name) for record in records]
            columns[name] = (KNOWN[name], values) if name in KNOWN else _typed(values)
        names = [f"{sample.address}.{format}" for sample in found]
        audio = [{"bytes": sample.audio, "path": name} for sample, name in zip(found, names, strict=True)]
        fields = [arrow.field("audio", arrow.struct({"bytes": arrow.binary(), "path": arrow.string()}))]
        arrays = [arrow.array(audio, fields[0].type)]
        for name, (kind, values) in columns.items():
            fields.append(arrow.field(name, arrow.type_for_alias(kind)))
            arrays.append(arrow.array(values, fields[-1].type))
        if any(sample.codes is not None for sample in found):
            fields.append(arrow.field("codes", arrow.binary()))
            arrays.append(arrow.array([sample.codes for sample in found], arrow.binary()))
        note = {"info": {"features": {field.name: _feature(field) for field in fields}}}
        schema = arrow.schema(fields, metadata={"huggingface": json.dumps(note)})
        parquet.write_table(arrow.Table.from_arrays(arrays, schema=schema), part, row_group_size=GROUP)

    def unpack(self, path: Path) -> Iterator[Sample]:
        """Read a Parquet file, a group of rows at a time."""
        arrow, parquet = need("pyarrow", "The layout parquet"), need("pyarrow.parquet", "The layout parquet")
        try:
            for batch in parquet.ParquetFile(path).iter_batches(GROUP):
                for row in batch.to_pylist():
                    codes = row.pop("codes", None)
                    yield Sample(row, row.pop("audio")["bytes"], codes)
        except (OSError, KeyError, arrow.ArrowException) as error:
            raise CheckpointError(f"{path} is truncated or damaged ({error}). Restore it, or render again.") from error


def _typed(values: list[Any]) -> tuple[str, list[Any]]:
    """One type for a column, the same in every file: numbers are all float64, lists and objects are JSON text."""
    kinds = {bool if isinstance(v, bool) else float if isinstance(v, (int, float)) else type(v) for v in values}
    kinds.discard(type(None))
    if kinds == {bool}:
        return "bool", values
    if kinds == {float} and not any(isinstance(v, int) and abs(v) > 2**53 for v in values):
        return "float64", values
    texts = [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]
    return "string", texts


def _feature(field: Any) -> dict[str, Any]:
    if field.name == "audio":
        return {"_type": "Audio"}
    return {"_type": "Value", "dtype": {"double": "float64"}.get(str(field.type), str(field.type))}
