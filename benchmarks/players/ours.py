"""gen-audio plays MusicGen's checkpoint, by the two calls that a user makes: `load` and `generate`."""

from __future__ import annotations

import time
from typing import Any, cast

import gen_audio.pipeline.musicgen  # noqa: F401  what `load` imports is no part of the time to load
from gen_audio import load
from gen_audio.errors import GenAudioError
from transformers import T5EncoderModel  # noqa: F401

from benchmarks.cells import Cell
from benchmarks.prompts import SAMPLING, check_length, prompts
from benchmarks.stopwatch import Stopwatch

__all__ = ["REFUSALS", "Player"]

REFUSALS = (GenAudioError,)


class Player:
    """One cell's work."""

    warm_ups = 1

    def __init__(self, cell: Cell) -> None:
        self.cell, self.clock = cell, Stopwatch()
        self.prompts = prompts(cell.batch, cell.tokens)

    def load(self, folder: str) -> None:
        self.model = cast(Any, load(folder, precision=self.cell.precision))
        self.frame_rate = self.model.codec.frame_rate
        self.clock.watch(self.model.parts.text, "prepare", "text")
        self.clock.watch(self.model.parts.text, "forward", "text")
        for method in ("decode", "decode_stream", "decode_blocks"):
            self.clock.watch(self.model.codec, method, "decode")
        told = self.model.parts.text.prepare(self.prompts)["attention_mask"]
        assert int(told.sum()) == told.numel() == self.cell.batch * self.cell.tokens, "the prompts have other lengths"
        self.facts = {"plays_in": self.model.precision, "executor": self.model.executor.name}

    def play(self, frames: int) -> dict[str, float]:
        """Make all pieces and return the seconds of each stage."""
        made, seconds = self.clock.run(lambda: self.model.generate(self.prompts, **self._wishes(frames)))
        samples = frames * self.model.codec.hop_length
        check_length([piece.waveform.samples.shape for piece in made], self.cell.batch, samples)
        return {**seconds, "loop": seconds["whole"] - seconds["text"] - seconds["decode"]}

    def first_sound(self, frames: int) -> float | None:
        """Seconds from words to the first chunk."""
        start = time.perf_counter()
        stream = iter(self.model.stream(self.prompts[0], **self._wishes(frames)))
        next(stream)
        return time.perf_counter() - start

    def _wishes(self, frames: int) -> dict[str, Any]:
        return {"duration": frames / self.frame_rate, "seed": 1, "loudness": "none", **SAMPLING}
