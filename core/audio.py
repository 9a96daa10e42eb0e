"""Sound as samples and a rate: read, write, resample, measure and set loudness."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .errors import AudioError, ConfigError, ShapeError

__all__ = ["FORMATS", "RATES", "Waveform"]

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
}
RATES = {  # Hz that a format is limited to
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "opus": (8000, 12000, 16000, 24000, 48000),
}
SHORTEST_BLOCK = 0.4  # seconds that BS.1770 needs
PEAK = 0.98  # what "peak" normalises to, and what no louder setting may exceed
TAGS = ("title", "artist", "comment", "software", "date", "copyright", "genre")


@dataclass(frozen=True)
class Waveform:
    """Audio samples [C, L] float32, nominally in -1..1, and their rate in Hz."""

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        samples = np.ascontiguousarray(self.samples, np.float32)
        if samples.ndim != 2 or not 1 <= samples.shape[0] <= 64:
            raise ShapeError(f"samples have shape {list(samples.shape)}; a waveform needs [C, L], 1 to 64 channels.")
        object.__setattr__(self, "samples", samples)

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples.shape[1] / self.sample_rate

    @property
    def peak(self) -> float:
        return float(np.abs(self.samples).max(initial=0.0))

    @classmethod
    def read(cls, path: str | Path) -> Waveform:
        """Read any file that libsndfile knows.

        Raises:
            AudioError: the file is missing, damaged or of an unknown kind.
        """
        import soundfile

        if not Path(path).is_file():
            raise AudioError(f"'{path}' does not exist. Give the path of a sound file.")
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            known = ", ".join(FORMATS)
            raise AudioError(
                f"'{path}' cannot be read as sound ({error}). Known formats: {known}, and more."
            ) from error
        return cls(samples.T, rate)

    def save(self, path: str | Path, format: str | None = None, tags: dict[str, str] | None = None) -> Path:
        """Write the waveform; a temporary file takes the name when it is whole.

        Args:
            path: replaced if it exists; its suffix names the format unless `format` does.
            format: wav, flac, ogg, mp3 or opus.
            tags: title, artist, comment, software, date, copyright or genre, written inside the file.

        Raises:
            ConfigError: unknown format or tag, or a rate that the format does not have.
            AudioError: samples beyond 1 or not finite, or the disk is full.
        """
        path = Path(path)
        name = (format or path.suffix[1:]).lower()
        self._check_writable(name, tags or {})
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            self._write(part, name, tags or {})
            os.replace(part, path)
        except (OSError, RuntimeError) as error:
            raise AudioError(f"writing '{path}' failed: {error}. Nothing was kept there.") from error
        finally:
            part.unlink(missing_ok=True)
        return path

    def encode(self, format: str, tags: dict[str, str] | None = None) -> bytes:
        """The file that `save` would write, as bytes; raises what `save` raises."""
        self._check_writable(format, tags or {})
        held = io.BytesIO()
        try:
            self._write(held, format, tags or {})
        except (OSError, RuntimeError) as error:
            raise AudioError(
                f"encoding {self.duration:.1f} s as {format} failed: {error}. Try another format."
            ) from error
        return held.getvalue()

    def _check_writable(self, name: str, tags: dict[str, str]) -> None:
        if name not in FORMATS:
            raise ConfigError(f"the format is '{name}'; it must be one of {', '.join(FORMATS)}.")
        if unknown := set(tags) - set(TAGS):
            raise ConfigError(f"there is no tag '{sorted(unknown)[0]}'. Known: {', '.join(TAGS)}.")
        check_rate(name, self.sample_rate)
        if not np.isfinite(self.samples).all():
            raise AudioError("the samples hold infinities or NaN, which no file can hold.")
        if self.peak > 1.0:
            raise AudioError(f"the peak is {self.peak:.2f}, above 1; it would clip. Call normalise('peak') first.")

    def _write(self, file_or_path: Path | BinaryIO, name: str, tags: dict[str, str]) -> None:
        import soundfile

        container, subtype = FORMATS[name]
        form = {"samplerate": self.sample_rate, "channels": self.channels, "format": container, "subtype": subtype}
        with soundfile.SoundFile(file_or_path, "w", **form) as file:
            for tag, text in tags.items():
                setattr(file, tag, text)
            # libvorbis overflows its stack on one very long block, so write second by second
            for start in range(0, self.samples.shape[1], self.sample_rate):
                file.write(self.samples[:, start : start + self.sample_rate].T)

    def mono(self) -> Waveform:
        """Return the mean of the channels."""
        return Waveform(self.samples.mean(0, keepdims=True), self.sample_rate)

    def resample(self, sample_rate: int) -> Waveform:
        """Return the sound at another rate; windowed-sinc interpolation."""
        if sample_rate == self.sample_rate:
            return self
        import torch
        import torchaudio.functional

        samples = torchaudio.functional.resample(torch.from_numpy(self.samples), self.sample_rate, sample_rate)
        return Waveform(samples.numpy(), sample_rate)

    def loudness(self) -> float:
        """Integrated loudness in LUFS; -inf for silence.

        Sound shorter than two blocks of the standard, 0.8 s, is measured as if it were repeated.

        Source: ITU-R BS.1770-4; of more than two channels by torchaudio, which weighs those behind.
        """
        if self.peak < 1e-5:
            return float("-inf")
        samples = self.samples
        needed = int(2 * SHORTEST_BLOCK * self.sample_rate)
        if samples.shape[1] < needed:
            samples = np.tile(samples, -(-needed // samples.shape[1]))
        if self.channels <= 2:
            from .loudness import LoudnessMeter

            meter, step = LoudnessMeter(self.sample_rate), 10 * self.sample_rate
            for start in range(0, samples.shape[1], step):
                meter.add(samples[:, start : start + step])
            return meter.lufs
        import torch
        import torchaudio.functional

        value = float(torchaudio.functional.loudness(torch.from_numpy(samples[:5]), self.sample_rate))
        return value if np.isfinite(value) else float("-inf")

    def normalise(self, target: float | str) -> Waveform:
        """Return the sound at another level.

        Args:
            target: LUFS (-70..0), "peak" (0.98 of full scale) or "none" (as it is). Where a LUFS target would push
                peaks beyond 0.98, a look-ahead limiter holds them, which costs some loudness.

        Raises:
            ConfigError: another word or a number out of range.
        """
        if target == "none" or self.peak == 0.0:
            return self
        if target == "peak":
            return Waveform(self.samples * np.float32(PEAK / self.peak), self.sample_rate)
        if isinstance(target, str) or not -70 <= target <= 0:
            raise ConfigError(f"loudness is {target!r}; give a LUFS value such as -16, 'peak' or 'none'.")
        found = self.loudness()
        if not np.isfinite(found):  # quieter than the gate of the standard: nothing to aim at
            return self
        louder = self.samples * np.float32(10 ** ((target - found) / 20))
        return Waveform(limit(louder, self.sample_rate), self.sample_rate)


def check_rate(format: str, sample_rate: int) -> None:
    """Raise ConfigError if files of `format` cannot hold sound of `sample_rate` Hz."""
    if sample_rate not in RATES.get(format, (sample_rate,)):
        rates = ", ".join(map(str, RATES[format]))
        raise ConfigError(f"the sound has {sample_rate} Hz, but {format} has {rates}. Resample it first.")


def limit(samples: np.ndarray, sample_rate: int, ceiling: float = PEAK) -> np.ndarray:
    """Hold peaks of [C, L] at `ceiling`: the gain falls 5 ms before a peak and recovers over 60 ms.

    The needed gain is taken as the minimum over a window and then averaged over the same window, so it is smooth and
    never too high. Samples that need no limiting come back unchanged.
    """
    peaks = np.abs(samples).max(0)
    if peaks.max(initial=0.0) <= ceiling:
        return samples
    hop = max(1, sample_rate // 1000)  # work on 1 ms blocks
    blocks = np.pad(peaks, (0, -len(peaks) % hop)).reshape(-1, hop).max(1)
    gain = np.minimum(1.0, ceiling / np.maximum(blocks, 1e-9))
    before, after = 6, 60
    padded = np.pad(gain, (after, before), constant_values=1.0)
    windows = np.lib.stride_tricks.sliding_window_view(padded, before + after + 1)
    held = windows.min(1)  # [blocks], lowest gain of the neighbourhood
    smooth = np.convolve(np.pad(held, before // 2, mode="edge"), np.ones(before + 1) / (before + 1), "valid")
    smooth = np.minimum(smooth, gain)
    points = (np.arange(len(smooth)) + 0.5) * hop
    curve = np.interp(np.arange(len(peaks)), points, smooth)
    return (samples * np.minimum(curve, ceiling / np.maximum(peaks, ceiling))).astype(np.float32)
