"""The work behind `gen-audio PROMPT`, `list` and `models`: check everything, then play, then write."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import registry
from ..composition.instruments import instrument_names
from ..composition.moods import mood_places
from ..composition.plan import MusicalPlan
from ..composition.style import load_style, style_names
from ..errors import ConfigError, UnknownNameError
from . import interrupt, sidecar
from .generation import Generation
from .outputs import Target, plan_targets, stem_paths, write_generation
from .params import EXECUTORS, LONG, PRECISIONS, GenerationParams, check_prompt, resolve_params

if TYPE_CHECKING:
    from .pipeline import Pipeline

__all__ = [
    "LISTS",
    "PLAYER",
    "Progress",
    "check_player",
    "generate",
    "list_models",
    "list_names",
    "progress_bar",
    "read_params",
    "read_plan",
]

PLAYER = ("device", "precision", "executor")  # options of `load`
Progress = Callable[[int, int], None]  # frames done, frames in all
FOLDERS = {
    "codecs": "codecs",
    "conditioners": "conditioning",
    "patterns": "pipeline.patterns",
    "samplers": "pipeline.samplers",
}
LISTS = ("codecs", "conditioners", "instruments", "moods", "patterns", "samplers", "styles")


def generate(options: Mapping[str, Any]) -> None:
    """Play a prompt and write the files; `options` are those of the command line, None where not given."""
    prompt = check_prompt(options["prompt"])
    check_player(options)
    given = read_given(options, read_plan(options["plan"]))
    params = resolve_params(prompt, **given)
    given["seed"] = params.seed
    if options["stems"] and params.as_mix:
        raise ConfigError("--as-mix plays everybody as one, so there are no stems to write. Leave --stems out.")
    if options["stream"] is not None:
        return play_aloud(prompt, options, given)
    if options["listen"]:
        raise ConfigError("--listen changes a stream while it plays, so without --stream - it has no effect. Add that.")
    inputs = [options[name] for name in ("plan", "melody", "continue_from") if options[name]]
    several = params.num_samples > 1
    targets = plan_targets(
        prompt,
        params.seeds,
        options["output"],
        options["format"],
        overwrite=options["overwrite"],
        inputs=inputs,
    )
    stems = [
        stem_paths(options["stems"], prefix=f"{t.path.stem}-" if several else "", overwrite=options["overwrite"])
        if options["stems"]
        else None
        for t in targets
    ]

    # Everything that can be checked without the model has been. Only now torch is imported.
    from .load import load

    pipeline = load(options["model"], **{name: options[name] for name in PLAYER})
    if options["stems"] and not pipeline.has_stems:
        raise ConfigError(f"{pipeline.name} plays one mix, so --stems has no effect. Leave it out, or use etude.")
    if not options["stems"] and not params.as_mix and _is_long(pipeline, prompt, given, params):
        return generate_long(pipeline, prompt, given, params, targets, options["as_json"])
    with progress_bar("playing") as progress:
        made = pipeline.generate(prompt, progress=progress, **given)
    pieces = [made] if isinstance(made, Generation) else list(made)
    paths = [write_generation(*job) for job in zip(pieces, targets, stems, strict=True)]
    report([sidecar.generation_facts(*job) for job in zip(pieces, paths, strict=True)], paths, options["as_json"])


def _is_long(pipeline: Pipeline, prompt: str, given: Mapping[str, Any], params: GenerationParams) -> bool:
    """Whether any of the pieces is; where bars decide that, their tempo does."""
    if params.duration is not None:
        return params.duration > LONG
    one = {**given, "num_samples": None, "loudness": None}
    streams = (pipeline.stream(prompt, **{**one, "seed": seed}) for seed in params.seeds)
    return any(stream.length > LONG * stream.sample_rate for stream in streams)


def generate_long(
    pipeline: Pipeline,
    prompt: str,
    given: Mapping[str, Any],
    params: GenerationParams,
    targets: Sequence[Target],
    as_json: bool,
) -> None:
    """Write long pieces one after the other, none of which is ever in memory whole."""
    from .long_render import render_long

    facts = []
    for seed, target in zip(params.seeds, targets, strict=True):
        stream = pipeline.stream(prompt, **{**given, "seed": seed, "num_samples": None, "loudness": None})
        with progress_bar("playing") as progress:
            facts.append(render_long(stream, target, params.loudness, progress))
    report(facts, [target.path for target in targets], as_json)


def play_aloud(prompt: str, options: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Play a prompt to standard output while it is being made."""
    from .stream_command import check_stream, listen, stream_to

    check_stream(options, given)
    from .load import load

    pipeline = load(options["model"], **{name: options[name] for name in PLAYER})
    stream = pipeline.stream(prompt, **given)
    if options["listen"]:
        listen(stream, sys.stdin)
    stream_to(sys.stdout.buffer, stream, pipeline.name)


def read_plan(path: Path | None) -> MusicalPlan | None:
    """Read a plan file, or the plan inside a sidecar; None for no path."""
    if path is None:
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return MusicalPlan.load(path)  # which says what is wrong with it
    is_sidecar = isinstance(data, dict) and "sidecar_version" in data
    return MusicalPlan.from_dict(data["plan"] if is_sidecar else data)


