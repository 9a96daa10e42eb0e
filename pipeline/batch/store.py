"""The output folder: puts finished sounds where they belong, keeps the journal, packs, and writes index and card.

OUT/README.md, card/*.png        the data card
OUT/metadata.jsonl, data/        audiofolder: index and sounds; codes/ beside it if kept
OUT/data-000000.tar, ...         webdataset and parquet
OUT/.gen-audio/                  settings, journals, locks, sounds that wait to be packed, unfinished files
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import registry
from ...errors import GenAudioError
from . import durable, identity, journal, lock
from .compact import CompactTable
from .items import Item
from .layouts.base import CODES, Layout, Sample
from .settings import HOME, LAYOUTS, Settings

if TYPE_CHECKING:
    from .sound import Finished

__all__ = ["DONE", "FAILED", "Ledger", "Store", "journals", "open_store"]

DONE, FAILED = -1, -2  # states of an address; a number above 0 is the row that took it in this run


class Ledger:
    """What earlier runs say of each item; reading it needs no lock.

    Attributes:
        states: address as a number -> DONE, FAILED or 0; the caller adds rows of this run.
    """

    def __init__(self, out: Path) -> None:
        self.states = CompactTable()
        self._failures: dict[int, tuple[Path, int]] = {}
        for path in journals(out):
            for entry in journal.scan(path):
                if entry.kind == "done":
                    self.states[entry.address] = DONE
                    self._failures.pop(entry.address, None)
                elif entry.kind == "failed" and self.states.get(entry.address) != DONE:
                    self.states[entry.address] = FAILED
                    self._failures[entry.address] = (path, entry.offset)

    def reason(self, address: int) -> str:
        """Why an item failed in an earlier run."""
        return str(journal.read_at(*self._failures[address])["reason"])


class Store:
    """An output folder that this process may write to; use `open_store`."""

    def __init__(self, out: Path, settings: Settings, shard: tuple[int, int], notes: journal.Journal) -> None:
        self.out, self.settings, self.shard, self.notes = out, settings, shard, notes
        self.layout: Layout = registry.build(LAYOUTS, settings.layout)
        self.home = out / HOME
        self.aside = self.home / "tmp" / tag(shard)  # unfinished files of this shard
        self.ledger = Ledger(out)
        self.packs = sum(entry.kind == "packed" for entry in journal.scan(notes.path))  # by this shard
        self.waiting: dict[str, tuple[int, int, dict[str, Any]]] = {}  # address -> row, part, record; to be packed
        if self.layout.packed:
            self.waiting = self._find_waiting(all_of_them=shard[1] == 1)

    def fail(self, item: Item, address: str, reason: str) -> None:
        """Note that an item could not be made."""
        self.notes.append("failed", address, item.row, item.part, id=item.id, reason=reason)

    def put(self, item: Item, address: str, made: Finished) -> None:
        """Write a sound and all that belongs to it, then note it as done.

        Raises:
            OSError: the disk is full or fails; then the item is not done, and nothing half is left.
        """
        format, record = self.settings.format, made.record
        contents = {format: made.audio} | ({} if made.codes is None else {CODES: made.codes})
        parts = {self._path(address, suffix): self.aside / f"{address}.{suffix}" for suffix in contents}
        for part, content in zip(parts.values(), contents.values(), strict=True):
            part.write_bytes(content)
        files = {str(path.relative_to(self.out)): durable.fingerprint(part) for path, part in parts.items()}
        durable.move({part: path for path, part in parts.items()})
        name = f"{address}.{format}" if self.layout.packed else next(iter(files))
        own = {"file_name": name, "id": record["id"] or address, "address": address, "codes_sha256": made.codes_sha256}
        whole = {"file_name": name, **record, **own}  # the name first, whatever an older record says
        self.notes.append(
            "done", address, item.row, item.part,
            sound=identity.SOUND_VERSION, given=dict(item.given), files=files, record=whole, **made.facts,
        )  # fmt: skip
        if self.layout.packed:
            self.waiting[address] = (item.row, item.part, whole)
            if len(self.waiting) >= self.settings.per_file:
                self._pack()

    def _path(self, address: str, suffix: str) -> Path:
        if self.layout.packed:
            return self.home / "staged" / f"{address}.{suffix}"
        return self.out / ("codes" if suffix == CODES else "data") / address[:2] / f"{address}.{suffix}"

    def _pack(self) -> None:
        """Write all that wait to one file, note it, and remove them.

        After a crash before the note the file is written again under the same name; after one behind it, what is left
        is removed when the folder is opened next.
        """
        order = sorted(self.waiting, key=lambda address: (*self.waiting[address][:2], address))
        where = "" if self.shard == (1, 1) else f"{tag(self.shard)}-"
        path = self.out / f"data-{where}{self.packs:06d}{self.layout.suffix}"
        part = self.aside / path.name
        self.layout.pack(part, map(self._sample, order), self.settings.format)
        facts: dict[str, Any] = {"items": order, **durable.fingerprint(part)}
        durable.move({part: path})
        self.notes.append("packed", path.name, **facts)
        self.packs += 1
        for address in order:
            self._remove(address)
        self.waiting = {}

    def _sample(self, address: str) -> Sample:
        codes = self._path(address, CODES)
        audio = self._path(address, self.settings.format).read_bytes()
        return Sample(self.waiting[address][2], audio, codes.read_bytes() if codes.exists() else None)

    def _remove(self, address: str) -> None:
        for suffix in (self.settings.format, CODES):
            self._path(address, suffix).unlink(missing_ok=True)

    def _find_waiting(self, all_of_them: bool) -> dict[str, tuple[int, int, dict[str, Any]]]:
        """What waits to be packed here: of this shard, and of shards that cannot be running now.

        Those are all if the folder is not divided now, else those of other divisions.
        """
        there = {path.name.partition(".")[0] for path in (self.home / "staged").glob("*")}
        found: dict[str, tuple[int, int, dict[str, Any]]] = {}
        packed: set[str] = set()
        for path in journals(self.out) if there else ():
            division = path.stem.split("-of-")[-1]
            for entry in journal.scan(path):
                address = f"{entry.address:016x}"
                if entry.kind == "packed":
                    packed |= there.intersection(journal.read_at(path, entry.offset)["items"])
                elif entry.kind == "done" and address in there:
                    if path == self.notes.path or (all_of_them and division != str(self.shard[1])):
                        found[address] = (entry.row, entry.part, journal.read_at(path, entry.offset)["record"])
        for address in packed:
            found.pop(address, None)
            self._remove(address)
        return found

    def finish(self, licence: str) -> None:
        """Pack what is left, and write index and card of everything that is done, by whomever."""
        from . import card

        self.ledger.states = CompactTable()  # nobody asks any more, and the index is put in order instead
        with lock.in_turn(self.home / "finish.lock"):
            if self.layout.packed:
                self.waiting = self._find_waiting(all_of_them=True)
                if self.waiting:
                    self._pack()
            if self.layout.index_name is not None:
                part = self.aside / self.layout.index_name
                lines = journal.in_order(journals(self.out))
                self.layout.index(part, (line["record"] for line in lines))
                durable.move({part: self.out / self.layout.index_name})
            lines = journal.in_order(journals(self.out))
            card.write(self.out, self.aside, (line["record"] for line in lines), self.settings, licence)


def tag(shard: tuple[int, int]) -> str:
    """The name of shard (i, n) in files."""
    return f"{shard[0]}-of-{shard[1]}"


def journals(out: Path) -> list[Path]:
    """All journals of an output folder."""
    return sorted((out / HOME).glob("journal-*.jsonl"))


@contextmanager
def open_store(out: Path, settings: Settings, shard: tuple[int, int] = (1, 1)) -> Iterator[Store]:
    """Make or open an output folder for one writer.

    Args:
        shard: (i, n), i from 1: which part of the items this process makes.

    Raises:
        ConfigError: another process writes the same shard.
        CheckpointError: a journal is damaged or of a newer version.
    """
    home = out / HOME
    try:
        (home / "staged").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GenAudioError(f"'{out}' cannot be made ({error.strerror}). Choose another --output.") from error
    with ExitStack() as held:
        held.enter_context(lock.alone(home, tag(shard)))
        aside = home / "tmp" / tag(shard)
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        if not (home / "settings.json").exists():
            durable.write(home / "settings.json", settings.to_json(), aside / "settings.json")
        notes = held.enter_context(journal.Journal(home / f"journal-{tag(shard)}.jsonl"))
        yield Store(out, settings, shard, notes)
