"""What every program is asked for: the same words, the same sampling, the same length."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SAMPLING", "check_length", "prompts"]

SAMPLING = {"guidance_scale": 3.0, "top_k": 250, "temperature": 1.0}
WORDS = (
    "lofi jazz piano rock calm guitar and slow drums with".split()
)  # all that the random checkpoint's tokenizer knows


def prompts(count: int, tokens: int) -> list[str]:
    """Up to 100 different prompts of `tokens` tokens each, the end token included, so that none needs filler."""
    words = WORDS * (tokens // len(WORDS) + 1)
    return [" ".join([WORDS[i // 10 % 10], WORDS[i % 10], *words[: tokens - 3]]) for i in range(count)]


def check_length(shapes: Sequence[Sequence[int]], batch: int, samples: int) -> None:
    """Raise ValueError unless a program made so many pieces of so many samples: work left out is not speed."""
    found = [shape[-1] for shape in shapes]
    if found != [samples] * batch:
        raise ValueError(
            f"{len(found)} pieces of {sorted(set(found))} samples came out; {batch} of {samples} are asked"
        )
