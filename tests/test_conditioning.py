"""Conditioners: one contract for all, then what each of them promises."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
import torch
from gen_audio import registry
from gen_audio.composition.plan import MusicalPlan, Section
from gen_audio.composition.score import Note
from gen_audio.composition.tempo_map import TempoMap
from gen_audio.conditioning.base import Condition, Conditioner
from gen_audio.conditioning.hashed import Hashed
from gen_audio.conditioning.minilm import MiniLM, find_folder
from gen_audio.conditioning.notes import Notes, note_array, note_roll
from gen_audio.conditioning.plan import FAMILIES, SECTIONS, Plan, plan_frames
from gen_audio.conditioning.timing import Timing
from gen_audio.errors import CheckpointError, ConfigError, ShapeError

WIDTH = 16
CLASSES = {name: registry.find("conditioning", name) for name in registry.names("conditioning")}
NAMES = [name for name, cls in CLASSES.items() if issubclass(cls, Conditioner)]


def build(name: str) -> Conditioner:
    torch.manual_seed(0)
    return registry.build("conditioning", name, width=WIDTH)


# --- the contract ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_condition_has_the_promised_shape(name: str) -> None:
    conditioner = build(name)
    condition = conditioner(**conditioner.example(3, 7))
    assert condition.tensor.shape == (3, 7 if conditioner.per_frame else 1, WIDTH)
    assert condition.mask.dtype == torch.bool and condition.mask.all()
    assert torch.isfinite(condition.tensor).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_dropped_row_no_longer_hears_its_wish_and_others_do(name: str) -> None:
    conditioner = build(name)
    prepared = conditioner.example(3, 7)
    said = conditioner(**prepared).tensor
    mixed = conditioner(**prepared, drop=torch.tensor([True, False, True])).tensor
    assert torch.equal(mixed[1], said[1])
    assert not torch.allclose(mixed[0], said[0])
    torch.testing.assert_close(mixed[0], mixed[0][:1].expand_as(mixed[0]))  # nothing of the wish is left in any frame


@pytest.mark.parametrize("name", [name for name in NAMES if name != "notes"])
def test_a_dropped_row_is_the_null_condition(name: str) -> None:
    conditioner = build(name)
    dropped = conditioner(**conditioner.example(2, 5), drop=torch.tensor([True, True])).tensor
    torch.testing.assert_close(dropped, conditioner.null(2, dropped.shape[1]).tensor)


@pytest.mark.parametrize("name", NAMES)
def test_null_is_learnt_and_broadcasts(name: str) -> None:
    conditioner = build(name)
    condition = conditioner.null(2, 5)
    assert condition.tensor.shape == (2, 5, WIDTH) and condition.mask.shape == (2, 5)
    condition.tensor.sum().backward()
    assert conditioner.null_vector.grad is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_row_never_depends_on_its_neighbours(name: str) -> None:
    conditioner = build(name)
    prepared = conditioner.example(3, 7)
    alone = conditioner(**{key: value[1:2] for key, value in prepared.items()}).tensor
    torch.testing.assert_close(alone, conditioner(**prepared).tensor[1:2])


@pytest.mark.parametrize("name", NAMES)
def test_a_drop_of_the_wrong_shape_is_refused(name: str) -> None:
    conditioner = build(name)
    with pytest.raises(ShapeError, match="one per row"):
        conditioner(**conditioner.example(2, 5), drop=torch.tensor([True]))


@pytest.mark.parametrize("name", list(CLASSES))
def test_every_plug_in_names_its_source_and_takes_keywords(name: str) -> None:
    module = importlib.import_module(f"gen_audio.conditioning.{name}")
    assert [n for n in module.__all__ if inspect.isclass(getattr(module, n))][0] == module.__all__[0]
    assert "Source" in (CLASSES[name].__doc__ or "")
    kinds = [p.kind for p in inspect.signature(CLASSES[name]).parameters.values()]
    assert set(kinds) == {inspect.Parameter.KEYWORD_ONLY}


def test_a_condition_checks_its_shapes() -> None:
    with pytest.raises(ShapeError, match=r"\[B, N\]"):
        Condition(torch.zeros(2, 3, 4), torch.ones(2, 4, dtype=torch.bool))


# --- notes ----------------------------------------------------------------------------------------------------------


def roll_of(
    *notes: tuple[float, float, int, int], is_drums: bool = False, start: int = 0, frames: int = 10
) -> np.ndarray:
    array = np.array(notes, np.float32).reshape(-1, 4)
    return note_roll(array, is_drums=is_drums, start_frame=start, num_frames=frames, frame_rate=10.0)


def test_a_note_is_held_from_its_onset_to_its_end() -> None:
    roll = roll_of((0.25, 0.3, 60, 127))  # 2.5 to 5.5 frames
    assert roll.shape == (6, 128, 10) and roll.dtype == np.float32
    np.testing.assert_array_equal(roll[0, 60], [0, 0, 1, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(np.nonzero(roll[1]), [[60], [2]])
    np.testing.assert_allclose(roll[2, 60, 2], 0.5, atol=1e-5)
    assert not roll[3:].any() and roll[0].sum() == 4


def test_an_onset_on_a_frame_differs_from_no_onset_and_is_not_lost_to_rounding() -> None:
    roll = roll_of((0.3, 0.1, 60, 64))  # 0.3 * 10 is 3.0000001 in float32, 0.7 is below
    assert roll[2, 60, 3] == 1 and roll[1, 60, 3] == np.float32(64 / 127)
    np.testing.assert_array_equal(np.nonzero(roll[0, 60])[0], [3])
    assert roll_of((0.7, 0.1, 60, 64))[2, 60, 7] == 1


def test_a_very_short_note_still_holds_one_frame() -> None:
    roll = roll_of((0.41, 0.001, 60, 127))
    np.testing.assert_array_equal(np.nonzero(roll[0, 60])[0], [4])


def test_the_louder_of_two_notes_on_one_key_wins() -> None:
    roll = roll_of((0.0, 0.5, 60, 127), (0.2, 0.5, 60, 50))
    np.testing.assert_allclose(roll[0, 60, :7], [1, 1, 1, 1, 1, 50 / 127, 50 / 127], rtol=1e-6)
    np.testing.assert_allclose(roll[1, 60, [0, 2]], [1, 50 / 127], rtol=1e-6)


def test_drums_fade_in_their_own_channels() -> None:
    roll = roll_of((0.1, 0.01, 38, 127), is_drums=True)
    assert not roll[:3].any()
    np.testing.assert_allclose(roll[3, 38, :8], [0, 1, 0.5, 0.25, 0.125, 0.0625, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(np.nonzero(roll[4, 38])[0], [1])


def test_a_window_is_a_cut_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    notes = rng.uniform((0, 0.05, 30, 1), (8, 2, 90, 127), (200, 4)).astype(np.float32)
    for is_drums in (False, True):
        whole = note_roll(notes, is_drums=is_drums, start_frame=-10, num_frames=120, frame_rate=10.0)
        part = note_roll(notes, is_drums=is_drums, start_frame=25, num_frames=20, frame_rate=10.0)
        np.testing.assert_array_equal(part, whole[:, :, 35:55])
        assert not whole[:, :, :10].any()


def test_notes_in_beats_become_seconds() -> None:
    array = note_array([Note(start=2.0, duration=1.0, pitch=60, velocity=100)], TempoMap(120.0))
    np.testing.assert_array_equal(array, np.array([[1.0, 0.5, 60, 100]], np.float32))
    assert note_array([], TempoMap(120.0)).shape == (0, 4) and not roll_of().any()


def test_impossible_notes_are_refused() -> None:
    with pytest.raises(ConfigError, match="pitch or velocity"):
        roll_of((0, 1, 128, 100))
    with pytest.raises(ShapeError, match=r"\[n, 4\]"):
        note_roll(np.zeros((3, 3)), is_drums=False, start_frame=0, num_frames=3, frame_rate=25.0)


@pytest.mark.parametrize("context", [0, 2, 3])
def test_blocks_with_margin_equal_the_whole(context: int) -> None:
    torch.manual_seed(0)
    notes = Notes(width=WIDTH, context=context)
    prepared = notes.example(2, 40)
    whole = notes(**prepared).tensor
    padded = torch.nn.functional.pad(prepared["roll"], (notes.margin, notes.margin))  # silence around the piece
    blocks = [
        notes(**{**prepared, "roll": padded[..., start : start + 10 + 2 * notes.margin]}, trim=notes.margin).tensor
        for start in range(0, 40, 10)
    ]
    torch.testing.assert_close(torch.cat(blocks, 1), whole)


def test_a_frame_sees_the_notes_ahead_and_no_further_than_the_margin() -> None:
    notes = Notes(width=WIDTH, context=2)
    roll = torch.zeros(1, 6, 128, 9)
    silent = notes(roll, torch.tensor([1]), torch.tensor([0])).tensor
    roll[0, :3, 60, 4] = 1
    changed = (notes(roll, torch.tensor([1]), torch.tensor([0])).tensor != silent).any(-1)[0]
    assert changed.tolist() == [False, False, True, True, True, True, True, False, False]


def test_role_and_program_outlive_dropped_notes() -> None:
    notes = Notes(width=WIDTH)
    roll, drop = torch.rand(3, 6, 128, 4), torch.ones(3, dtype=torch.bool)
    rows = notes(roll, torch.tensor([1, 1, 2]), torch.tensor([5, 6, 6]), drop=drop).tensor
    assert not torch.allclose(rows[0], rows[1]) and not torch.allclose(rows[1], rows[2])
    unsaid = notes(roll, torch.tensor([1, 1, 2]), torch.tensor([5, -1, 6]), drop=drop, drop_program=drop).tensor
    torch.testing.assert_close(unsaid[0], unsaid[1])  # no program, dropped or never said, is the same


def test_a_kit_number_is_not_a_program() -> None:
    notes = Notes(width=WIDTH)
    with torch.no_grad():
        notes.role.weight.zero_()
    rows = notes(torch.zeros(2, 6, 128, 1), torch.tensor([0, 1]), torch.tensor([8, 8])).tensor
    assert not torch.allclose(rows[0], rows[1])


def test_the_look_ahead_stays_in_float32_under_autocast() -> None:
    notes = Notes(width=WIDTH)
    prepared = notes.example(1, 6)
    exact = notes(**prepared).tensor
    with torch.autocast("cpu", torch.bfloat16):
        rough = notes(**prepared).tensor
    torch.testing.assert_close(rough.float(), exact, atol=0.05, rtol=0.05)


# --- plan -----------------------------------------------------------------------------------------------------------

PLAN = MusicalPlan(
    style="jazz",
    tempo=150.0,  # a beat is 10 frames at 25 Hz, a bar 40
    meter="4/4",
    key="C major",
    sections=(Section("verse", 0.5, (("C", "Am7/G"), ("Dm7b5",))), Section("chorus", 0.9, (("G7",),))),
    instruments={"bass": 32},
    duration=3 * 1.6 + 1.0,
)


def test_plan_frames_follow_chords_beats_and_sections() -> None:
    frames = plan_frames(PLAN, 0, 120, 25.0)
    assert frames["root"][[0, 19, 20, 39, 40, 79, 80]].tolist() == [0, 0, 9, 9, 2, 2, 7]
    assert frames["bass"][[0, 20, 40]].tolist() == [0, 7, 2]
    assert [FAMILIES[i] for i in frames["family"][[0, 20, 40, 80]]] == ["maj", "min7", "dim", "dom"]
    assert frames["beat"][[0, 9, 10, 39, 40]].tolist() == [0, 0, 1, 3, 0]
    assert frames["bar"][[0, 40, 80]].tolist() == [0, 1, 2]
    assert [SECTIONS[i] for i in frames["section"][[0, 79, 80]]] == ["verse", "verse", "chorus"]
    np.testing.assert_allclose(frames["values"][[0, 80], 2], [0.5, 0.9], rtol=1e-6)
    np.testing.assert_allclose((frames["values"][:, :2] ** 2).sum(1), 1, rtol=1e-5)


def test_the_last_chord_rings_until_the_duration_and_then_nothing() -> None:
    frames = plan_frames(PLAN, 119, 40, 25.0)
    assert SECTIONS[frames["section"][1]] == "ring" and frames["root"][1] == 7
    last = round(PLAN.duration * 25) - 119
    assert frames["root"][last - 1] == 7 and frames["root"][last] == 12
    assert not frames["values"][last:].any()
    assert (plan_frames(PLAN, -5, 5, 25.0)["section"] == len(SECTIONS)).all()


def test_a_plan_condition_changes_where_the_plan_does() -> None:
    torch.manual_seed(0)
    plan = Plan(width=WIDTH)
    tensor = plan(**plan.prepare([plan_frames(PLAN, 0, 60, 25.0)])).tensor[0]
    assert not torch.allclose(tensor[0], tensor[20]) and tensor.shape == (60, WIDTH)


# --- timing ---------------------------------------------------------------------------------------------------------


def test_timing_tells_begin_from_end_and_short_from_long() -> None:
    torch.manual_seed(0)
    timing = Timing(width=WIDTH)
    tensor = timing(**timing.prepare([0, 0], 250, [10.0, 100.0], 25.0)).tensor
    assert not torch.allclose(tensor[0, 0], tensor[0, -1])
    assert not torch.allclose(tensor[0, 0], tensor[1, 0])


def test_timing_needs_a_length() -> None:
    with pytest.raises(ConfigError, match="whole length"):
        Timing(width=WIDTH).prepare([0], 5, [0.0], 25.0)


# --- text -----------------------------------------------------------------------------------------------------------


def test_hashed_words_are_the_same_everywhere() -> None:
    words = Hashed(width=WIDTH).prepare(["123456789", "123456789 piano"])["words"]
    check = 0xCBF43926 % 4096  # the published check value of CRC-32
    assert words.tolist() == [[check, 4096], [check, 1196]]


def test_hashed_text_ignores_case_and_refuses_nothing_at_all() -> None:
    hashed = Hashed(width=WIDTH)
    a, b = (hashed(**hashed.prepare([text])).tensor for text in ("Calm PIANO", "calm, piano!"))
    torch.testing.assert_close(a, b)
    with pytest.raises(ConfigError, match="holds no word"):
        hashed.prepare(["..."])


def test_minilm_embeds_alike_what_means_alike_and_each_text_alone() -> None:
    minilm = MiniLM(width=WIDTH)
    texts = ["lofi jazz piano", "chill lofi piano, jazzy", "brutal death metal with screaming guitars"]
    rows = minilm.encode(texts)
    assert rows.shape == (3, 384) and rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2
    assert torch.equal(minilm.encode(texts[:1])[0], rows[0])
    torch.testing.assert_close(minilm.encode(texts, batch_size=3), rows, atol=1e-5, rtol=0)
    assert minilm(**minilm.prepare(texts)).tensor.shape == (3, 1, WIDTH)


def test_minilm_refuses_empty_and_overlong_prompts() -> None:
    minilm = MiniLM(width=WIDTH)
    with pytest.raises(ConfigError, match="empty"):
        minilm.prepare(["  "])
    with pytest.raises(ConfigError, match=r"302 tokens long; .* at most 256"):
        minilm.prepare(["piano " * 300])
    assert minilm.encode(["piano " * 254]).shape == (1, 384)


def test_frozen_weights_stay_out_of_checkpoints() -> None:
    minilm = MiniLM(width=WIDTH)
    minilm.encode(["piano"])
    assert set(minilm.state_dict()) == {"null_vector", "project.weight", "project.bias"}


def test_minilm_refuses_other_weights(tmp_path) -> None:
    assert (find_folder() / "model.safetensors").is_file()
    with pytest.raises(CheckpointError, match="does not exist"):
        MiniLM(width=WIDTH, folder=tmp_path).encode(["piano"])
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match="sha256"):
        MiniLM(width=WIDTH, folder=tmp_path).encode(["piano"])
