"""Sounds whose answer is known."""

from __future__ import annotations

import numpy as np
from gen_audio.audio import Waveform

RATE = 24000


def clicks(bpm: float, seconds: float = 10.0) -> Waveform:
    """Bursts of noise on every beat, the first after half a second."""
    sound = np.zeros(round(seconds * RATE), np.float32)
    noise = np.random.default_rng(0).normal(size=600) * np.exp(-np.arange(600) / 120)
    for beat in np.arange(0.5, seconds - 0.2, 60 / bpm):
        first = round(beat * RATE)
        sound[first : first + 600] += 0.3 * noise
    return Waveform(sound[None], RATE)
