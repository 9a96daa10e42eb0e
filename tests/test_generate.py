"""The loop: the same codes alone and in a batch, with and without a pause, for every pattern and head."""

from __future__ import annotations

import inspect

import pytest
import torch
from gen_audio import registry
from gen_audio.errors import ConfigError, ShapeError
from gen_audio.models.lm import CodecLM
from gen_audio.pipeline import generate
from gen_audio.pipeline.executors.base import Choosing
from gen_audio.pipeline.executors.reference import Reference
from gen_audio.pipeline.fuse import Fused
from gen_audio.pipeline.generate import Piece
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.patterns.base import Pattern
from gen_audio.pipeline.samplers.base import SamplingParams, build_sampler
from torch import Tensor, nn

N_Q, CARD, WIDTH, FRAMES = 3, 13, 16, 9
SEEDS, ITEMS = [4, 4, 9], [0, 1, 0]


def model(head: str = "depth") -> CodecLM:
    torch.manual_seed(0)
    settings = {"name": "depth", "width": 12, "num_layers": 1, "num_heads": 2} if head == "depth" else {"name": head}
    lm = CodecLM(n_q=N_Q, card=CARD, width=WIDTH, num_layers=2, num_heads=2, window=5, head=settings)
    for matrix in lm.parameters():
        nn.init.normal_(matrix, std=0.5)
    return lm.eval()


def pattern_of(name: str) -> Pattern:
    return registry.build("pipeline.patterns", name, n_q=N_Q, special_token_id=CARD)


def conditions(rows: int = 3) -> Tensor:
    return torch.randn(rows, FRAMES, WIDTH, generator=torch.Generator().manual_seed(2))


def piece(
    lm: CodecLM, pattern: Pattern, fused: Fused, rows: slice = slice(None), guide: Guidance | None = None
) -> Piece:
    noise = GumbelNoise(SEEDS[rows], ITEMS[rows], n_q=N_Q, card=CARD)
    choosing = Choosing(build_sampler(SamplingParams(top_k=8)), guide or Guidance(), noise)
    return Piece(Reference(lm), pattern, fused, choosing, num_frames=FRAMES)


def play(
    lm: CodecLM, pattern: Pattern, fused: Fused, rows: slice = slice(None), guide: Guidance | None = None
) -> Tensor:
    return torch.stack(list(generate.play(piece(lm, pattern, fused, rows, guide))), -1)


@pytest.mark.parametrize("head", ["depth", "parallel"])
@pytest.mark.parametrize("name", registry.names("pipeline.patterns"))
def test_codes_have_the_length_asked_for_and_repeat(name: str, head: str) -> None:
    lm, pattern, fused = model(head), pattern_of(name), Fused.whole(conditions(), batch_size=3)
    codes = play(lm, pattern, fused)
    assert codes.shape == (3, N_Q, FRAMES) and codes.dtype == torch.int64
    assert 0 <= codes.min() and codes.max() < CARD
    assert torch.equal(codes, play(lm, pattern, fused))
    assert not torch.equal(codes[0], codes[1])


@pytest.mark.parametrize("name", registry.names("pipeline.patterns"))
def test_a_row_alone_gives_the_codes_it_gives_in_a_batch(name: str) -> None:
    lm, pattern, frames = model(), pattern_of(name), conditions()
    together = play(lm, pattern, Fused.whole(frames, batch_size=3))
    alone = play(lm, pattern, Fused.whole(frames[1:2], batch_size=1), slice(1, 2))
    assert torch.equal(together[1:2], alone)


def test_the_loop_draws_from_the_teacher_forced_logits() -> None:
    lm, frames = model(), conditions()
    codes = play(lm, pattern_of("parallel"), Fused.whole(frames, batch_size=3))
    logits = lm(codes, frames)  # [B, K, T, card]
    noise = GumbelNoise(SEEDS, ITEMS, n_q=N_Q, card=CARD)
    sampler = build_sampler(SamplingParams(top_k=8))
    for step in range(FRAMES):
        for level in range(N_Q):
            assert torch.equal(sampler(logits[:, level, step], noise(step)[:, level], level), codes[:, level, step])


@pytest.mark.parametrize("name", registry.names("pipeline.patterns"))
def test_frames_come_as_soon_as_they_are_whole(name: str) -> None:
    lm, pattern = model(), pattern_of(name)
    playing = piece(lm, pattern, Fused.whole(conditions(), batch_size=3))
    frames: list[Tensor] = []
    while playing.is_playing:
        frames += playing.take(playing.executor.step([playing.ask()])[0])
        whole = [
            f for f in range(FRAMES) if all(int(pattern.step_of(k, torch.tensor(f))) < playing.step for k in range(N_Q))
        ]
        assert len(frames) == len(whole)
    assert torch.equal(torch.stack(frames, -1), play(lm, pattern, Fused.whole(conditions(), batch_size=3)))


