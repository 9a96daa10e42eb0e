"""Time that breathes: one map from beats to seconds that notes, frames, chords, beats and MIDI agree on."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gen_audio.composition.arranger import arrange
from gen_audio.composition.midi import write_midi
from gen_audio.composition.pedal import hold_pedals
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.prompt import parse_prompt
from gen_audio.composition.revision import Wishes, next_bar, read_wishes, revise
from gen_audio.composition.score import Score
from gen_audio.composition.style import load_style, style_names
from gen_audio.composition.tempo_map import STEP, TempoMap, breathe
from gen_audio.composition.theory import Chord, Key
from gen_audio.conditioning.notes import note_array
from gen_audio.conditioning.plan import plan_frames
from gen_audio.errors import ConfigError
from gen_audio.evaluation.control import chord_track
from gen_audio.pipeline.batch.columns import plain as column
from gen_audio.pipeline.composing import make_plan
from gen_audio.pipeline.params import GenerationParams, resolve_params
from gen_audio.pipeline.sidecar import facts

RATE = 25.0  # frames a second
C_MAJOR = Key.parse("C major")


def solo(seed: int = 1, style: str = "classical", duration: float = 30.0, **hard: Any) -> MusicalPlan:
    heard = Attributes(style=style, instruments=("piano",), only=True)
    return plan_music(heard, Constraints(duration=duration, seed=seed, **hard))


# --- the map -------------------------------------------------------------------------------------------------------


def test_without_rubato_a_beat_is_a_product() -> None:
    steady = breathe(93.0, 4, [8, 8])
    assert steady.is_steady and steady.changes() == [(0.0, 93.0)]
    assert steady.seconds(7.3) == 7.3 * (60.0 / 93.0) and steady.span(2.0, 0.7) == 0.7 * (60.0 / 93.0)


@pytest.mark.parametrize("beats_per_bar", [3, 4])
@pytest.mark.parametrize("sections", [[8], [4, 8, 8, 3], [1, 5, 1], [12, 12, 6]])
def test_every_phrase_lasts_as_long_as_at_the_mean_tempo(sections: list[int], beats_per_bar: int) -> None:
    free = breathe(80.0, beats_per_bar, sections, rubato=1.0)
    whole = float(sum(sections) * beats_per_bar)
    assert free.seconds(whole) == pytest.approx(whole * 0.75)
    if sections[0] % 4 == 0:  # no neighbour's bars in the first phrase
        assert free.seconds(4.0 * beats_per_bar) == pytest.approx(3.0 * beats_per_bar)


def test_a_phrase_is_slow_at_its_ends_and_fast_in_its_middle_within_bounds() -> None:
    tempos = np.array([tempo for _, tempo in breathe(100.0, 4, [4, 4], rubato=1.0).changes()])
    phrase = tempos[:32]
    assert phrase[:4].max() < 97 and phrase[-4:].max() < 97 and phrase[12:16].min() > 105
    assert tempos.min() >= 100 / 1.081 and tempos.max() <= 100 / 0.919
    assert np.abs(np.diff(tempos) / tempos[1:]).max() < 0.03  # no jump, not even from phrase to phrase
    half = np.array([tempo for _, tempo in breathe(100.0, 4, [4, 4], rubato=0.5).changes()])
    assert np.abs(half - 100).max() < 0.6 * np.abs(tempos - 100).max()


def test_a_ritardando_slows_the_last_bar_and_nothing_before_it() -> None:
    slowed = breathe(120.0, 4, [4, 4], ritardando=0.2)
    tempos = [tempo for _, tempo in slowed.changes()]
    assert tempos[0] == 120.0 and slowed.changes()[1][0] == 28.0  # the last bar begins
    assert tempos == sorted(tempos, reverse=True) and tempos[-1] == pytest.approx(96.0)
    assert slowed.seconds(28.0) == pytest.approx(14.0)
    assert slowed.seconds(32.0) - 16.0 == pytest.approx(0.24, abs=0.03)


def test_beats_and_seconds_are_each_other_s_inverse_before_in_and_after_the_piece() -> None:
    free = breathe(66.0, 3, [4, 7], rubato=0.8, ritardando=0.2)
    beats = np.linspace(-5.0, 60.0, 131)
    seconds = free.seconds(beats)
    assert (np.diff(seconds) > 0).all()
    np.testing.assert_allclose(free.beats(seconds), beats, atol=1e-9)
    assert free.seconds(7.25) == pytest.approx(float(free.seconds(np.array([7.25]))[0]))
    assert free.span(3.0, 2.0) == pytest.approx(free.seconds(5.0) - free.seconds(3.0))


# --- everybody uses it ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plan() -> MusicalPlan:
    return replace(solo(), rubato=1.0, ritardando=0.2)


@pytest.fixture(scope="module")
def score(plan: MusicalPlan) -> Score:
    return arrange(plan)


def test_frames_turn_to_the_next_beat_bar_and_section_when_the_map_says(plan: MusicalPlan) -> None:
    frames = plan_frames(plan, 0, int(plan.duration * RATE), RATE)
    turns = (np.flatnonzero(np.diff(frames["beat"])) + 1) / RATE
    assert len(turns) >= plan.num_bars * plan.beats_per_bar
    np.testing.assert_allclose(turns[: len(plan.beat_times) - 1], plan.beat_times[1:], atol=1 / RATE)
    bars = (np.flatnonzero(np.diff(frames["bar"])) + 1) / RATE
    np.testing.assert_allclose(
        bars[: plan.num_bars], [plan.second_of_bar(n + 1) for n in range(plan.num_bars)], atol=1 / RATE
    )


def test_notes_stay_with_their_beats(plan: MusicalPlan, score: Score) -> None:
    steady = arrange(replace(plan, rubato=0.0))
    for track, same in zip(score.tracks, steady.tracks, strict=True):
        array = note_array(track.notes, score.tempo_map)
        for note, (start, duration, *_) in zip(track.notes, array, strict=True):
            assert start == pytest.approx(plan.tempo_map.seconds(note.start), abs=1e-4)
            assert start + duration <= plan.duration + 1e-3
        body = [note for note in track.notes if note.start + note.duration < plan.num_bars * plan.beats_per_bar - 1]
        assert body == [note for note in same.notes if note in body]  # in beats nothing else has changed


def test_chords_that_are_judged_change_where_the_map_says(plan: MusicalPlan) -> None:
    heard = chord_track(plan)
    for number in range(1, plan.num_bars):
        before, after = (plan.bars[i].chords for i in (number - 1, number))
        cell = round(plan.second_of_bar(number) * 4)
        if before[-1].simple == "maj" and after[0].simple == "maj" and before[-1].root != after[0].root:
            assert heard[cell + 1] == after[0].root and heard[cell - 2] == before[-1].root


def test_midi_has_the_changes_of_tempo(plan: MusicalPlan, score: Score, tmp_path: Path) -> None:
    symusic = pytest.importorskip("symusic")
    read = symusic.Score(write_midi(score, tmp_path / "song.mid")).to("second")
    for track, played in zip(score.tracks, read.tracks, strict=True):
        starts = sorted(note_array(track.notes, score.tempo_map)[:, 0].tolist())
        np.testing.assert_allclose(sorted(note.start for note in played.notes), starts, atol=0.003)


def test_a_piece_lasts_as_long_as_it_was_asked_to_at_the_tempo_that_was_asked_for() -> None:
    for seed, tempo in itertools.product(range(3), (66.0, 100.0)):
        made = solo(seed, tempo=tempo, rubato=1.0)
        assert made.duration == 30.0 and made.tempo == tempo
        beats = (made.num_bars - 1) * made.beats_per_bar  # the ritardando aside
        assert 60 * beats / made.second_of_bar(made.num_bars - 1) == pytest.approx(tempo, rel=0.01)


def test_the_sidecar_s_plan_brings_the_same_map_back(plan: MusicalPlan) -> None:
    again = MusicalPlan.from_json(plan.to_json())
    assert again.tempo_map == plan.tempo_map and not again.tempo_map.is_steady
    old = {name: value for name, value in plan.to_dict().items() if name not in ("rubato", "ritardando")}
    assert MusicalPlan.from_dict({**old, "version": 2}).tempo_map == TempoMap(plan.tempo)
    for name, value in (("rubato", 1.1), ("ritardando", 0.6), ("rubato", True)):
        with pytest.raises(ConfigError, match=f"plan: {name}"):
            MusicalPlan.from_dict({**plan.to_dict(), name: value})


def test_a_change_while_it_plays_comes_at_a_bar_line_of_the_map(plan: MusicalPlan) -> None:
    line = next_bar(plan, plan.second_of_bar(2) + 0.3)
    assert line == plan.second_of_bar(3)
    rest = revise(plan, line, Wishes(), plan.duration - line)
    assert [bar.chords for bar in rest.bars] == [bar.chords for bar in plan.bars[3:]]
    assert (rest.rubato, rest.ritardando > 0) == (1.0, True)
    assert revise(plan, line, read_wishes("with drums"), plan.duration - line).tempo_map.is_steady
    assert revise(plan, line, Wishes(rubato=0.3), plan.duration - line).rubato == 0.3


def test_the_sidecar_says_when_every_beat_falls_where_the_tempo_moves(plan: MusicalPlan) -> None:
    def beats(plan: MusicalPlan | None) -> Any:
        said: dict[str, Any] = dict.fromkeys(("parameters", "timings", "provenance", "audio"), {})
        return facts(kind="composed", prompt="x", seed=0, model=None, plan=plan, **said)["beats"]

    assert beats(plan) == [pytest.approx(second, abs=0.001) for second in plan.beat_times]
    assert beats(replace(plan, rubato=0.0, ritardando=0.0)) is None and beats(None) is None


def test_a_manifest_says_it_in_words_of_its_own() -> None:
    assert column("rubato", "0.5", Path()) == 0.5
    assert (column("ritardando", "false", Path()), column("ritardando", 1, Path())) == (False, True)
    with pytest.raises(ConfigError, match="ritardando is 'maybe'; it must be true or false"):
        column("ritardando", "maybe", Path())


# --- who decides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", style_names())
def test_drums_keep_time_in_every_style(style: str) -> None:
    made = plan_music(Attributes(style=style, instruments=("drums",)), Constraints(duration=30.0, seed=3))
    assert made.tempo_map.is_steady


def test_a_soloist_is_freer_than_several_players_and_a_club_keeps_time() -> None:
    alone, pair = solo(), plan_music(Attributes(style="classical", instruments=("piano", "flute"), only=True))
    assert alone.rubato > pair.rubato > 0 and alone.ritardando and pair.ritardando
    assert solo(style="techno").tempo_map.is_steady and "keeps time" in solo(style="techno").decisions["rubato"]


def test_bars_without_a_duration_are_a_loop_and_do_not_slow_down() -> None:
    made = plan_music(Attributes(style="classical", instruments=("piano",), only=True), Constraints(bars=8))
    assert made.ritardando == 0 and "loop" in made.decisions["ritardando"]


def test_what_the_user_says_is_done_and_what_the_prompt_says_unless_the_user_does() -> None:
    wished = Constraints(duration=20.0, rubato=0.4, ritardando=True, seed=2)
    band = plan_music(Attributes(style="pop", rubato=0.9), wished)
    assert "drums" in band.instruments and band.rubato == 0.4 and band.ritardando > 0
    assert band.decisions["rubato"] == "user: 0.4" and band.decisions["ritardando"].startswith("user")
    assert plan_music(Attributes(style="pop", rubato=0.9), Constraints(duration=20.0)).rubato == 0.9
    assert solo(rubato=0.0, ritardando=False).tempo_map.is_steady


def test_a_ritardando_without_time_for_it_is_refused() -> None:
    full = {"tempo": 120.0, "bars": 10, "duration": 20.0}  # which the bars fill to the end
    with pytest.raises(ConfigError, match=r"ritardando: the last bar would end at 20\.\d\d s"):
        plan_music(Attributes(style="pop"), Constraints(**full, ritardando=True))  # type: ignore[arg-type]
    made = plan_music(Attributes(style="classical", instruments=("piano",), only=True), Constraints(**full))  # type: ignore[arg-type]
    assert made.ritardando == 0 and "too little time" in made.decisions["ritardando"]


@pytest.mark.parametrize(
    ("prompt", "rubato", "ritardando"),
    [
        ("solo piano with rubato", 0.7, None),
        ("piano ballad, expressive timing", 0.7, None),
        ("a nocturne, played freely", 0.7, None),
        ("piano in strict tempo", 0.0, None),
        ("piano without any rubato", 0.0, None),
        ("waltz that slows down at the end", None, True),
        ("piano, no ritardando", None, False),
        ("lofi jazz piano", None, None),
        ("slow piano", None, None),
    ],
)
def test_words_say_how_freely(prompt: str, rubato: float | None, ritardando: bool | None) -> None:
    facts = parse_prompt(prompt)
    assert (facts.rubato, facts.ritardando) == (rubato, ritardando)


def test_settings_are_checked_and_must_agree_with_a_plan(plan: MusicalPlan) -> None:
    with pytest.raises(ConfigError, match="rubato"):
        GenerationParams(rubato=1.5)
    with pytest.raises(ConfigError, match="ritardando"):
        GenerationParams(ritardando="yes")  # type: ignore[arg-type]
    assert GenerationParams(rubato=0.3, ritardando=False).constraints.ritardando is False
    with pytest.raises(ConfigError, match=r"rubato is 0\.2, but the plan says 1\.0"):
        resolve_params(plan=plan, rubato=0.2)
    with pytest.raises(ConfigError, match="ritardando is False, but the plan says True"):
        resolve_params(plan=plan, ritardando=False)
    assert resolve_params(plan=plan, rubato=1.0, ritardando=True).rubato == 1.0


BEFORE = {  # prompt -> plan, decisions, notes in seconds and conditions of every frame, as they were before all this
    "lofi jazz piano": "37c53a39bd22e564",
    "house, 124 bpm": "f3021bf495950e00",  # 124 BPM as said; a beat of its own
    "slow blues in E with organ": "f0a9498a8d74c6c5",
    "metal": "5917c1a4fa24e800",
    "bossa nova without bass": "86dd64f3c2ffc677",
    "happy pop song, 16 bars": "34f4ae5c346ad6b5",
    "hip hop": "30f4fb7360b113ab",
    "folk song": "0d851ff042d0a76a",
}
NEW = ("version", "rubato", "ritardando", "pulse", "effects", "decisions")


@pytest.mark.parametrize("prompt", BEFORE)
def test_other_pieces_are_what_they_were(prompt: str) -> None:
    made = make_plan(prompt, resolve_params(prompt, seed=7, duration=20.0))
    told = {name: value for name, value in made.to_dict().items() if name not in NEW}
    said = {name: value for name, value in made.decisions.items() if name not in NEW}
    found = hashlib.sha256(json.dumps([told, said]).encode())
    score = arrange(made)
    notes = [note_array(track.notes, score.tempo_map) for track in score.tracks]
    for array in (*notes, *plan_frames(made, 0, 500, RATE).values()):
        found.update(np.round(array, 4).tobytes())
    assert found.hexdigest()[:16] == BEFORE[prompt]


# --- pedal points --------------------------------------------------------------------------------------------------


def held(names: str, chords: str, **chances: float) -> tuple[str, list[str]]:
    """Chords after the device, a bar each in sections of four bars, and what is told."""
    bars = [(Chord.parse(symbol),) for symbol in chords.split()]
    sections = names.split()
    done = hold_pedals(sections, [4] * len(sections), bars, [C_MAJOR] * len(bars), chances, random.Random(0))
    return " ".join(str(chord) for bar in bars for chord in bar), done


def test_an_introduction_stands_on_the_tonic_and_the_chords_stay() -> None:
    chords, done = held("intro verse", "C F G7 Am C F G7 Am", intro=1.0)
    assert chords == "C F/C G7/C Am/C C F G7 Am"
    assert done == ["sampled: intro, pedal point on C in bars 1 to 4"]


def test_a_chorus_that_returns_is_announced_by_its_dominant() -> None:
    chords, done = held("chorus verse chorus", "C F C G C Am F G C F C G", **{"return": 1.0})
    assert chords == "C F C G C Am F/G G C F C G"
    assert done == ["sampled: before the chorus returns, pedal point on G in bars 7 to 8"]


@pytest.mark.parametrize("chords", ["C C C C", "C Dbmaj7 C G"])
def test_no_pedal_point_where_nothing_moves_or_a_chord_rubs(chords: str) -> None:
    assert held("intro", chords, intro=1.0) == (chords, [])


def stood(style: str, instruments: tuple[str, ...] = ()) -> MusicalPlan:
    """A piece whose introduction stands on one note."""
    for seed in range(60):
        heard = Attributes(style=style, instruments=instruments, only=bool(instruments))
        made = plan_music(heard, Constraints(duration=60.0, seed=seed))
        if "intro, pedal point" in made.decisions["chords"] and ({"bass"} & {*made.instruments} or instruments):
            return made
    raise AssertionError(f"no {style} of 60 has a pedal point")


@pytest.mark.parametrize("style", ["ambient", "cinematic", "classical", "techno"])
def test_the_bass_stands_while_the_chords_change(style: str) -> None:
    made = stood(style)
    intro = made.sections[0].num_bars
    tonic, last = Key.parse(made.key).tonic, intro * made.beats_per_bar - 0.2
    parts = {track.role: [n for n in track.notes if n.start < last] for track in arrange(made).tracks}
    lowest = parts["bass"] or [
        note for note in parts["chords"] if note.pitch < load_style(style).comping["register"][0]
    ]
    assert lowest and {note.pitch % 12 for note in lowest} == {tonic}
    assert len({chord.root for bar in made.bars[:intro] for chord in bar.chords}) > 1


def test_a_pianist_alone_plays_the_pedal_point_too() -> None:
    made = stood("classical", ("piano",))
    left = next(track.notes for track in arrange(made).tracks if track.role == "chords")
    for bar in range(made.sections[0].num_bars):
        here = [n for n in left if abs(n.start - bar * made.beats_per_bar) < 0.2]
        assert min(here, key=lambda note: note.pitch).pitch % 12 == Key.parse(made.key).tonic


def test_chords_that_the_user_gives_get_no_other_bass() -> None:
    for seed in range(12):
        made = plan_music(Attributes(style="cinematic"), Constraints(chords=("Am", "F", "C", "G"), bars=16, seed=seed))
        assert {symbol for section in made.sections for bar in section.chords for symbol in bar} == {
            "Am",
            "F",
            "C",
            "G",
        }


def test_the_map_moves_in_half_beats() -> None:
    assert all(beat % STEP == 0 for beat, _ in breathe(90.0, 4, [8], rubato=0.6, ritardando=0.2).changes())
