"""`--from-codes`: decode the kept codes of a finished folder into another one, without asking the transformer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import registry
from ...errors import CheckpointError, ConfigError, GenAudioError
from .. import interrupt
from . import durable, identity, journal, kept_codes, settings, sound
from .items import Item
from .layouts.base import CODES, Layout
from .store import DONE, Store, journals
from .watch import Watch

if TYPE_CHECKING:
    from ..pipeline import Pipeline

__all__ = ["Kept", "decode_again", "kept"]


class Kept(NamedTuple):
    """One item of a finished folder with its codes."""

    row: int
    part: int
    record: dict[str, Any]
    codes: bytes


def kept(source: Path) -> Iterator[Kept]:
    """All items of a folder whose codes were kept: in order if they lie apart, else file by file.

    Raises:
        ConfigError: the folder was not written by gen-audio batch, or no codes were kept.
    """
    found = settings.read(source)
    if not found.keep_codes:
        raise ConfigError(f"'{source}' was rendered without --keep-codes, so there is nothing to decode. Render again.")
    layout: Layout = registry.build(settings.LAYOUTS, found.layout)
    layout.check()
    return _packed(source, layout) if layout.packed else _apart(source)


def _apart(source: Path) -> Iterator[Kept]:
    for line in journal.in_order(journals(source)):
        for name, facts in line["files"].items():
            if name.endswith(CODES):
                path = source / name
                if not path.is_file() or durable.fingerprint(path) != facts:
                    raise CheckpointError(f"{path} is missing or damaged. Run gen-audio verify {source}.")
                yield Kept(line["row"], line["part"], line["record"], path.read_bytes())


def _packed(source: Path, layout: Layout) -> Iterator[Kept]:
    entries = [entry for path in journals(source) for entry in journal.scan(path) if entry.kind == "done"]
    places = {entry.address: (entry.row, entry.part) for entry in entries}
    for path in sorted(source.glob(f"data-*{layout.suffix}")):
        for sample in layout.unpack(path):
            if sample.codes is not None:
                row, part = places.get(int(sample.address, 16), (0, 0))
                yield Kept(row, part, sample.record, sample.codes)


def decode_again(
    pipeline: Pipeline, source: Path, store: Store, watch: Watch, *, levels: int | None, loudness: float | str | None
) -> None:
    """Decode everything that `source` kept and `store` does not have.

    Args:
        levels: codebooks to decode, coarse ones first; None for all.
        loudness: of the new files; None for that of the old ones.
    """
    import torch

    for found in kept(source):
        interrupt.check()
        watch.row = found.row
        record = found.record
        codes, facts = kept_codes.parse(found.codes, f"row {found.row}")
        level = facts["loudness"] if loudness is None else loudness
        address = identity.decoded_address(record["address"], levels, level)
        if store.ledger.states.get(int(address, 16)) == DONE:
            watch.skipped += 1
            continue
        watch.playing(found.row)
        try:
            with torch.inference_mode():
                waveform, _ = sound.decode(pipeline, codes, facts, levels)
            finished = sound.level(waveform, level, store.settings.sample_rate)
        except GenAudioError as error:
            watch.fault(found.row, record["id"], str(error))
            continue
        _put(store, found, address, finished, level, levels)
        watch.made += 1
        watch.audio += finished.duration
        watch.show()


def _put(store: Store, found: Kept, address: str, finished: Any, level: float | str, levels: int | None) -> None:
    """Write one sound with the record of the old one, in which what is different now is replaced."""
    old, measured = found.record, finished.loudness()
    record = {
        **old,
        "duration": finished.duration,
        "sample_rate": finished.sample_rate,
        "channels": finished.channels,
        "loudness_lufs": round(measured, 2) if math.isfinite(measured) else None,
        "decoded_from": old["address"],
        "levels": levels,
    }
    item = Item(found.row, found.part, old["prompt"], {"loudness": level, "seed": old["seed"]}, old["id"])
    audio = sound.encode(finished, store.settings.format, record)
    codes = found.codes if store.settings.keep_codes else None
    store.put(item, address, sound.Finished(audio, record, codes, old["codes_sha256"], {"decoded": old["address"]}))
