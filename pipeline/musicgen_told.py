"""What a MusicGen is told: the words of a prompt, those of a negative prompt, and a melody.

    pass        hears
    full        the prompt and the melody
    no_text     the negative prompt, or nothing if there is none; guidance pulls away from it

Negative prompts as image models have them; Ho and Salimans 2022, arXiv:2207.12598, with words in the place of nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..conditioning.base import Condition
from ..conditioning.t5 import T5
from .fuse import Fused

__all__ = ["Chroma", "Words", "fuse", "read_words"]

Chroma = Callable[[float], Tensor]  # second -> [F, 12]
Words = tuple[Condition, Condition | None]  # of the prompt, and of a negative prompt


def read_words(encoder: T5, prompt: str, negative_prompt: str | None) -> Words:
    """Read the prompt, and the negative prompt if there is one; both [1, N, D], the shorter one filled up."""
    texts = [prompt] if negative_prompt is None else [prompt, negative_prompt]
    told = encoder(**encoder.prepare(texts))
    rows = [Condition(told.tensor[i : i + 1], told.mask[i : i + 1]) for i in range(len(texts))]
    return rows[0], rows[1] if len(rows) > 1 else None


def fuse(
    text: Condition, negative: Condition | None, melody: Any, chroma: Chroma | None, second: float, *, passes: int
) -> Fused:
    """Join what one window is told.

    Args:
        text: [B, N, D].
        negative: [B, N, D], for the second pass; None tells it nothing.
        melody: the conditioner of a melody model, which hears words as a prefix; None for cross-attention.
        chroma: gives [F, 12] of the window; or None.
        second: at which the window starts.
        passes: 2 with guidance, else 1.
    """
    rows = len(text.tensor)
    if melody is None:
        told = [text] if negative is None else [text, negative]
        cross, mask = torch.cat([each.tensor for each in told]), torch.cat([each.mask for each in told])
        return Fused(rows, passes, cross=cross, cross_mask=mask)
    said = chroma(second) if chroma is not None else melody.silence(1)
    tunes = torch.stack([said, melody.silence(len(said))][:passes]).repeat_interleave(rows, 0)
    nothing = torch.zeros_like(text.tensor) if negative is None else negative.tensor
    words = torch.cat([text.tensor, nothing][:passes])
    return Fused(rows, passes, prefix=torch.cat((melody(tunes).tensor.type_as(words), words), 1))
