"""One picture of a sound: waveform, mel spectrogram, chroma with chord names, beats."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import Waveform
from ..composition.theory import PITCH_CLASSES
from ..errors import AudioError, MissingExtraError
from .analysis import NO_CHORD, Analysis
from .features import ONSET_RATE

__all__ = ["draw"]

COLUMNS = 2000  # points across the picture; more cannot be seen


def draw(waveform: Waveform, analysis: Analysis, path: Path, title: str = "") -> None:
    """Write a PNG; an existing file is replaced.

    Raises:
        MissingExtraError: matplotlib is not installed.
        AudioError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("The picture needs matplotlib. Install it with: pip install matplotlib") from error
    figure = Figure(figsize=(12, 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(4, 1, sharex=True, height_ratios=[1, 2.2, 1.6, 0.8])
    figure.suptitle(title or "sound", parse_math=False)
    _waveform(axes[0], waveform)
    _mel(axes[1], waveform, analysis)
    _chroma(axes[2], analysis)
    _beats(axes[3], analysis)
    axes[0].set_xlim(0, analysis.duration)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        figure.savefig(part, format="png", dpi=110)
        os.replace(part, path)
    except OSError as error:
        raise AudioError(f"'{path}' cannot be written: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _waveform(axis: Any, waveform: Waveform) -> None:
    mono = np.asarray(waveform.samples).mean(0)
    size = max(1, len(mono) // COLUMNS)
    cells = mono[: len(mono) // size * size].reshape(-1, size)
    times = np.arange(len(cells)) * size / waveform.sample_rate
    axis.fill_between(times, cells.min(1), cells.max(1), linewidth=0.4, color="tab:blue")
    axis.set(ylabel="waveform", ylim=(-1, 1))


def _mel(axis: Any, waveform: Waveform, analysis: Analysis) -> None:
    mel = analysis.features.mel_db
    step = max(1, len(mel) // COLUMNS)
    axis.imshow(
        mel[::step].T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-70,
        vmax=0,
        extent=_extent(analysis, mel.shape[1]),
    )
    low, top = (2595 * np.log10(1 + f / 700) for f in (30, waveform.sample_rate / 2))
    marks = [f for f in (100, 300, 1000, 3000, 10000) if f < waveform.sample_rate / 2]
    places = [(2595 * np.log10(1 + f / 700) - low) / (top - low) * mel.shape[1] for f in marks]
    axis.set_yticks(places, [f"{f} Hz" if f < 1000 else f"{f // 1000} kHz" for f in marks])
    axis.set_ylabel("mel spectrogram")


def _chroma(axis: Any, analysis: Analysis) -> None:
    chroma = analysis.features.chroma
    chroma = chroma / np.maximum(chroma.max(1, keepdims=True), 1e-3 * max(chroma.max(initial=0.0), 1e-9))
    axis.imshow(chroma.T, origin="lower", aspect="auto", cmap="viridis", extent=_extent(analysis, 12))
    axis.set_yticks(np.arange(12) + 0.5, PITCH_CLASSES, fontsize=7)
    axis.set_ylabel(f"chroma, {analysis.key or 'no key'}")
    narrowest = analysis.duration / 60  # below this, names would lie on each other
    for span in analysis.chords:
        axis.axvline(span.start, color="white", linewidth=0.5)
        if span.name != NO_CHORD and span.end - span.start >= narrowest:
            axis.text((span.start + span.end) / 2, 11.3, span.name, color="white", ha="center", va="center", fontsize=9)


def _beats(axis: Any, analysis: Analysis) -> None:
    onset = analysis.features.onset
    axis.plot(np.arange(len(onset)) / ONSET_RATE, onset, linewidth=0.6, color="tab:gray")
    axis.vlines(analysis.beats, 0, max(float(onset.max(initial=0.0)), 1.0), color="tab:red", linewidth=0.9, alpha=0.7)
    tempo = f"{analysis.tempo:.1f} BPM" if analysis.tempo else "no tempo"
    axis.set(ylabel=f"onsets, beats\n{tempo}", xlabel="seconds", yticks=[])


def _extent(analysis: Analysis, rows: int) -> tuple[float, float, float, float]:
    return (0.0, analysis.duration, 0.0, float(rows))
