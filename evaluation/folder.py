"""The work behind `gen-audio eval set`: hear a folder of anybody's sounds, alone or beside a reference."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..audio import Waveform
from ..errors import AudioError
from ..pipeline.checks import check_integer
from ..pipeline.commands import progress_bar
from ..pipeline.outputs import check_writable, slug
from .codec import find_sounds
from .distances import EMBEDDINGS
from .faults import is_clean_ending
from .hearing import Hearing, hear_sound
from .measure import Measure
from .panel import Panel
from .report import machine, markdown, report_paths, write_report
from .sets import Frechet, Kernel, jackknifed, mel_statistics, spread, statistics_distance
from .soundness import LONGEST_HOLE, QUIETEST

__all__ = ["measure_set", "run"]

JUDGES = ("librosa_beats", "basic_pitch", "outside", "librosa_timbre", "musicnn")
LONGEST = 30.0  # seconds of each file that judges hear, from its middle; faults are looked for in all of it
TEMPI = (0, 70, 90, 110, 130, 150, 1000)  # BPM, edges of the histogram
Heard = Mapping[str, Mapping[str, Any]]  # file -> facts


def run(options: Mapping[str, Any]) -> None:
    """Hear, print the table and write the report; `options` are those of the command line."""
    folder, reference = options["folder"], options["reference"]
    check_integer("workers", options["workers"], 0, 256)
    paths = report_paths(options["output"] or Path(f"{slug(folder.resolve().name)}-eval"))
    check_writable(paths, overwrite=options["overwrite"])
    files = find_sounds(folder)
    others = find_sounds(reference) if reference else []
    start = time.perf_counter()
    with Hearing(options["workers"]) as hearing, progress_bar("hearing") as progress:
        heard = _hear(folder, files, hearing, lambda done: progress(done, len(files) + len(others)))
        known = _hear(reference, others, hearing, lambda done: progress(len(files) + done, len(files) + len(others)))
    rows = [row.to_dict() for row in measure_set(heard, known, hearing.panel)]
    place = machine()
    took = time.perf_counter() - start
    beside = f", beside {len(others)} of {reference}" if reference else ""
    report = {
        "title": f"{folder}: {len(files)} sounds{beside}",
        "summary": f"{took:.0f} s on {place['cpu']}, {place['date']}; gen-audio {__version__}.",
        "version": __version__,
        "machine": place,
        "judges": hearing.panel.describe(),
        "rows": rows,
        "notes": [f"Faults are those of whole files; judges hear at most {LONGEST:g} s from the middle of each."],
        "more": _histograms(heard),
        "files": {name: _plain(facts) for name, facts in heard.items()},
    }
    write_report(report, paths)
    print(json.dumps(report, indent=1, default=float) if options["as_json"] else markdown(report), end="")


def _hear(
    folder: Path | None, files: Sequence[Path], hearing: Hearing, progress: Callable[[int], object]
) -> dict[str, dict[str, Any]]:
    """Facts of every file, named by its path in the folder."""
    waiting = [(str(file.relative_to(folder or Path())), hearing.submit(_hear_file, file)) for file in files]
    found = {}
    for number, (name, future) in enumerate(waiting, start=1):
        found[name] = future.result()
        progress(number)
    return found


def _hear_file(panel: Panel, file: Path) -> dict[str, Any]:
    waveform = Waveform.read(file)
    if not waveform.samples.size:
        raise AudioError(f"'{file}' holds no samples. Take it out of the folder.")
    whole = panel.hear(waveform)
    spare = max(0, waveform.samples.shape[1] - round(LONGEST * waveform.sample_rate)) // 2
    middle = Waveform(waveform.samples[:, spare : waveform.samples.shape[1] - spare], waveform.sample_rate)
    return {**hear_sound(panel, middle, *JUDGES), **whole, "duration": waveform.duration}


def measure_set(heard: Heard, reference: Heard, panel: Panel) -> list[Measure]:
    """All rows of a folder.

    Args:
        heard: facts of its files.
        reference: those of the reference; empty without one.
    """
    return [*_levels(heard), *_variety(heard, panel), *_distances(heard, reference, panel)]


def _levels(heard: Heard) -> list[Measure]:
    def rows(value: Callable[[Mapping[str, Any]], float]) -> dict[str, dict[str, float]]:
        return {"model": {name: float(value(facts)) for name, facts in heard.items()}}

    loud = {name: f["faults"]["loudness"] for name, f in heard.items() if np.isfinite(f["faults"]["loudness"])}
    hole = f"no silence above {LONGEST_HOLE:g} s between sounds"
    return [
        Measure("levels", "duration", rows(lambda f: f["duration"]), better=0, unit="s"),
        Measure("levels", "loudness", {"model": loud}, better=0, unit="LUFS", note="silent files left out"),
        _share("not too quiet", rows(lambda f: f["faults"]["loudness"] >= QUIETEST), f"{QUIETEST:g} LUFS or more"),
        _share("no holes", rows(lambda f: f["faults"]["silence"] <= LONGEST_HOLE), hole),
        _share("no clipping", rows(lambda f: f["faults"]["clipped"] == 0), "three full samples in a row"),
        _share("clean endings", rows(lambda f: is_clean_ending(f["faults"])), "died away, not two seconds early"),
    ]


def _share(name: str, items: dict[str, dict[str, float]], note: str) -> Measure:
    return Measure("faults", name, items, is_share=True, note=note)


def _variety(heard: Heard, panel: Panel) -> list[Measure]:
    found = []
    for name in EMBEDDINGS:
        sounds = _sounds(heard, name)
        title, missing = f"diversity, {name}", panel.reason("musicnn") if not panel.has("musicnn") else None
        if missing is None and len(sounds) > 1:
            none = np.zeros(next(iter(sounds.values())).shape[1])  # around its own mean every set is spread alike
            rows = spread([*sounds.values()], none)
            items = {"model": dict(zip(sounds, map(float, rows), strict=True))}
            note = "mean cosine distance to the others; 0 for equal sounds"
            found.append(Measure("variety", title, items, better=0, note=note))
        else:
            found.append(Measure("variety", title, missing=missing or "one sound has no variety"))
    return found


def _distances(heard: Heard, reference: Heard, panel: Panel) -> list[Measure]:
    """Rows of distances; the reference against itself, half against half, is what cannot be told apart."""
    if not reference:
        return []
    found = []
    for name, title in EMBEDDINGS.items():
        ours, theirs = ([*_sounds(some, name).values()] for some in (heard, reference))
        if not panel.has("musicnn"):
            found.append(Measure("distance", f"KAD, {name}", missing=panel.reason("musicnn")))
            continue
        if len(ours) < 2 or len(theirs) < 4:
            found.append(Measure("distance", f"KAD, {name}", missing="2 sounds and 4 of the reference are needed"))
            continue
        rows = dict(zip(heard, map(float, Kernel(theirs).of_each(ours)), strict=True))
        floor = Kernel(theirs[::2]).of_each(theirs[1::2]).mean()
        note = f"{title}; halves of the reference are {floor:.2f} apart"
        found.append(Measure("distance", f"KAD, {name}", {"model": rows}, better=-1, note=note))
        whole = {"model": jackknifed(Frechet(theirs), ours)}
        found.append(Measure("distance", f"FAD-infinity, {name}", whole=whole, better=-1, note=title))
    ours, theirs = ([*_sounds(some, "mel").values()] for some in (heard, reference))
    if ours and theirs:
        known = mel_statistics(theirs)
        whole = {"model": jackknifed(lambda some: statistics_distance(some, known), ours)}
        found.append(Measure("distance", "mel statistics", whole=whole, better=-1, unit="dB", note="no network"))
    return found


def _sounds(heard: Heard, fact: str) -> dict[str, np.ndarray]:
    return {name: facts[fact] for name, facts in heard.items() if fact in facts}


def _histograms(heard: Heard) -> list[str]:
    """Markdown lines: how often each key and range of tempo is heard."""
    tempi = [facts["tempo"] for facts in heard.values() if facts.get("tempo")]
    keys = [facts["key"] for facts in heard.values() if facts.get("key")]
    counts, _ = np.histogram(tempi, TEMPI)
    named = [f"below {TEMPI[1]}", *(f"{a} to {b}" for a, b in zip(TEMPI[1:-2], TEMPI[2:-1], strict=True))]
    named.append(f"above {TEMPI[-2]}")
    lines = ["| tempo, BPM | sounds |", "|---|---|", *(f"| {a} | {n} |" for a, n in zip(named, counts, strict=True))]
    often = sorted(set(keys), key=lambda key: (-keys.count(key), key))
    return [*lines, "", "| key | sounds |", "|---|---|", *(f"| {key} | {keys.count(key)} |" for key in often)]


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What fits into JSON: numbers and names; embeddings and frames are left out."""
    kept = {name: facts.get(name) for name in ("duration", "tempo", "key")}
    faults = {name: value if np.isfinite(value) else None for name, value in facts["faults"].items()}
    return kept | {"faults": faults}
