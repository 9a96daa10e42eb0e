"""Options that several commands share: how they are called, and what --help says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def option(text: str, panel: str, *names: str, **settings: Any) -> Any:
    """Declare an option: its help, the panel of --help that it stands in, and its names if they are special."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **settings)


MUSIC, SAMPLING, OUTPUT = "Music", "Sampling", "Output"
Duration = Annotated[
    float | None, option("Seconds, at most 3600. Default: what the plan, --bars or the prompt says, or 10.", MUSIC)
]
Bpm = Annotated[float | None, option("Tempo in beats per minute.", MUSIC)]
Rubato = Annotated[
    float | None, option("How freely the tempo moves: 0 steady to 1. Default: as the style does.", MUSIC)
]
Ritardando = Annotated[
    bool | None, option("Slow down in the last bar. Default: as the style does.", MUSIC, "--ritardando/--no-ritardando")
]
KeyName = Annotated[str | None, option('Such as "A minor" or "F# dorian".', MUSIC)]
Meter = Annotated[str | None, option("4/4, 3/4 or 6/8.", MUSIC)]
Chords = Annotated[str | None, option('One a bar, repeated: "Am7 D7 Gmaj7", or "Dm7 G7 | C".', MUSIC)]
Style = Annotated[str | None, option('One of: gen-audio list styles; or a blend: "70% jazz, 30% house".', MUSIC)]
Mood = Annotated[str | None, option('Of: gen-audio list moods; several with commas: "sad, tense".', MUSIC)]
Instruments = Annotated[str | None, option('Names with commas: "piano, double bass, brushes".', MUSIC)]
Without = Annotated[
    list[str] | None,
    option("What must not play: drums bass chords lead pad colour, or an instrument. Repeatable.", MUSIC),
]
NegativePrompt = Annotated[
    str | None, option('Words for what shall not be heard: "drums, vocals, sad".', MUSIC, "--negative-prompt")
]
Sections = Annotated[str | None, option('In order: "intro, verse, chorus, bridge, break, ending".', MUSIC)]
Effects = Annotated[str | None, option('"dry", or some of them: "reverb=hall, delay=0.4". docs/effects.md', MUSIC)]
Bars = Annotated[int | None, option("Exact number of bars.", MUSIC)]
Seed = Annotated[int | None, option("Repeat a piece. Default: drawn, and recorded.", MUSIC)]
Output = Annotated[Path | None, option("File or folder. Default: <prompt>-<seed>.wav here.", OUTPUT, "--output", "-o")]
Format = Annotated[str | None, option("wav, flac, ogg, mp3 or opus.", OUTPUT)]
Stems = Annotated[Path | None, option("Folder for one file per role.", OUTPUT)]
Loudness = Annotated[str | None, option('LUFS such as -16, "peak" or "none". Default: -16.', OUTPUT)]
Overwrite = Annotated[bool, option("Replace files that exist.", OUTPUT, "--overwrite")]
AsJson = Annotated[bool, option("Print JSON.", OUTPUT, "--json")]
Debug = Annotated[bool, option("Show the traceback of an error.", OUTPUT, "--debug")]
Prompt = Annotated[str, typer.Argument(help='What to play, such as "lofi jazz piano".', show_default=False)]
