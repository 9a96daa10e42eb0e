"""transformers plays the same checkpoint, with the settings that a user would choose, and with torch.compile.

What helps it is done for it: the codec stays float32, whose LSTM is slow in bf16 on a CPU; and the cache that is handed
to a compiled decoder starts empty each of the two times that `generate` runs its first forward.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import MusicgenForConditionalGeneration

from benchmarks.cells import Cell
from benchmarks.prompts import SAMPLING, check_length, prompts
from benchmarks.stopwatch import Stopwatch

__all__ = ["REFUSALS", "Player"]

REFUSALS: tuple[type[Exception], ...] = ()
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
DELAY = 3  # `generate` counts steps, of which the last codebook's delay yields no frame: 20 steps give 17 frames


class Player:
    """One cell's work."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.clock = cell, Stopwatch()
        self.compiled = cell.variant == "compiled"
        self.warm_ups = 2 if self.compiled else 1
        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()

    def load(self, folder: str) -> None:
        attention = {"decoder": "eager" if self.cell.variant == "eager" else "sdpa", "audio_encoder": "eager"}
        dtype = DTYPES[self.cell.precision]
        self.model: Any = MusicgenForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention
        ).eval()
        self.model.audio_encoder.float()
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
        codec = self.model.config.audio_encoder
        self.frame_rate, self.hop_length = float(codec.frame_rate), codec.sampling_rate // codec.frame_rate
        self.clock.watch(self.model.text_encoder, "forward", "text")
        self.clock.watch(self.model.audio_encoder, "decode", "decode")
        self.words = prompts(self.cell.batch, self.cell.tokens)
        self.facts = {"attention": self.model.decoder.config._attn_implementation}
        self.cache: Any = None
        if self.compiled:
            self._compile()

    def _compile(self) -> None:
        """The best that a user can do: static caches, weights frozen into the graphs, no limit on recompiling."""
        import torch._dynamo
        import torch._inductor.config
        from transformers import EncoderDecoderCache, StaticCache

        torch._inductor.config.freezing = True
        torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 4096
        lengths = (self.cell.frames + DELAY + 1, self.cell.tokens)
        config = self.model.config.decoder
        self.cache = EncoderDecoderCache(*(StaticCache(config=config, max_cache_len=length) for length in lengths))
        prefill = self.model._prefill

        def from_empty(*arguments: Any, **options: Any) -> Any:
            self.cache.reset()
            for layer in list(self.cache.is_updated):
                self.cache.is_updated[layer] = False
            return prefill(*arguments, **options)

        self.model._prefill = from_empty
        self.model.decoder.forward = torch.compile(self.model.decoder.forward)

    def play(self, frames: int) -> dict[str, float]:
        """Make all pieces in one call and return the seconds of each stage."""
        made, seconds = self.clock.run(lambda: self._generate(frames))
        check_length([piece.shape for piece in made], self.cell.batch, frames * self.hop_length)
        return {**seconds, "loop": seconds["whole"] - seconds["text"] - seconds["decode"]}

    @torch.inference_mode()
    def _generate(self, frames: int) -> Any:
        told = self.tokenizer(self.words, padding=True, return_tensors="pt")
        assert told["attention_mask"].all() and told["input_ids"].shape[1] == self.cell.tokens
        caches = {} if self.cache is None else {"cache": self.cache}
        return self.model.generate(**told, **caches, do_sample=True, max_new_tokens=frames + DELAY, **SAMPLING)

    def first_sound(self, frames: int) -> float | None:
        """None: MusicGen's `generate` hands out sound when all of it is made."""
        return None
