"""A piece of house or techno has a beat of its own, and keeps it."""

from __future__ import annotations

import copy
import itertools
from importlib import resources
from typing import Any

import pytest
import yaml
from gen_audio.composition.arranger import arrange
from gen_audio.composition.beats import LOUDEST, QUIETEST, draw_beat
from gen_audio.composition.grid import Piece
from gen_audio.composition.plan import MusicalPlan, Section
from gen_audio.composition.style import DRUM_PITCHES, check_style, load_style, style_names
from gen_audio.errors import ConfigError

OWN = ("house", "techno")
FOUR_ON_THE_FLOOR = [
    (style, name)
    for style in OWN
    for name, groove in load_style(style).drums["grooves"].items()
    if all(groove["kick"][step] != "." for step in (0, 4, 8, 12))
]
LATE = 0.06  # beats by which hands may miss; a sixteenth has 0.25
BARS = 16


def play(style: str, seed: int, groove: str, kit: int = 25) -> tuple[Piece, list[dict[tuple[float, int], int]]]:
    """A verse and a chorus that differ in their seed alone; of every bar, (beat, pitch) -> velocity."""
    sections = tuple(Section(name, 0.8, (("Am",),) * BARS) for name in ("verse", "chorus"))
    plan = MusicalPlan(style, 125.0, "4/4", "A minor", sections, {"drums": kit}, 64.0, groove=groove, seed=seed)
    piece = Piece.of(plan, load_style(style))
    bars: list[dict[tuple[float, int], int]] = [{} for _ in piece.bars]
    for note in arrange(plan).tracks[0].notes:
        beat = round(4 * note.start) / 4
        if beat < piece.end:
            bars[int(beat // 4)][beat % 4, note.pitch] = note.velocity
    return piece, bars


@pytest.mark.parametrize(("style", "groove"), FOUR_ON_THE_FLOOR)
def test_pieces_of_one_groove_differ_in_their_bars(style: str, groove: str) -> None:
    cells = [[frozenset(bar) for bar in play(style, seed, groove)[1][4:8]] for seed in range(16)]
    pairs = [(one, other) for one, other in itertools.combinations(cells, 2)]
    assert sum(one == other for one, other in pairs) == 0
    shared = [sum(a == b for a, b in zip(one, other, strict=True)) for one, other in pairs]
    assert sum(count > 1 for count in shared) < 0.1 * len(pairs)  # two bars are 3.8 s


@pytest.mark.parametrize(("style", "groove"), FOUR_ON_THE_FLOOR)
def test_a_piece_repeats_its_own_beat(style: str, groove: str) -> None:
    for seed in range(6):
        piece, bars = play(style, seed, groove)
        cell = draw_beat(piece).cell
        strokes = [frozenset(pitch_at for pitch_at in bar if pitch_at[1] != DRUM_PITCHES["crash"]) for bar in bars]
        for first in (0, BARS):  # the last bar of a section has a fill
            for here in range(first, first + BARS - 1 - len(cell)):
                assert strokes[here] == strokes[here + len(cell)]
            inside = strokes[first : first + len(cell)]
            assert len(set(inside)) == len(set(cell)), "bars with other letters have other strokes"


@pytest.mark.parametrize(("style", "groove"), FOUR_ON_THE_FLOOR)
def test_the_kick_stays_on_every_beat(style: str, groove: str) -> None:
    for seed in range(6):
        piece, bars = play(style, seed, groove)
        for view, bar in zip(piece.bars, bars, strict=True):
            if not view.is_last_of_section:
                assert {beat for beat, pitch in bar if pitch == DRUM_PITCHES["kick"]} >= {0.0, 1.0, 2.0, 3.0}


def test_percussion_enters_with_the_chorus() -> None:
    for seed in range(6):
        piece, bars = play("house", seed, "classic")
        first, second = ({DRUM_PITCHES[name] for name in rows} for rows in draw_beat(piece).figures)
        groove = {DRUM_PITCHES[name] for name in draw_beat(piece).groove}
        verse, chorus = ({pitch for _, pitch in bars[number]} for number in (0, BARS))
        assert groove | first == verse
        assert chorus - {DRUM_PITCHES["crash"]} == groove | first | second != verse


def test_an_intro_gets_its_figure_in_its_middle() -> None:
    plan = MusicalPlan("house", 125.0, "4/4", "A minor", (Section("intro", 0.4, (("Am",),) * 8),), {"drums": 25}, 16.0)
    piece = Piece.of(plan, load_style("house"))
    beat = draw_beat(piece)
    assert [len(beat.entered(bar)) for bar in piece.bars] == [0] * 4 + [1] * 4


@pytest.mark.parametrize("seed", range(8))
def test_hats_follow_the_accents_of_the_piece(seed: int) -> None:
    piece, bars = play("techno", seed, "machine")
    accents = draw_beat(piece).groove["closed"]
    heard: dict[str, list[int]] = {}
    for bar in bars[: BARS - 1]:
        for (beat, pitch), velocity in bar.items():
            if pitch == DRUM_PITCHES["closed"] and beat % 1:  # on the beat the hand falls
                heard.setdefault(accents[int(4 * beat)], []).append(velocity)
    means = [sum(heard[symbol]) / len(heard[symbol]) for symbol in "Xxg" if symbol in heard]
    assert len(means) > 1 and all(louder > softer + 8 for louder, softer in itertools.pairwise(means))


def test_every_piece_has_its_balance_of_the_kit() -> None:
    levels = set()
    for seed in range(8):
        piece, bars = play("house", seed, "classic")
        level = draw_beat(piece).level("clap")
        assert bars[4][1.0, DRUM_PITCHES["clap"]] == pytest.approx(112 * (0.72 + 0.3 * 0.8) * level, abs=12)
        assert QUIETEST <= level <= LOUDEST and draw_beat(piece).level("kick") == 1
        levels.add(round(level, 2))
    assert len(levels) > 4


def test_a_flam_is_two_strokes_the_first_softer() -> None:
    style = load_style("house")
    flams = 0
    for seed in range(40):
        piece, _ = play("house", seed, "classic")
        wanted = [rows["clap"] for rows in draw_beat(piece).answers.values() if "f" in rows.get("clap", "")]
        claps = [note for note in arrange(piece.plan).tracks[0].notes if note.pitch == DRUM_PITCHES["clap"]]
        close = [(a, b) for a, b in itertools.pairwise(claps) if b.start - a.start < 0.15]
        assert bool(close) <= bool(wanted)
        assert all(before.velocity < 0.7 * after.velocity for before, after in close)
        flams += bool(close)
    assert flams and style.humanise_ms[1] <= 3


@pytest.mark.parametrize("style", sorted(set(style_names()) - {*OWN}))
def test_a_style_without_a_beat_plays_its_bare_groove(style: str) -> None:
    plan = MusicalPlan(style, 120.0, "4/4", "A minor", (Section("verse", 0.8, (("Am",),) * 4),), {"drums": 0}, 8.0)
    piece = Piece.of(plan, load_style(style))
    beat = draw_beat(piece)
    assert [beat.rows(bar) for bar in piece.bars] == [beat.groove] * 4 and not beat.repeats


@pytest.mark.parametrize("style", OWN)
def test_figures_and_answers_leave_the_beats_to_the_kick(style: str) -> None:
    beat = load_style(style).drums["beat"]
    assert not any("kick" in rows for rows in beat["figures"])
    assert all(rows.get("kick", "." * 16)[step] == "." for rows in beat["answers"] for step in (0, 4, 8, 12))


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"cells": ["BA"]}, "has the cell 'BA'"),
    ({"accents": ["XgXg"]}, "has the accents 'XgXg'"),
    ({"figures": [{"rim": "x..............."}]}, "two or more figures"),
    ({"answers": [{"rim": "x..........."}] * 2}, "two or more answers under beat, of 16 steps"),
    ({"figures": [{"gong": "x..............."}] * 2}, "has gong"),
    ({"builds": [{"snare": ["x..x"]}]}, "has the build"),
    ({"fill": 1}, "needs all of cells, accents, figures, answers, builds"),
    ({"cells": []}, "none of them empty"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN)
def test_a_beat_that_cannot_be_played_is_refused(change: dict[str, Any], said: str) -> None:
    text = resources.files("gen_audio.composition").joinpath("styles", "house.yaml").read_text(encoding="utf-8")
    data = copy.deepcopy(yaml.safe_load(text))
    data["drums"]["beat"] |= change
    with pytest.raises(ConfigError, match=said):
        check_style("house", data)
