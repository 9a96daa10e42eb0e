"""A tempo that is said is felt: where nobody drums, somebody marks the beat, and the plan says who."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from gen_audio.composition.arranger import arrange
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.prompt import parse_prompt
from gen_audio.composition.pulse import CLEAR, FORWARD, beat_length, pulsing
from gen_audio.composition.revision import Wishes, read_wishes, revise
from gen_audio.composition.score import Note
from gen_audio.composition.style import check_style, load_style, style_names
from gen_audio.errors import ConfigError
from gen_audio.pipeline.composing import make_plan
from gen_audio.pipeline.params import resolve_params

UNSAID = {  # prompt -> its notes, as they were before anybody marked a beat
    "slow ambient with harp": "3a91e85c499a2019",
    "ambient, 60 bpm, no beat at all": "83cea7189dac6845",
    "beatless drone, ambient, 54 bpm": "c945afecd561af77",
    "cinematic with choir, no drums": "b7b837fba0aa2b3e",
    "classical string quartet, 100 bpm": "0e17fc2a51444efd",
    "cinematic, 96 bpm, epic drums": "15c7df97aba9afef",
}


def compose(prompt: str, duration: float = 20.0, seed: int = 7, **wishes: Any) -> MusicalPlan:
    return make_plan(prompt, resolve_params(prompt, duration=duration, seed=seed, **wishes))


def parts(plan: MusicalPlan) -> dict[str, tuple[Note, ...]]:
    return {track.role: track.notes for track in arrange(plan).tracks}


def struck(plan: MusicalPlan, *roles: str) -> float:
    """The share of all beats, but those of the last bar, on which one of these roles begins a note."""
    step = beat_length(plan.meter)
    starts = [note.start for role, notes in parts(plan).items() if role in roles for note in notes]
    beats = [number * step for number in range(round((plan.num_bars - 1) * plan.beats_per_bar / step))]
    return sum(any(abs(start - beat) < 0.15 for start in starts) for beat in beats) / len(beats)


@pytest.mark.parametrize("prompt", UNSAID)
def test_without_a_stated_tempo_or_with_no_beat_every_note_is_what_it_was(prompt: str) -> None:
    plan = compose(prompt)
    rows = [
        (t.role, t.program, [(round(n.start, 4), round(n.duration, 4), n.pitch, n.velocity) for n in t.notes])
        for t in arrange(plan).tracks
    ]
    assert plan.pulse == ()
    assert hashlib.sha256(repr(rows).encode()).hexdigest()[:16] == UNSAID[prompt]


@pytest.mark.parametrize("style", style_names())
@pytest.mark.parametrize("meter", ["4/4", "3/4", "6/8"])
def test_in_every_style_a_duo_strikes_the_beats_of_a_stated_tempo(style: str, meter: str) -> None:
    duo = ("piano", "double bass")
    for seed in range(4):
        hard = Constraints(tempo=80.0, meter=meter, instruments=duo, only=True, duration=40.0, seed=seed)
        plan = plan_music(Attributes(style=style), hard)
        bass_and_harmony = max(struck(plan, role) for role in ("chords", "pad", "bass"))
        assert bass_and_harmony >= 0.75, (plan.pulse, plan.instruments)


def test_before_it_was_marked_ambient_had_no_beat() -> None:
    plan = compose("ambient, 60 bpm")
    assert struck(plan, *plan.pulse) == 1
    assert struck(replace(plan, pulse=()), "chords", "pad", "bass") < 0.5


def test_the_plan_says_who_marks_the_beat_and_why() -> None:
    plan = compose("ambient with warm pad, 60 bpm")
    assert plan.decisions["pulse"] == f"rule: by {', '.join(plan.pulse)}, as nobody drums and the prompt said a tempo"
    assert "the user said a tempo" in compose("ambient", tempo=60.0).decisions["pulse"]
    assert compose("house, 124 bpm").decisions["pulse"] == "rule: none, the drums mark the beat"
    assert "struck anyway, by bass" in compose("jazz, 140 bpm, just piano and double bass").decisions["pulse"]
    assert compose("slow ambient").decisions["pulse"] == "rule: none, nobody said a tempo in numbers"


def test_a_plan_file_played_again_gives_the_same_notes_and_one_without_a_pulse_those_of_before() -> None:
    plan = compose("ambient with harp, 60 bpm")
    assert plan.pulse and arrange(MusicalPlan.from_json(plan.to_json())) == arrange(plan)
    old = {name: value for name, value in plan.to_dict().items() if name != "pulse"}
    assert arrange(MusicalPlan.from_dict(old)) == arrange(replace(plan, pulse=())) != arrange(plan)


@pytest.mark.parametrize(
    ("pulse", "message"),
    [
        (["lead"], "pulse: role 'lead' must be one of chords, pad, colour, bass"),
        ("chords", "pulse: it must be a list of roles"),
    ],
)
def test_a_pulse_that_nobody_can_play_is_refused(pulse: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MusicalPlan.from_dict({**compose("ambient").to_dict(), "pulse": pulse})


def test_those_who_do_not_mark_the_beat_keep_their_notes() -> None:
    plan = compose("cinematic with choir, 84 bpm, no drums", duration=60.0)
    marked, before = parts(plan), parts(replace(plan, pulse=()))
    assert {role for role in marked if marked[role] != before[role]} == {*plan.pulse} == {"chords", "colour", "bass"}


def test_wishes_of_who_plays_are_kept() -> None:
    assert "colour" not in compose("ambient, 60 bpm", without=("colour",)).instruments
    assert {*compose("solo warm pad, ambient, 60 bpm").instruments} <= {"pad", "lead"}
    assert (
        "colour" not in compose("ambient with warm pad and nothing else", tempo=60.0, without=("colour",)).instruments
    )
    assert compose("cinematic with brass, 84 bpm, no drums").instruments["colour"] == 61
    for seed in range(8):
        assert compose("ambient, 60 bpm", seed=seed, without=("music box", "harp")).instruments["colour"] == 98


def test_where_drums_are_taken_away_from_a_style_that_has_them_the_others_keep_their_notes() -> None:
    whole, less = compose("funk, 100 bpm"), compose("funk, 100 bpm", without=("drums",))
    assert less.pulse == () and "taken away" in less.decisions["pulse"]
    assert parts(less) == {role: notes for role, notes in parts(whole).items() if role != "drums"}


def test_who_marks_the_beat_with_a_clear_attack_stands_further_forward() -> None:
    plan = compose("ambient with harp and warm pad, 60 bpm")
    quiet = replace(plan, pulse=())
    levels, before = ({track.role: track.level_db for track in arrange(p).tracks} for p in (plan, quiet))
    assert plan.instruments["colour"] == 46 and "pad" in plan.pulse
    raised = {role: level - before[role] for role, level in levels.items() if level != before[role]}
    assert raised == {role: FORWARD for role in plan.pulse if plan.instruments[role] in CLEAR} and "colour" in raised


def test_brass_plays_a_figure_where_nobody_else_has_a_clear_attack() -> None:
    slow, clear = compose("cinematic with choir, brass and strings, 84 bpm, no drums"), "cinematic with brass and piano"
    assert slow.instruments["colour"] == 61 and struck(slow, "colour") > 0.9
    other = compose(f"{clear}, 84 bpm, no drums")
    assert other.instruments["chords"] in CLEAR and other.instruments["colour"] == 61
    assert struck(other, "colour") < 0.4


def test_a_pad_alone_swells_on_every_beat() -> None:
    plan = replace(compose("ambient, 60 bpm"), instruments={"pad": 89}, pulse=("pad",))
    held = parts(replace(plan, pulse=()))["pad"]
    swelling = parts(plan)["pad"]
    assert struck(plan, "pad") == 1 and len(swelling) > 2 * len(held)
    assert {note.pitch for note in swelling} == {note.pitch for note in held}


def test_a_pad_swells_once_a_chord_where_three_split_a_bar() -> None:
    plan = compose("ambient, 60 bpm", chords=("C F G", "Am"), without=("chords",))
    first = [note for note in parts(plan)["pad"] if note.start < 3.9]
    begins = [0, 1, 4 / 3, 2, 8 / 3, 3]
    assert all(min(abs(note.start - beat) for beat in begins) < 0.15 for note in first)
    assert all(any(abs(note.start - beat) < 0.15 for note in first) for beat in begins)
    assert all(note.duration > 0.15 for note in first)


def test_loud_cinematic_music_without_drums_is_driven_although_nobody_said_a_tempo() -> None:
    loud = compose("cinematic, no drums", duration=90.0)
    assert loud.pulse and "energy 1 is driven" in loud.decisions["pulse"]
    assert not compose("ambient", duration=90.0).pulse
    assert not compose("cinematic, no beat", duration=90.0, without=("drums",)).pulse


def test_timpani_stand_on_the_bass_note_of_every_downbeat() -> None:
    plan = compose("cinematic with timpani, 84 bpm, no drums")
    assert plan.instruments["colour"] == 47 and "colour" in plan.pulse
    notes = parts(plan)["colour"]
    for number, bar in enumerate(plan.bars):
        (stroke,) = [note for note in notes if abs(note.start - number * plan.beats_per_bar) < 0.15]
        chord = bar.chords[0]
        assert stroke.pitch % 12 == (chord.root if chord.bass is None else chord.bass) and stroke.pitch < 53


def test_in_six_eight_the_beat_is_a_dotted_quarter() -> None:
    plan = plan_music(
        Attributes(style="ambient"), Constraints(tempo=60.0, meter="6/8", duration=30.0, without=("colour",))
    )
    accents = [note for note in parts(plan)["chords"] if note.start < plan.beats_per_bar - 0.2]
    assert {round(note.start * 2) / 2 for note in accents} == {0, 0.5, 1, 1.5, 2, 2.5}
    style = pulsing(load_style("ambient"), plan)
    assert style.comping["patterns"] == ["X-x-x-X-x-x-"]


def test_a_moving_tempo_keeps_its_rubato() -> None:
    plan = compose("ambient with harp, 60 bpm, rubato")
    assert plan.rubato == 0.7 and plan.pulse and not plan.tempo_map.is_steady


@pytest.mark.parametrize(
    ("prompt", "pulse"),
    [
        ("ambient, 60 bpm", True),
        ("drone without beats", False),
        ("no rhythm, 60 bpm", False),
        ("ambient without a beat", False),
        ("no rhythm guitar, 60 bpm", True),
        ("beat-free ambient", False),
        ("chill beats", None),
        ("slow ambient, no drums", None),
        ("techno, no beats per minute known", None),
    ],
)
def test_a_prompt_may_want_a_beat_or_none(prompt: str, pulse: bool | None) -> None:
    assert parse_prompt(prompt).pulse is pulse


def test_a_live_change_keeps_who_marks_the_beat_and_a_said_tempo_brings_somebody() -> None:
    marked, floating = compose("ambient, 60 bpm", duration=60.0), compose("ambient", duration=60.0)
    bar = marked.seconds_per_bar
    assert revise(marked, bar, Wishes(), 40.0).pulse == marked.pulse
    assert revise(floating, floating.seconds_per_bar, read_wishes("in A minor"), 40.0).pulse == ()
    assert revise(floating, floating.seconds_per_bar, read_wishes("70 bpm"), 40.0).pulse
    with_drums = revise(marked, bar, read_wishes("with drums"), 40.0)
    assert with_drums.pulse == () and with_drums.decisions["pulse"] == "rule: none, the drums mark the beat"


@pytest.mark.parametrize(
    "pulse",
    [
        {"lead": {}},
        {"chords": {"patterns": ["x---"]}},
        {"bass": {"style": "strum"}},
        {"colour": {"strikers": {128: 1}}},
    ],
)
def test_a_style_with_a_pulse_that_cannot_be_played_is_refused(pulse: dict[str, Any]) -> None:
    style = load_style("ambient")
    data = {name: value for name, value in vars(style).items() if name != "name"}
    with pytest.raises(ConfigError, match=r"styles/test\.yaml: pulse"):
        check_style("test", {**data, "pulse": pulse})
