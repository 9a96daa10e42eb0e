"""Patterns: there and back again, and each equals a slow loop over its drawing."""

from __future__ import annotations

import inspect

import pytest
import torch
from gen_audio import registry
from gen_audio.errors import ConfigError, ShapeError
from gen_audio.pipeline.patterns.base import Pattern
from torch import Tensor

FOLDER = "pipeline.patterns"
SPECIAL = 99


def build(name: str, n_q: int = 3, **settings: object) -> Pattern:
    return registry.build(FOLDER, name, n_q=n_q, special_token_id=SPECIAL, **settings)


def example(frames: int = 5, n_q: int = 3) -> Tensor:
    return torch.arange(2 * n_q * frames).view(2, n_q, frames)


def slow(name: str, codes: Tensor) -> Tensor:
    """Write the drawing of each pattern out, one code at a time."""
    b, k, t = codes.shape
    length = {"parallel": t, "delay": t + k - 1, "flatten": t * k}[name]
    steps = torch.full((b, k, length), SPECIAL)
    for row in range(b):
        for level in range(k):
            for frame in range(t):
                step = {"parallel": frame, "delay": frame + level, "flatten": frame * k + level}[name]
                steps[row, level, step] = codes[row, level, frame]
    return steps


@pytest.mark.parametrize("name", registry.names(FOLDER))
def test_every_pattern_keeps_the_contract(name: str) -> None:
    cls = registry.find(FOLDER, name)
    assert len(inspect.getmodule(cls).__all__) == 1
    assert "Source:" in cls.__doc__ and "->" in cls.__doc__
    pattern = build(name)
    column = pattern.first_column(2)
    assert column.shape == (2, 3) and column.dtype == torch.int64 and (column == SPECIAL).all()


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("name", registry.names(FOLDER))
def test_round_trip_gives_the_codes_back(name: str, frames: int) -> None:
    pattern, codes = build(name), example(frames)
    steps = pattern.interleave(codes)
    assert steps.shape == (2, 3, pattern.num_steps(frames))
    assert pattern.num_frames(steps.shape[-1]) == frames
    assert torch.equal(pattern.deinterleave(steps), codes)


@pytest.mark.parametrize("name", ["parallel", "delay", "flatten"])
def test_interleaving_equals_the_slow_loop(name: str) -> None:
    assert torch.equal(build(name).interleave(example()), slow(name, example()))


@pytest.mark.parametrize("name", registry.names(FOLDER))
def test_mask_marks_the_slots_that_interleaving_leaves_empty(name: str) -> None:
    pattern, codes = build(name), example()
    steps = pattern.interleave(codes)
    full = torch.zeros(2, 3, dtype=torch.int64)
    columns = [pattern.mask(full, step, codes.shape[-1]) for step in range(steps.shape[-1])]
    assert torch.equal(torch.stack(columns, -1) == SPECIAL, steps == SPECIAL)
    assert (full == 0).all()


@pytest.mark.parametrize("name", registry.names(FOLDER))
def test_conditions_are_read_in_order_and_to_the_end(name: str) -> None:
    pattern = build(name)
    frames = [pattern.condition_frame(step, 5) for step in range(pattern.num_steps(5))]
    assert frames == sorted(frames) and set(frames) == set(range(5))


def test_delays_can_be_chosen() -> None:
    pattern = build("delay", delays=(0, 0, 2))
    steps = pattern.interleave(example())
    assert steps.shape[-1] == 7
    assert steps[0, 2].tolist() == [SPECIAL, SPECIAL, 10, 11, 12, 13, 14]
    assert torch.equal(pattern.deinterleave(steps), example())


def test_wrong_shapes_and_settings_are_refused() -> None:
    with pytest.raises(ShapeError, match="needs \\[B, 3, T\\]"):
        build("delay").interleave(example(n_q=2))
    with pytest.raises(ShapeError, match="7 steps hold no whole number"):
        build("flatten").deinterleave(torch.zeros(1, 3, 7))
    with pytest.raises(ShapeError, match="no whole number"):
        build("delay").deinterleave(torch.zeros(1, 3, 1))
    for delays in ((0, 1), (1, 2, 3), (0, -1, 2)):
        with pytest.raises(ConfigError, match="delays"):
            build("delay", delays=delays)
    with pytest.raises(ConfigError, match="n_q = 0"):
        build("parallel", n_q=0)
