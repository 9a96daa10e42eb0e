"""Long pieces into files, in memory that does not grow with them: played to disk, measured, then set to their level."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..audio import FORMATS, PEAK, check_rate, limit
from ..errors import AudioError
from ..loudness import LoudnessMeter
from . import sidecar
from .blockwise import blockwise
from .outputs import Target, staged
from .streaming import SoundStream

__all__ = ["render_long"]

BLOCK = 10  # seconds that the second pass holds
LIMITER = 0.1  # seconds on either side that the limiter looks at


def render_long(
    stream: SoundStream, target: Target, loudness: float | str, progress: Callable[[int, int], Any]
) -> dict[str, Any]:
    """Write a piece and its sidecar, both or neither, and return what the sidecar says.

    Args:
        stream: what to write; it is used up.
        loudness: LUFS, "peak" or "none", as `Waveform.normalise` takes it.
        progress: called with (samples done, samples in all).

    Raises:
        ConfigError: the format has no files of this rate; said before anything is played.
        AudioError: the disk is full; the piece lies there as float32 while it is made.
    """
    check_rate(target.format, stream.sample_rate)
    clock = time.perf_counter()
    with staged([target.path, target.sidecar]) as parts, tempfile.TemporaryFile(dir=target.path.parent) as raw:
        meter, done = LoudnessMeter(stream.sample_rate), 0
        for chunk in stream:
            meter.add(chunk.samples)
            raw.write(chunk.samples.T.tobytes())
            done += chunk.samples.shape[1]
            progress(done, stream.length)
        played = time.perf_counter()
        facts = _facts(stream, target.path, loudness, {"play": played - clock})
        _write(raw, stream, _gain(meter, loudness), loudness, parts[0], target.format, sidecar.tags(facts))
        facts["timings"]["level"] = round(time.perf_counter() - played, 4)
        parts[1].write_text(sidecar.dumps(facts), encoding="utf-8")
    return facts


def _gain(meter: LoudnessMeter, loudness: float | str) -> float:
    """What to multiply by; 1 for silence."""
    if loudness == "none" or meter.peak == 0:
        return 1.0
    if loudness == "peak":
        return PEAK / meter.peak
    found = meter.lufs
    return float(10 ** ((float(loudness) - found) / 20)) if np.isfinite(found) else 1.0


def _write(
    raw: IO[bytes],
    stream: SoundStream,
    gain: float,
    loudness: float | str,
    path: Path,
    format: str,
    tags: dict[str, str],
) -> None:
    """Read the piece back, set its level and write the file."""
    import soundfile

    rate = stream.sample_rate
    sound: Iterator[np.ndarray] = (block * np.float32(gain) for block in _blocks(raw, stream.channels, BLOCK * rate))
    if loudness != "none":
        look, step = round(LIMITER * rate), max(1, rate // 1000)  # what the limiter hears, and its steps
        sound = blockwise(sound, partial(_limited, sample_rate=rate), past=look, future=look, align=step)
    container, subtype = FORMATS[format]
    try:
        with soundfile.SoundFile(path, "w", rate, stream.channels, format=container, subtype=subtype) as file:
            for tag, text in tags.items():
                setattr(file, tag, text)
            for block in sound:
                for start in range(0, block.shape[1], rate):  # libvorbis overflows its stack on a very long block
                    file.write(block[:, start : start + rate].T)
    except RuntimeError as error:  # libsndfile's own, of which a full disk is one
        raise AudioError(f"Writing to '{path.parent}' failed: {error}. Nothing was kept there.") from error


def _limited(samples: np.ndarray, start: int, sample_rate: int) -> np.ndarray:
    return limit(samples, sample_rate)


def _blocks(raw: IO[bytes], channels: int, count: int) -> Iterator[np.ndarray]:
    """[C, n] from the first sample on."""
    raw.seek(0)
    while data := raw.read(4 * channels * count):
        yield np.frombuffer(data, np.float32).reshape(-1, channels).T


def _facts(stream: SoundStream, path: Path, loudness: float | str, timings: dict[str, float]) -> dict[str, Any]:
    """What the sidecar says; the stream itself was played at no set level."""
    said = stream.facts()
    audio = {"file": path.name, "sample_rate": stream.sample_rate, "channels": stream.channels}
    return sidecar.facts(
        kind="generated",
        seed=stream.seed,
        timings=timings,
        audio=audio | {"duration": stream.length / stream.sample_rate},
        **{**said, "parameters": {**said["parameters"], "loudness": loudness}},
    )
