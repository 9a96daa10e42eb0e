"""The commands `gen-audio codec` and `gen-audio eval`, which cli.py joins to the others: parse and call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["codec_app", "eval_app"]

codec_app = typer.Typer(help="Turn sound into the codes of a neural codec, and codes into sound.")
eval_app = typer.Typer(help="Measure parts of the system.")


def _option(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text)


PUBLIC = "file or folder of transformers or the encodec package. Default: the public ones, fetched once."
LIST = "see gen-audio list codecs"
Overwrite = Annotated[bool, _option("Replace files that exist.", "--overwrite")]
AsJson = Annotated[bool, _option("Print JSON.", "--json")]
Debug = Annotated[bool, _option("Show the traceback of an error.", "--debug")]


@codec_app.command()
def encode(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A sound file of any rate.", show_default=False)],
    codec: Annotated[str, _option(f"Name of a codec; {LIST}.")] = "spectral",
    levels: Annotated[int | None, _option("Codebooks, coarse ones first. Default: all.")] = None,
    bandwidth: Annotated[float | None, _option("The same in kbit/s, one of those that the codec has.")] = None,
    weights: Annotated[str | None, _option(f"Of the codec: {PUBLIC}")] = None,
    output: Annotated[Path | None, _option("Default: <name>.codes.safetensors here.", "--output", "-o")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Turn a sound into codes: gen-audio codec encode song.wav --codec encodec_24khz --bandwidth 6.

    The sound is resampled and mixed down to what the codec takes, and that is said.
    """
    from .codec_commands import encode

    encode(context.params)


@codec_app.command()
def decode(
    context: typer.Context,
    codes: Annotated[Path, typer.Argument(help="A file that codec encode wrote.", show_default=False)],
    weights: Annotated[str | None, _option(f"Those that encoded it: {PUBLIC}")] = None,
    output: Annotated[
        Path | None, _option("wav, flac, ogg, mp3 or opus. Default: <name>.wav here.", "--output", "-o")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Turn codes into a sound of exactly the length that was encoded: gen-audio codec decode song.codes.safetensors."""
    from .codec_commands import decode

    decode(context.params)


@eval_app.command(name="codec")
def eval_codec(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Sound files, also in folders inside it.", show_default=False)],
    codec: Annotated[list[str], _option(f"NAME or NAME:KBPS, such as encodec_24khz:6; {LIST}. Repeatable.")],
    weights: Annotated[list[str] | None, _option(f"NAME=PATH, {PUBLIC} Repeatable.")] = None,
    seconds: Annotated[float | None, _option("How much of each file, from its start. Default: all.")] = None,
    output: Annotated[
        Path | None, _option("REPORT: write REPORT.json (all files) and REPORT.md (the table).", "--output", "-o")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare codecs on your sounds: log-mel distance, SI-SDR, bits a second and speed, as a Markdown table."""
    from ..evaluation.codec import run

    run(context.params)


Report = Annotated[
    Path | None, _option("REPORT: REPORT.json, REPORT.md and REPORT.png. Default: <name>-eval here.", "--output", "-o")
]
Workers = Annotated[int | None, _option("Processes of judges; 0 judges in this one. Default: one a core, up to 8.")]


@eval_app.command(name="model")
def eval_model(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A name of gen-audio models, a folder, or a MusicGen.")] = "etude",
    size: Annotated[str, _option("quick (minutes), full (within an hour), or tiny, which only shows that it runs.")] = (
        "quick"
    ),
    compare: Annotated[
        str | None, _option("Another model, or the JSON of its report: a paired test on the same prompts and seeds.")
    ] = None,
    device: Annotated[str, _option("cpu (which is auto), or cuda or cuda:N.")] = "auto",
    rung: Annotated[str | None, _option("What the network is told: text, plan or notes (all).")] = None,
    as_mix: Annotated[bool | None, _option("Play everybody as one row of codes.", "--as-mix")] = None,
    workers: Workers = None,
    keep_audio: Annotated[Path | None, _option("Folder for everything that is played.")] = None,
    output: Report = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure a model offline: codec, control, text, distances, copies, faults, long pieces, each beside two anchors.

    Judges that are not installed are named, with the command that installs them. --rung and --as-mix are for MODEL
    alone: beside `--compare` they show what it loses by them.
    """
    from ..evaluation.model import run

    run(context.params)


@eval_app.command(name="set")
def eval_set(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Sound files, also in folders inside it.", show_default=False)],
    reference: Annotated[Path | None, _option("Folder of sounds that these are compared with.")] = None,
    workers: Workers = None,
    output: Report = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure anybody's sounds: levels, faults, tempi, keys, variety, and how far they are from a reference."""
    from ..evaluation.folder import run

    run(context.params)


@eval_app.callback()
def _several() -> None:
    """Measure parts of the system."""
