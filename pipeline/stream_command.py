"""`gen-audio PROMPT --stream -`: a WAV on standard output that can be heard, and changed, while it is being made."""

from __future__ import annotations

import logging
import os
import struct
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np

from ..audio import Waveform
from ..errors import ConfigError, GenAudioError
from . import interrupt
from .streaming import SoundStream, check

__all__ = ["check_stream", "listen", "stream_to"]

logger = logging.getLogger(__name__)
FULL_SCALE = 32767
NO_FILE = ("output", "format", "stems", "overwrite", "as_json")  # options that are about files


def check_stream(options: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise ConfigError for another target than standard output, a terminal, or an option that a stream cannot obey."""
    if options["stream"] != "-":
        raise ConfigError(f"--stream is '{options['stream']}'; it must be -, which is standard output. For files: -o.")
    for name in NO_FILE:
        if options[name]:
            flag = {"as_json": "json"}.get(name, name)
            raise ConfigError(f"--stream writes no file, so --{flag} has no effect. Leave one of them out.")
    check(dict(given))
    if sys.stdout.isatty():
        raise ConfigError("--stream would write sound to the terminal. Pipe it: gen-audio ... --stream - | aplay")


def stream_to(file: BinaryIO, stream: SoundStream, name: str) -> None:
    """Write 16-bit WAV as it comes; a reader that has heard enough and goes away is no error."""
    start, first, clipped = time.perf_counter(), 0.0, 0
    try:
        file.write(header(stream))
        for chunk in stream:
            interrupt.check()
            first = first or time.perf_counter() - start
            clipped += int((np.abs(chunk.samples) > 1).sum())
            file.write(pcm(chunk))
            file.flush()
    except BrokenPipeError:
        # the interpreter flushes once more when it ends, which must not fail either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if clipped:
        logger.warning("%d samples were louder than a 16-bit file can hold and were clipped", clipped)
    seconds = stream.length / stream.sample_rate
    print(f"{seconds:.1f} s, seed {stream.seed} ({name}, first sound after {first:.2f} s)", file=sys.stderr)


def listen(stream: SoundStream, lines: Iterable[str]) -> None:
    """Change the stream by every line that comes, beside the playing, and say on stderr from when it holds.

    Raises:
        ConfigError: the stream cannot change at all.
    """
    if stream.changer is None:
        stream.change()  # which says why

    def follow() -> None:
        for line in filter(None, map(str.strip, lines)):
            try:
                print(f"from {stream.change(line):.1f} s: {line}", file=sys.stderr)
            except GenAudioError as error:
                print(f"gen-audio: not changed: {error}", file=sys.stderr)

    threading.Thread(target=follow, daemon=True).start()


def header(stream: SoundStream) -> bytes:
    """The 44 bytes before the samples of a WAV whose length is known."""
    frame = 2 * stream.channels
    size = frame * stream.length
    form = struct.pack("<HHIIHH", 1, stream.channels, stream.sample_rate, frame * stream.sample_rate, frame, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
    )


def pcm(chunk: Waveform) -> bytes:
    """Samples as little-endian 16-bit integers, channels interleaved."""
    return (chunk.samples.T.clip(-1, 1) * FULL_SCALE).round().astype("<i2").tobytes()
