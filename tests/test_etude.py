"""The embedded model: it is whole, it plays what it is told, and nothing else moves when one thing does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gen_audio
import numpy as np
import pytest
import torch
from gen_audio.composition.arranger import arrange
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.config import load_config
from gen_audio.pipeline import checkpoint
from gen_audio.pipeline.pipeline import Pipeline
from gen_audio.training import export

LIMIT = 32 * 2**20  # bytes of a release
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def etude() -> Pipeline:
    return gen_audio.load("etude")


@pytest.fixture(scope="module")
def piece(etude: Pipeline) -> Any:
    return etude.generate("funk with slap bass, 100 bpm, in C minor", duration=3.0, seed=7)


def test_embedded_weights_are_whole_and_small() -> None:
    folder = checkpoint.find_folder("etude")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT
    assert checkpoint.sha256(folder / "model.safetensors") == checkpoint.read_config(folder)["sha256"]
    assert "@@" not in (folder / "README.md").read_text()


def test_its_parts_put_together_again_are_the_model(etude: Pipeline, tmp_path: Path) -> None:
    etude.heads.save(tmp_path / "attributes.safetensors")
    asked = load_config(ROOT / "configs" / "export_etude.yaml")
    asked |= {"codec_weights": "etude", "lm_weights": "etude", "lm_config": str(ROOT / "configs" / "train_lm.yaml")}
    asked["attributes"] = str(tmp_path / "attributes.safetensors")
    export.train(asked, tmp_path / "again")
    one, other = (checkpoint.read_config(checkpoint.find_folder(name)) for name in ("etude", str(tmp_path / "again")))
    assert {**one, "sha256": ""} == {**other, "sha256": ""}
    assert gen_audio.load(str(tmp_path / "again")).sample_rate == 48000
    export.train({**asked, "highs": None}, tmp_path / "low")
    assert gen_audio.load(str(tmp_path / "low")).sample_rate == 24000


def test_length_is_exact_and_sound_is_sound(piece: Any) -> None:
    samples = piece.waveform.samples
    assert samples.shape == (2, 3 * 48000)
    assert np.isfinite(samples).all() and np.abs(samples).max() <= 1
    assert piece.waveform.loudness() == pytest.approx(-16.0, abs=0.5)


def test_words_reach_the_plan(piece: Any) -> None:
    assert piece.plan.style == "funk"
    assert piece.plan.tempo == pytest.approx(100, rel=0.01)
    assert piece.plan.key == "C minor"


def test_same_seed_gives_the_same_samples(etude: Pipeline, piece: Any) -> None:
    again = etude.generate("funk with slap bass, 100 bpm, in C minor", duration=3.0, seed=7)
    assert np.array_equal(again.waveform.samples, piece.waveform.samples)


def test_a_seed_plays_the_same_codes_on_any_number_of_threads(etude: Pipeline) -> None:
    usual, played = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            played.append(etude.generate("waltz in G major for strings and a flute", duration=12.0, seed=0).codes)
    finally:
        torch.set_num_threads(usual)
    for other in played[1:]:
        assert all(torch.equal(codes, other[role]) for role, codes in played[0].items())


def test_a_role_played_anew_leaves_the_others_bit_exact(etude: Pipeline, piece: Any) -> None:
    again = etude.generate("funk with slap bass, 100 bpm, in C minor", duration=3.0, seed=7, role_seeds={"bass": 8})
    assert again.stems.keys() == piece.stems.keys()
    for role, stem in piece.stems.items():
        assert np.array_equal(again.stems[role].samples, stem.samples) == (role != "bass"), role


def test_without_drums_has_no_drums_and_the_same_rest(etude: Pipeline, piece: Any) -> None:
    again = etude.generate("funk with slap bass, 100 bpm, in C minor", duration=3.0, seed=7, without=["drums"])
    assert "drums" in piece.stems and "drums" not in again.stems
    for role, stem in again.stems.items():
        assert np.array_equal(piece.stems[role].samples, stem.samples), role


def test_a_negative_prompt_takes_away_what_it_names_and_nothing_else(etude: Pipeline, piece: Any) -> None:
    again = etude.generate(piece.prompt, duration=3.0, seed=7, negative_prompt="drums, low quality")
    assert piece.stems.keys() - again.stems.keys() == {"drums"}
    for role, stem in again.stems.items():
        assert np.array_equal(piece.stems[role].samples, stem.samples), role
    heard = again.provenance["understand"]["negative_prompt"]
    assert heard["without"] == ("drums", "other drum") and heard["unknown"] == ("low quality",)
    assert again.params.to_dict()["negative_prompt"] == "drums, low quality"


def test_a_guess_that_shall_be_avoided_is_made_again(etude: Pipeline) -> None:
    prompt = "chords over a beat for a car advert"  # names no style, so the classifier decides
    first = etude.generate(prompt, duration=1.0, seed=1)
    assert first.provenance["understand"]["style"]["by"] == "classifier"
    again = etude.generate(prompt, duration=1.0, seed=1, negative_prompt=first.plan.style.replace("_", " "))
    assert again.plan.style != first.plan.style


def test_a_mood_and_a_blend_reach_the_sound(etude: Pipeline) -> None:
    made = {
        mood: [
            etude.generate("70% jazz, 30% house", duration=4.0, seed=seed, mood=mood, loudness="none")
            for seed in range(3)
        ]
        for mood in ("sad", "aggressive")
    }
    for mood, pieces in made.items():
        for plan in (piece.plan for piece in pieces):
            assert (plan.mood, plan.style, set(plan.blend.values())) == (mood, "jazz", {"house"})
    sad, aggressive = made["sad"], made["aggressive"]
    assert all(a.plan.tempo < b.plan.tempo for a, b in zip(sad, aggressive, strict=True))
    assert sum(a.waveform.loudness() for a in sad) < sum(b.waveform.loudness() for b in aggressive)  # one may differ


def test_network_plays_the_notes_it_is_given(etude: Pipeline) -> None:
    """Each stem sounds where its notes do: the loudness over time follows the score far better than chance."""
    plan = plan_music(Attributes(style="techno"), Constraints(duration=4.0, seed=3, instruments=["drums"], only=True))
    made = etude.generate("techno", plan=plan, seed=1)
    (track,) = arrange(plan).tracks
    frames = np.abs(made.stems["drums"].samples[0]).reshape(-1, 480).max(1)  # 20 ms
    struck = {round(note.start * 60 / plan.tempo / 0.02) for note in track.notes if note.velocity > 80}
    onsets = np.array([max(frames[i : i + 4]) for i in sorted(struck) if i + 4 < len(frames)])
    assert np.median(onsets) > 2 * np.median(frames)


def test_the_embedded_name_wins_over_a_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etude").mkdir()
    (tmp_path / "etude" / "config.yaml").write_text("format_version: 1\n")
    monkeypatch.chdir(tmp_path)
    assert checkpoint.find_folder("etude") == checkpoint.embedded_models()["etude"]
    assert checkpoint.find_folder("./etude") == Path("./etude")


def test_packed_weights_sound_like_the_trained_ones(tmp_path: Path) -> None:
    """int8 rows come back within a step of their scale, most within half of one."""
    weight = torch.randn(8, 64)
    checkpoint.save(tmp_path, {"name": "x"}, {"performer.w": weight}, int8=("performer.",))
    _, tensors = checkpoint.load(tmp_path)
    error = (tensors["performer.w"] - weight).abs() / (weight.abs().amax(1, keepdim=True) / 127)
    assert float(error.max()) <= 1.01 and float(error.median()) < 0.3
