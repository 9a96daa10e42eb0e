"""The command line: parse, call, print. What a command needs is imported inside it, so that --help is quick."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import ConfigError, GenAudioError, MissingExtraError
from . import cli_options as options
from . import interrupt
from .cli_batch import register
from .cli_codec import codec_app, eval_app
from .cli_doctor import doctor
from .cli_options import MUSIC, OUTPUT, SAMPLING, option

__all__ = ["main", "run"]

INTERRUPTED = 130
EPILOG = """
Other commands; each has its own --help:\n
gen-audio compose "PROMPT"  the rules alone, through a SoundFont\n
gen-audio inspect FILE  loudness, tempo, key and chords of a sound, and a picture\n
gen-audio convert IN OUT  a MusicGen of transformers as a model folder of ours\n
gen-audio models, doctor  the installed models; what this machine will use, and how fast\n
gen-audio list KIND  the names of styles, instruments, moods, codecs, samplers, ...\n
gen-audio codec encode FILE, gen-audio codec decode CODES  sound to codes and back\n
gen-audio eval model NAME, eval set FOLDER, eval codec FOLDER  measure a model, sounds, codecs\n
gen-audio batch MANIFEST -o OUT, gen-audio verify OUT  render a data set, and check it\n
gen-audio train STAGE  make a model of your own
"""

player = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
app.add_typer(codec_app, name="codec")
app.add_typer(eval_app, name="eval")
app.command()(doctor)
register(app)


def _show_version(value: bool) -> None:
    if value:
        print(f"gen-audio {__version__}")
        raise typer.Exit


@player.command(epilog=EPILOG)
def play(
    context: typer.Context,
    prompt: options.Prompt,
    duration: options.Duration = None,
    seed: options.Seed = None,
    style: options.Style = None,
    mood: options.Mood = None,
    bpm: options.Bpm = None,
    rubato: options.Rubato = None,
    ritardando: options.Ritardando = None,
    key: options.KeyName = None,
    meter: options.Meter = None,
    chords: options.Chords = None,
    instruments: options.Instruments = None,
    without: options.Without = None,
    negative_prompt: options.NegativePrompt = None,
    sections: options.Sections = None,
    effects: options.Effects = None,
    bars: options.Bars = None,
    plan: Annotated[Path | None, option("Play this plan: a plan file, or the JSON beside a piece.", MUSIC)] = None,
    melody: Annotated[
        Path | None, option("A recording whose tune a melody model follows, such as MusicGen-melody.", MUSIC)
    ] = None,
    continue_from: Annotated[
        Path | None, option("A recording that a MusicGen goes on from; --duration counts it in.", MUSIC, "--continue")
    ] = None,
    model: Annotated[
        str, option("A name of gen-audio models, a folder, or a MusicGen of the hub: owner/name[@revision].", SAMPLING)
    ] = "etude",
    device: Annotated[
        str, option("cpu, or cuda or cuda:N, an NVIDIA GPU; auto is a GPU for MusicGen only.", SAMPLING)
    ] = "auto",
    precision: Annotated[str, option("auto, fp32, bf16, int8 or int4, of the transformer.", SAMPLING)] = "auto",
    executor: Annotated[str, option("auto, native (compiled here), reference or graph (GPU).", SAMPLING)] = "auto",
    num_samples: Annotated[int | None, option("Pieces to make, with seeds from --seed upwards.", SAMPLING)] = None,
    guidance_scale: Annotated[float | None, option("Pull towards the text; 1 is off.", SAMPLING)] = None,
    plan_guidance: Annotated[float | None, option("Pull towards plan and notes; 1 is off.", SAMPLING)] = None,
    as_mix: Annotated[
        bool | None, option("Play everybody as one row of codes: quicker, less clear, no stems.", SAMPLING, "--as-mix")
    ] = None,
    rung: Annotated[str | None, option("What the network is told: text, plan or notes (all).", SAMPLING)] = None,
    temperature: Annotated[float | None, option("0 takes the likeliest code.", SAMPLING)] = None,
    top_k: Annotated[int | None, option("Keep the k likeliest codes.", SAMPLING)] = None,
    top_p: Annotated[float | None, option("Keep the likeliest codes that sum to p.", SAMPLING)] = None,
    min_p: Annotated[float | None, option("Keep codes above p times the likeliest.", SAMPLING)] = None,
    role_seed: Annotated[
        list[str] | None, option("Play one role anew, the others unchanged: lead=5. Repeatable.", SAMPLING)
    ] = None,
    output: options.Output = None,
    format: options.Format = None,
    stems: options.Stems = None,
    loudness: options.Loudness = None,
    stream: Annotated[str | None, option("-: a WAV on standard output while it is made: | aplay", OUTPUT)] = None,
    listen: Annotated[bool, option("Typed lines change the stream at the next bar.", OUTPUT, "--listen")] = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False,
) -> None:
    """Words in, music out: gen-audio "lofi jazz piano" writes a WAV and, beside it, a JSON that explains it."""
    from .commands import generate

    generate(context.params)


@app.command()
def compose(
    context: typer.Context,
    prompt: options.Prompt,
    duration: options.Duration = None,
    seed: options.Seed = None,
    style: options.Style = None,
    mood: options.Mood = None,
    bpm: options.Bpm = None,
    rubato: options.Rubato = None,
    ritardando: options.Ritardando = None,
    key: options.KeyName = None,
    meter: options.Meter = None,
    chords: options.Chords = None,
    instruments: options.Instruments = None,
    without: options.Without = None,
    negative_prompt: options.NegativePrompt = None,
    sections: options.Sections = None,
    effects: options.Effects = None,
    bars: options.Bars = None,
    from_plan: Annotated[Path | None, option("Play this plan: a plan file, or the JSON beside a piece.", MUSIC)] = None,
    soundfont: Annotated[Path | None, option("SoundFont to play with. Default: one of the system's.", MUSIC)] = None,
    output: options.Output = None,
    format: options.Format = None,
    midi: Annotated[Path | None, option("Also write the notes as a MIDI file.", OUTPUT)] = None,
    plan: Annotated[Path | None, option("Also write the plan as a JSON file.", OUTPUT)] = None,
    stems: options.Stems = None,
    loudness: options.Loudness = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Compose by rules and play it through a SoundFont; no network plays, and the file says so."""
    from .composing import compose

    compose(context.params)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A sound file.", show_default=False)],
    output: Annotated[Path | None, option("Write the picture to this PNG.", OUTPUT, "--output", "-o")] = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Tell duration, loudness, tempo, key and chords of a sound; -o draws waveform, spectrogram, chroma and beats."""
    from ..evaluation.inspection import inspect_file

    inspect_file(file, output, overwrite=overwrite, as_json=as_json)


@app.command()
def convert(
    source: Annotated[
        str,
        typer.Argument(metavar="IN", help="Folder of transformers, hub id, or audiocraft's state_dict.bin."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    dtype: Annotated[str, typer.Option(help="Type of the transformer's weights: fp32, bf16 or fp16.")] = "fp32",
    text_encoder: Annotated[Path | None, typer.Option(help="Folder of the T5 of an audiocraft model.")] = None,
    codec: Annotated[Path | None, typer.Option(help="Folder of the EnCodec of an audiocraft model.")] = None,
    debug: options.Debug = False,
) -> None:
    """Write the weights of a MusicGen as a model folder of ours: one file, verified by its hash, for --model OUT."""
    from .convert import convert as write_folder

    print(write_folder(source, out, dtype, text_encoder=text_encoder, codec=codec))


@app.command()
def models(as_json: options.AsJson = False, debug: options.Debug = False) -> None:
    """List the installed models: name, size, hash, licence."""
    from .commands import list_models

    list_models(as_json)


@app.command(name="list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="codecs, conditioners, instruments, moods, patterns, samplers or styles.")
    ],
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """List the names of one kind."""
    from .commands import list_names

    list_names(kind, as_json)


@app.command()
def train(
    stage: Annotated[
        str, typer.Argument(help="pool, codec, tokens, vocoder, lm, attributes or export.", show_default=False)
    ],
    config: Annotated[str, typer.Option(help="YAML file, or the name of a shipped configuration.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, metrics, weights.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: --set lm.width=384.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in a folder that holds a run.")] = False,
    debug: options.Debug = False,
) -> None:
    """Run one stage of training; it can be killed at any time and goes on with --resume."""
    from ..training.command import run_stage

    run_stage(stage, config, out, overrides=set_ or [], resume=resume)


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, 1 (a fault of ours), 2 (input) or 130 (Ctrl-C)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands = {info.name or info.callback.__name__ for info in app.registered_commands if info.callback}
    commands |= {str(group.name) for group in app.registered_groups}
    debug = "--debug" in arguments
    chosen = app if arguments and arguments[0] in commands else player
    with interrupt.watched():
        try:
            if not arguments:
                raise ConfigError(
                    'There is no prompt. Say what to play: gen-audio "lofi jazz piano". See gen-audio --help.'
                )
            code = chosen(arguments, prog_name="gen-audio", standalone_mode=False)
            if code == INTERRUPTED:  # some releases of typer return this instead of raising Abort
                raise KeyboardInterrupt
            return code if isinstance(code, int) else 0
        except (KeyboardInterrupt, typer.Abort):
            return _interrupted()
        except Exception as error:
            if interrupt.was_pressed():  # it met a library that made another error of it
                return _interrupted()
            if debug:
                traceback.print_exc()
            print(f"gen-audio: error: {_message(error)}", file=sys.stderr)
            return _exit_code(error)


def _interrupted() -> int:
    print("gen-audio: interrupted; nothing half-written was left", file=sys.stderr)
    return INTERRUPTED


def _message(error: Exception) -> str:
    """One line about an error; one that nobody raised on purpose names its class and the way to its traceback."""
    if hasattr(error, "format_message"):  # a usage error of typer, which has no public name for its base
        text = f"{error.format_message().rstrip('.')}. See gen-audio --help."
    elif isinstance(error, (GenAudioError, OSError)):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}. This is a bug; --debug shows where."
    return " ".join(text.split())


def _exit_code(error: Exception) -> int:
    """2 where the user can mend it (input, files, a full disk), else 1."""
    if isinstance(error, MissingExtraError):
        return 1
    mendable = isinstance(error, (GenAudioError, OSError)) or hasattr(error, "format_message")
    return 2 if mendable else 1


def main() -> None:
    """Entry point of the `gen-audio` script."""
    # Threads that spin against each other or another process cost more than they give on few cores; as long as it takes
    # from one small operation to the next, they may.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    gc.set_threshold(20_000, 20, 20)  # what the libraries make while they are read stays; looking for waste costs 0.5 s
    sys.exit(run())