def test_a_piece_that_is_told_its_beginning_goes_on_as_if_it_had_played_it() -> None:
    lm, pattern = model(), pattern_of("delay")
    bare = Fused(3)
    whole = play(lm, pattern, bare)
    noise = GumbelNoise(SEEDS, ITEMS, n_q=N_Q, card=CARD)
    choosing = Choosing(build_sampler(SamplingParams(top_k=8)), Guidance(), noise)
    rest = Piece(Reference(lm), pattern, bare, choosing, num_frames=FRAMES, told=whole[..., :4])
    assert torch.equal(torch.stack(list(generate.play(rest)), -1), whole[..., 4:])


def test_pieces_played_together_are_those_played_alone() -> None:
    lm, pattern, frames = model(), pattern_of("delay"), conditions()
    alone = {
        row: play(lm, pattern, Fused.whole(frames[row : row + 1], batch_size=1), slice(row, row + 1))
        for row in range(3)
    }
    waiting = [piece(lm, pattern, Fused.whole(frames[r : r + 1], batch_size=1), slice(r, r + 1)) for r in range(3)]
    found: dict[Piece, list[Tensor]] = {one: [] for one in waiting}
    for one, frame in generate.play_together(waiting, slots=2):
        found[one].append(frame)  # type: ignore[index]
    for row, one in enumerate(waiting):
        assert torch.equal(torch.stack(found[one], -1), alone[row])


def test_a_prefix_is_heard() -> None:
    lm, pattern = model(), pattern_of("parallel")
    prefix = torch.randn(3, 2, WIDTH)
    bare = play(lm, pattern, Fused(3))
    assert not torch.equal(play(lm, pattern, Fused(3, prefix=prefix)), bare)


def test_guidance_between_equal_passes_changes_nothing() -> None:
    lm, pattern, frames = model(), pattern_of("parallel"), conditions()
    plain = play(lm, pattern, Fused.whole(frames, batch_size=3))
    guide = Guidance(text_scale=3.0, plan_scale=2.0)
    guided = play(lm, pattern, Fused.whole(frames.repeat(3, 1, 1), batch_size=3), guide=guide)
    assert torch.equal(plain, guided)


def test_guidance_between_different_passes_is_heard() -> None:
    lm, pattern, frames = model(), pattern_of("parallel"), conditions()
    fused = Fused.whole(torch.cat((frames, torch.zeros_like(frames))), batch_size=3)
    guide = Guidance(text_scale=3.0, plan_scale=3.0)
    assert guide.passes == ("full", "null")
    assert not torch.equal(play(lm, pattern, fused, guide=guide), play(lm, pattern, Fused.whole(frames, batch_size=3)))


@pytest.mark.parametrize(
    ("text", "plan", "passes"),
    [
        (1.0, 1.0, ("full",)),
        (3.0, 1.0, ("full", "no_text")),
        (2.5, 2.5, ("full", "null")),
        (1.0, 2.0, ("full", "no_text", "null")),
        (3.0, 2.0, ("full", "no_text", "null")),
    ],
)
def test_guidance_runs_only_the_passes_that_its_formula_needs(text: float, plan: float, passes: tuple[str]) -> None:
    guide = Guidance(text_scale=text, plan_scale=plan)
    assert guide.passes == passes
    rows = {name: torch.randn(4, CARD) for name in ("full", "no_text", "null")}
    want = rows["null"] + plan * (rows["no_text"] - rows["null"]) + text * (rows["full"] - rows["no_text"])
    assert torch.allclose(guide(torch.cat([rows[name] for name in passes])), want, atol=1e-5)


def test_wrong_conditions_are_refused() -> None:
    with pytest.raises(ShapeError, match="multiple of batch_size = 2"):
        Fused.whole(conditions(3), batch_size=2)
    with pytest.raises(ShapeError, match="6 rows"):
        Fused(3, 2, prefix=torch.zeros(3, 1, WIDTH))
    with pytest.raises(ConfigError, match="text_scale is -1"):
        Guidance(text_scale=-1)


def test_the_loop_stays_readable_at_a_glance() -> None:
    assert len(inspect.getsource(generate.play_together).splitlines()) <= 25
    assert len(inspect.getsource(Piece).splitlines()) <= 80
