"""The steps of a model as its own modules write them, with any sampler; what the other executors are tested by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ...models.kv_cache import KVCache
from ...models.lm import CodecLM
from ...models.musicgen import MusicGenLM
from ..fuse import Fused
from ..threads import at_most
from .base import Asked, Choosing, Executor, Session, columns_before

__all__ = ["Reference"]


class ReferenceSession(Session):
    def __init__(self, cache: KVCache, choosing: Choosing) -> None:
        self.cache, self.choosing = cache, choosing


class Reference(Executor):
    """PyTorch, operation by operation.

    Args:
        lm: in eval mode.
        precision: what its matrices are in.
    """

    name = "reference"

    def __init__(self, lm: CodecLM | MusicGenLM, precision: str = "fp32") -> None:
        super().__init__(lm.n_q, lm.card)
        self.lm, self.precision = lm, precision
        self.rows_apart = precision == "int8"  # a float product rounds a row differently in another batch
        self.threads = 1 if isinstance(lm, CodecLM) else torch.get_num_threads()

    @torch.inference_mode()
    def open(self, fused: Fused, choosing: Choosing, num_positions: int) -> ReferenceSession:
        cache = self.lm.new_cache(fused.rows, num_positions)
        self.lm.prefill(cache, fused.prefix, fused.cross, fused.cross_mask)  # conditions in, no sound yet
        return ReferenceSession(cache, choosing)

    @torch.inference_mode()
    def read(self, session: Session, columns: Tensor, frames: Tensor | None = None) -> None:
        assert isinstance(session, ReferenceSession)
        if isinstance(self.lm, MusicGenLM) and frames is None:
            self.lm.read(columns, session.cache)
            return
        for step, column in enumerate(columns.unbind(-1)):
            self.lm.step(column, None if frames is None else frames[:, step], session.cache)

    @torch.inference_mode()
    def step(self, asked: Sequence[Asked]) -> list[Tensor]:
        with at_most(self.threads):  # a step of a small model is a thousand short operations; two threads only wait
            return [self._step(one) for one in asked]

    @torch.inference_mode()
    def logits(self, fused: Fused, steps: Tensor) -> Tensor:
        cache = self.lm.new_cache(fused.rows, fused.prefix_length + steps.shape[-1])
        self.lm.prefill(cache, fused.prefix, fused.cross, fused.cross_mask)
        scores = []
        for step, column in enumerate(columns_before(steps, self.special_token_id).unbind(-1)):
            hidden = self.lm.step(column, fused.frame(step) if fused.frame else None, cache)
            scores.append(self.lm.head.logits(hidden, steps[..., step].repeat(fused.num_passes, 1)))
        return torch.stack(scores, 2)

    def _step(self, asked: Asked) -> Tensor:
        assert isinstance(asked.session, ReferenceSession)
        choosing = asked.session.choosing
        hidden = self.lm.step(asked.column, asked.frame, asked.session.cache)  # [M, D]
        choose = partial(choosing.sampler.choose, choosing.noise(asked.step))
        return self.lm.head.sample(hidden, choose, choosing.guidance)  # [B, K]
