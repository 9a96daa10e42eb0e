"""Hard wishes are obeyed or refused, the rest follows the style, and every choice says where it came from."""

import re
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
from gen_audio.composition.instruments import find_instrument, instrument_family, instrument_names, program_name
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.style import load_style, style_names
from gen_audio.composition.theory import Chord, Key
from gen_audio.errors import ConfigError, UnknownNameError


def plan(style: str = "pop", heard: dict[str, Any] | None = None, **hard: Any) -> MusicalPlan:
    return plan_music(Attributes(style=style, **(heard or {})), Constraints(**hard))


def ring(made: MusicalPlan) -> float:
    return made.duration - made.num_bars * made.seconds_per_bar


def symbols(made: MusicalPlan) -> list[str]:
    return [" ".join(bar) for section in made.sections for bar in section.chords]


def raised(made: MusicalPlan) -> int:
    """Semitones that the last chorus, and what follows it, lies above the plan's key."""
    found = re.search(r"from the last chorus on (\d) semitones higher", made.decisions["chords"])
    return int(found[1]) if found else 0


def home(made: MusicalPlan) -> int:
    """Root of the last chord, a key change taken out."""
    return (made.bars[-1].chords[-1].root - raised(made)) % 12


@pytest.mark.parametrize("style", style_names())
@pytest.mark.parametrize("duration", [1.0, 2.5, 10.0, 30.0, 61.7, 3600.0])
def test_every_style_fills_every_duration(style: str, duration: float) -> None:
    made = plan(style, duration=duration, seed=int(duration))
    assert (made.style, made.duration) == (style, duration)
    assert set(made.instruments) <= set(load_style(style).roles)
    low, high, _ = load_style(style).tempo
    assert low <= made.tempo <= high
    assert home(made) == Key.parse(made.key).tonic
    if duration >= 10:
        assert 0.5 <= ring(made) <= 3.6
    assert MusicalPlan.from_json(made.to_json()) == made


def test_a_piece_shorter_than_a_bar_has_one() -> None:
    assert plan("ambient", duration=1.0).num_bars == 1


def test_the_same_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert plan(seed=5, duration=30.0) == plan(seed=5, duration=30.0)
    assert len({plan(seed=seed, duration=30.0).to_json() for seed in range(5)}) == 5


def test_fixing_the_tempo_leaves_the_rest_alone() -> None:
    free, fixed = plan(seed=2, bars=8), plan(seed=2, bars=8, tempo=101.0)
    for name in ("key", "sections", "instruments", "groove", "swing", "mood", "meter"):
        assert getattr(free, name) == getattr(fixed, name), name


def test_every_field_has_a_decision() -> None:
    made = plan(duration=20.0)
    named = {field.name for field in fields(MusicalPlan)} - {"decisions"}
    assert named | {"bars", "chords"} == set(made.decisions)
    assert all(made.decisions.values())


def test_every_hard_wish_is_obeyed() -> None:
    made = plan_music(
        Attributes(style="rock", tempo=90, key="C major", instruments=("flute",)),
        Constraints(
            style="pop",
            tempo=123.4,
            key="Bb minor",
            meter="3/4",
            bars=7,
            without=("drums",),
            instruments=("cello",),
            seed=9,
        ),
    )
    assert (made.style, made.tempo, made.key, made.meter, made.num_bars) == ("pop", 123.4, "Bb minor", "3/4", 7)
    assert "drums" not in made.instruments and made.groove == ""
    assert made.instruments["lead"] == find_instrument("cello")[1]
    assert 73 in made.instruments.values()


# --- chords, key and form ------------------------------------------------------------------------------------------


def test_chords_come_one_a_bar_and_cycle() -> None:
    made = plan(chords=("Am7", "D7", "Gmaj7"), bars=8)
    assert symbols(made) == ["Am7", "D7", "Gmaj7", "Am7", "D7", "Gmaj7", "Am7", "D7"]
    assert made.key == "G major"
    assert symbols(plan(chords=("Dm7 G7", "C"), bars=2)) == ["Dm7 G7", "C"]


