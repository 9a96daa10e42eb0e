"""The commands `gen-audio batch` and `gen-audio verify`, which cli.py joins to the others: parse and call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import option

__all__ = ["register"]


ROWS, OUTPUT, RUN, WORKERS = "Rows", "Output", "Run", "Workers"


def batch(
    context: typer.Context,
    manifest: Annotated[
        Path | None,
        typer.Argument(
            help="What to render: .jsonl, .csv, .tsv, .parquet, .txt with a prompt a line, or a folder of datasets."
        ),
    ] = None,
    output: Annotated[Path, option("Folder to write, or to go on with.", OUTPUT, "--output", "-o")] = ...,  # type: ignore[assignment]
    layout: Annotated[str | None, option("audiofolder (default), webdataset or parquet.", OUTPUT)] = None,
    format: Annotated[str | None, option("flac (default), wav, ogg, mp3 or opus.", OUTPUT)] = None,
    loudness: Annotated[str | None, option('LUFS such as -16 (default), "peak" or "none".', OUTPUT)] = None,
    sample_rate: Annotated[int | None, option("Hz. Default: the model's.", OUTPUT)] = None,
    keep_codes: Annotated[
        bool | None, option("Keep the codes, for --from-codes.", OUTPUT, "--keep-codes/--no-keep-codes")
    ] = None,
    per_file: Annotated[int | None, option("Sounds in a tar or Parquet file. Default: 1000.", OUTPUT)] = None,
    licence: Annotated[str | None, option("Of the data set, for its card. Default: the model's.", OUTPUT)] = None,
    duration: Annotated[float | None, option("Seconds, for rows that do not say.", ROWS)] = None,
    num_samples: Annotated[int | None, option("Sounds a row, for rows that do not say.", ROWS)] = None,
    set_: Annotated[
        list[str] | None,
        option("A parameter for rows that do not give it: tempo=90. Repeatable.", ROWS, "--set"),
    ] = None,
    prompt_column: Annotated[str, option("The column that holds the prompt.", ROWS)] = "prompt",
    carry: Annotated[
        list[str] | None, option("A column that is no parameter, though its name is nearly one's. Repeatable.", ROWS)
    ] = None,
    model: Annotated[str, option("As for gen-audio PROMPT.", RUN)] = "etude",
    device: Annotated[str, option("As for gen-audio PROMPT.", RUN)] = "auto",
    precision: Annotated[str, option("As for gen-audio PROMPT.", RUN)] = "auto",
    executor: Annotated[str, option("As for gen-audio PROMPT.", RUN)] = "auto",
    shard: Annotated[str | None, option("Make part i of n, such as 2/8; parts may run side by side.", RUN)] = None,
    limit: Annotated[int | None, option("Make at most so many.", RUN, min=0)] = None,
    retry_failed: Annotated[bool, option("Try again what failed in an earlier run.", RUN, "--retry-failed")] = False,
    dry_run: Annotated[bool, option("Tell how many, how long, how much; write nothing.", RUN, "--dry-run")] = False,
    from_codes: Annotated[Path | None, option("Decode the codes kept in this folder again.", RUN)] = None,
    levels: Annotated[int | None, option("With --from-codes: codebooks to decode, coarse ones first.", RUN)] = None,
    engine: Annotated[
        str, option("Who plays: process (this one), or ray (workers on this machine or a cluster).", WORKERS)
    ] = "process",
    workers: Annotated[int | None, option("Processes that play. Default: as many as fit.", WORKERS)] = None,
    worker_cpus: Annotated[float | None, option("Cores of each. Default: 1.", WORKERS)] = None,
    worker_gpus: Annotated[
        float | None, option("GPUs of each; 0.5 is two workers on a GPU. Default: 0.", WORKERS)
    ] = None,
    ray_address: Annotated[
        str | None,
        option('A cluster that is there: "auto" or host:port. Default: one of this machine for this run.', WORKERS),
    ] = None,
    as_json: Annotated[bool, option("Print the summary as JSON.", RUN, "--json")] = False,
    debug: Annotated[bool, option("Show the traceback of an error.", RUN, "--debug")] = False,
) -> int:
    """Render a data set: gen-audio batch prompts.jsonl -o data. Run it again to go on; what is done stays done."""
    from .batch.command import batch as run

    return run(context.params)


def verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="What gen-audio batch wrote.", show_default=False)],
    sample: Annotated[int | None, typer.Option(help="Items to play again. Default: 8.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Play every item again.")] = False,
    model: Annotated[str | None, typer.Option(help="Default: what the data set names.")] = None,
    device: Annotated[str, typer.Option(help="As for gen-audio PROMPT.")] = "auto",
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> int:
    """Check a data set: files against the journal, and a sample played again; a line a finding, exit code 1 if any."""
    from .batch.command import verify as run

    return run(context.params)


def register(app: typer.Typer) -> None:
    """Add both commands."""
    app.command()(batch)
    app.command()(verify)
