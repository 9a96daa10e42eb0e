"""Our C++ loop (models/native). A step ends with the codes that it sampled, so sampling is in its time."""

from __future__ import annotations

from gen_audio.models.native.machine import PRECISIONS
from gen_audio.models.native.programs import Packer
from gen_audio.pipeline.executors.base import Asked, Choosing
from gen_audio.pipeline.executors.native import Native, NativeSession
from gen_audio.pipeline.fuse import Fused
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.samplers.base import build_sampler
from torch import Tensor

from .workload import GUIDE, SAMPLING, START, STEPS, Work

__all__ = ["VARIANTS", "Ours"]

VARIANTS = PRECISIONS


class Ours:
    def __init__(self, work: Work, variant: str, threads: int) -> None:
        lm = work.model()
        self.work, self.executor = work, Native(lm, Packer(variant), threads)
        noise = GumbelNoise([0], [0], n_q=lm.n_q, card=lm.card)
        choosing = Choosing(build_sampler(SAMPLING), GUIDE, noise)
        session = self.executor.open(Fused(1, 2, cross=work.cross), choosing, START + STEPS)
        assert isinstance(session, NativeSession)
        self.session = session
        for layer, (keys, values) in enumerate(zip(work.keys, work.values, strict=True)):
            for row in range(2):
                session.cache.write(layer, row, keys[row], values[row])
        session.advance(START)

    def step(self, number: int) -> None:
        self.executor.step([Asked(self.session, self.work.codes[number : number + 1], None, number)])

    def logits(self) -> Tensor:
        rows = self.executor.model.machine.read("logits", 2)
        return GUIDE(rows)[0].unflatten(-1, (self.executor.n_q, self.executor.card))
