"""Whether a long piece stays what it is: tempo and key in windows, sections that differ and return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..audio import Waveform
from ..composition.plan import MusicalPlan
from .features import extract
from .panel import Panel

__all__ = ["contrast", "drift", "hear_sections", "hear_windows"]

WINDOW = 20.0  # seconds
OCTAVES = (1.0, 2.0, 0.5, 3.0, 1 / 3, 1.5, 2 / 3)  # tempi that a judge confuses
QUIET = -70.0  # dB below the loudest: bands below say nothing


def hear_windows(panel: Panel, waveform: Waveform) -> list[dict[str, Any]]:
    """Tempo and key of every whole window of WINDOW seconds, as far as there are judges."""
    size = round(WINDOW * waveform.sample_rate)
    starts = range(0, waveform.samples.shape[1] - size + 1, size)
    windows = [Waveform(waveform.samples[:, start : start + size], waveform.sample_rate) for start in starts]
    heard = [panel.hear(window, "librosa_beats", "basic_pitch", "outside") for window in windows]
    return [{name: facts.get(name) for name in ("tempo", "key")} for facts in heard]


def hear_sections(waveform: Waveform, plan: MusicalPlan) -> list[tuple[str, np.ndarray]]:
    """Name and mean sound of every section of two seconds or more: [108], mel bands in dB and chroma."""
    features = extract(waveform.mono().samples[0], waveform.sample_rate)
    frames, cells = len(features.mel_db) / waveform.duration, len(features.chroma) / waveform.duration
    found, bars = [], 0
    for section in plan.sections:
        start, bars = plan.second_of_bar(bars), bars + section.num_bars
        end = min(plan.second_of_bar(bars), waveform.duration)
        if end - start >= 2.0:
            mel = features.mel_db[int(start * frames) : int(end * frames)].mean(0)
            chroma = features.chroma[int(start * cells) : int(end * cells)].mean(0)
            found.append((section.name, np.concatenate([np.maximum(mel, QUIET), _loudest(chroma) * 10])))
    return found


def _loudest(chroma: np.ndarray) -> np.ndarray:
    return np.asarray(chroma / max(float(chroma.max(initial=0.0)), 1e-9))


def drift(windows: Sequence[Mapping[str, Any]]) -> float | None:
    """How far the tempo of the last half is from that of the first, as a share of it; octaves do not count.

    None for fewer than four windows with a tempo.
    """
    tempi = [window["tempo"] for window in windows if window.get("tempo")]
    if len(tempi) < 4:
        return None
    half = len(tempi) // 2
    first, last = float(np.median(tempi[:half])), float(np.median(tempi[-half:]))
    return min(abs(last / (first * octave) - 1) for octave in OCTAVES)


def contrast(sections: Sequence[tuple[str, np.ndarray]]) -> float | None:
    """How much more unlike sections of two names are than those of one, in dB of their mean spectra.

    Above 0 sections differ and return; None unless a name comes twice, beside another.
    """
    same: list[float] = []
    other: list[float] = []
    for (name, one), (second, two) in combinations(sections, 2):
        (same if name == second else other).append(float(np.abs(one - two).mean()))
    return float(np.mean(other) - np.mean(same)) if same and other else None
