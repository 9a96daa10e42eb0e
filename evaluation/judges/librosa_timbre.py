"""Timbre, rhythm and harmony of a sound in one row of numbers, by librosa: what style and instruments are read from."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...audio import Waveform
from .base import Judge

__all__ = ["LibrosaTimbre"]

RATE, HOP = 22050, 512
BANDS = 64


class LibrosaTimbre(Judge):
    """MFCC and spectral contrast (means, spreads, movement), onsets by band, a tempogram, and chroma.

    Source: McFee et al., librosa 0.11; the choice of features after Tzanetakis and Cook 2002,
    doi:10.1109/TSA.2002.800560.
    """

    title, licence, needs = "librosa features", "ISC", ("librosa",)

    def __init__(self) -> None:
        self.check()

    def hear(self, waveform: Waveform) -> dict[str, Any]:
        """`timbre` [D], and `mel` [frames, 64] in decibels below full scale."""
        import librosa

        sound = waveform.mono().resample(RATE).samples[0]
        power = librosa.feature.melspectrogram(y=sound, sr=RATE, hop_length=HOP, n_mels=BANDS)
        mel = librosa.power_to_db(power, ref=np.max)
        mfcc = librosa.feature.mfcc(S=mel, n_mfcc=20)
        contrast = librosa.feature.spectral_contrast(y=sound, sr=RATE, hop_length=HOP)
        rows = [summary(frames, axis=1) for frames in (mfcc, np.diff(mfcc), contrast) for summary in (np.mean, np.std)]
        onset = librosa.onset.onset_strength_multi(S=mel, sr=RATE, channels=[0, 8, 24, 64])
        rows += [onset.mean(1), onset.std(1), np.percentile(onset, 95, axis=1)]
        tempogram = librosa.feature.tempogram(onset_envelope=onset.mean(0), sr=RATE, hop_length=HOP)
        lags = np.round(RATE / HOP * 60 / np.geomspace(45, 200, 24)).astype(int)
        rows.append(tempogram.mean(1)[np.clip(lags, 1, len(tempogram) - 1)])
        chroma = librosa.feature.chroma_stft(y=sound, sr=RATE, n_fft=4096, hop_length=HOP)
        around = np.roll(chroma.mean(1), -int(chroma.mean(1).argmax()))
        rows += [around, np.abs(np.diff(chroma)).mean(1, keepdims=True).mean(0)]
        return {"timbre": np.concatenate(rows), "mel": librosa.power_to_db(power, ref=1.0, amin=1e-8, top_db=None).T}
