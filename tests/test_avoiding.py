"""Negative prompts: what they name does not play, and what they say in vain is told."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from gen_audio.composition.avoiding import Avoided, read_negative
from gen_audio.composition.instruments import FORBIDDEN, forbidden, instrument_family
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.prompt import parse_prompt
from gen_audio.composition.style import style_names
from gen_audio.errors import ConfigError
from gen_audio.pipeline.agreement import heed_negative
from gen_audio.pipeline.params import GenerationParams, resolve_params


@pytest.mark.parametrize(
    ("text", "avoided"),
    [
        ("drums", Avoided(without=("drums", "other drum"))),
        ("no drums, vocals and saxophone", Avoided(without=("drums", "vocals", "saxophone", "other drum"))),
        ("sad vocals; techno", Avoided(without=("vocals",), moods=("sad",), styles=("techno",))),
        ("melody, soft", Avoided(without=("lead",), moods=("gentle",))),
        ("jazz guitar", Avoided(without=("jazz guitar",))),
        ("808", Avoided(without=("808",))),
        ("low quality, heavy drums", Avoided(without=("drums", "other drum"), unknown=("low quality", "heavy"))),
        ("noise", Avoided(unknown=("noise",))),
    ],
)
def test_words_are_sorted(text: str, avoided: Avoided) -> None:
    assert read_negative(text) == avoided
    assert read_negative(text).is_empty == (text == "noise")


@pytest.mark.parametrize("style", style_names())
def test_what_is_forbidden_never_plays(style: str) -> None:
    negative = "drums, vocals, brass"
    for seed in range(10):
        made = plan_music(
            Attributes(style=style), GenerationParams(negative_prompt=negative, seed=seed, duration=20.0).constraints
        )
        assert "drums" not in made.instruments
        for word in ("vocals", "brass", "other drum"):
            assert not forbidden(word)[1] & set(made.instruments.values()), (seed, word)


def test_a_family_forbids_more_than_it_asks_for() -> None:
    assert forbidden("brass")[1] > instrument_family("brass") and forbidden("drums")[0]
    assert all(programs for programs in FORBIDDEN.values())
    assert parse_prompt("jazz, no vocals or strings").without == ("vocals", "strings")


def test_forbidden_roles_of_a_given_plan_are_silent() -> None:
    params = GenerationParams(negative_prompt="drums, brass")
    assert params.is_silent("drums", 32) and params.is_silent("colour", 47) and params.is_silent("lead", 56)
    assert not params.is_silent("lead", 73)


def test_styles_and_moods_are_avoided() -> None:
    avoided: dict[str, Any] = {"avoid_styles": [name for name in style_names() if name != "funk"]}
    assert all(plan_music(None, Constraints(seed=seed, **avoided)).style == "funk" for seed in range(4))
    away = plan_music(Attributes(style="pop"), Constraints(avoid_moods=("sad",), duration=20.0))
    assert away.mood == "" and away.expression["velocity"] > 0 and "not sad" in away.decisions["mood"]


@pytest.mark.parametrize(
    ("heard", "hard"),
    [
        ({}, {"style": "jazz", "avoid_styles": ("jazz",)}),
        ({}, {"style": "70% pop, 30% jazz", "avoid_styles": ("swing",)}),
        ({"style": "jazz"}, {"avoid_styles": ("jazz",)}),
        ({}, {"mood": "sad", "avoid_moods": ("melancholic",)}),
        ({"mood": "sad"}, {"avoid_moods": ("sad",)}),
        ({}, {"avoid_styles": style_names()}),
    ],
)
def test_a_wish_and_its_opposite_are_refused(heard: dict[str, Any], hard: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="avoided"):
        plan_music(Attributes(**heard), Constraints(**hard))


def test_words_in_vain_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        heed_negative(resolve_params("rock", negative_prompt="drums, low quality"))
    assert "low quality" in caplog.text and "drums" not in caplog.text
    with pytest.raises(ConfigError, match="names no instrument"):
        heed_negative(resolve_params("rock", negative_prompt="noise"))
    with pytest.raises(ConfigError, match="instruments has 'drums'"):
        heed_negative(resolve_params("rock", instruments=("drums",), negative_prompt="percussion"))
    with pytest.raises(ConfigError, match="negative_prompt is ' '"):
        GenerationParams(negative_prompt=" ")


def test_a_given_plan_and_words_that_cannot_change_it_are_told(caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_music(Attributes(style="pop"), Constraints(duration=10.0))
    with caplog.at_level(logging.WARNING):
        heed_negative(resolve_params("pop", plan=plan, negative_prompt="drums, sad"))
    assert "no effect: sad" in caplog.text
