"""audiocraft plays the same shape, its loop alone: its text encoder wants weights from the network.

The text is random vectors of as many tokens, told once and left out once, as its own guidance does it. The codec is
transformers' EnCodec in either program. Runs in .venv-audiocraft; imports nothing of ours but the cell.
"""

from __future__ import annotations

from typing import Any

import torch
from audiocraft.models.lm import LMModel
from audiocraft.modules.codebooks_patterns import DelayedPatternProvider
from audiocraft.modules.conditioners import ConditionFuser, ConditioningAttributes
from audiocraft.modules.transformer import set_efficient_attention_backend

from benchmarks.cells import Cell
from benchmarks.prompts import SAMPLING
from benchmarks.stopwatch import Stopwatch

__all__ = ["REFUSALS", "Player"]

REFUSALS: tuple[type[Exception], ...] = ()
CODEBOOKS, FRAME_RATE = 4, 50.0
SIZES = {"small": (1024, 24, 16), "medium": (1536, 48, 24), "large": (2048, 48, 32)}  # width, layers, heads
SIZES["tiny"] = (32, 2, 4)


class Text(torch.nn.Module):
    """Stands for the text encoder: rows that were told something hear random vectors, the others zeros."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.vectors = torch.randn(tokens, width)

    def tokenize(self, attributes: Any) -> Any:
        return [row.text["description"] is not None for row in attributes]

    def forward(self, told: Any) -> Any:
        mask = torch.tensor(told)[:, None].expand(-1, len(self.vectors))
        return {"description": (self.vectors * mask[..., None], mask.long())}


class Player:
    """One cell's work."""

    warm_ups, frame_rate = 1, FRAME_RATE

    def __init__(self, cell: Cell) -> None:
        self.cell, self.clock = cell, Stopwatch()
        self.facts = {"attention": "torch", "weights": "its own random ones, made in memory"}

    def load(self, folder: str) -> None:
        """Build the model; `folder` is named after its size. No file is read, so the time to load says nothing."""
        width, layers, heads = SIZES[folder.rstrip("/").rsplit("-", 1)[-1]]
        self.card = 64 if folder.endswith("tiny") else 2048
        set_efficient_attention_backend("torch")
        self.model = LMModel(
            DelayedPatternProvider(CODEBOOKS),
            Text(self.cell.tokens, width),
            ConditionFuser({"cross": ["description"], "sum": [], "prepend": [], "input_interpolate": []}),
            n_q=CODEBOOKS,
            card=self.card,
            dim=width,
            num_heads=heads,
            num_layers=layers,
            hidden_scale=4,
            norm="layer_norm",
            norm_first=True,
            bias_proj=False,
            bias_ff=False,
            bias_attn=False,
            causal=True,
            memory_efficient=True,
            cross_attention=True,
            activation="gelu",
        ).eval()

    @torch.inference_mode()
    def play(self, frames: int) -> dict[str, float]:
        """Make the codes of all pieces and return the seconds of the loop, which is the whole here."""
        attributes = [ConditioningAttributes(text={"description": "words"}) for _ in range(self.cell.batch)]
        codes, seconds = self.clock.run(
            lambda: self.model.generate(
                conditions=attributes,
                max_gen_len=frames,
                use_sampling=True,
                temp=SAMPLING["temperature"],
                top_k=min(int(SAMPLING["top_k"]), self.card),
                cfg_coef=SAMPLING["guidance_scale"],
            )
        )
        assert codes.shape == (self.cell.batch, CODEBOOKS, frames), codes.shape
        return {**seconds, "loop": seconds["whole"]}

    def first_sound(self, frames: int) -> float | None:
        """None: sound is not made here."""
        return None
