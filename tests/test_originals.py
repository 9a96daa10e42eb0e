"""Originals are mixed as the model's own stems are, or a comparison would measure the mixer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gen_audio.audio import Waveform
from gen_audio.composition.arranger import arrange
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.renderer import Renderer
from gen_audio.composition.score import Score
from gen_audio.evaluation.faults import faults, is_clean_ending
from gen_audio.evaluation.originals import LOUDNESS, Original, Originals
from gen_audio.pipeline import load as loader
from gen_audio.pipeline.generation import Generation
from gen_audio.pipeline.pipeline import Pipeline

WISHES: dict[str, dict[str, str]] = {
    "plain": {},
    "mood": {"mood": "aggressive"},
    "blend": {"style": "60% lofi, 40% house"},
}


class Recorded(Renderer):
    """Gives stems that are there already, for a machine without a SoundFont."""

    def __init__(self, stems: Mapping[str, np.ndarray]) -> None:
        self.stems = stems

    def render(self, score: Score) -> dict[str, np.ndarray]:
        return {track.role: self.stems[track.role] for track in score.tracks}


@pytest.fixture(scope="module")
def pipeline(nano_model: Path) -> Pipeline:
    loaded = loader.load(str(nano_model))
    assert isinstance(loaded, Pipeline)
    return loaded


def plan_of(wishes: str, fade_out: float) -> MusicalPlan:
    plan = plan_music(Attributes(style="lofi"), Constraints(seed=3, duration=2.0, **WISHES[wishes]))
    return replace(plan, fade_out=fade_out)


@pytest.mark.parametrize(("wishes", "fade_out"), [("plain", 0.0), ("plain", 1.0), ("mood", 0.0), ("blend", 0.5)])
def test_an_original_of_the_models_own_stems_sounds_as_the_model_does(
    pipeline: Pipeline, wishes: str, fade_out: float
) -> None:
    plan = plan_of(wishes, fade_out)
    made = pipeline.generate("lofi", plan=plan, seed=3, loudness=LOUDNESS)
    assert isinstance(made, Generation)
    stems = {role: sound.samples for role, sound in pipeline.decode(made.codes, plan.duration, arrange(plan)).items()}
    original = Originals(pipeline, Recorded(stems)).compose(plan)
    assert original is not None and np.array_equal(original.waveform.samples, made.waveform.samples)


def test_a_round_trip_is_mixed_as_the_models_codes_are(pipeline: Pipeline) -> None:
    plan = plan_of("mood", fade_out=1.0)
    rng = np.random.default_rng(0)
    stems = {role: rng.normal(0, 0.1, (1, 48000)).astype(np.float32) for role in plan.instruments}
    again, codes = Originals(pipeline, Recorded(stems)).through_codec(
        Original(plan, stems, Waveform(stems["chords"], 1))
    )
    decoded = pipeline.decode(
        {role: torch.from_numpy(rows) for role, rows in codes.items()}, plan.duration, arrange(plan)
    )
    expected = pipeline.mix(decoded, arrange(plan), plan).normalise(LOUDNESS)
    assert np.array_equal(again.samples, expected.samples)


def test_an_original_that_shall_fade_ends_in_silence(pipeline: Pipeline) -> None:
    steady = np.full((1, 48000), 0.1, np.float32) * np.sin(np.arange(48000) / 9, dtype=np.float32)
    endings = {}
    for fade_out in (0.0, 1.0):
        plan = plan_of("plain", fade_out)
        original = Originals(pipeline, Recorded(dict.fromkeys(plan.instruments, steady))).compose(plan)
        assert original is not None
        endings[fade_out] = is_clean_ending(faults(original.waveform))
    assert endings == {0.0: False, 1.0: True}
