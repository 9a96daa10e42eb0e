"""The work behind `gen-audio eval model`: play a protocol, let judges hear it, write one report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .. import __version__
from ..errors import ConfigError, MissingExtraError
from ..pipeline.checks import check_integer
from ..pipeline.commands import progress_bar
from ..pipeline.load import load
from ..pipeline.outputs import check_writable, slug
from ..pipeline.pipeline import Pipeline
from .adherence import adherence_measures
from .comparison import check_comparable, compare, comparison_table, verdict
from .control import control_measures
from .copying import Stream, copy_measures, learn_stream
from .distances import distance_measures
from .ear import Ear
from .hearing import Hearing
from .measure import Measure
from .originals import Originals
from .panel import Panel
from .protocol import Size, find_size, fingerprint, items
from .reference import Clip, compose_reference
from .report import machine, markdown, report_paths, write_report
from .round_trip import codec_measures
from .soundness import fault_measures, long_measures
from .takes import Take, play_all

__all__ = ["evaluate", "measure", "run"]


def run(options: Mapping[str, Any]) -> None:
    """Evaluate, print the table and write the report; `options` are those of the command line."""
    size, keep = find_size(options["size"]), options["keep_audio"]
    check_integer("workers", options["workers"], 0, 256)
    paths = report_paths(options["output"] or Path(f"{slug(Path(options['model']).name)}-eval"))
    check_writable(paths, overwrite=options["overwrite"])
    other = options["compare"]
    earlier = _read_report(Path(other)) if other and other.endswith(".json") else None
    if earlier:
        check_comparable({"size": options["size"], "protocol": fingerprint(size)}, earlier)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    with Hearing(options["workers"]) as hearing:
        told = {name: options[name] for name in ("rung", "as_mix") if options[name] is not None}
        report = evaluate(load(options["model"], options["device"]), options["size"], hearing, keep, told)
        if other:
            rival = earlier or evaluate(load(other, options["device"]), options["size"], hearing)
            _add_comparison(report, rival)
    write_report(report, paths)
    print(json.dumps(report, indent=1, default=float) if options["as_json"] else markdown(report), end="")


@dataclass
class Study:
    """Everything that was heard of one model."""

    takes: list[Take] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    stream: Stream | None = None
    no_originals: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> how long it took


def evaluate(
    pipeline: Pipeline,
    size_name: str,
    hearing: Hearing,
    keep: Path | None = None,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Measure a model.

    Args:
        size_name: of protocol.SIZES.
        keep: folder for everything that is played; None keeps nothing.
        told: settings of `generate` for every piece, such as rung.

    Returns:
        The report, plain values.
    """
    size = find_size(size_name)
    study = _hear(pipeline, size, hearing, keep, told)
    rows = [row.to_dict() for row in measure(study, pipeline, hearing.panel)]
    heard = {
        t.item.name: {"prompt": t.item.prompt, "seed": t.item.seed, "plan": t.plan.to_dict() if t.plan else None}
        for t in study.takes
    }
    report: dict[str, Any] = {
        "title": ", ".join([f"{pipeline.name}, evaluation of size {size_name}", *map(_setting, told.items())]),
        "told": dict(told),
        "name": pipeline.name,
        "version": __version__,
        "model": pipeline.facts,
        "size": size_name,
        "protocol": fingerprint(size),
        "machine": machine(),
        "seconds": {name: round(value, 1) for name, value in study.seconds.items()},
        "judges": hearing.panel.describe(),
        "rows": rows,
        "takes": heard,
    }
    return report | {"summary": _summary(report, study), "notes": NOTES}


NOTES = [
    "The composed original is the plan of the same piece, played by the SoundFont; through the codec, that original "
    "encoded and decoded with the levels that the model predicts. Judges err on both, and what they say of a model can "
    "be no better than what they say there.",
    "Style and instruments are heard by classifiers that learnt from composed clips of this repository; the features "
    "that they hear, and all other judges, are not ours. Beats and sections are compared with the plan.",
]


