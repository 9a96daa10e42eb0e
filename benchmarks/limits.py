"""How fast a machine could play MusicGen at most: every step reads all weights and the keys and values so far.

    weights   14 L d^2 + K V d    self-attention 4 d^2, cross-attention's q and out 2 d^2, feed-forward 8 d^2; heads
    keys      2 L d t per row     and as many for the text, in the rows that hear it; t grows from 1 to F + K - 1

Caches and a machine's limit of arithmetic are left out, so a small model can be beyond this limit.
"""

from __future__ import annotations

from typing import Any

__all__ = ["bytes_of_step", "checkpoint_bytes", "lm_shape"]

CODEBOOKS = 4
WEIGHT_BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5 + 2 / 64}  # int4: and a half scale per 64 weights
CACHE_BYTES = {"fp32": 4, "bf16": 2, "int8": 2, "int4": 2}  # what a sensible executor keeps; ours may keep more
ENCODERS = 167_000_000  # parameters of T5-base's encoder and of EnCodec, which every size shares


def lm_shape(size: str) -> tuple[int, int, int]:
    """Layers, width and codebook size of a checkpoint."""
    from gen_audio.evaluation.random_musicgen import SIZES

    decoder: dict[str, Any] = SIZES[size]["decoder"]
    return decoder["num_hidden_layers"], decoder["hidden_size"], decoder["vocab_size"]


def bytes_of_step(size: str, precision: str, batch: int, frames: int, tokens: int) -> float:
    """Bytes that a mean step of a piece of so many frames must read, with guidance: two rows a piece."""
    layers, width, card = lm_shape(size)
    weights = 14 * layers * width**2 + CODEBOOKS * card * width
    positions = (frames + CODEBOOKS) / 2  # of the mean step
    keys = 2 * layers * width * batch * (2 * positions + tokens)
    return weights * WEIGHT_BYTES[precision] + keys * CACHE_BYTES[precision]


def checkpoint_bytes(size: str) -> int:
    """Disk that a checkpoint in fp32 takes, and about the memory that making it takes."""
    layers, width, card = lm_shape(size)
    lm = 16 * layers * width**2 + 2 * CODEBOOKS * (card + 1) * width
    return 4 * (lm + (ENCODERS if size != "tiny" else 0))