@pytest.mark.parametrize(
    ("chords", "key"),
    [("Am F C G", "A minor"), ("C G Am F", "C major"), ("Dm7 G7 Cmaj7", "C major"), ("Em C D Em", "E minor")],
)
def test_a_key_is_found_for_the_chords(chords: str, key: str) -> None:
    assert plan(chords=chords.split()).key == key


def test_a_mode_alone_leaves_the_tonic_free() -> None:
    keys = {plan(heard={"key": "minor"}, seed=seed).key for seed in range(8)}
    assert len(keys) > 2 and all(key.endswith(" minor") for key in keys)


@pytest.mark.parametrize("mode", ["major", "minor", "dorian", "mixolydian", "lydian", "phrygian"])
def test_every_style_plays_in_every_mode(mode: str) -> None:
    for style in style_names():
        assert plan(style, key=f"E {mode}", bars=16).key == f"E {mode}"


@pytest.mark.parametrize("style", style_names())
@pytest.mark.parametrize("bars", [1, 2, 3, 8, 9, 12, 13, 16, 24, 33, 50, 97])
def test_bars_are_exact_and_sections_return_unchanged(style: str, bars: int) -> None:
    key = plan(style, bars=bars, seed=bars).key  # named, so that no chorus rises
    made = plan(style, bars=bars, seed=bars, key=key)
    assert made.num_bars == bars and not raised(made)
    seen: dict[str, list[list[Chord]]] = {}
    for section in made.sections:
        # Its bass may stand on a pedal point where a chorus follows; the chords above it are the same.
        chords = [[replace(Chord.parse(symbol), bass=None) for symbol in bar] for bar in section.chords]
        length = min(section.num_bars, len(seen.get(section.name, chords)))
        assert chords[:length] == seen.get(section.name, chords)[:length]
        seen[section.name] = max(chords, seen.get(section.name, []), key=len)
    if "chorus" in seen and min(len(seen["chorus"]), len(seen["verse"])) >= 4:
        assert seen["chorus"][:4] != seen["verse"][:4] or seen["chorus"] != seen["verse"]


def test_a_long_piece_has_a_whole_form() -> None:
    names = [section.name for section in plan("pop", bars=48).sections]
    assert names[0] == "intro" and names[-1] == "ending" and names.count("chorus") >= 2


def test_named_sections_are_used_in_order() -> None:
    made = plan(sections=("verse", "chorus", "bridge", "chorus"), bars=20)
    assert [section.name for section in made.sections] == ["verse", "chorus", "bridge", "chorus"]
    assert made.num_bars == 20


def test_a_last_chorus_may_rise_and_is_the_same_chorus() -> None:
    for seed in range(40):
        made = plan("pop", duration=120.0, seed=seed)
        if raised(made):
            break
    first, *_, last = [section for section in made.sections if section.name == "chorus"]
    assert raised(made) in (1, 2)
    assert len(last.chords) >= 4
    for before, after in zip(first.chords, last.chords, strict=False):  # the last one may be shorter
        for low, high in zip(before, after, strict=True):
            assert (Chord.parse(high).root - Chord.parse(low).root) % 12 == raised(made)
            assert Chord.parse(high).quality == Chord.parse(low).quality


def test_chords_that_the_user_named_are_not_enriched() -> None:
    for seed in range(10):
        assert set(symbols(plan("jazz", chords=("Dm7", "G7", "Cmaj7", "Am7"), bars=16, seed=seed))) == {
            *("Dm7", "G7", "Cmaj7", "Am7")
        }


def test_some_phrases_lead_on_by_a_device_and_the_plan_says_so() -> None:
    told = [plan("jazz", bars=33, seed=seed).decisions["chords"] for seed in range(20)]
    assert any("two_five in bar" in text for text in told) and any("secondary_dominant" in text for text in told)
    assert not all(" in bar " in text for text in told)


# --- time ----------------------------------------------------------------------------------------------------------


