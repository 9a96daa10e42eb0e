"""Tempo and beats by librosa."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...audio import Waveform
from .base import Judge

__all__ = ["LibrosaBeats"]

RATE = 22050


class LibrosaBeats(Judge):
    """librosa's beat tracker; the tempo is read off the beats, which is finer than a lag of whole frames.

    Source: McFee et al., librosa 0.11, after Ellis 2007, "Beat Tracking by Dynamic Programming".
    """

    title, licence, needs = "librosa beat_track", "ISC", ("librosa",)

    def __init__(self) -> None:
        self.check()

    def hear(self, waveform: Waveform) -> dict[str, Any]:
        import librosa

        sound = waveform.mono().resample(RATE).samples[0]
        tempo, beats = librosa.beat.beat_track(y=sound, sr=RATE, units="time")
        value = float(np.atleast_1d(tempo)[0])
        if len(beats) >= 4:
            gaps = np.diff(beats)
            value = 60 / float(gaps[np.abs(gaps - np.median(gaps)) <= 0.1 * np.median(gaps)].mean())
        return {"tempo": value or None, "beats": [round(float(beat), 3) for beat in beats]}
