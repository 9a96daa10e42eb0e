"""The arithmetic of evaluations, on numbers and sounds whose answer is known."""

from __future__ import annotations

import json
import math
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gen_audio.audio import Waveform
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.style import load_style, style_names
from gen_audio.composition.wording import vocabulary
from gen_audio.errors import ConfigError
from gen_audio.evaluation.comparison import check_comparable, compare, comparison_table, verdict
from gen_audio.evaluation.control import beat_f1, chord_share, chord_track, is_tempo, key_score
from gen_audio.evaluation.copying import Match, Stream, training_plans
from gen_audio.evaluation.ear import FAMILIES, Ear, f1, families
from gen_audio.evaluation.faults import faults, is_clean_ending
from gen_audio.evaluation.measure import Measure
from gen_audio.evaluation.protocol import SIZES, fingerprint, items
from gen_audio.evaluation.reference import Clip
from gen_audio.evaluation.report import markdown, report_paths, write_report
from gen_audio.evaluation.round_trip import codec_measures
from gen_audio.evaluation.sets import Frechet, Kernel, jackknifed, mel_statistics, spread, statistics_distance
from gen_audio.evaluation.stability import contrast, drift
from gen_audio.evaluation.statistics import interval, paired
from gen_audio.evaluation.takes import Take

RATE = 24000


def sounds(count: int, shift: float = 0.0, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(3, 20)) + rng.normal(size=20) + shift for _ in range(count)]


def tone(seconds: float, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)


def waveform(*parts: np.ndarray) -> Waveform:
    return Waveform(np.concatenate(parts)[None].astype(np.float32), RATE)


# --- intervals and pairs --------------------------------------------------------------------------------------------


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = [
        low <= 0.7 <= high for low, high in (interval(list((rng.random(40) < 0.7) * 1.0), True) for _ in range(300))
    ]
    assert 0.91 <= np.mean(held) <= 0.99
    held = [low <= 2 <= high for low, high in (interval(list(rng.normal(2, 1, 40))) for _ in range(200))]
    assert 0.88 <= np.mean(held) <= 0.99


def test_a_share_of_all_items_is_not_certain() -> None:
    low, high = interval([1.0] * 20, is_share=True)
    assert 0.8 < low < 0.9 and high == 1.0
    assert math.isnan(interval([1.0])[0])


def test_a_known_shift_is_found_and_no_shift_is_not() -> None:
    rng = np.random.default_rng(2)
    hard = {str(i): float(x) for i, x in enumerate(rng.normal(0, 5, 60))}  # items differ far more than models do
    better = {name: x + 0.3 + float(rng.normal(0, 0.5)) for name, x in hard.items()}
    alike = {name: x + float(rng.normal(0, 0.5)) for name, x in hard.items()}
    shifted, same = paired(better, hard), paired(alike, hard)
    assert shifted is not None and same is not None
    assert shifted.verdict(True) == "better" and shifted.verdict(False) == "worse" and shifted.sign_p < 0.05
    assert same.verdict(True) == "not told apart" and same.sign_p > 0.05
    assert shifted.difference == pytest.approx(0.3, abs=0.2)
    assert paired({"a": 1.0}, {"b": 1.0}) is None


def row(name: str, values: dict[str, float], better: int = 1) -> dict[str, Any]:
    return Measure("group", name, {"model": values}, better=better, is_share=True).to_dict()


def test_a_comparison_says_better_worse_or_not_told_apart() -> None:
    high, low = {str(i): 1.0 for i in range(20)}, {str(i): float(i % 4 == 0) for i in range(20)}
    ours = [row("up", high), row("down", high, -1), row("same", high)]
    rows = compare(ours, [row("up", low), row("down", low, -1), row("same", high)])
    assert [r["verdict"] for r in rows] == ["better", "worse", "not told apart"]
    said = verdict("A", "B", rows)
    assert "better in 1 rows (group: up)" in said and "worse in 1 rows (group: down)" in said
    assert "| +75 % (" not in said and any("+75" in line for line in comparison_table("A", "B", rows))
    with pytest.raises(ConfigError, match="different items"):
        check_comparable({"protocol": "a"}, {"protocol": "b"})


# --- sets -----------------------------------------------------------------------------------------------------------


