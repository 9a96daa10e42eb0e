"""Styles by their shares: who gives which part, tempo between them, and words that say so."""

from __future__ import annotations

from collections import Counter

import pytest
from gen_audio.composition.arranger import arrange
from gen_audio.composition.blending import PARTS, Blend, join_styles
from gen_audio.composition.manner import style_of
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.prompt import parse_prompt
from gen_audio.composition.revision import Wishes, revise
from gen_audio.composition.style import load_style, style_names
from gen_audio.errors import ConfigError, UnknownNameError
from gen_audio.pipeline.params import GenerationParams, resolve_params


def plan(style: str, seed: int = 0) -> MusicalPlan:
    return plan_music(Attributes(style=style), Constraints(duration=20.0, seed=seed))


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("70% jazz, 30% house", {"jazz": 0.7, "house": 0.3}),
        ("30 percent house and 70 percent jazz", {"jazz": 0.7, "house": 0.3}),
        ("jazz: 70%; house: 30%", {"jazz": 0.7, "house": 0.3}),
        ("jazz and house", {"jazz": 0.5, "house": 0.5}),
        ("lofi, jazz, pop", {"lofi": 1 / 3, "jazz": 1 / 3, "pop": 1 / 3}),
        ("33% lofi, 33% jazz, 33% pop", {"lofi": 1 / 3, "jazz": 1 / 3, "pop": 1 / 3}),
        ("Bossa Nova", {"bossa_nova": 1.0}),
    ],
)
def test_shares_are_read(text: str, shares: dict[str, float]) -> None:
    blend = Blend.parse(text)
    assert dict(blend.shares) == pytest.approx(shares)
    assert blend.foundation == max(shares, key=lambda name: shares[name])
    assert dict(Blend.parse(str(blend)).shares) == pytest.approx(shares, abs=0.01)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("70% jazz, 40% house", "110 %"),
        ("50% jazz", "50 %"),
        ("70% jazz, house", "'house' has no share"),
        ("0% jazz, 100% house", "above 0"),
        ("20% jazz, 20% house, 20% pop, 20% rock, 20% funk", "4 at most"),
    ],
)
def test_shares_that_make_no_whole_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GenerationParams(style=text)


def test_unknown_styles_are_refused() -> None:
    for text in ("70% jaz, 30% house", "jaz and house", "jaz"):
        with pytest.raises(UnknownNameError, match="Did you mean 'jazz'"):
            Blend.parse(text)


@pytest.mark.parametrize(
    ("prompt", "blend"),
    [
        ("70% jazz, 30% house", "70% jazz, 30% house"),
        ("jazz 70%, house 30%", "70% jazz, 30% house"),
        ("something sad, 60% techno and 40% ambient, 120 bpm", "60% techno, 40% ambient"),
        ("jazz meets house", "50% jazz, 50% house"),
        ("classical and metal with violin", "50% classical, 50% metal"),
        ("lofi jazz piano", None),
        ("rock and roll", None),
        ("folk and country", None),  # one style by two names
        ("not jazz and house", None),
        ("jazz for a haunted house", None),
        ("a house track that is 30% faster", None),
        ("drum and bass", None),
    ],
)
def test_a_prompt_says_a_blend_only_where_both_names_are_sure(prompt: str, blend: str | None) -> None:
    assert parse_prompt(prompt).blend == blend


def test_a_prompt_whose_shares_make_no_whole_is_refused() -> None:
    with pytest.raises(ConfigError, match="110 %"):
        parse_prompt("70% jazz, 40% house")


@pytest.mark.parametrize(("share", "given"), [(90, 1), (70, 2), (50, 3)])
def test_the_smaller_share_gives_as_many_parts_as_it_asks_for(share: int, given: int) -> None:
    for seed in range(8):
        made = plan(f"{share}% jazz, {100 - share}% house", seed)
        assert made.style == "jazz" and list(made.blend.values()) == ["house"] * given
        assert not {"drums", "bass"} & set(made.blend)


def test_every_part_but_the_foundations_is_dealt_by_the_seed() -> None:
    dealt = Counter(part for seed in range(40) for part in plan("70% jazz, 30% house", seed).blend)
    assert set(dealt) == {"harmony", "chords", "lead", "colour"} and min(dealt.values()) > 8


def test_who_has_drums_gives_them() -> None:
    assert plan("70% ambient, 30% techno").blend["drums"] == "techno"
    assert "drums" in plan("70% ambient, 30% techno").instruments


def test_parts_come_whole_from_their_style() -> None:
    made = plan("50% jazz, 50% house", seed=2)
    played = style_of(made)
    fields = {"drums": "drums", "bass": "bass", "harmony": "progressions", "chords": "comping", "lead": "melody"}
    for part, field in fields.items():
        assert getattr(played, field) == getattr(load_style(made.blend.get(part, "jazz")), field), part
    for part, style in made.blend.items():
        if part in made.instruments:
            assert made.instruments[part] in load_style(style).roles[part]


def test_the_tempo_lies_between() -> None:
    low, high, typical = Blend.parse("50% lofi, 50% techno").tempo
    for i, value in enumerate((low, high, typical)):
        assert value == pytest.approx((load_style("lofi").tempo[i] * load_style("techno").tempo[i]) ** 0.5)
    assert all(low <= plan("50% lofi, 50% techno", seed).tempo <= high for seed in range(6))


def test_every_pair_of_styles_can_be_played() -> None:
    names = style_names()
    for number, one in enumerate(names):
        for other in (names[(number + 1) % len(names)], names[(number + 5) % len(names)]):
            made = plan(f"60% {one}, 40% {other}", seed=number)
            assert arrange(made).tracks and MusicalPlan.from_json(made.to_json()) == made
            assert set(made.blend.values()) == {other} and other in made.decisions["blend"]


def test_a_plan_knows_whether_a_blend_is_its_own() -> None:
    made = plan("70% jazz, 30% house")
    assert resolve_params("x", plan=made, style="70% jazz, 30% house").plan == made
    with pytest.raises(ConfigError, match="style is jazz, but the plan says house and jazz"):
        resolve_params("x", plan=made, style="jazz")
    with pytest.raises(UnknownNameError, match="part of a blend"):
        join_styles(load_style("jazz"), {"voice": "house"})
    assert all(part in PARTS for part in made.blend)


def test_a_stream_keeps_its_blend() -> None:
    made = plan("60% ambient, 40% techno", seed=1)
    faster = revise(made, 0.0, Wishes(pace=1.2), 15.0)
    assert (faster.style, faster.blend, faster.groove) == (made.style, made.blend, made.groove)
    assert revise(made, 0.0, Wishes(style="jazz"), 15.0).blend == {}
