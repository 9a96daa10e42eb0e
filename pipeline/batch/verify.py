"""Is an output folder what its journal says, and does it play again? One line a finding."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ... import registry
from ...errors import CheckpointError, ConfigError, GenAudioError, UnknownNameError
from . import durable, identity, journal, kept_codes, settings
from .items import Item
from .layouts.base import CODES, Layout
from .store import journals

__all__ = ["check_files", "play_again"]

Line = dict[str, Any]


def check_files(out: Path) -> Iterator[str]:
    """Compare files and journal: what is missing, damaged, unknown, there twice, or not packed yet.

    Raises:
        ConfigError: no such folder.
        CheckpointError: a journal is damaged or of a newer version.
    """
    found = settings.read(out)
    layout: Layout = registry.build(settings.LAYOUTS, found.layout)
    layout.check()
    known: set[str] = set()  # files that the journals name
    yield from _twice(out)
    yield from (_check_packed if layout.packed else _check_apart)(out, layout, known)
    for path in sorted([*out.glob("data*/**/*"), *out.glob("codes/**/*"), *out.glob("data-*")]):
        name = str(path.relative_to(out))
        if path.is_file() and name not in known:
            yield f"orphaned: {name} is in no journal. Another run makes it anew or leaves it; remove it if none will."


def _twice(out: Path) -> Iterator[str]:
    """Items that are noted twice, and different items with the very same sound."""
    seen: set[int] = set()
    for path in journals(out):
        for entry in journal.scan(path):
            if entry.kind == "done" and entry.address in seen:
                yield f"twice: {entry.address:016x} (row {entry.row}) is noted a second time in {path.name}"
            elif entry.kind == "done":
                seen.add(entry.address)
    sounds: dict[str, str] = {}
    for line in journal.in_order(journals(out)):
        for name, facts in line["files"].items():
            if not name.endswith(CODES):
                other = sounds.setdefault(facts["sha256"], line["done"])
                if other != line["done"]:
                    yield f"duplicate: {line['done']} (row {line['row']}) is byte for byte the sound of {other}"


def _check_apart(out: Path, layout: Layout, known: set[str]) -> Iterator[str]:
    assert layout.index_name is not None
    index = out / layout.index_name
    told = iter(index.read_text(encoding="utf-8").splitlines()) if index.is_file() else iter(())
    agrees = index.is_file()
    for line in journal.in_order(journals(out)):
        known.update(line["files"])
        for name, facts in line["files"].items():
            yield from _check_file(out / name, facts, f"{name} (row {line['row']})")
        agrees = agrees and _parsed(next(told, "")) == line["record"]
    if not agrees or next(told, None) is not None:
        yield f"index: {layout.index_name} is missing or contradicts the journal. Another run writes it anew."


def _check_file(path: Path, facts: dict[str, Any], name: str) -> Iterator[str]:
    if not path.is_file():
        yield f"missing: {name}"
    elif path.stat().st_size != facts["bytes"]:
        yield f"damaged: {name} has {path.stat().st_size} bytes instead of {facts['bytes']}"
    elif durable.fingerprint(path)["sha256"] != facts["sha256"]:
        yield f"damaged: {name} has another sha256 than when it was written"


def _check_packed(out: Path, layout: Layout, known: set[str]) -> Iterator[str]:
    waiting = {e.address for path in journals(out) for e in journal.scan(path) if e.kind == "done"}
    for path in journals(out):
        for entry in journal.scan(path):
            if entry.kind != "packed":
                continue
            line = journal.read_at(path, entry.offset)
            known.add(line["packed"])
            waiting.difference_update(int(address, 16) for address in line["items"])
            faults = list(_check_file(out / line["packed"], line, line["packed"]))
            yield from faults or _check_members(out / line["packed"], layout, line["items"])
    if waiting:
        yield f"unfinished: {len(waiting)} items wait to be packed. Run the same gen-audio batch again."


def _check_members(path: Path, layout: Layout, items: list[str]) -> Iterator[str]:
    try:
        found = [sample.address for sample in layout.unpack(path)]
    except CheckpointError as error:
        yield f"damaged: {error}"
        return
    if found != items:
        yield f"damaged: {path.name} holds {len(found)} sounds, not the {len(items)} that the journal names"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def play_again(out: Path, model: str | None, device: str, count: int | None) -> Iterator[tuple[str, str]]:
    """Render a sample of the items, or all for None, and compare codes.

    Args:
        model: what to load; None for the name that the data set states.

    Yields:
        (address, finding), "" if the codes are the same.
    """
    entries = [entry for path in journals(out) for entry in journal.scan(path) if entry.kind == "done"]
    chosen = {entry.address for entry in entries}
    if count is not None and count < len(chosen):
        chosen = set(random.Random(0).sample(sorted(chosen), count))
    pipelines: dict[tuple[str, str, str], Any] = {}
    for line in journal.in_order(journals(out)):
        if int(line["done"], 16) not in chosen or "decoded" in line:
            continue  # codes that were decoded again were played in another folder, and are compared there
        record = line["record"]
        key = (model or record["model"], record["precision"] or "auto", record.get("executor") or "auto")
        try:
            if key not in pipelines:
                pipelines = {key: _load(*key, device)}  # one at a time in memory
            yield line["done"], _compare(out, line, pipelines[key])
        except GenAudioError as error:
            if key not in pipelines:  # no item can be played
                raise
            yield line["done"], f"unplayable: {line['done']} (row {line['row']}): {error}"


def _load(model: str, precision: str, executor: str, device: str) -> Any:
    """Load what played a data set; a folder is recorded by the name that its configuration gives."""
    from ..load import load

    try:
        return load(model, device=device, precision=precision, executor=executor)
    except UnknownNameError as error:
        raise ConfigError(f"{error} The data set says '{model}': name its folder by --model.") from None


def _compare(out: Path, line: Line, pipeline: Any) -> str:
    """Render one item; what is different, or ""."""
    record, name = line["record"], f"{line['done']} (row {line['row']})"
    if line["sound"] != identity.SOUND_VERSION:
        return f"other code: {name} was made by sound version {line['sound']}, and this is {identity.SOUND_VERSION}"
    if pipeline.sha256 != record["model_sha256"]:
        return f"other model: {name} was played by {record['model_sha256'][:12]}, and this is {pipeline.sha256[:12]}"
    item = Item(line["row"], line["part"], record["prompt"], line["given"], record["id"])
    made = pipeline.generate(item.prompt, **{**item.told(), "loudness": "none"})
    if kept_codes.hash_codes(made.codes) == record["codes_sha256"]:
        return ""
    where = ""
    for file in line["files"]:
        if file.endswith(CODES) and (out / file).is_file():
            codes, _ = kept_codes.parse((out / file).read_bytes(), file)
            where = f": {kept_codes.first_difference(codes, made.codes)}"
    return f"other codes: {name} plays differently now{where}. Another processor or version of torch may be the cause."
