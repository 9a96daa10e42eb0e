"""A mood leans where it should, within what a style allows, and leaves alone what somebody fixed."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from gen_audio.composition.arranger import arrange
from gen_audio.composition.manner import express, style_of
from gen_audio.composition.moods import Cues, busier, cues_of, lean, mood_places, read_moods, weigh_modes
from gen_audio.composition.naming import mood_names
from gen_audio.composition.plan import EXPRESSION, MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.prompt import parse_prompt
from gen_audio.composition.revision import Wishes, revise
from gen_audio.composition.score import Note
from gen_audio.composition.style import load_style, style_names
from gen_audio.composition.theory import Key
from gen_audio.errors import ConfigError, UnknownNameError
from gen_audio.pipeline.params import GenerationParams, resolve_params

SECONDS = 20.0


def plan(mood: str | None = None, style: str = "pop", **hard: Any) -> MusicalPlan:
    return plan_music(Attributes(style=style), Constraints(**({"duration": SECONDS} | hard), mood=mood))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_every_mood_of_the_vocabulary_has_a_place_and_every_rule_a_cue() -> None:
    places = mood_places()
    assert list(places) == mood_names()
    assert all(-1 <= value <= 1 for place in places.values() for value in place.values())
    assert all(any(vars(cues_of([name])).values()) for name in places)


@pytest.mark.parametrize(
    ("name", "signs"),
    [  # Juslin and Laukka 2004: happiness, sadness, anger, fear, tenderness
        ("happy", {"mode": 1, "tempo": 1, "register": 1, "articulation": 1, "loudness": 1, "brightness": 1}),
        ("sad", {"mode": -1, "tempo": -1, "register": -1, "articulation": -1, "loudness": -1, "brightness": -1}),
        ("aggressive", {"mode": -1, "tempo": 1, "register": 1, "articulation": 1, "loudness": 1, "brightness": 1}),
        ("tense", {"mode": -1, "tempo": 1, "register": 1, "articulation": 1, "loudness": -1, "brightness": -1}),
        ("gentle", {"mode": 1, "tempo": -1, "register": -1, "articulation": -1, "loudness": -1, "brightness": -1}),
    ],
)
def test_five_emotions_have_the_signs_of_the_literature(name: str, signs: dict[str, int]) -> None:
    cues = vars(cues_of([name]))
    assert {cue: (cues[cue] > 0) - (cues[cue] < 0) for cue in signs} == signs


def test_moods_are_averaged_and_those_to_avoid_push_the_other_way() -> None:
    both = cues_of(["sad", "energetic"])
    for field in fields(Cues):
        one, two = getattr(cues_of(["sad"]), field.name), getattr(cues_of(["energetic"]), field.name)
        assert getattr(both, field.name) == pytest.approx((one + two) / 2)
    assert cues_of([], ["sad"]).tempo == pytest.approx(-0.5 * cues_of(["sad"]).tempo) != 0
    assert cues_of([]) == Cues() and Cues().expression == {}


def test_leaning_keeps_order_and_bounds() -> None:
    assert [lean(100, 80, 140, amount) for amount in (-1, -0.5, 0, 0.5, 1)] == [80, 90, 100, 120, 140]
    patterns = ["x...", "xxxx", "xx.."]
    count = {name: name.count("x") for name in patterns}
    assert busier(patterns, lambda p: count[p], 0) == patterns
    assert busier(patterns, lambda p: count[p], 1) == ["xxxx"] * 3
    assert busier(patterns, lambda p: count[p], -1) == ["x..."] * 3


def test_modes_lean_and_none_comes_in() -> None:
    own = {"major": 0.5, "minor": 0.5}
    assert weigh_modes(own, 0) == own
    assert weigh_modes(own, 0.8)["major"] > 0.9 and weigh_modes(own, -0.8)["minor"] > 0.9
    assert set(weigh_modes({"minor": 0.6, "phrygian": 0.4}, 1.0)) == {"minor", "phrygian"}


@pytest.mark.parametrize("style", style_names())
def test_a_style_stays_the_style(style: str) -> None:
    own = load_style(style)
    for mood in ("sad", "energetic", "aggressive", "sleepy"):
        made = plan(mood, style, seed=5)
        played = style_of(made)
        assert own.tempo[0] <= made.tempo <= own.tempo[1]
        assert Key.parse(made.key).mode in own.modes
        assert made.instruments == plan(None, style, seed=5).instruments
        assert set(played.comping["patterns"]) <= set(own.comping["patterns"])
        assert set(played.melody["rhythms"]) <= set(own.melody["rhythms"])
        assert MusicalPlan.from_json(made.to_json()) == made
        assert all(
            note.start + note.duration <= SECONDS * made.tempo / 60 + 1e-6 for note in arrange(made).tracks[0].notes
        )


def test_sad_is_slower_lower_softer_and_in_minor() -> None:
    styles = ("pop", "jazz", "folk", "blues", "classical", "rock")
    facts: dict[str | None, list[tuple[float, ...]]] = {None: [], "sad": [], "energetic": []}
    for mood, rows in facts.items():
        for style in styles:
            made = plan(mood, style, seed=3, instruments=("lead",))
            lead = next(track for track in arrange(made).tracks if track.role == "lead").notes
            loud, high = mean([n.velocity for n in lead]), mean([n.pitch for n in lead])
            rows.append((made.tempo, loud, high, float(Key.parse(made.key).mode in ("minor", "dorian"))))
    plain, sad, energetic = ([mean(list(column)) for column in zip(*rows, strict=True)] for rows in facts.values())
    assert sad[0] < plain[0] < energetic[0] and sad[1] < plain[1] < energetic[1] and sad[2] < plain[2] < energetic[2]
    assert sad[3] > plain[3]


def test_what_the_user_fixed_is_not_touched() -> None:
    made = plan("energetic", tempo=70.0, key="A minor", chords=("Am", "F"), bars=8, duration=None)
    assert (made.tempo, made.key) == (70.0, "A minor")
    assert made.decisions["tempo"].startswith("user") and made.decisions["key"].startswith("user")
    assert made.mood == "energetic" and made.decisions["mood"] == "user: energetic"


def test_what_a_mood_does_not_touch_stays() -> None:
    fixed: dict[str, Any] = {"tempo": 100.0, "key": "C major", "seed": 4}
    one, other = plan(None, "jazz", **fixed), plan("sad", "jazz", **fixed)
    for name in ("style", "meter", "instruments", "swing", "duration"):
        assert getattr(one, name) == getattr(other, name), name
    assert [s.chords for s in one.sections] == [s.chords for s in other.sections]
    assert one.mood == "" and one.expression == {} and one.decisions["mood"] == "rule: nobody asked for one"


def test_a_users_mood_wins_over_that_of_the_prompt() -> None:
    made = plan_music(Attributes(style="pop", mood="happy"), Constraints(mood="sad", duration=SECONDS))
    assert made.mood == "sad"
    assert (
        plan_music(Attributes(style="pop", mood="happy, tense"), Constraints(duration=SECONDS)).mood == "happy, tense"
    )


def test_names_are_resolved_or_refused() -> None:
    assert read_moods("melancholic, Laid-Back,sad") == ("sad", "mellow")
    with pytest.raises(UnknownNameError, match="Did you mean 'happy'"):
        read_moods("happpy")
    with pytest.raises(UnknownNameError, match="mood"):
        GenerationParams(mood="rainy")
    assert resolve_params("rock", mood="melancholic").mood == "sad"
    assert parse_prompt("a happy tune, not sad, rather dreamy").moods == ("happy", "dreamy")


def test_a_mood_that_the_plan_does_not_have_is_refused() -> None:
    made = plan("sad")
    assert resolve_params("x", plan=made, mood="sad").plan == made
    with pytest.raises(ConfigError, match="mood is happy, but the plan says sad"):
        resolve_params("x", plan=made, mood="happy")


def test_notes_get_longer_until_the_next_of_their_pitch_and_drums_keep_their_length() -> None:
    notes = (Note(0, 0.9, 60, 80), Note(1, 0.9, 60, 80), Note(2, 0.9, 62, 80))
    legato = express(notes, {"length": 1.5, "velocity": 60}, is_drums=False, end=3.0)
    assert [n.duration for n in legato] == pytest.approx([1.0, 1.35, 1.0]) and {n.velocity for n in legato} == {127}
    short = express(notes, {"length": 0.5}, is_drums=False, end=3.0)
    assert [n.duration for n in short] == [0.45] * 3 and [n.start for n in short] == [0, 1, 2]
    assert express(notes, {"length": 0.5}, is_drums=True, end=3.0) == notes


@pytest.mark.parametrize("expression", [{"speed": 1}, {"density": 2}, {"velocity": "loud"}])
def test_an_expression_that_there_is_not_is_refused(expression: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="plan: expression"):
        MusicalPlan.from_dict(plan().to_dict() | {"expression": expression})


def test_every_expression_changes_how_the_plan_is_played() -> None:
    made = plan(style="jazz", seed=1)
    for name, value in {"register": 5, "density": -0.8, "length": 0.5, "velocity": 20, "treble_db": 3.0}.items():
        assert name in EXPRESSION
        changed = MusicalPlan.from_dict(made.to_dict() | {"expression": {name: value}})
        assert (arrange(changed), style_of(changed).effects) != (arrange(made), style_of(made).effects), name


def test_a_plan_of_version_1_is_played_as_it_was() -> None:
    data = plan(style="jazz", seed=1).to_dict()
    old = {name: value for name, value in data.items() if name not in ("blend", "expression")} | {"version": 1}
    assert arrange(MusicalPlan.from_dict(old | {"mood": "smoky"})) == arrange(MusicalPlan.from_dict(data))


def test_a_new_mood_in_a_stream_changes_the_playing_and_neither_key_nor_tempo() -> None:
    made = plan(style="jazz", seed=1)
    sadder = revise(made, made.seconds_per_bar, Wishes(mood="sad"), 10.0)
    assert (sadder.key, sadder.tempo, sadder.instruments) == (made.key, made.tempo, made.instruments)
    assert sadder.mood == "sad" and sadder.expression["velocity"] < 0
    assert revise(sadder, 0.0, Wishes(pace=1.2), 9.0).expression == sadder.expression
