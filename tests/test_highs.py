"""The band above a codec's: copied from below, and what is below left as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from gen_audio.composition.score import ROLES
from gen_audio.pipeline import load as loader
from gen_audio.pipeline.checkpoint import embedded_models
from gen_audio.pipeline.highs import REACH, Highs
from gen_audio.pipeline.pipeline import Pipeline

RATE = 24000
LEVELS = yaml.safe_load((embedded_models()["etude"] / "config.yaml").read_text())["highs"]


@pytest.fixture(scope="module")
def highs() -> Highs:
    return Highs(LEVELS)


def noise(seconds: float, low: float, high: float, seed: int = 0) -> np.ndarray:
    """[1, n] of a band of frequencies."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(0, 0.1, count))
    spectrum[(np.fft.rfftfreq(count, 1 / RATE) < low) | (np.fft.rfftfreq(count, 1 / RATE) > high)] = 0
    return np.fft.irfft(spectrum, count).astype(np.float32)[None]


def power(sound: np.ndarray, low: float, high: float) -> float:
    """Of a band of frequencies of a sound at twice the rate."""
    energy = np.abs(np.fft.rfft(sound[0])) ** 2
    hz = np.fft.rfftfreq(sound.shape[1], 1 / (2 * RATE))
    return float(energy[(low <= hz) & (hz < high)].sum())


def test_below_the_top_nothing_changes(highs: Highs) -> None:
    sound = noise(1.0, 20, 11900)
    again = highs.extend(sound, ["drums"])
    assert again.shape == (1, 2 * sound.shape[1])
    low = np.abs(np.fft.rfftfreq(sound.shape[1], 1 / RATE)) < 11000
    before, after = np.fft.rfft(sound[0])[low], np.fft.rfft(again[0])[: low.size][low] / 2
    assert np.abs(after - before).max() < 0.002 * np.abs(before).max()


def test_what_is_bright_below_goes_on_above_and_what_is_dull_does_not(highs: Highs) -> None:
    bright, dull = (highs.extend(noise(1.0, 20, top), ["drums"]) for top in (11900, 3000))
    ratio = power(bright, 12000, 20000) / power(bright, 8000, 12000)
    assert 0.05 < ratio < 2  # a hi-hat falls by some dB an octave
    assert power(dull, 12000, 20000) < 1e-6 * power(dull, 20, 3000)
    assert power(bright, 20000, 24000) < 1e-3 * power(bright, 12000, 20000)
    assert not highs.extend(np.zeros((1, 1000), np.float32), ["lead"]).any()


def test_highs_come_and_go_with_what_they_are_copied_from(highs: Highs) -> None:
    stroke = noise(1.0, 20, 11900)
    stroke[:, :8000] = stroke[:, 14000:] = 0
    again = highs.extend(stroke, ["drums"])
    inside = power(again[:, 18000:26000], 12000, 20000)
    assert power(again[:, :14000], 12000, 20000) < 1e-4 * inside > power(again[:, 30000:], 12000, 20000)


@pytest.mark.parametrize("lengths", [(1, 2, 3000, 5, 20000, 992), (24000,), (640, 640, 22720)])
def test_blocks_of_any_length_join_into_the_whole(highs: Highs, lengths: tuple[int, ...]) -> None:
    rows = np.concatenate([noise(1.0, 20, 11900, seed) for seed in range(2)])
    blocks = np.split(rows, np.cumsum(lengths)[:-1], 1)
    joined = np.concatenate(list(highs.extend_blocks(blocks, ["drums", "lead"])), 1)
    np.testing.assert_allclose(joined, highs.extend(rows, ["drums", "lead"]), atol=1e-5)


def test_no_sample_further_away_than_the_reach_counts(highs: Highs) -> None:
    sound = noise(1.0, 20, 11900)
    other = sound.copy()
    other[:, 12000] += 0.5
    changed = np.nonzero(np.abs(highs.extend(sound, ["drums"]) - highs.extend(other, ["drums"])) > 1e-6)[1]
    assert 24000 - 2 * REACH <= changed.min() and changed.max() <= 24000 + 2 * REACH


def test_roles_have_weights_of_their_own_or_those_of_all_others(highs: Highs) -> None:
    sound = np.repeat(noise(1.0, 20, 11900), 3, 0)
    drums, lead, pad = highs.extend(sound, ["drums", "lead", "pad"])
    assert np.array_equal(lead, pad) and not np.allclose(drums, lead, atol=1e-3)


def test_a_model_with_highs_makes_and_streams_twice_the_rate(nano_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bright"
    shutil.copytree(nano_model, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"highs": LEVELS}))
    plain, bright = (loader.load(str(path)) for path in (nano_model, folder))
    assert isinstance(bright, Pipeline) and bright.sample_rate == 2 * plain.sample_rate
    for duration in (1.0, 0.7300123):
        made = bright.generate("lofi", duration=duration, seed=3, loudness="none")
        length = round(duration * bright.sample_rate)
        assert made.waveform.samples.shape == (2, length)  # type: ignore[union-attr]
        assert {stem.samples.shape[1] for stem in made.stems.values()} == {length}  # type: ignore[union-attr]
        assert "48000" in made.provenance["highs"]  # type: ignore[union-attr]
        streamed = np.concatenate([p.samples for p in bright.stream("lofi", duration=duration, seed=3)], 1)
        np.testing.assert_allclose(streamed, made.waveform.samples, atol=1e-4)  # type: ignore[union-attr]
    codes = plain.generate("lofi", duration=1.0, seed=3).codes  # type: ignore[union-attr]
    assert all(
        (codes[role] == made_codes).all()
        for role, made_codes in bright.generate("lofi", duration=1.0, seed=3).codes.items()
    )  # type: ignore[union-attr]
    assert set(codes) <= set(ROLES)
