"""gen-audio plays the embedded model, or the tiny one of random weights."""

from __future__ import annotations

import time
from typing import Any

from gen_audio import load
from gen_audio.errors import GenAudioError

from benchmarks.cells import Cell
from benchmarks.prompts import check_length
from benchmarks.stopwatch import Stopwatch

__all__ = ["REFUSALS", "Player"]

REFUSALS = (GenAudioError,)
PROMPTS = ("lofi jazz piano", "house", "slow blues with organ", "bossa nova guitar", "rock", "techno", "folk", "funk")


class Player:
    """One cell's work."""

    warm_ups = 1

    def __init__(self, cell: Cell) -> None:
        self.cell, self.clock = cell, Stopwatch()
        self.prompts = [PROMPTS[i % len(PROMPTS)] for i in range(cell.batch)]

    def load(self, name: str) -> None:
        self.model: Any = load(name, precision=self.cell.precision)
        self.frame_rate = self.model.codec.frame_rate
        self.clock.watch(self.model.executor, "step", "loop")
        self.clock.watch(self.model, "decode", "decode")
        self.facts = {"plays_in": self.model.precision, "executor": self.model.executor.name}

    def play(self, frames: int) -> dict[str, float]:
        """Make all pieces and return the seconds of each stage."""
        wishes = {"duration": frames / self.frame_rate, "seed": 7, "loudness": "none"}
        made, seconds = self.clock.run(lambda: self.model.generate(self.prompts, **wishes))
        check_length([p.waveform.samples.shape for p in made], self.cell.batch, frames * self.model.codec.hop_length)
        return seconds

    def first_sound(self, frames: int) -> float | None:
        """Seconds from words to the first chunk."""
        start = time.perf_counter()
        next(iter(self.model.stream(self.prompts[0], duration=frames / self.frame_rate, seed=7)))
        return time.perf_counter() - start
