"""Whether the graph executor's logits on a GPU are those of the reference on the CPU, whatever runs beside a row."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Sequence
from typing import Any

import torch
from gen_audio.models.musicgen import MusicGenLM
from gen_audio.pipeline.executors.graph import Graph
from gen_audio.pipeline.executors.reference import Reference
from gen_audio.pipeline.fuse import Fused

__all__ = ["BOUNDS", "check", "conditions", "kernels_of"]

WORDS = 12  # positions of the text
# Errors as shares of the deviation of the logits: (their deviation from one by one, from the reference).
BOUNDS = {"fp32": (1e-4, 1e-3), "bf16": (0.02, 0.05)}


def conditions(lm: MusicGenLM, batch: int, prefix: int = 0) -> Fused:
    """Random words of several lengths, and so many positions before the first step, with guidance."""
    generator = torch.Generator().manual_seed(0)
    told = torch.arange(WORDS) < torch.tensor([WORDS, 3, 8, 5])[torch.arange(batch) % 4, None]
    words = torch.randn(batch, WORDS, lm.width, generator=generator) * told[..., None]
    before = torch.randn(2 * batch, prefix, lm.width, generator=generator) if prefix else None
    return Fused(batch, 2, prefix=before, cross=words, cross_mask=told)


def check(lm: MusicGenLM, device: str, batches: Sequence[int], lengths: Sequence[int], steps: int) -> list[dict]:
    """A row a precision, size and kind of kernels: how far logits are from those one by one and from the reference."""
    many, long = [(batch, 0) for batch in batches], [(2, length) for length in lengths]
    generator = torch.Generator().manual_seed(1)
    told = {batch: torch.randint(lm.card, (batch, lm.n_q, steps), generator=generator) for batch, _ in many + long}
    reference = Reference(lm)
    wanted = {size: reference.logits(conditions(lm, *size), told[size[0]]) for size in many + long}
    rows = []
    for precision, ours in itertools.product(BOUNDS, (None, False)):
        for sizes in (many, long):  # apart, since every slot has room for the longest
            most = max((batch for batch, _ in sizes), default=1)
            players = [
                Graph(copy.deepcopy(lm), precision, device, rows=most, record=is_on, kernels=ours)
                for is_on in (False, None)
            ]
            for size in sizes:
                plain, recorded = (player.logits(conditions(lm, *size), told[size[0]]) for player in players)
                rows.append({"kernels": kernels_of(players[0]), "precision": precision, "rows": size[0]})
                rows[-1] |= {"positions_before": size[1], **_compared(recorded, plain, wanted[size], precision)}
                print(json.dumps(rows[-1]), flush=True)
            del players
    return rows


def _compared(found: torch.Tensor, plain: torch.Tensor, wanted: torch.Tensor, precision: str) -> dict[str, Any]:
    errors = [float((found - other).std() / wanted.std()) for other in (plain, wanted)]
    ok = all(error < bound for error, bound in zip(errors, BOUNDS[precision], strict=True))
    return {"from_one_by_one": errors[0], "from_reference": errors[1], "ok": ok}


def kernels_of(executor: Graph) -> str:
    return "ours" if executor.pool.kernels else "PyTorch's"
