"""The work behind `gen-audio inspect`: read a sound, analyse it, print numbers, draw a picture."""

from __future__ import annotations

import json
from pathlib import Path

from ..audio import Waveform
from ..errors import AudioError, ConfigError
from ..pipeline.outputs import check_writable
from .analysis import Analysis, analyse

__all__ = ["describe", "inspect_file"]


def inspect_file(file: Path, picture: Path | None = None, *, overwrite: bool = False, as_json: bool = False) -> None:
    """Print what is heard in a sound file and, if asked, draw it.

    Raises:
        AudioError: the file is missing or no sound.
        ConfigError: the picture is no PNG, or cannot be written.
    """
    if not file.is_file():
        raise AudioError(f"'{file}' is no file. Give a sound file such as song.wav.")
    if picture is not None:
        if picture.suffix.lower() != ".png":
            raise ConfigError(f"The picture '{picture}' must end in .png.")
        check_writable([picture], overwrite=overwrite)
    waveform = Waveform.read(file)
    analysis = analyse(waveform)
    if picture is not None:
        from .picture import draw

        draw(waveform, analysis, picture, title=file.name)
    print(json.dumps({"file": str(file), **analysis.to_dict()}, indent=2) if as_json else describe(file, analysis))


def describe(file: Path, analysis: Analysis) -> str:
    """Say an analysis in a few lines."""
    tempo = f"{analysis.tempo:.1f} BPM, {len(analysis.beats)} beats" if analysis.tempo else "none found"
    key = f"{analysis.key} (ahead of the next by {analysis.key_confidence:.2f})" if analysis.key else "none found"
    loudness = "silent" if analysis.loudness is None else f"{analysis.loudness:.1f} LUFS"
    peak = "" if analysis.peak_db is None else f", peak {analysis.peak_db:.1f} dBFS"
    lines = [
        str(file),
        f"  duration  {analysis.duration:.2f} s, {analysis.sample_rate} Hz, {analysis.channels} channels",
        f"  loudness  {loudness}{peak}",
        f"  tempo     {tempo}",
        f"  key       {key}",
        "  chords    " + "  ".join(f"{span.start:.1f}s {span.name}" for span in analysis.chords),
    ]
    return "\n".join(lines)
