"""THE loop: conditions in, one column of codes out per step. Files, batches and progress bars are its consumers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from ..models.heads import Guide
from ..models.kv_cache import KVCache
from ..models.lm import CodecLM
from ..models.musicgen import MusicGenLM
from .fuse import Fused
from .patterns.base import Pattern
from .samplers.base import Sampler

__all__ = ["stream_columns"]


@torch.inference_mode()
def stream_columns(
    lm: CodecLM | MusicGenLM,
    pattern: Pattern,
    sampler: Sampler,
    fused: Fused,
    *,
    num_frames: int,
    guide: Guide,
    noise: Callable[[int], Tensor],
    known: Tensor | None = None,
    cache: KVCache | None = None,
    column: Tensor | None = None,
    start: int = 0,
) -> Iterator[Tensor]:
    """Yield one column [B, K] a step; `pattern.deinterleave` of all of them gives the codes [B, K, num_frames].

    Args:
        lm: in eval mode.
        pattern, sampler, guide: order of the codebooks, choice of a code, mix of the guidance passes.
        fused: conditions of all passes.
        num_frames: T of the whole piece, the frames before `start` included.
        noise: Gumbel noise [B, K, card] of a step.
        known: [B, K, S] codes of the first steps that are decided already and stay, special_token_id elsewhere.
        cache, column, start: to go on after a stop: the same cache, the last column yielded, its step + 1.
    """
    if cache is None:
        cache = lm.new_cache(fused.rows, fused.prefix_length + pattern.num_steps(num_frames))
        lm.prefill(cache, fused.prefix, fused.cross, fused.cross_mask)  # conditions in, no sound yet
    if column is None:
        column = pattern.first_column(fused.batch_size, cache.memory.device)  # [B, K], all special
    for step in range(start, pattern.num_steps(num_frames)):
        frame = fused.frame(pattern.condition_frame(step, num_frames)) if fused.frame else None
        hidden = lm.step(column, frame, cache)  # [M, D], the rows of every guidance pass
        tokens = lm.head.sample(hidden, partial(sampler.choose, noise(step)), guide)  # [B, K]
        column = pattern.mask(tokens, step, num_frames)  # special where no frame lives
        if known is not None and step < known.shape[-1]:
            column = torch.where(known[..., step] == pattern.special_token_id, column, known[..., step])
        yield column
