"""What a listener's ear would be given: mel spectrogram, onset strength and chroma of a sound, in numpy alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["CHROMA_RATE", "ONSET_RATE", "Features", "extract", "mel_filters"]

ONSET_RATE = 100  # frames a second of mel and onset strength
CHROMA_RATE = 12.5  # frames a second of chroma
NUM_MELS = 96
LOWEST, BASS_TOP, HIGHEST = 50.0, 260.0, 2100.0  # Hz; chroma is read between the first and the last
BLOCK = 1024  # frames held at a time, so that memory does not grow with length


@dataclass(frozen=True)
class Features:
    """Frames of one sound; all floats."""

    mel_db: np.ndarray  # [F, NUM_MELS] decibels below the loudest
    onset: np.ndarray  # [F] rise of the log spectrum, standard deviation 1 unless the sound is steady
    chroma: np.ndarray  # [G, 12] strength of each pitch class, 0 where silent
    bass: np.ndarray  # [G, 12] the same, only below BASS_TOP


def extract(mono: np.ndarray, sample_rate: int) -> Features:
    """Compute the features of [L] samples."""
    mel = _mel(mono, sample_rate)
    loudest = max(float(mel.max(initial=0.0)), 1e-10)
    mel_db = 10 * np.log10(np.maximum(mel / loudest, 1e-8))
    chroma, bass = _chroma(mono, sample_rate)
    return Features(mel_db, _onset(mel_db), chroma, bass)


def _spectra(mono: np.ndarray, sample_rate: int, size: int, rate: float) -> Iterator[np.ndarray]:
    """Magnitudes [n, size / 2 + 1] of Hann windows centred on frame i / rate, a block at a time."""
    count = int(np.ceil(len(mono) / sample_rate * rate)) or 1
    padded = np.pad(mono.astype(np.float32), (size // 2, size))
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    for first in range(0, count, BLOCK):
        starts = np.round(np.arange(first, min(first + BLOCK, count)) * sample_rate / rate).astype(int)
        frames = np.lib.stride_tricks.sliding_window_view(padded, size)[starts]
        yield np.abs(np.fft.rfft(frames * window, axis=1)).astype(np.float32) / (size / 4)


def mel_filters(num_mels: int, size: int, sample_rate: int) -> np.ndarray:
    """Triangles [num_mels, size / 2 + 1] on the mel scale 2595 log10(1 + f / 700), from 30 Hz to half the rate."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    low = 2595 * np.log10(1 + 30 / 700)
    edges = 700 * (10 ** (np.linspace(low, top, num_mels + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / sample_rate)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rise, fall))
    for band in np.flatnonzero(filters.sum(1) == 0):  # a band narrower than a bin takes the nearest one
        filters[band, np.argmin(np.abs(bins - edges[band + 1]))] = 1.0
    return (filters / filters.sum(1, keepdims=True)).astype(np.float32)


def _mel(mono: np.ndarray, sample_rate: int) -> np.ndarray:
    size = 2 ** round(np.log2(sample_rate * 0.045))
    filters = mel_filters(NUM_MELS, size, sample_rate)
    return np.concatenate([block**2 @ filters.T for block in _spectra(mono, sample_rate, size, ONSET_RATE)])


def _onset(mel_db: np.ndarray) -> np.ndarray:
    """Mean rise over the bands from 20 ms before, less its local mean over a second."""
    floored = np.maximum(mel_db, -60.0)
    rise = np.maximum(0.0, floored[2:] - floored[:-2]).mean(1) if len(floored) > 2 else np.zeros(0)
    onset = np.zeros(len(mel_db))
    onset[1 : 1 + len(rise)] = rise
    width = min(ONSET_RATE, len(onset))
    onset = np.maximum(0.0, onset - np.convolve(onset, np.ones(width) / width, "same"))
    spread = onset.std()
    return onset / spread if spread > 1e-6 else np.zeros(len(onset))


def _chroma(mono: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Fold spectral peaks onto pitch classes; a peak off the tempered grid counts less.

    Source: peaks instead of bins after Gomez 2006, "Tonal Description of Polyphonic Audio", section 3.2, simplified:
    no estimate of the tuning, compressed magnitudes.
    """
    size = 2 ** round(np.log2(sample_rate * 0.34))
    step = sample_rate / size
    first, last = int(LOWEST / step), min(int(HIGHEST / step), size // 2 - 1)
    chroma: list[np.ndarray] = []
    bass: list[np.ndarray] = []
    for block in _spectra(mono, sample_rate, size, CHROMA_RATE):
        left, mid, right = (np.log(block[:, first + d : last + d] + 1e-9) for d in (-1, 0, 1))
        frame, offset = np.nonzero((mid > left) & (mid >= right) & (mid > np.log(1e-4)))
        a, b, c = (x[frame, offset] for x in (left, mid, right))
        shift = 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-9)
        frequency = (first + offset + shift) * step
        pitch = 69 + 12 * np.log2(frequency / 440)
        nearest = np.round(pitch).astype(int)
        weight = np.exp(0.6 * b) * np.cos(np.pi * (pitch - nearest)) ** 2
        cell = frame * 12 + nearest % 12
        for mask, store in ((frequency > 0, chroma), (frequency < BASS_TOP, bass)):
            folded = np.bincount(cell[mask], weight[mask], minlength=12 * len(block))
            store.append(folded.reshape(len(block), 12))
    return np.concatenate(chroma), np.concatenate(bass)