def test_a_tempo_from_a_prompt_is_played_as_said_unless_bars_and_duration_forbid_it() -> None:
    for tempo in (84, 104, 130, 176):
        assert plan(heard={"tempo": tempo}, duration=30.0).tempo == tempo
    made = plan(heard={"tempo": 84}, bars=12, duration=30.0)
    assert made.tempo >= 100 and 0.5 <= ring(made) <= 3
    with pytest.raises(ConfigError, match="leave the tempo free"):
        plan(tempo=84, bars=12, duration=30.0)


def test_free_tempos_have_whole_codec_frames_a_beat() -> None:
    for seed in range(6):
        frames = 1500 / plan("pop", duration=15.0 + seed, seed=seed).tempo
        assert frames == pytest.approx(round(frames))


def test_bars_and_duration_together_set_the_tempo() -> None:
    made = plan(bars=12, duration=30.0)
    assert (made.num_bars, made.duration) == (12, 30.0)
    assert 0.5 <= ring(made) <= 3


def test_bars_without_duration_ring_out() -> None:
    assert 0.9 <= ring(plan(bars=4)) <= 2.5
    assert plan(bars=4, tempo=100).duration == pytest.approx(4 * 2.4 + 2.4)


def test_chords_that_do_not_fit_make_a_free_tempo_faster() -> None:
    made = plan("ambient", chords=("C", "F", "G", "Am", "C", "F", "G", "C"), duration=16.0)
    assert made.num_bars == 8 and 0 <= ring(made) <= 3


# --- instruments ---------------------------------------------------------------------------------------------------


def test_named_instruments_play_and_the_others_follow_the_style() -> None:
    made = plan("jazz" if "jazz" in style_names() else "pop", heard={"instruments": ("piano",)})
    assert made.instruments["chords"] in instrument_family("piano")
    assert len(made.instruments) > 1
    assert "prompt: piano" in made.decisions["instruments"]


def test_naming_one_instrument_changes_no_other() -> None:
    for seed in range(5):
        free, named = plan(seed=seed).instruments, plan(seed=seed, instruments=("harp",)).instruments
        assert {role: p for role, p in free.items() if role != "colour"} == {
            role: p for role, p in named.items() if role != "colour"
        }


def test_only_means_nobody_else() -> None:
    assert plan(instruments=("grand piano", "upright bass"), only=True).instruments == {"chords": 0, "bass": 32}
    assert set(plan(instruments=("harpsichord",), only=True).instruments.values()) == {6}


def test_a_second_instrument_of_a_role_moves_to_a_free_one() -> None:
    made = plan(instruments=("flute", "violin", "trumpet"), only=True)
    assert made.instruments == {"lead": 73, "colour": 40, "pad": 56}
    assert plan(instruments=("grand piano", "acoustic piano"), only=True).instruments == {"chords": 0, "lead": 0}


def test_without_takes_roles_and_instruments() -> None:
    for seed in range(12):
        made = plan("rock", without=("drums", "guitar"), seed=seed).instruments
        assert "drums" not in made and not set(made.values()) & set(range(24, 31))


def test_a_prompt_yields_to_without() -> None:
    made = plan(heard={"instruments": ("drums", "piano")}, without=("drums",))
    assert "drums" not in made.instruments
    assert "not obeyed" in made.decisions["instruments"]


def test_general_words_leave_the_kind_to_the_style() -> None:
    assert plan("metal", instruments=("guitar",)).instruments["chords"] == 30
    assert plan("metal", instruments=("nylon guitar",)).instruments["chords"] == 24


def test_every_instrument_name_can_play() -> None:
    for name in instrument_names():
        role, program = find_instrument(name)
        assert program_name(role, program)
        if name == program_name(role, program):
            assert program in plan(instruments=(name,), only=True).instruments.values()


