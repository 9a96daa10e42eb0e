"""Our kernels do what PyTorch's operations do. Without a GPU Triton's interpreter runs them, one program at a time."""

from __future__ import annotations

import copy

import pytest
import torch
from gen_audio.models.musicgen import MusicGenLM
from gen_audio.pipeline.executors.draw import Wishes
from gen_audio.pipeline.executors.graph import Graph
from gen_audio.pipeline.executors.reference import Reference
from gen_audio.pipeline.executors.rules import Rules
from gen_audio.pipeline.fuse import Fused
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.noise import GumbelNoise
from torch import Tensor, nn

pytest.importorskip("triton")
from gen_audio.models import gpu_kernels as kernels  # noqa: E402

N_Q, CARD, WIDTH, SOURCE = 3, 40, 48, 5
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def model(has_cross: bool) -> MusicGenLM:
    torch.manual_seed(0)
    settings = {"n_q": N_Q, "card": CARD, "width": WIDTH, "num_layers": 2, "num_heads": 3, "hidden": 80}
    lm = MusicGenLM(**settings, has_cross=has_cross)
    for matrix in lm.parameters():
        nn.init.normal_(matrix, std=0.2 if matrix.dim() > 1 else 0.5)
    return lm.eval().requires_grad_(False)


def conditions(has_cross: bool, passes: int, batch: int, before: int = 9) -> Fused:
    generator = torch.Generator().manual_seed(2)
    if has_cross:
        told = torch.arange(SOURCE) < torch.tensor([5, 2, 3])[torch.arange(batch) % 3, None]
        source = torch.randn(batch, SOURCE, WIDTH, generator=generator) * told[..., None]
        return Fused(batch, passes, cross=source, cross_mask=told)
    return Fused(batch, passes, prefix=torch.randn(passes * batch, before, WIDTH, generator=generator))


def known(frames: int, batch: int) -> Tensor:
    return torch.randint(CARD, (batch, N_Q, frames), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("passes", "batch"), [(1, 1), (2, 1), (2, 3), (3, 2), (2, 5)])
@pytest.mark.parametrize("has_cross", [True, False])
def test_logits_are_those_of_the_reference(has_cross: bool, passes: int, batch: int) -> None:
    lm, fused, steps = model(has_cross), conditions(has_cross, passes, batch), known(4, batch)
    wanted = Reference(lm).logits(fused, steps)
    found = Graph(copy.deepcopy(lm), "fp32", DEVICE, kernels=kernels).logits(fused, steps)
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.std())


def test_long_memories_are_read_in_shares() -> None:
    lm, fused, steps = model(False), conditions(False, 2, 1, before=700), known(3, 1)
    wanted = Reference(lm).logits(fused, steps)
    found = Graph(copy.deepcopy(lm), "fp32", DEVICE, kernels=kernels).logits(fused, steps)
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.std())


def test_bf16_rounds_no_more_than_pytorch_does() -> None:
    lm, fused, steps = model(True), conditions(True, 2, 2), known(4, 2)
    wanted = Reference(lm).logits(fused, steps)
    errors = [
        float((Graph(copy.deepcopy(lm), "bf16", DEVICE, kernels=which).logits(fused, steps) - wanted).std())
        for which in (kernels, False)
    ]
    assert 0 < errors[0] < errors[1] < 0.02 * float(wanted.std())


RULES = {
    "all": Rules(),
    "top_k": Rules(top_k=7),
    "top_p": Rules(top_p=0.8),
    "both": Rules(top_k=12, top_p=0.6, temperature=(1.3, 0.7)),
    "min_p": Rules(margin=2.0),
    "greedy": Rules(temperature=(0.0,)),
    "greedy after the first": Rules(top_k=3, temperature=(1.0, 0.0)),
}


@pytest.mark.parametrize("name", RULES)
def test_codes_are_chosen_as_by_pytorch(name: str) -> None:
    levels = torch.Generator().manual_seed(5)
    logits = 3 * torch.randn(4, 2, N_Q, CARD, generator=levels)
    logits[0, :, :, :20] = -1.0  # many that are equally likely
    wishes = [Wishes(4, 2, N_Q, CARD, DEVICE, which) for which in (None, kernels)]
    noise, turns = GumbelNoise([3, -1, 2**63, 9], [0, 1, 0, 5], n_q=N_Q, card=CARD), torch.tensor([0, 7, 31, 1000])
    for one in wishes:
        one.set([0, 1, 2, 3], Guidance(3.0), RULES[name], noise)
    for first, count in ((0, N_Q), (1, 1)):
        part = logits[:, :, first : first + count].to(DEVICE)
        plain, ours = (one.pick(part, first, turns.to(DEVICE)) for one in wishes)
        assert torch.equal(plain, ours)


def test_noise_is_that_of_the_reference() -> None:
    wishes = Wishes(2, 1, N_Q, 2048, DEVICE, kernels)
    noise = GumbelNoise([3, 4], [0, 1], n_q=N_Q, card=2048)
    wishes.set([0, 1], Guidance(), Rules(), noise)
    flat = torch.zeros(2, 1, N_Q, 2048, device=DEVICE)
    for turn in (0, 1, 123456):
        turns = torch.full((2,), turn, device=DEVICE)
        assert torch.equal(wishes.pick(flat, 0, turns).cpu(), noise(turn).argmax(-1))
