"""The language model: what it computes at once, it also computes step by step, within memory that does not grow."""

from __future__ import annotations

import pytest
import torch
from gen_audio.errors import ConfigError, ShapeError, UnknownNameError
from gen_audio.models import int8
from gen_audio.models.heads import DepthHead
from gen_audio.models.lm import CodecLM
from gen_audio.models.transformer import dropout
from torch import Tensor, nn

N_Q, CARD, WIDTH = 3, 11, 16
HEADS = {
    "depth": {"name": "depth", "width": 12, "num_layers": 2, "num_heads": 2},
    "parallel": {"name": "parallel"},
}


def build(head: str = "depth", window: int = 6, cross_width: int | None = None, width: int = WIDTH) -> CodecLM:
    torch.manual_seed(0)
    lm = CodecLM(
        n_q=N_Q,
        card=CARD,
        width=width,
        num_layers=2,
        num_heads=2,
        window=window,
        head=HEADS[head],
        cross_width=cross_width,
    )
    for matrix in lm.parameters():  # the zeros of a new model would hide mistakes
        if not matrix.any():
            nn.init.normal_(matrix, std=0.3)
    return lm.eval()


def example(batch: int = 2, frames: int = 17, width: int = WIDTH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(0, CARD, (batch, N_Q, frames), generator=generator)
    return codes, torch.randn(batch, frames, width, generator=generator)


def play(lm: CodecLM, codes: Tensor, frames: Tensor | None, prefix: Tensor | None, cross: Tensor | None) -> Tensor:
    """Feed known codes column by column; [B, T, D]."""
    cache = lm.new_cache(codes.shape[0])
    lm.prefill(cache, prefix, cross)
    column = torch.full_like(codes[..., 0], lm.special_token_id)
    steps = []
    for t in range(codes.shape[-1]):
        steps.append(lm.step(column, None if frames is None else frames[:, t], cache))
        column = codes[..., t]
    return torch.stack(steps, 1)


@pytest.mark.parametrize("window", [1, 6, 64])
@pytest.mark.parametrize("conditions", ["none", "frames", "prefix", "cross"])
def test_cached_steps_equal_the_whole_sequence(window: int, conditions: str) -> None:
    lm = build(window=window, cross_width=5)
    codes, frames = example()
    prefix = torch.randn(2, 3, WIDTH) if conditions == "prefix" else None
    cross = torch.randn(2, 4, 5) if conditions == "cross" else None
    chosen = None if conditions == "none" else frames
    with torch.no_grad():
        whole = lm.hidden(codes, chosen, prefix=prefix, cross=cross)
        assert torch.allclose(play(lm, codes, chosen, prefix, cross), whole, atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_a_frame_depends_on_earlier_frames_inside_its_window_only(head: str) -> None:
    lm = build(head)  # two layers of window 6 reach back 11 positions
    codes, frames = example()
    before = lm(codes, frames)
    codes[..., 2] = (codes[..., 2] + 1) % CARD
    changed = ((lm(codes, frames) - before).abs() > 1e-6).any(-1).any(1).any(0).tolist()  # of each frame
    own = head == "depth"  # level 1 of frame 2 sees level 0 of frame 2
    assert changed == [False, False, own] + [True] * 11 + [False] * 3


def test_depth_levels_see_only_the_levels_before_them() -> None:
    head = build().head
    hidden, codes = torch.randn(1, WIDTH), torch.tensor([[1, 2, 3]])
    before = head.logits(hidden, codes)
    after = head.logits(hidden, torch.tensor([[1, 5, 7]]))
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


@pytest.mark.parametrize("head", HEADS)
def test_sampling_reads_the_teacher_forced_logits(head: str) -> None:
    lm = build(head)
    hidden, seen = torch.randn(4, WIDTH), []

    def choose(logits: Tensor, level: int) -> Tensor:
        seen.append(logits)
        return logits.argmax(-1)

    with torch.no_grad():
        codes = lm.head.sample(hidden, choose, lambda logits: logits)
        assert codes.shape == (4, N_Q) and codes.dtype == torch.int64
        assert torch.allclose(torch.stack(seen, 1), lm.head.logits(hidden, codes), atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_guidance_rows_share_the_chosen_codes(head: str) -> None:
    lm = build(head)
    hidden = torch.randn(6, WIDTH)  # two rows, three passes
    seen = []

    def guide(logits: Tensor) -> Tensor:
        seen.append(logits)
        return logits.view(3, 2, CARD).mean(0)

    with torch.no_grad():
        codes = lm.head.sample(hidden, lambda logits, level: logits.argmax(-1), guide)
        forced = lm.head.logits(hidden, codes.repeat(3, 1))
    assert codes.shape == (2, N_Q)
    assert torch.allclose(torch.stack(seen, 1), forced, atol=1e-4)


def test_one_column_is_read_by_every_pass() -> None:
    lm = build()
    codes, _ = example()
    frame = torch.randn(4, WIDTH)
    with torch.no_grad():
        once = lm.step(codes[..., 0], frame, lm.new_cache(4))
        twice = lm.step(codes[..., 0].repeat(2, 1), frame, lm.new_cache(4))
    assert torch.equal(once, twice)


def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    lm = build()
    codes, frames = example(batch=3)
    assert torch.allclose(lm(codes, frames)[1:2], lm(codes[1:2], frames[1:2]), atol=1e-5)


def test_the_cache_does_not_grow() -> None:
    lm = build(window=4)
    cache = lm.new_cache(1)
    size = cache.memory.numel()
    assert cache.memory.shape == (2, 2, 1, 2, 4, 8)
    with torch.no_grad():
        for _ in range(9):
            lm.step(torch.zeros(1, N_Q, dtype=torch.int64), None, cache)
    assert cache.memory.numel() == size and cache.position == 9


def test_history_is_read_in_the_place_of_codes() -> None:
    lm = build()
    codes, frames = example()
    other = (codes + 1) % CARD
    assert torch.equal(lm.hidden(codes, frames, history=other), lm.hidden(other, frames))


@pytest.mark.parametrize("head", HEADS)
def test_overfits_one_batch_in_bf16(head: str) -> None:
    torch.manual_seed(0)
    lm = CodecLM(n_q=N_Q, card=CARD, width=32, num_layers=1, num_heads=2, window=8, head=HEADS[head], dropout=0.0)
    optimiser = torch.optim.AdamW(lm.parameters(), lr=0.01)
    codes = example(frames=8)[0]
    losses = []
    for _ in range(60):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = lm(codes)
        assert logits.dtype == torch.float32
        loss = nn.functional.cross_entropy(logits.flatten(0, 2), codes.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 < 2.0 < losses[0]


def test_the_special_id_is_a_valid_input_everywhere() -> None:
    codes = torch.full((1, N_Q, 4), CARD)
    assert build()(codes).isfinite().all()


def test_logits_are_soft_capped() -> None:
    head = build().head
    assert isinstance(head, DepthHead)
    for matrix in head.out:
        nn.init.constant_(matrix.weight, 1e3)
    assert head.logits(torch.randn(2, WIDTH), torch.zeros(2, N_Q, dtype=torch.int64)).abs().max() <= 30


def test_dropout_drops_the_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 101)
    dropped = dropout(x, 0.25, True)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert dropout(x, 0.25, False) is x


def test_wrong_settings_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="multiple of 6"):
        CodecLM(n_q=2, card=4, width=16, num_heads=3)
    with pytest.raises(UnknownNameError, match="Did you mean 'depth'"):
        CodecLM(n_q=2, card=4, width=16, head={"name": "dept"})
    with pytest.raises(ConfigError, match="no setting 'depth'"):
        CodecLM(n_q=2, card=4, width=16, head={"name": "parallel", "depth": 2})
    with pytest.raises(ShapeError, match="needs \\[B, 3, T\\]"):
        build().hidden(torch.zeros(1, 4, 5, dtype=torch.int64))


def test_quantising_twice_changes_nothing() -> None:
    torch.manual_seed(0)
    weight = torch.randn(40, 33) * torch.rand(40, 1)
    codes, scale = int8.quantise_rows(weight)
    assert (codes.float() * scale.float()[:, None] - weight).abs().amax(1).le(1.01 * scale.float()).all()
    again, scale_again = int8.quantise_rows(codes.float() * scale.float()[:, None])
    assert torch.equal(codes, again) and torch.equal(scale, scale_again)


@pytest.mark.skipif(not int8.available(), reason="no int8 product for this CPU")
@pytest.mark.parametrize("shape", [(48, 32), (20, 64), (7, 96)])
def test_int8_linear_multiplies_by_the_rounded_matrix(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer, x = int8.Int8Linear(torch.randn(shape)), torch.randn(2, 3, shape[1])
    exact = x @ (layer.weight.float() * layer.scale.float()[:, None]).T
    assert torch.allclose(layer(x).float(), exact, atol=0.02 * float(exact.abs().max()))
    rows = torch.randn(19, shape[1])
    whole = layer(rows)
    for count in range(1, 19):  # a row is the same in any company
        assert torch.equal(layer(rows[:count]), whole[:count]) and torch.equal(layer(rows[count:]), whole[count:])


@pytest.mark.skipif(not int8.available(), reason="no int8 product for this CPU")
@pytest.mark.parametrize("head", HEADS)
def test_int8_steps_follow_the_model_they_were_made_from(head: str) -> None:
    lm = build(head, width=32)
    codes, frames = example(width=32)
    with torch.no_grad():
        exact = lm(codes, frames)
        int8.to_int8(lm)
        assert sum(isinstance(m, int8.Int8Linear) for m in lm.modules()) >= 7  # of a trunk of two blocks
        hidden = play(lm, codes, frames, None, None).flatten(0, 1)
        logits = lm.head.logits(hidden, codes.transpose(1, 2).flatten(0, 1))
    ours = logits.view(2, -1, N_Q, CARD).transpose(1, 2).softmax(-1)
    assert float((ours - exact.softmax(-1)).abs().max()) < 0.05
