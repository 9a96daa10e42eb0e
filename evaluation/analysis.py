"""Tempo, beats, key and chords of a sound by small classical methods: what `gen-audio inspect` reports.

A help for looking, not a judge: numbers that compare models come from detectors that are not ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..audio import Waveform
from ..composition.theory import Chord, Key
from .features import CHROMA_RATE, ONSET_RATE, Features, extract

__all__ = ["Analysis", "ChordSpan", "analyse", "chords", "key", "tempo_and_beats"]

SLOWEST, FASTEST = 40.0, 240.0  # BPM
USUAL, OCTAVES = 110.0, 0.8  # centre in BPM and spread of the prior that decides between a tempo and its double
TIGHTNESS = 100.0  # price of a beat that comes early or late; Ellis's value for an onset of deviation 1
NO_CHORD = "N"

# Krumhansl and Kessler 1982: how well each degree fits a major and a minor key.
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


@dataclass(frozen=True)
class ChordSpan:
    """A chord and where it sounds, in seconds; `name` is "N" where there is none."""

    start: float
    end: float
    name: str


@dataclass(frozen=True)
class Analysis:
    """What `inspect` found. Tempo and key are None where the sound has none."""

    duration: float  # seconds
    sample_rate: int
    channels: int
    loudness: float | None  # LUFS; None if silent or too short to measure
    peak_db: float | None  # dBFS of the largest sample; None if silent
    tempo: float | None  # BPM
    beats: tuple[float, ...]  # seconds
    key: str | None
    key_confidence: float  # lead of the best key over the next, 0..1
    chords: tuple[ChordSpan, ...]
    features: Features

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the feature frames."""
        plain = {k: v for k, v in vars(self).items() if k not in ("features", "chords", "beats")}
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in plain.items()}
        spans = [{"start": round(c.start, 3), "end": round(c.end, 3), "chord": c.name} for c in self.chords]
        return {**rounded, "beats": [round(b, 3) for b in self.beats], "chords": spans}


def analyse(waveform: Waveform) -> Analysis:
    """Analyse a sound of any rate and number of channels."""
    mono = np.asarray(waveform.samples).mean(0)
    features = extract(mono, waveform.sample_rate)
    tempo, beats = tempo_and_beats(features.onset)
    name, confidence = key(features.chroma)
    peak = float(np.abs(waveform.samples).max(initial=0.0))
    loudness = float(waveform.loudness()) if waveform.duration >= 0.4 and peak > 0 else -np.inf
    return Analysis(
        duration=waveform.duration,
        sample_rate=waveform.sample_rate,
        channels=waveform.channels,
        loudness=loudness if np.isfinite(loudness) else None,
        peak_db=20 * float(np.log10(peak)) if peak > 0 else None,
        tempo=tempo,
        beats=tuple(beats),
        key=name,
        key_confidence=confidence,
        chords=tuple(chords(features, beats, waveform.duration)),
        features=features,
    )


def tempo_and_beats(onset: np.ndarray) -> tuple[float | None, list[float]]:
    """Find the tempo in BPM and the beats in seconds from onset strength [F].

    Source: Ellis 2007, "Beat Tracking by Dynamic Programming"; the tempo is then read off the beats, which is finer
    than a lag of whole frames.
    """
    period = _period(onset)
    if period is None:
        return None, []
    beats = _track(onset, period)
    if len(beats) < 4:
        return 60 * ONSET_RATE / period, [b / ONSET_RATE for b in beats]
    gaps = np.diff(beats)
    steady = gaps[np.abs(gaps - np.median(gaps)) <= 0.1 * np.median(gaps)]
    return 60 * ONSET_RATE / float(steady.mean()), [b / ONSET_RATE for b in beats]


def _period(onset: np.ndarray) -> float | None:
    """The most likely beat period in frames, or None for a sound without onsets."""
    shortest, longest = int(60 * ONSET_RATE / FASTEST), int(60 * ONSET_RATE / SLOWEST)
    if not onset.any() or len(onset) < 2 * longest:
        return None
    spectrum = np.fft.rfft(onset - onset.mean(), 2 * len(onset))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(onset)]
    lags = np.arange(shortest, longest + 1)
    support = correlation[lags].copy()
    for multiple, weight in ((2, 0.5), (4, 0.25)):  # a beat repeats after two and four of itself as well
        inside = lags * multiple < len(onset)
        support[inside] += weight * correlation[lags[inside] * multiple]
    prior = np.exp(-0.5 * (np.log2(60 * ONSET_RATE / lags / USUAL) / OCTAVES) ** 2)
    best = int(np.argmax(support * prior))
    return float(lags[best]) if support[best] > 0 else None


