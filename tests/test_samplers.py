"""Samplers and their noise: each keeps the codes it claims to keep, and the same address gives the same number."""

from __future__ import annotations

import inspect

import pytest
import torch
from gen_audio import registry
from gen_audio.errors import ConfigError
from gen_audio.pipeline.noise import GumbelNoise, uniform
from gen_audio.pipeline.samplers.base import SamplingParams, build_sampler
from torch import Tensor

CARD = 32
FOLDER = "pipeline.samplers"


def example(rows: int = 50) -> Tensor:
    return torch.randn(rows, CARD, generator=torch.Generator().manual_seed(0)) * 2


def gumbel(rows: int = 50, seed: int = 1) -> Tensor:
    return GumbelNoise([seed] * rows, range(rows), n_q=1, card=CARD)(0)[:, 0]


def kept(name: str, logits: Tensor, **settings: float) -> Tensor:
    return registry.build(FOLDER, name, **settings).transform(logits, 0).isfinite()


@pytest.mark.parametrize("name", registry.names(FOLDER))
def test_every_sampler_keeps_the_contract(name: str) -> None:
    cls = registry.find(FOLDER, name)
    assert len(inspect.getmodule(cls).__all__) == 1
    assert "Source:" in cls.__doc__
    kinds = {p.kind for p in inspect.signature(cls).parameters.values()}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY}
    sampler, logits, before = cls(), example(), example()
    codes = sampler(logits, gumbel())
    assert codes.shape == (50,) and codes.dtype == torch.int64
    assert torch.equal(codes, sampler(logits, gumbel()))
    assert torch.equal(logits, before)
    assert torch.equal(codes[17:18], sampler(logits[17:18], gumbel()[17:18]))
    assert sampler(logits.bfloat16(), gumbel()).dtype == torch.int64
    assert sampler.transform(logits, 0).isfinite().any(-1).all()


def test_greedy_is_argmax_whatever_the_noise() -> None:
    greedy = registry.build(FOLDER, "greedy")
    assert torch.equal(greedy(example(), 100 * gumbel()), example().argmax(-1))
    assert greedy(torch.zeros(1, CARD), gumbel(1)).item() == 0


def test_temperature_zero_is_greedy_and_falls_over_levels() -> None:
    sampler = registry.build(FOLDER, "temperature", temperature=(1.0, 0.5, 0.0))
    logits = example()
    assert torch.equal(sampler.transform(logits, 0), logits)
    assert torch.equal(sampler.transform(logits, 1), logits / 0.5)
    for level in (2, 3):
        assert torch.equal(sampler(logits, gumbel(), level), logits.argmax(-1))


@pytest.mark.parametrize("k", [1, 5, CARD, 1000])
def test_top_k_keeps_exactly_k_even_among_equals(k: int) -> None:
    for logits in (example(), torch.zeros(2, CARD)):
        assert (kept("top_k", logits, k=k).sum(-1) == min(k, CARD)).all()
    best = example().topk(min(k, CARD), -1).indices
    assert kept("top_k", example(), k=k).gather(-1, best).all()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_top_p_keeps_the_smallest_set_that_reaches_p(p: float) -> None:
    probabilities = example().softmax(-1)
    for row, keep in zip(probabilities, kept("top_p", example(), p=p), strict=True):
        chosen = row[keep]
        assert chosen.sum() >= p - 1e-6
        assert chosen.sum() - chosen.min() < p
        assert keep.all() or chosen.min() >= row[~keep].max()


def test_top_p_one_keeps_everything() -> None:
    assert kept("top_p", example(), p=1.0).all()


def test_min_p_keeps_what_reaches_its_share_of_the_best() -> None:
    probabilities = example().softmax(-1)
    assert torch.equal(kept("min_p", example(), p=0.1), probabilities >= 0.1 * probabilities.amax(-1, keepdim=True))


def test_params_compose_filters_before_temperature() -> None:
    logits = example()
    assert torch.equal(build_sampler(SamplingParams()).transform(logits, 0), logits)
    params = SamplingParams(temperature=5.0, top_k=10, top_p=0.8, min_p=0.02)
    got = build_sampler(params).transform(logits, 0)
    want = logits
    for name, settings in (("top_k", {"k": 10}), ("top_p", {"p": 0.8}), ("min_p", {"p": 0.02})):
        want = registry.build(FOLDER, name, **settings).transform(want, 0)
    assert torch.equal(got, want / 5.0)
    greedy = build_sampler(SamplingParams(temperature=0, top_k=10))
    assert torch.equal(greedy(logits, gumbel()), logits.argmax(-1))


@pytest.mark.parametrize(
    "settings", [{"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}, {"min_p": 2.0}, {"temperature": -1.0}]
)
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        build_sampler(SamplingParams(**settings))


def test_noise_of_a_row_is_the_same_alone_and_in_any_batch() -> None:
    seeds, items = [3, -5, 2**64 - 1, 3], [0, 7, 1, 1]
    together = GumbelNoise(seeds, items, n_q=4, card=100)(9)
    for row, (seed, item) in enumerate(zip(seeds, items, strict=True)):
        assert torch.equal(GumbelNoise([seed], [item], n_q=4, card=100)(9)[0], together[row])


def test_noise_differs_by_seed_item_step_and_codebook() -> None:
    noise = GumbelNoise([0, 1, 0], [0, 0, 1], n_q=2, card=100)
    rows = torch.cat((noise(0).flatten(0, 1), noise(1).flatten(0, 1)))
    assert len({tuple(row) for row in rows.tolist()}) == len(rows) == 12


def test_noise_of_a_codebook_does_not_depend_on_how_many_there_are() -> None:
    assert torch.equal(GumbelNoise([5], [0], n_q=2, card=9)(3), GumbelNoise([5], [0], n_q=4, card=9)(3)[:, :2])


def test_uniform_numbers_fill_the_unit_interval_evenly() -> None:
    numbers = uniform(torch.arange(100), (1000,))
    assert 0 < numbers.min() and numbers.max() < 1
    counts = torch.histc(numbers, bins=20, min=0, max=1) / numbers.numel()
    assert (counts - 0.05).abs().max() < 0.003
    for lag in (1, 1000):  # neighbours along a row and across keys
        pair = torch.stack((numbers.flatten()[:-lag], numbers.flatten()[lag:]))
        assert torch.corrcoef(pair)[0, 1].abs() < 0.02


def test_drawing_with_gumbel_noise_follows_the_softmax() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0])
    noise = GumbelNoise([11] * 20000, range(20000), n_q=1, card=4)(0)[:, 0]
    codes = build_sampler(SamplingParams())(logits.expand(20000, 4), noise)
    shares = torch.bincount(codes, minlength=4) / 20000
    assert torch.allclose(shares, logits.softmax(-1), atol=0.012)


def test_seeds_of_more_than_64_bits_are_refused() -> None:
    with pytest.raises(ConfigError, match="64 bits"):
        GumbelNoise([2**64], [0], n_q=1, card=2)
    with pytest.raises(ConfigError, match="2 seeds for 1 items"):
        GumbelNoise([1, 2], [0], n_q=1, card=2)
