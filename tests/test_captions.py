"""Captions: the same seed says the same, many seeds say many things, and no caption lies."""

from __future__ import annotations

import random
import re

import pytest
from gen_audio.composition.captions import caption, describe
from gen_audio.composition.prompt import parse_prompt
from gen_audio.composition.wording import vocabulary
from gen_audio.errors import ConfigError, UnknownNameError

FACTS = {
    "style": "lofi",
    "tempo": 83.333,
    "key": "A minor",
    "mood": "calm",
    "instruments": ["piano", "double bass", "drums"],
    "energy": 0.4,
    "meter": "4/4",
    "sections": ["intro", "verse"],
}
STYLES = sorted(vocabulary()["styles"])


def many(facts: dict, count: int = 300) -> list[str]:
    return [caption(facts, random.Random(seed)) for seed in range(count)]


def test_same_seed_gives_same_caption() -> None:
    assert many(FACTS, 50) == many(FACTS, 50)


def test_one_fact_set_has_hundreds_of_captions() -> None:
    assert len(set(many(FACTS, 1000))) > 900


def test_a_style_alone_still_has_many_captions() -> None:
    assert len(set(many({"style": "techno"}, 1000))) > 300


@pytest.mark.parametrize("name", list(FACTS))
def test_every_fact_alone_gives_words(name: str) -> None:
    assert all(text.strip() and "{" not in text and "  " not in text for text in many({name: FACTS[name]}))


def test_a_number_of_bpm_is_the_tempo() -> None:
    for text in many(FACTS, 1000):
        assert all(int(number) == 83 for number in re.findall(r"(\d+)\s*(?:bpm|beats per)", text.lower()))


def test_tempo_words_agree_with_the_tempo() -> None:
    assert not any(re.search(r"\b(fast|upbeat|quick)\b", text.lower()) for text in many({"style": "lofi", "tempo": 60}))
    assert not any(re.search(r"\bslow\b", text.lower()) for text in many({"key": "C major", "tempo": 150}))


def test_no_instrument_is_invented() -> None:
    others = re.compile(r"\b(piano|guitars?|bass|drums|flute|organ|violin|strings|sax|trumpet|brass|choir|synth)\b")
    for style in STYLES:
        for text in many({"style": style, "instruments": ["harp"], "mood": "calm"}, 200):
            assert not others.search(text.lower()), text


def test_key_keeps_its_pitch_and_mode() -> None:
    for text in many({"key": "A# minor"}):
        assert re.search(r"\b(a#|bb|(a|b)[ -](sharp|flat))", text.lower()), text
        assert "maj" not in text.lower(), text


def test_describe_tells_which_facts_the_words_hold() -> None:
    for seed in range(300):
        text, mentioned = describe({"tempo": 97.0, "key": "G major"}, random.Random(seed))
        assert ("tempo" not in mentioned) <= ("97" not in text), text
        assert ("key" in mentioned) == bool(re.search(r"\bg[ -]?(maj|m)", text.lower())), text


def phrases(style: str) -> list[str]:
    words = vocabulary()["styles"][style]
    return [*words["scenes"], *words["sayings"]]


def test_styles_do_not_share_scenes_or_sayings() -> None:
    said = [phrase for style in STYLES for phrase in phrases(style)]
    assert len(said) == len(set(said))


@pytest.mark.parametrize("style", STYLES)
def test_every_style_has_words(style: str) -> None:
    words = vocabulary()["styles"][style]
    assert len(words["names"]) >= 6 and words["full"] and words["textures"]
    assert len(words["scenes"]) >= 40 and len(words["sayings"]) >= 30


@pytest.mark.parametrize("style", STYLES)
def test_scenes_and_sayings_state_no_fact_of_one_piece(style: str) -> None:
    for phrase in phrases(style):
        for text in (phrase, f"music for {phrase}"):
            facts = parse_prompt(text)
            assert {*facts.styles} <= {style}, text
            stated = (facts.tempo, facts.key, facts.meter, facts.bars, facts.duration, facts.blend)
            assert stated == (None,) * 6 and not facts.instruments and not facts.without, text


def test_a_caption_of_a_scene_or_saying_tells_which() -> None:
    heard = {}
    for seed in range(600):
        text, mentioned = describe({"style": "funk", "mood": "calm"}, random.Random(seed))
        if "scene" in mentioned:
            heard[mentioned["scene"]] = text
            missing = set(re.findall(r"\w+", mentioned["scene"].lower())) - set(re.findall(r"\w+", text.lower()))
            assert len(missing) <= 1, text  # one word may hold a slip
    assert {*heard} <= {*phrases("funk")} and len(heard) > 60


def test_a_style_without_scenes_and_sayings_is_named_instead() -> None:
    told = [describe({"style": "space_polka"}, random.Random(seed)) for seed in range(100)]
    assert not any("scene" in mentioned for _, mentioned in told)


def test_every_style_file_has_vocabulary_and_known_moods() -> None:
    from gen_audio.composition.style import load_style, style_names

    known = {word for line in vocabulary()["moods"] for word in line}
    assert set(style_names()) <= set(STYLES)
    for name in style_names():
        assert set(load_style(name).moods) <= known, name


def test_unknown_style_and_instrument_are_named_as_they_are() -> None:
    said = " ".join(many({"style": "space_polka"}, 30)).lower()
    assert "space polka" in said


def test_unknown_fact_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="temp"):
        caption({"temp": 90}, random.Random(0))


def test_no_fact_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        caption({"style": None}, random.Random(0))