def _track(onset: np.ndarray, period: float) -> list[int]:
    """Place beats on onsets about `period` frames apart."""
    kernel = np.exp(-0.5 * (np.arange(-8, 9) / (period / 32)) ** 2)
    strength = np.convolve(onset, kernel / kernel.sum(), "same")
    strength /= max(strength.std(), 1e-9)
    gaps = np.arange(int(period / 2), int(2 * period) + 1)
    price = -TIGHTNESS * np.log(gaps / period) ** 2
    score, before = strength.copy(), np.full(len(onset), -1)
    for t in range(int(period / 2), len(onset)):
        fits = gaps[: max(0, np.searchsorted(gaps, t, "right"))]
        reached = score[t - fits] + price[: len(fits)]
        best = int(np.argmax(reached))
        if reached[best] > 0:
            score[t] += reached[best]
            before[t] = t - fits[best]
    tail = max(0, len(score) - int(period))
    beats = [tail + int(np.argmax(score[tail:]))]
    while before[beats[-1]] >= 0:
        beats.append(int(before[beats[-1]]))
    heard = np.flatnonzero(onset > 0.5)  # no beats in the silence before the first and after the last onset
    return [b for b in reversed(beats) if heard[0] - period / 4 <= b <= heard[-1] + period / 4] if len(heard) else []


def key(chroma: np.ndarray) -> tuple[str | None, float]:
    """Correlate the mean chroma with the profiles of the 24 keys: (name or None, lead over the second)."""
    total = chroma.sum(0)
    if total.max(initial=0.0) <= 0 or total.std() < 1e-9:
        return None, 0.0
    scores = [
        (float(np.corrcoef(total, np.roll(profile, tonic))[0, 1]), str(Key(tonic, mode)))
        for mode, profile in (("major", MAJOR), ("minor", MINOR))
        for tonic in range(12)
    ]
    scores.sort(reverse=True)
    return scores[0][1], scores[0][0] - scores[1][0]


def chords(features: Features, beats: list[float], duration: float) -> list[ChordSpan]:
    """Name the triad of each beat (of each half second without beats), smoothed by Viterbi.

    The bass decides between chords that share notes: A C E G over A is Am, over C it is C.
    """
    edges = [0.0, *(b for b in beats if 0.1 < b < duration - 0.1), duration]
    if len(beats) < 4:
        edges = [0.0, *np.arange(0.5, duration - 0.1, 0.5), duration]
    cells, bass = (_cells(frames, edges) for frames in (features.chroma, features.bass))
    names, templates = _triads()
    likeness = cells @ templates.T + 0.2 * bass @ np.eye(12)[np.arange(24) % 12].T  # [cells, 24]
    silent = np.where(cells.any(1), 0.5, 9.0)  # an even chroma is 0.5 like any triad
    path = _viterbi(12 * np.column_stack([likeness, silent]), stay=2.5)
    spans: list[ChordSpan] = []
    for start, end, state in zip(edges[:-1], edges[1:], path, strict=True):
        name = names[state] if state < 24 else NO_CHORD
        if spans and spans[-1].name == name:
            spans[-1] = ChordSpan(spans[-1].start, float(end), name)
        else:
            spans.append(ChordSpan(float(start), float(end), name))
    return spans


def _cells(frames: np.ndarray, edges: list[float]) -> np.ndarray:
    """Mean of frames [G, 12] between edges, each row of length 1, or 0 where nothing sounds."""
    loud = 1e-3 * frames.max(initial=0.0)
    rows = []
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        first = min(round(start * CHROMA_RATE), len(frames) - 1)
        mean = frames[first : max(first + 1, round(end * CHROMA_RATE))].mean(0)
        length = np.linalg.norm(mean)
        rows.append(mean / length if length > loud else np.zeros(12))
    return np.array(rows)


def _triads() -> tuple[list[str], np.ndarray]:
    """Names and unit templates [24, 12]: 12 major, then 12 minor triads."""
    names, rows = [], []
    for quality, third in (("", 4), ("m", 3)):
        for root in range(12):
            row = np.zeros(12)
            row[[root, (root + third) % 12, (root + 7) % 12]] = 3**-0.5
            rows.append(row)
            names.append(str(Chord(root, quality)))
    return names, np.array(rows)


def _viterbi(scores: np.ndarray, stay: float) -> list[int]:
    """Best path through scores [cells, states] when every change of state costs `stay`."""
    best, before = scores[0].copy(), []
    for row in scores[1:]:
        top = int(np.argmax(best))
        change = best[top] - stay > best
        before.append(np.where(change, top, np.arange(len(best))))
        best = np.where(change, best[top] - stay, best) + row
    path = [int(np.argmax(best))]
    for choice in reversed(before):
        path.append(int(choice[path[-1]]))
    return path[::-1]