def read_params(prompt: str, options: Mapping[str, Any], plan: MusicalPlan | None = None) -> GenerationParams:
    """Turn command-line options into checked parameters with a seed."""
    return resolve_params(prompt, **read_given(options, plan))


def read_given(options: Mapping[str, Any], plan: MusicalPlan | None = None) -> dict[str, Any]:
    """Fields of GenerationParams that the command line names; a pipeline refuses those that it cannot obey."""
    given = {f.name: options.get(f.name) for f in dataclasses.fields(GenerationParams)}
    given |= {"tempo": options.get("bpm"), "plan": plan, "loudness": read_loudness(options.get("loudness"))}
    for name in ("chords", "instruments", "sections"):
        if options.get(name) is not None:
            given[name] = split_names(options[name], by_space=name == "chords")
            if not given[name]:
                raise ConfigError(f"--{name} is empty. Name at least one, or leave it out.")
    if options.get("role_seed"):
        given["role_seeds"] = dict(map(read_role_seed, options["role_seed"]))
    for name in ("melody", "continue_from"):
        if options.get(name) is not None and not options[name].is_file():
            raise ConfigError(f"--{name.replace('_from', '')} '{options[name]}' is no file. Name a recording.")
    return {name: value for name, value in given.items() if value not in (None, [], ())}


def split_names(text: str, by_space: bool = False) -> tuple[str, ...]:
    """Split at commas and bar lines; without any of them and `by_space`, at spaces: "Am7 D7" or "Dm7 G7 | C"."""
    pattern = r"\s+" if by_space and not re.search(r"[,|]", text) else r"\s*[,|]\s*"
    return tuple(part for part in re.split(pattern, text.strip()) if part)


def read_role_seed(text: str) -> tuple[str, int]:
    """Read "lead=5"."""
    role, _, seed = text.partition("=")
    if not seed.strip().isdecimal():
        raise ConfigError(f"--role-seed is '{text}'; write a role and a whole number, such as lead=5.")
    return role.strip(), int(seed)


def read_loudness(text: str | None) -> float | str | None:
    """Read "-16", "peak" or "none"; other texts are left for GenerationParams to refuse."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return text


def check_player(options: Mapping[str, Any]) -> None:
    """Raise ConfigError unless device, precision and executor are spelt like one; what is there, `load` knows."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", options["device"]):
        raise ConfigError(f"--device is '{options['device']}'; it must be auto, cpu, cuda or cuda:N.")
    for name, known in (("precision", PRECISIONS), ("executor", EXECUTORS)):
        if options[name] not in known:
            raise UnknownNameError(name, options[name], known)


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Give a callback that draws a bar on stderr if somebody watches, and ends the work after a Ctrl-C in any case."""
    if not sys.stderr.isatty():
        yield lambda done, total: interrupt.check()
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)

        def draw(done: int, total: int) -> None:
            interrupt.check()
            bar.update(task, completed=done, total=total)

        yield draw


def report(facts: list[dict[str, Any]], paths: list[Path], as_json: bool) -> None:
    """Print what was written: a line each, or the sidecars as JSON (a list if there are several)."""
    if as_json:
        found = [{"path": str(path), **fact} for fact, path in zip(facts, paths, strict=True)]
        print(json.dumps(found[0] if len(found) == 1 else found, indent=2, ensure_ascii=False))
        return
    for fact, path in zip(facts, paths, strict=True):
        plan, player = fact["plan"], fact["model"]["name"] if fact["model"] else "composed by rules, no network"
        music = f"{plan['style']}, {plan['tempo']:g} BPM, {plan['key']}, " if plan else ""
        print(
            f"{path}: {fact['audio']['duration']:.1f} s, {music}"
            f"seed {fact['seed']} ({player}, {sum(fact['timings'].values()):.1f} s)"
        )


def list_names(kind: str, as_json: bool = False) -> None:
    """Print the names of one kind, one a line."""
    if kind not in LISTS:
        raise UnknownNameError("list", kind, LISTS)
    if kind in FOLDERS:
        names = dict.fromkeys(registry.names(FOLDERS[kind]), "")
    elif kind == "styles":
        names = {name: load_style(name).description for name in style_names()}
    elif kind == "moods":
        names = {
            name: ", ".join(f"{axis} {value:+.1f}" for axis, value in place.items())
            for name, place in mood_places().items()
        }
    else:
        names = dict.fromkeys(instrument_names(), "")
    if as_json:
        print(json.dumps(list(names)))
        return
    for name, note in names.items():
        print(f"{name:14} {note}".rstrip())


def list_models(as_json: bool = False) -> None:
    """Print the installed models: name, size, hash of the weights, licence."""
    from . import checkpoint

    rows = []
    for name, folder in checkpoint.embedded_models().items():
        config = checkpoint.read_config(folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        rows.append(
            {
                "name": name,
                "megabytes": round(size / 2**20, 1),
                "sha256": config.get("sha256", ""),
                "licence": config.get("licence", "not stated"),
                "folder": str(folder),
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['name']:14} {row['megabytes']:6.1f} MiB  sha256 {row['sha256'][:12]}  {row['licence']}")
    if not rows:
        print("No model is installed. A folder with a config.yaml works with --model FOLDER.")
