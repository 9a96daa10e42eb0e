"""How like its original a coded sound is to a listener, by ViSQOL."""

from __future__ import annotations

import numpy as np

from ...audio import Waveform
from .base import PairJudge

__all__ = ["Visqol"]

RATE = 48000


class Visqol(PairJudge):
    """ViSQOL in its mode for music: a mean opinion score from 1 to about 4.7.

    Source: Chinen et al. 2020, arXiv:2004.09584; the port visqol-python.
    """

    title, licence, needs = "ViSQOL 3 (visqol-python), audio mode", "Apache-2.0", ("visqol",)

    def __init__(self) -> None:
        self.check()
        from visqol import VisqolApi

        self.api = VisqolApi()
        self.api.create(mode="audio")

    def compare(self, original: Waveform, other: Waveform) -> float:
        one, two = (sound.mono().resample(RATE).samples[0].astype(np.float64) for sound in (original, other))
        return float(self.api.measure_from_arrays(one, two, RATE).moslqo)
