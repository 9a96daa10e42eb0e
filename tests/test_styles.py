"""Every style file is music that can be played: numerals that parse, steps that fit, programs that are instruments."""

from __future__ import annotations

import pytest
from gen_audio.composition.style import Style, load_style, style_names
from gen_audio.composition.theory import Key

STEPS = {"comping": "Xx-.123456", "bass": "13578a-."}


@pytest.fixture(params=style_names())
def style(request: pytest.FixtureRequest) -> Style:
    return load_style(request.param)


def test_the_sixteen_styles_are_there() -> None:
    names = "lofi jazz bossa_nova blues rock metal pop house techno"
    names += " hip_hop ambient classical folk chiptune cinematic funk"
    assert set(style_names()) >= set(names.split())


def test_every_progression_can_be_spelled(style: Style) -> None:
    for mode, progressions in style.progressions.items():
        for progression in progressions:
            assert len(progression) in (2, 4, 8, 12), progression
            for numeral in " ".join(progression).split():
                Key.parse(f"C {mode}").degree(numeral)


def test_every_mode_offers_a_choice(style: Style) -> None:
    assert all(len(style.progressions[mode]) >= 3 for mode in style.modes)


def test_steps_are_of_known_kinds(style: Style) -> None:
    for part, letters in STEPS.items():
        for pattern in getattr(style, part)["patterns"]:
            assert len(pattern) in (8, 16) and set(pattern) <= set(letters), pattern
    for rhythm in style.melody["rhythms"]:
        assert len(rhythm) in (8, 16) and set(rhythm) <= set("x-.") and "x" in rhythm, rhythm


def test_rows_of_one_groove_are_equally_long(style: Style) -> None:
    for groove in [*style.drums["grooves"].values(), *style.drums["fills"]]:
        assert len({len(steps) for steps in groove.values()}) == 1, groove


def test_programs_are_instruments_not_noises(style: Style) -> None:
    programs = {program for role, choices in style.roles.items() if role != "drums" for program in choices}
    assert all(0 <= program < 120 and program != 55 for program in programs)


def test_registers_rise(style: Style) -> None:
    assert all(part["register"][0] + 11 < part["register"][1] for part in (style.comping, style.bass, style.melody))


def test_no_two_styles_share_a_groove() -> None:
    rows = [str(groove) for name in style_names() for groove in load_style(name).drums["grooves"].values()]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("name", ["ambient", "classical"])
def test_quiet_styles_have_no_drummer(name: str) -> None:
    assert "drums" not in load_style(name).roles