def test_a_set_is_near_its_like_and_far_from_another() -> None:
    reference = sounds(40)
    kernel, frechet = Kernel(reference), Frechet(reference)
    near, far = (kernel.of_each(sounds(30, shift, seed=5)) for shift in (0.0, 3.0))
    assert abs(near.mean()) < 2 < 30 < far.mean()
    value, low, high = jackknifed(frechet, sounds(30, seed=5))
    assert low < value < high and high < frechet(sounds(30, 3.0, seed=5)) / 5
    assert math.isnan(frechet(sounds(4)))


def test_what_each_sound_adds_has_the_distance_as_its_mean() -> None:
    reference, some = sounds(12), sounds(9, 1.0, seed=3)
    kernel = Kernel(reference)

    def between(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([np.exp(-((x - y) ** 2).sum() / (2 * kernel.width**2)) for x in a for y in b]))

    def within(rows: list[np.ndarray]) -> float:
        return float(np.mean([between(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]))

    across = np.mean([between(a, b) for a in some for b in reference])
    expected = 100 * (within(some) + within(reference) - 2 * across)
    assert kernel.of_each(some).mean() == pytest.approx(expected)


def test_mel_statistics_hear_a_change_of_level_in_decibels() -> None:
    mels = [np.random.default_rng(i).normal(-40, 6, (50, 8)) for i in range(25)]
    known = mel_statistics(mels)
    assert statistics_distance(mels, known) == 0
    assert statistics_distance([mel + 4 for mel in mels], known) == pytest.approx(2.0)  # mean 4, spread 0


def test_equal_sounds_have_no_spread() -> None:
    one = sounds(1)[0]
    assert spread([one, one, one], np.zeros(20)) == pytest.approx(0.0)
    assert spread(sounds(6), np.zeros(20)).mean() > 0.5


# --- copies ---------------------------------------------------------------------------------------------------------


def test_a_copied_passage_is_found_with_its_place() -> None:
    rng = np.random.default_rng(0)
    stream = Stream(silent=frozenset([7]))
    learnt = [rng.integers(8, 1000, 500) for _ in range(3)]
    for number, codes in enumerate(learnt):
        stream.add(f"piece {number}", codes)
    query = rng.integers(8, 1000, 250)
    assert stream.longest(query) == Match()
    query[40:165] = learnt[1][200:325]
    query[170:190] = learnt[2][10:30]
    assert stream.longest(query) == Match(125, 40, "piece 1", 200)


def test_shared_silence_is_no_copy_and_runs_do_not_cross_pieces() -> None:
    rng = np.random.default_rng(0)
    stream = Stream(silent=frozenset([7]))
    first, second = rng.integers(8, 1000, 60), rng.integers(8, 1000, 60)
    stream.add("first", np.concatenate([first, np.full(100, 7)]))
    stream.add("second", second)
    assert stream.longest(np.full(200, 7)) == Match()
    stream.add("held", np.repeat([3, 9, 3, 9], 100))
    assert stream.longest(np.full(100, 9)) == Match()  # a tone that stays on
    assert stream.longest(np.repeat([3, 9, 3, 9], 100)).frames == 0  # three changes
    stream.add("held, but moving", np.repeat([3, 9, 3, 9, 4], 100))
    assert stream.longest(np.repeat([3, 9, 3, 9, 4], 100)) == Match(500, 0, "held, but moving", 0)
    assert stream.longest(np.concatenate([first[-30:], second[:30]])).frames == 30


def test_training_plans_are_those_of_the_pool() -> None:
    """The second piece of a shard is what the pool drew second, between them the draw of the mix."""
    from random import Random

    from gen_audio.training.pool import draw_plan

    found = dict(training_plans(30))
    rng = Random("1:1")
    draw_plan(rng, (14, 26))
    rng.random()
    assert found["shard 1, piece 1"] == draw_plan(rng, (14, 26))


# --- faults, stability ----------------------------------------------------------------------------------------------


def test_two_seconds_of_silence_are_named() -> None:
    found = faults(waveform(tone(2), np.zeros(2 * RATE), tone(2)))
    assert found["silence"] == pytest.approx(2.0, abs=0.1)
    assert faults(waveform(tone(2), np.zeros(2 * RATE)))["silence"] == 0  # at the end it is no hole


def test_a_cut_and_a_fade_end_differently() -> None:
    cut, faded = waveform(tone(2)), waveform(tone(1), tone(1) * np.linspace(1, 0, RATE))
    early = waveform(tone(1), np.zeros(3 * RATE))
    assert [is_clean_ending(faults(sound)) for sound in (cut, faded, early)] == [False, True, False]


def test_flat_tops_are_counted_and_single_peaks_are_not() -> None:
    loud = np.clip(tone(1, 1.5), -1, 1)
    peak = tone(1)
    peak[100] = 1.0
    assert faults(waveform(loud))["clipped"] > 100
    assert faults(waveform(peak))["clipped"] == 0
    assert faults(waveform(np.zeros(RATE)))["loudness"] == -math.inf


def test_a_tempo_that_drifts_is_measured_and_octaves_are_not_drift() -> None:
    assert drift([{"tempo": t} for t in (120, 60, 120, 120, 240, 120)]) == pytest.approx(0.0)
    assert drift([{"tempo": t} for t in (100, 100, 100, 105, 105, 105)]) == pytest.approx(0.05)
    assert drift([{"tempo": None}] * 6) is None


def test_sections_that_return_have_contrast() -> None:
    verse, chorus = np.zeros(10), np.full(10, 6.0)
    assert contrast([("verse", verse), ("chorus", chorus), ("verse", verse + 1)]) == pytest.approx(4.5)
    assert contrast([("verse", verse), ("chorus", chorus)]) is None


# --- what is heard --------------------------------------------------------------------------------------------------


def test_scores_of_tempo_key_chords_and_beats() -> None:
    assert is_tempo(61.0, 120.0, (1.0, 0.5)) and not is_tempo(61.0, 120.0) and not is_tempo(None, 120.0)
    heard = ["C major", "G major", "A minor", "C minor", "D major", None]
    assert [key_score(key, "C major") for key in heard] == [1.0, 0.5, 0.3, 0.2, 0.0, 0.0]
    assert key_score("D minor", "D dorian") == 1.0 and key_score("C major", "A minor") == 0.3
    assert chord_share([0, 1, 2], [0, 24, 3]) == 0.5 and chord_share([0], [24]) is None
    assert beat_f1([0.0, 0.5, 1.06], [0.0, 0.5, 1.0]) == 1.0 and beat_f1([0.25], [0.0, 0.5]) == 0.0


def test_chords_of_a_plan_stand_where_they_sound() -> None:
    plan = plan_music(Attributes(style="pop"), Constraints(tempo=120.0, meter="4/4", bars=4, chords=["C Am", "G"]))
    assert chord_track(plan)[:16] == [0] * 4 + [12 + 9] * 4 + [7] * 8  # two seconds a bar


def test_a_round_trip_is_heard_with_all_levels_and_where_the_judge_is_right() -> None:
    """The judge mishears the second chord of the original, and tempo and key of the second piece."""
    plan = plan_music(
        Attributes(style="pop", key="C major"), Constraints(tempo=120.0, meter="4/4", bars=2, chords=["C", "G"])
    )
    beats = [0.5 * i for i in range(8)]
    original = {"key": "C major", "chords": [0] * 8 + [2] * 8, "beats": beats, "tempo": 60.0}
    played = {**original, "key": "G major", "chords": [0] * 4 + [7] * 12, "beats": beats[:4]}
    whole = {**original, "chords": [0] * 6 + [7] * 10}
    lost = {**original, "tempo": 90.0, "key": "A minor"}
    takes = [
        Take(
            items(SIZES["tiny"])[i],
            plan,
            facts={"composed": facts, "codec": played},
            again={"all": whole, "fine": whole},
        )
        for i, facts in enumerate((original, lost))
    ]
    rows = {row.name: row for row in codec_measures(takes, {}, None)}
    value = {name: row.value("model") for name, row in rows.items()}
    assert value["key as before, all levels"] == 0.5 and value["key as before, as it is played"] == 0
    assert value["key as before, all levels, where the judge is sure"] == 1
    assert value["chord frames as before, all levels"] == pytest.approx(6 / 16)
    assert value["chord frames as before, as it is played"] == pytest.approx(4 / 16)
    assert value["chord frames as before, all levels, where the judge is sure"] == pytest.approx(6 / 8)
    assert value["beats as before, F1, as it is played"] == pytest.approx(2 / 3)
    sure = rows["beats as before, F1, all levels, where the judge is sure"]
    assert len(sure.items["model"]) == 1 and sure.value("model") == 1
    assert "38%" in rows["chord frames as before, all levels"].note
    deaf = {row.name: row.missing for row in codec_measures(takes, {"basic_pitch": "no ears"}, None)}
    assert deaf["key as before, all levels"] == "no ears" and deaf["beats as before, F1, all levels"] is None


def clips_of(tell: bool) -> list[Clip]:
    """Clips of three styles whose feature says style and families, if `tell`."""
    rng, styles, clips = np.random.default_rng(0), ("jazz", "techno", "folk"), []
    for style in styles:
        for seed in range(12):
            plan = plan_music(Attributes(style=style), Constraints(duration=8.0, seed=seed))
            timbre = rng.normal(0, 0.2, 3 + len(FAMILIES) + 1)
            if tell:
                timbre[styles.index(style)] += 1
                timbre[3:] += [3.0 * (name in families(plan)) for name in (*FAMILIES, "drums")]
            nothing = np.zeros_like(timbre)
            facts, coded = ({"timbre": np.concatenate(parts)} for parts in ((timbre, nothing), (nothing, timbre)))
            clips.append(Clip(plan, facts, coded))  # a codec that moves every feature
    return clips


def test_the_ear_learns_styles_and_instruments_from_features() -> None:
    clips = clips_of(tell=True)
    ear, deaf = Ear(clips), Ear(clips_of(tell=False))
    assert ear.own.accuracy > 0.9 > 0.6 > deaf.own.accuracy and ear.own.count == 36
    assert ear.own.f1 > deaf.own.f1 + 0.1
    assert ear.name_style(clips[0].facts) == "jazz"
    assert f1(ear.hear_families(clips[0].facts), families(clips[0].plan)) > 0.8
    assert not ear.can_hear({"mel": np.zeros(3)})


def test_an_ear_that_knows_the_codec_is_not_misled_by_it() -> None:
    clips = clips_of(tell=True)
    used, strict = Ear(clips, knows_codec=True), Ear(clips)
    assert used.own.accuracy > 0.9 and used.own.count == 36
    named = [[ear.name_style(clip.coded) == clip.plan.style for clip in clips].count(True) for ear in (used, strict)]
    assert named[0] == 36 and named[1] < 24
    assert used.name_style(clips[0].facts) == "jazz"


# --- protocol and report --------------------------------------------------------------------------------------------


def test_free_words_name_no_style_that_would_fit() -> None:
    said = {scene for words in vocabulary()["styles"].values() for scene in (*words["scenes"], *words["sayings"])}
    free = [item for item in items(SIZES["full"]) if item.kind == "free"]
    assert len(free) == 200 == len({item.prompt for item in free})
    for item in free:
        assert set(item.styles) <= set(style_names())
        assert not [s for s in item.styles if load_style(s).name.replace("_", " ") in item.prompt.lower()], item.prompt
    for prompt, phrase in product((_words(item.prompt) for item in free), map(_words, said)):
        both = len(prompt & phrase)
        assert both < 2 or both < 0.75 * min(len(prompt), len(phrase)), f"{prompt} is trained on as {phrase}"


def _words(text: str) -> set[str]:
    plain = "a an the of in at on to and for with my is it no some from by me i"
    return set(re.findall(r"[a-z0-9']+", text.lower())) - set(plain.split())


def test_the_same_size_asks_for_the_same_items() -> None:
    assert items(SIZES["quick"]) == items(SIZES["quick"])
    assert len({fingerprint(size) for size in SIZES.values()}) == len(SIZES)
    quick = [item for item in items(SIZES["quick"]) if item.kind == "free"]
    assert {item.styles[0] for item in quick} == set(style_names())


def test_a_report_says_number_interval_anchors_target_and_count(tmp_path: Path) -> None:
    keys = {"model": {"a": 1.0, "b": 0.0}, "composed": {"a": 1.0, "b": 1.0}}
    rows = [
        Measure("control", "key", keys, target=0.85, is_share=True),
        Measure("sets", "KAD", whole={"model": (3.0, 2.0, 4.0), "codec": (1.0, 0.5, 1.5)}, better=-1, target=4.0),
        Measure("codec", "ViSQOL", missing="not measured: pip install 'gen-audio[eval]'"),
    ]
    plain = [row.to_dict() for row in rows]
    assert plain[2]["value"] is None
    report = {"title": "toy", "summary": "two pieces.", "rows": plain, "judges": []}
    paths = report_paths(tmp_path / "toy.md")
    write_report(report, paths)
    page = paths[1].read_text()
    assert "| key | 50 % (9 % to 91 %) | 100 % | - | 85 % missed | 2 |" in page.replace("9.5 %", "9 %")
    assert "| KAD | 3 (2 to 4) | - | 1 | at most 4 met |" in page
    assert "codec: ViSQOL: not measured: pip install" in page
    assert json.loads(paths[0].read_text())["rows"][0]["items"]["model"] == {"a": 1.0, "b": 0.0}
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    assert page == markdown(report)
