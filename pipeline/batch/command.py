"""The work behind `gen-audio batch` and `gen-audio verify`: check, load, render, tell."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import registry
from ...errors import ConfigError, GenAudioError, UnknownNameError
from ..commands import PLAYER, check_player
from . import engines, identity
from . import settings as settings_
from .columns import PARAMETERS, parameter, plain
from .items import Reader
from .manifest import Manifest, open_manifest

if TYPE_CHECKING:
    from .render import Selection
    from .settings import Settings
    from .watch import Watch

__all__ = ["batch", "verify"]

SHOWN = 20  # refused rows that are told, if every row is
DEFAULTS = ("duration", "num_samples", "loudness")  # flags for rows that do not say
FORM = ("layout", "format", "sample_rate", "keep_codes", "per_file")


def batch(options: Mapping[str, Any]) -> int:
    """Render a manifest, or decode kept codes again; return the exit code, 1 if a row was refused or failed."""
    if (options["manifest"] is None) == (options["from_codes"] is None):
        raise ConfigError("Give a MANIFEST of what to render, or --from-codes FOLDER with kept codes; one of them.")
    check_player(options)
    out, shard = options["output"], read_shard(options["shard"])
    workers = engines.check(options)
    form = settings_.settle(out, {name: options[name] for name in FORM})
    registry.build(settings_.LAYOUTS, form.layout).check()
    if options["from_codes"] is not None:
        return _again(options, out, form)
    if options["levels"] is not None:
        raise ConfigError("--levels is for codes that were kept. Add --from-codes, or leave it out.")
    manifest = open_manifest(options["manifest"])
    defaults = read_set(options["set_"]) | {name: options[name] for name in DEFAULTS if options[name] is not None}
    home = options["manifest"] if options["manifest"].is_dir() else options["manifest"].parent
    plain_defaults = {name: plain(name, value, Path()) for name, value in defaults.items()}
    reader = Reader(plain_defaults, home, options["prompt_column"], tuple(options["carry"] or ()))
    if not look_at(manifest, reader):
        return 1
    return _render(options, manifest, reader, out, form, shard, workers)


def look_at(manifest: Manifest, reader: Reader) -> bool:
    """Look for a row that can be rendered, before a model is loaded for nothing; tell the reasons if there is none.

    Raises:
        ConfigError: there is no row at all.
    """
    faults: list[str] = []
    count = 0
    for row in manifest.rows():
        count += 1
        try:
            for item in reader.items(row):
                item.check()
                return True
        except GenAudioError as error:
            if len(faults) < SHOWN:
                faults.append(f"row {row.number}: {error}")
    if not count:
        raise ConfigError(f"The manifest '{manifest.path}' holds no row. Write what to render, one a line.")
    for fault in faults:
        print(f"gen-audio: {fault}", file=sys.stderr)
    print(f"gen-audio: none of the {count:,} rows of '{manifest.path}' can be rendered", file=sys.stderr)
    return False


def _render(
    options: Mapping[str, Any],
    manifest: Manifest,
    reader: Reader,
    out: Path,
    form: Settings,
    shard: tuple[int, int],
    workers: engines.Workers | None,
) -> int:
    # Everything that can be checked without the model has been. Only now torch is imported.
    from .render import Selection, render
    from .store import open_store, tag
    from .watch import Watch

    choice = {"shard": shard, "retry_failed": options["retry_failed"], "limit": options["limit"]}
    if options["dry_run"]:
        return _estimate(options, manifest, partial(Selection, reader, **choice), out, form, workers)
    with engines.open_engine(workers, options, form) as engine, open_store(out, form, shard) as store:
        selection = Selection(reader, engine.model, **choice)
        failed = store.home / f"failed-{tag(shard)}.jsonl"
        with Watch(manifest.count(), failed, store.aside) as watch:
            rows = selection.choose(manifest.rows(), store.ledger, watch)
            render(engine.play(rows, watch), store, selection.address, watch)
        store.finish(options["licence"] or "")
    return _tell(watch, out, options["as_json"])


def _estimate(
    options: Mapping[str, Any],
    manifest: Manifest,
    select: Callable[[dict[str, str]], Selection],
    out: Path,
    form: Settings,
    workers: engines.Workers | None,
) -> int:
    """Tell what a run would do; the model is loaded here, even if workers would play."""
    from ..load import load
    from .dry_run import estimate

    count = engines.count_workers(workers)
    pipeline = load(options["model"], **{name: options[name] for name in PLAYER})
    selection = select(identity.of(pipeline))
    found = estimate(pipeline, manifest, selection, out, form)
    found["work_seconds"] = round(found["work_seconds"] / count, 3)
    found["workers"] = count
    print(json.dumps(found, indent=2) if options["as_json"] else describe(found, pipeline.name))
    return int(found["refused"] > 0)


def _again(options: Mapping[str, Any], out: Path, form: Settings) -> int:
    """Decode kept codes; what only a manifest has use for is refused."""
    if options["engine"] != "process":
        raise ConfigError("--engine ray has no effect with --from-codes. Leave it out.")
    for name in ("duration", "num_samples", "set_", "shard", "limit", "retry_failed", "dry_run", "carry"):
        if options[name]:
            raise ConfigError(f"--{name.strip('_').replace('_', '-')} has no effect with --from-codes. Leave it out.")
    source = options["from_codes"]
    if source.resolve() == out.resolve():
        raise ConfigError(f"'{out}' cannot be decoded into itself. Choose another --output.")
    settings_.read(source)
    loudness = None if options["loudness"] is None else plain("loudness", options["loudness"], Path())
    from ..load import load
    from .again import decode_again, kept
    from .store import open_store
    from .watch import Watch

    kept(source)  # which says whether there is anything to decode
    pipeline = load(options["model"], **{name: options[name] for name in PLAYER})
    with open_store(out, form) as store:
        with Watch(None, store.home / "failed-1-of-1.jsonl", store.aside) as watch:
            decode_again(pipeline, source, store, watch, levels=options["levels"], loudness=loudness)
        store.finish(options["licence"] or "")
    return _tell(watch, out, options["as_json"])


def _tell(watch: Watch, out: Path, as_json: bool) -> int:
    """Print what happened; 1 if anything failed."""
    found = watch.summary()
    watch.tell_faults()
    if as_json:
        print(json.dumps({"path": str(out), **found}, indent=2))
    else:
        print(
            f"{out}: {found['made']} made, {found['already_there']} there already, {found['failed']} failed; "
            f"{found['audio_seconds']:.1f} s of audio in {found['seconds']:.1f} s"
        )
    return int(watch.faults > 0)


def describe(found: Mapping[str, Any], model: str) -> str:
    """Say an estimate in a few lines."""
    from .watch import clock

    return "\n".join(
        (
            f"to make       {found['to_make']:,} items, {clock(found['audio_seconds'])} of audio",
            f"there already {found['already_there']:,} items",
            f"refused       {found['refused']:,} rows or items",
            f"workers       {found['workers']:,}",
            f"time          {clock(found['work_seconds'])} with {model}, measured on 2 s here, which one worker played",
            f"disk          {found['disk_bytes'] / 2**20:,.1f} MiB, {found['disk_free_bytes'] / 2**20:,.0f} MiB free",
            f"memory        {found['memory_mib']:,} MiB a worker",
        )
    )


def verify(options: Mapping[str, Any]) -> int:
    """Check an output folder; return 1 if there is any finding."""
    from .verify import check_files, play_again

    if options["all_"] and options["sample"] is not None:
        raise ConfigError("--all and --sample are both given. Give one of them.")
    count = None if options["all_"] else 8 if options["sample"] is None else options["sample"]
    if count is not None and count < 0:
        raise ConfigError(f"--sample is {count}; it must be 0 or more.")
    start, found, played = time.perf_counter(), [], 0
    for finding in check_files(options["folder"]):
        found.append(finding)
        print(finding)
    if count != 0:
        for _, finding in play_again(options["folder"], options["model"], options["device"], count):
            played += 1
            if finding:
                found.append(finding)
                print(finding)
    seconds = time.perf_counter() - start
    print(f"gen-audio: {len(found)} findings, {played} items played again ({seconds:.1f} s)", file=sys.stderr)
    return int(bool(found))


def read_shard(text: str | None) -> tuple[int, int]:
    """Read "2/8"."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text or "1/1")
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"--shard is '{text}'; write which of how many, such as 2/8.")
    return int(match[1]), int(match[2])


def read_set(texts: list[str] | None) -> dict[str, Any]:
    """Read "tempo=90" and the like: parameters for rows that do not give them."""
    found: dict[str, Any] = {}
    for text in texts or ():
        column, is_set, value = text.partition("=")
        name = parameter(column.strip())
        if name is None:
            raise UnknownNameError("parameter", column.strip(), PARAMETERS)
        if not is_set or not value.strip():
            raise ConfigError(f"--set is '{text}'; write NAME=VALUE, such as tempo=90.")
        found[name] = value.strip()
    return found