def measure(study: Study, pipeline: Pipeline, panel: Panel) -> list[Measure]:
    """All rows of a study."""
    takes, missing = study.takes, panel.missing
    ears, deaf = _ears(study, panel)
    no_stream = study.no_originals or "not measured: the model did not learn from the composed stream"
    absent = {name: panel.reason(name) for name in missing}
    return [
        *codec_measures(takes, absent, study.no_originals),
        *control_measures(takes, absent),
        *adherence_measures(takes, ears, deaf),
        *distance_measures(takes, study.clips, absent),
        *copy_measures(takes, study.stream, pipeline.codec.frame_rate, no_stream),
        *fault_measures(takes),
        *long_measures(takes, absent),
    ]


def _ears(study: Study, panel: Panel) -> tuple[tuple[Ear, Ear] | None, str | None]:
    """A classifier that learnt from composed clips, and one that knows them through the codec as well."""
    if not panel.has("librosa_timbre"):
        return None, panel.reason("librosa_timbre")
    if not study.clips:
        return None, study.no_originals
    try:
        return (Ear(study.clips), Ear(study.clips, knows_codec=True)), None
    except ImportError:
        return None, "not measured: the classifiers need scikit-learn: pip install 'gen-audio[eval]'"


def _setting(said: tuple[str, Any]) -> str:
    return f"{said[0]} {said[1]}" if said[1] is not True else said[0]


def _hear(pipeline: Pipeline, size: Size, hearing: Hearing, keep: Path | None, told: Mapping[str, Any]) -> Study:
    study = Study()
    try:
        originals = Originals(pipeline)
    except MissingExtraError as error:
        originals, study.no_originals = None, f"not measured: {error}"
    if originals is not None:
        with _stage(study, "composing the reference") as progress:
            study.clips = compose_reference(originals, size, hearing, progress)
    asked = items(size)
    with _stage(study, "playing") as progress:
        for take in play_all(pipeline, asked, size, hearing, originals, keep, told):
            study.takes.append(take)
            progress(len(study.takes), len(asked))
    if originals is not None and pipeline.has_stems:
        with _stage(study, "composing the training stream") as progress:
            study.stream = learn_stream(originals, size.training, hearing, progress)
    return study


@contextmanager
def _stage(study: Study, name: str) -> Iterator[Any]:
    start = time.perf_counter()
    with progress_bar(name) as progress:
        yield progress
    study.seconds[name] = time.perf_counter() - start


def _summary(report: Mapping[str, Any], study: Study) -> str:
    targets = [row for row in report["rows"] if row.get("met") is not None]
    met, place = sum(row["met"] for row in targets), report["machine"]
    took = sum(study.seconds.values())
    text = (
        f"{len(study.takes)} pieces, {sum(t.item.seconds for t in study.takes):.0f} s; {met} of {len(targets)} targets "
        f"are met. {took:.0f} s on {place['cpu']}, {place['date']}; gen-audio {report['version']}, "
        f"model sha256 {report['model'].get('sha256', '')[:12]}, {report['model'].get('precision', '')}."
    )
    return f"{text} Anchors are missing: {study.no_originals}" if study.no_originals else text


def _add_comparison(report: dict[str, Any], rival: Mapping[str, Any]) -> None:
    """Write into a report how it differs from another."""
    check_comparable(report, rival)
    a, b = (", ".join([r["name"], *map(_setting, r.get("told", {}).items())]) for r in (report, rival))
    if a == b:
        a, b = f"{a} (A)", f"{b} (B)"
    rows = compare(report["rows"], rival["rows"])
    said = verdict(a, b, rows)
    report["comparison"] = {"with": {k: rival[k] for k in ("name", "model", "rows")}, "rows": rows, "verdict": said}
    report["more"] = [f"## {a} against {b}", "", said, "", *comparison_table(a, b, rows)]


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"'{path}' is no report ({error}). Give the JSON that `gen-audio eval model` wrote."
        ) from None
    if not isinstance(report, dict) or "protocol" not in report:
        raise ConfigError(f"'{path}' is no report of `gen-audio eval model`. Give one, or the name of a model.")
    return report
