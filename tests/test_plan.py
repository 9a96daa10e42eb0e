"""The plan file: what is written comes back, and what is wrong is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from gen_audio.composition.plan import MusicalPlan, Section
from gen_audio.errors import ConfigError


def make(**changes: Any) -> MusicalPlan:
    values: dict[str, Any] = {
        "style": "lofi",
        "tempo": 75.0,
        "meter": "4/4",
        "key": "A minor",
        "sections": (
            Section("verse", 0.6, (("Am7",), ("Dm7", "G7"), ("Cmaj7",))),
            Section("ending", 0.4, (("Am7",),)),
        ),
        "instruments": {"drums": 0, "chords": 4},
        "duration": 15.0,
        "groove": "boom",
        "swing": 0.4,
        "mood": "mellow",
        "seed": 3,
        "decisions": {"tempo": "user: --bpm 75"},
    }
    return MusicalPlan(**(values | changes))


def test_a_plan_survives_json_and_files(tmp_path: Path) -> None:
    plan = make(effects={"reverb": "hall", "delay": 0.3}, rubato=0.4, ritardando=0.2, fade_out=0.5)
    assert MusicalPlan.from_json(plan.to_json()) == plan
    plan.save(tmp_path / "plan.json")
    assert MusicalPlan.load(tmp_path / "plan.json") == plan
    assert json.loads(plan.to_json())["version"] == 3


def test_bars_walk_through_the_sections() -> None:
    plan = make()
    assert (plan.num_bars, plan.beats_per_bar, plan.seconds_per_bar) == (4, 4, 3.2)
    assert [(bar.section.name, bar.index_in_section) for bar in plan.bars] == [
        ("verse", 0),
        ("verse", 1),
        ("verse", 2),
        ("ending", 0),
    ]
    assert [str(chord) for chord in plan.bars[1].chords] == ["Dm7", "G7"]
    assert make(meter="6/8").beats_per_bar == 3


def test_a_bar_may_be_a_list_or_a_text() -> None:
    data = make().to_dict()
    assert data["sections"][0]["chords"] == ["Am7", "Dm7 G7", "Cmaj7"]
    data["sections"][0]["chords"][1] = ["Dm7", "G7"]
    assert MusicalPlan.from_dict(data) == make()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tempo": 20}, "tempo"),
        ({"tempo": float("nan")}, "tempo"),
        ({"tempo": "80"}, "tempo"),
        ({"meter": "5/4"}, "meter"),
        ({"key": "H minor"}, "key"),
        ({"duration": 0}, "duration"),
        ({"duration": 9.0}, "duration"),
        ({"swing": 1.5}, "swing"),
        ({"sections": ()}, "sections"),
        ({"instruments": {}}, "instruments"),
        ({"instruments": {"guitar": 25}}, "instruments"),
        ({"instruments": {"lead": 128}}, "instruments"),
        ({"seed": 1.5}, "seed"),
        ({"style": ""}, "style"),
        ({"decisions": {"tempo": 4}}, "decisions"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=f"plan: {field}: "):
        make(**changes)


@pytest.mark.parametrize(
    ("name", "energy", "chords", "word"),
    [
        ("solo", 0.5, (("C",),), "name"),
        ("verse", 1.5, (("C",),), "energy"),
        ("verse", 0.5, (), "empty"),
        ("verse", 0.5, (("C", "D", "E", "F", "G"),), "bar 1"),
        ("verse", 0.5, (("C",), ("Xyz",)), "bar 2"),
    ],
)
def test_a_wrong_section_is_refused(name: str, energy: float, chords: tuple[tuple[str, ...], ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Section(name, energy, chords)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"temp": 3}, "temp"),
        ({"version": 4}, "version"),
        ({"sections": [{"name": "verse"}]}, "energy"),
        ({"sections": 3}, "sections"),
    ]
    + [({"instruments": [1]}, "instruments"), ({"sections": [{"name": "verse", "energy": 1, "chords": [3]}]}, "bar 3")],
)
def test_a_wrong_file_is_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        MusicalPlan.from_dict(make().to_dict() | changes)


def test_a_missing_field_or_file_is_named(tmp_path: Path) -> None:
    data = make().to_dict()
    del data["tempo"]
    with pytest.raises(ConfigError, match="'tempo' is missing"):
        MusicalPlan.from_dict(data)
    with pytest.raises(ConfigError, match="cannot be read"):
        MusicalPlan.load(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="not JSON"):
        MusicalPlan.from_json("{")