@pytest.mark.parametrize(
    ("name", "found"),
    [("Piano", ("chords", 0)), ("electric-piano", ("chords", 4)), ("guitars", ("chords", 25)), ("bass", ("bass", 33))]
    + [("drums", ("drums", 0)), ("808", ("drums", 25)), ("strings", ("pad", 48)), ("flute", ("lead", 73))]
    + [("Sax", ("lead", 65)), ("steel drums", ("colour", 114)), ("brushes", ("drums", 40)), ("vibes", ("lead", 11))],
)
def test_spoken_names_find_their_instrument(name: str, found: tuple[str, int]) -> None:
    assert find_instrument(name) == found


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hard", "words"),
    [
        ({"bars": 4, "tempo": 60, "duration": 10.0}, ["bars is 4", "60 BPM", "duration is 10"]),
        ({"bars": 4, "tempo": 120, "duration": 60.0}, ["bars is 4", "duration is 60"]),
        ({"bars": 200, "duration": 10.0}, ["bars", "duration is 10"]),
        ({"bars": 2, "chords": ("C", "F", "G")}, ["chords", "bars is 2"]),
        ({"tempo": 60, "duration": 10.0, "chords": ["C"] * 4}, ["chords", "60 BPM", "duration is 10"]),
        ({"bars": 2, "sections": ("intro", "verse", "chorus")}, ["sections", "bars is 2"]),
        ({"instruments": ("drums",), "without": ("drums",)}, ["instruments has 'drums'", "without has 'drums'"]),
        ({"instruments": ("piano",), "without": ("piano",)}, ["instruments has 'piano'", "without has 'piano'"]),
        ({"instruments": ("flute", "oboe", "violin", "trumpet", "cello")}, ["cello", "no role is free"]),
        ({"instruments": ("brushes", "808")}, ["808", "drums already has brush kit"]),
        ({"without": ("drums", "bass", "chords", "lead", "pad", "colour")}, ["without", "nobody"]),
        ({"only": True}, ["only", "instruments"]),
        ({"tempo": 20}, ["tempo: 20"]),
        ({"tempo": float("nan")}, ["tempo"]),
        ({"duration": 0}, ["duration"]),
        ({"duration": 7200.0}, ["duration: 7200"]),
        ({"bars": 0}, ["bars: 0"]),
        ({"meter": "7/8"}, ["meter: '7/8'", "4/4"]),
        ({"key": "H"}, ["'H' is not a key"]),
        ({"chords": ("Xm",)}, ["'Xm' is not a chord"]),
        ({"chords": "Am7 D7"}, ["chords", "list"]),
        ({"sections": ("drop",)}, ["sections: 'drop'", "verse"]),
    ],
)
def test_what_cannot_be_obeyed_is_refused_with_both_sides(hard: dict[str, Any], words: Sequence[str]) -> None:
    with pytest.raises(ConfigError) as error:
        plan(**hard)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("hard", [{"instruments": ("pianoo",)}, {"without": ("pianoo",)}, {"style": "popp"}])
def test_unknown_names_are_refused_with_a_hint(hard: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean"):
        plan(**hard)


def test_chords_of_a_plan_are_spelled_for_its_key() -> None:
    for seed in range(6):
        made = plan("bossa_nova", key="G major", bars=16, seed=seed)
        assert not {"G#", "D#", "A#"} & {
            symbol[:2] for bar in symbols(made) for symbol in bar.split() if "dim" not in symbol
        }
        assert all(Chord.parse(symbol) for bar in symbols(made) for symbol in bar.split())


def test_a_piece_fades_out_unless_its_bars_may_be_a_loop() -> None:
    assert plan_music(None, Constraints(duration=10.0)).fade_out == 0.5
    assert plan_music(None, Constraints(duration=10.0, bars=4, tempo=100.0)).fade_out == 0.5
    loop = plan_music(None, Constraints(duration=None, bars=4))
    assert loop.fade_out == 0 and "loop" in loop.decisions["fade_out"]
    assert MusicalPlan.from_json(loop.to_json()) == loop
    old = {name: value for name, value in loop.to_dict().items() if name not in ("fade_out", "blend", "expression")}
    assert MusicalPlan.from_dict({**old, "version": 1}) == loop
    with pytest.raises(ConfigError, match="fade_out: 20 must be 0 to the duration"):
        MusicalPlan.from_dict({**loop.to_dict(), "fade_out": 20})
