"""Effects: the draw from what a style allows, who wins over it, and what echoes and a chorus do to sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gen_audio
import numpy as np
import pytest
import yaml
from gen_audio.audio import Waveform
from gen_audio.composition.arranger import arrange
from gen_audio.composition.convolution import Convolver
from gen_audio.composition.echoes import Chorus, Delay
from gen_audio.composition.effect_choice import DRY, EFFECTS, draw_effects, read_effects
from gen_audio.composition.manner import style_of
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.revision import Wishes, revise
from gen_audio.composition.score import Track
from gen_audio.composition.style import Style, check_style, load_style, style_names
from gen_audio.errors import ConfigError
from gen_audio.pipeline.mixer import HEADROOM, Scene, dry_mix, mix, mix_stream
from gen_audio.pipeline.params import GenerationParams, resolve_params

RATE = 24000
SEEDS = (0, 1, 2)


def planned(style: str, seed: int, **wishes: Any) -> MusicalPlan:
    return plan_music(Attributes(style=style), Constraints(seed=seed, duration=6.0, **wishes))


def played(plan: MusicalPlan) -> dict[str, np.ndarray]:
    """Decaying tones for notes and noise for drums, [1, L] each: loud and busy enough for every effect."""
    rng, time = np.random.default_rng(plan.seed), np.arange(round(0.4 * RATE)) / RATE
    stems = {}
    for track in arrange(plan).tracks:
        sound = np.zeros(round(plan.duration * RATE) + len(time))
        for note in track.notes:
            start = round(note.start * 60 / plan.tempo * RATE)
            hit = rng.standard_normal(len(time)) * 0.3
            wave = hit if track.is_drums else np.sin(2 * np.pi * 440 * 2 ** ((note.pitch - 69) / 12) * time)
            if start < len(sound) - len(time):
                sound[start : start + len(time)] += wave * np.exp(-9 * time) * note.velocity / 300
        stems[track.role] = sound[: round(plan.duration * RATE)][None].astype(np.float32)
    return stems


def mixed(plan: MusicalPlan, effects: dict[str, Any] | None = None) -> np.ndarray:
    chosen = style_of(plan).effects if effects is None else effects
    return mix(played(plan), arrange(plan).tracks, chosen, sample_rate=RATE, seed=plan.seed)


def kept_in_mono(sound: np.ndarray) -> float:
    """Energy of the mono sum beside that of both sides, in dB: 0 for mono, -3 for sides that have nothing in common."""
    return float(10 * np.log10(np.square(sound.mean(0)).mean() / np.square(sound).mean()))


def file_of(style: Style) -> dict[str, Any]:
    from importlib import resources

    text = resources.files("gen_audio.composition").joinpath("styles", f"{style.name}.yaml").read_text("utf-8")
    return yaml.safe_load(text)


@pytest.mark.parametrize("style", style_names())
def test_seeds_draw_other_effects_within_what_the_style_allows(style: str) -> None:
    ranges, found = load_style(style).effect_ranges, []
    for seed in range(12):
        plan = planned(style, seed)
        assert plan.effects == planned(style, seed).effects
        assert plan.decisions["effects"].startswith("sampled by the seed: ")
        for name, among in ranges.items():
            value = plan.effects[name]
            assert value in among if isinstance(among, dict) else among[0] <= value <= among[1], name
            assert name in plan.decisions["effects"]
        found.append(str(plan.effects))
    assert len(set(found)) == 12


def test_what_the_user_says_wins_and_leaves_everything_else_alone() -> None:
    free, told = planned("house", 5), planned("house", 5, effects={"reverb": "room", "delay": 0.9})
    assert told.effects["reverb"] == "room" and told.effects["delay"] == 0.9
    assert {**told.effects, **{name: free.effects[name] for name in ("reverb", "delay")}} == free.effects
    assert told.decisions["effects"].startswith("user: reverb=room, delay=0.9; sampled by the seed: ")
    assert replace(told, effects=free.effects, decisions=free.decisions) == free
    edited = MusicalPlan.from_dict({**free.to_dict(), "effects": {**free.effects, "vinyl": 0.8}})
    assert style_of(edited).effects["vinyl"] == 0.8


def test_a_plan_without_effects_plays_the_styles_own() -> None:
    for style in style_names():
        data = planned(style, 4).to_dict()
        del data["effects"]
        old = MusicalPlan.from_dict({**data, "version": 2, "fade_out": 0.0})
        assert style_of(old).effects == load_style(style).effects


def test_a_delay_follows_the_tempo() -> None:
    plan = planned("techno", 1, tempo=120.0, effects={"delay": 0.5, "delay_beats": 0.75})
    assert style_of(plan).effects["delay_seconds"] == pytest.approx(0.375)


def test_a_change_while_it_plays_keeps_the_effects_unless_the_style_changes() -> None:
    plan = plan_music(Attributes(style="lofi"), Constraints(seed=3, duration=30.0, effects={"vinyl": 0.9}))
    assert revise(plan, 0.0, Wishes(pace=1.2), 20.0).effects == plan.effects
    assert revise(plan, 0.0, Wishes(style="techno"), 20.0).effects == planned("techno", 3).effects
    told = revise(plan, 0.0, Wishes(style="techno", effects={"delay": 0.9}), 20.0)
    assert told.effects == {**planned("techno", 3).effects, "delay": 0.9}


def test_effects_and_a_moving_tempo_go_on_together() -> None:
    heard = Attributes(style="classical", instruments=("piano",), only=True)
    plan = plan_music(heard, Constraints(seed=3, duration=30.0, effects={"delay": 0.5}))
    revised = revise(plan, plan.second_of_bar(1), Wishes(key="minor"), 20.0)
    assert plan.rubato > 0 and revised.rubato == plan.rubato and revised.effects == plan.effects


def test_effects_said_for_a_stream_stay_in_another_style() -> None:
    stream = gen_audio.load("etude").stream("house", duration=6.0, seed=1, effects="dry")
    next(iter(stream))
    stream.change(style="techno")
    changed = stream.facts()["provenance"]["changes"][0]["plan"]
    assert changed["style"] == "techno" and {name: changed["effects"][name] for name in DRY} == DRY


def test_words_for_effects_are_read() -> None:
    assert read_effects("reverb=hall, delay = 0.4") == {"reverb": "hall", "delay": 0.4}
    assert read_effects("dry, vinyl=0.3") == {**DRY, "vinyl": 0.3}
    assert GenerationParams(effects="dry").constraints.effects == DRY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reverb=cave", "No reverb named 'cave'"),
        ("echo=1", "No effect named 'echo'"),
        ("delay=2", "delay is 2.0; it must be 0 to 1"),
        ("delay=much", "delay is 'much'; it must be 0 to 1"),
        ("tape=nan", "tape is nan; it must be 0 to 1"),
        ("wet", "effects has 'wet'. Write dry, or name=value"),
        (" , ", "effects is empty"),
    ],
)
def test_effects_that_there_are_not_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        GenerationParams(effects=text)


def test_effects_that_contradict_a_given_plan_are_refused() -> None:
    plan = planned("lofi", 2)
    said = ", ".join(f"{name}={value}" for name, value in plan.effects.items())
    assert resolve_params("lofi", plan=plan, effects=said).plan == plan
    with pytest.raises(ConfigError, match=r"effects \(reverb\) is none, but the plan says"):
        resolve_params("lofi", plan=plan, effects="dry")
    with pytest.raises(ConfigError, match="plan: effects: vinyl is 7; it must be 0 to 1"):
        MusicalPlan.from_dict({**plan.to_dict(), "effects": {"vinyl": 7}})


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"tape": [0.5]}, r"tape is \[0.5\]; it must be \[low, high\]"),
        ({"tape": [0.7, 0.5]}, "it must be"),
        ({"tape": [0.7, 0.9]}, "leaves out the style's own value 0.6"),
        ({"reverb": {"hall": 1}}, "leaves out the style's own value 'room'"),
        ({"delay": {3: 1}}, "delay is 3; it must be 0 to 1"),
        ({"echo": [0, 1]}, "No effect named 'echo'"),
    ],
)
def test_a_style_file_with_wrong_ranges_is_refused(ranges: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"styles/lofi.yaml: effects: .*{message}"):
        check_style("lofi", {**file_of(load_style("lofi")), "effect_ranges": ranges})


def test_every_effect_is_heard() -> None:
    plan = planned("pop", 1)
    bare = mixed(plan, {**DRY})
    strong = {name: high for name, (_, high) in EFFECTS.items() if name in DRY} | {"lowpass_hz": 2000.0}
    strong |= {"delay_seconds": 0.3}
    for name in strong:
        if name != "delay_seconds":
            wet = mixed(plan, {**DRY, name: strong[name], "delay_seconds": 0.3})
            assert np.abs(wet - bare).max() > 0.01, name
    hall = {**DRY, "reverb": "hall"}
    for change in ({"reverb_seconds": 3.0}, {"reverb_amount": 2.0}):
        assert np.abs(mixed(plan, {**hall, **change}) - mixed(plan, hall)).max() > 0.01, change
    assert np.abs(mixed(plan, {**DRY, "reverb": "plate"}) - mixed(plan, hall)).max() > 0.01


def resampled(stem: np.ndarray, rate: int, highest: float) -> np.ndarray:
    """A stem [1, L] at RATE without what lies above `highest` -> at another rate."""
    spectrum, length = np.fft.rfft(stem), stem.shape[1] * rate // RATE
    bins = round(highest * stem.shape[1] / RATE)
    whole = np.zeros((1, length // 2 + 1), complex)
    whole[:, :bins] = spectrum[:, :bins] * 0.3 * rate / RATE  # softly, so that no limiter is at work
    return np.fft.irfft(whole, length).astype(np.float32)


@pytest.mark.parametrize("rate", [32000, 48000])
@pytest.mark.parametrize("name", [*sorted(set(DRY) - {"reverb"}), "room", "hall", "plate"])
def test_effects_do_the_same_at_every_sample_rate(name: str, rate: int) -> None:
    plan = planned("pop", 1)
    stems, tracks = played(plan), arrange(plan).tracks
    value = 2000.0 if name == "lowpass_hz" else EFFECTS.get(name, (0, 0))[1]
    wet = {"reverb": name} if name in ("room", "hall", "plate") else {name: value, "delay_seconds": 0.3}
    below = round(8000 * plan.duration)  # bins

    def spectrum(rate: int, **effects: Any) -> np.ndarray:
        parts = {role: resampled(stem, rate, 9000.0) for role, stem in stems.items()}
        return np.fft.rfft(mix(parts, tracks, {**DRY, **effects}, sample_rate=rate, seed=1))[:, :below] / rate

    def energy(spectrum: np.ndarray) -> float:
        return float(np.square(np.abs(spectrum)).sum())

    usual, other, dry = spectrum(RATE, **wet), spectrum(rate, **wet), spectrum(RATE)
    assert energy(usual - dry) > 1e-2 * energy(dry), "the effect is not heard"
    # a tape interpolates between samples, and clicks lie on them
    assert energy(other - usual) < (3e-3 if name in ("tape", "vinyl") else 1e-5) * energy(usual)


def test_dry_is_the_sum_of_the_placed_stems() -> None:
    plan = planned("ambient", 1, effects=DRY)
    stems = {role: stem * 0.2 for role, stem in played(plan).items()}
    effects = {**style_of(plan).effects, "fade_out": 0.0}
    tracks = arrange(plan).tracks
    heard = mix(stems, tracks, effects, sample_rate=RATE, seed=1)
    np.testing.assert_allclose(heard, dry_mix(stems, tracks) * HEADROOM, atol=1e-6)


@pytest.mark.parametrize("style", style_names())
def test_drawn_effects_keep_loudness_peaks_ending_and_the_mono_sum(style: str) -> None:
    for seed in SEEDS:
        plan = planned(style, seed)
        sound = Waveform(mixed(plan), RATE).normalise(-16.0)
        assert np.isfinite(sound.samples).all() and sound.peak <= 1.0
        assert sound.loudness() == pytest.approx(-16.0, abs=0.5)
        assert np.abs(sound.samples[:, -24:]).max() < 1e-3
        own = mixed(plan, {**load_style(style).effects, "fade_out": 0.5, "ends_at": 6.0})
        assert kept_in_mono(sound.samples) > kept_in_mono(own) - 1.2, "too much is lost in mono"


def test_echoes_come_in_time_on_alternate_sides_and_die_away() -> None:
    click = np.zeros((2, 2 * RATE), np.float32)
    click[:, 100] = 1.0
    heard = Delay(sample_rate=RATE, seconds=0.25, feedback=0.5)(click)
    echoes = [heard[:, 100 + n * 6000 - 10 : 100 + n * 6000 + 11] for n in range(1, 6)]
    sums = np.array([echo.sum(1) for echo in echoes])
    np.testing.assert_allclose(sums.sum(1), 1.91 * 0.5 ** np.arange(5), rtol=1e-5)
    assert [row[0] > row[1] for row in sums] == [True, False, True, False, True]
    assert np.abs(heard).sum() == pytest.approx(sum(np.abs(echo).sum() for echo in echoes) + 1.91 / 16, rel=0.1)
    highs = [np.abs(np.fft.rfft(echo.sum(0)))[-3] / echo.sum() for echo in echoes]
    assert all(later < sooner for sooner, later in zip(highs, highs[1:], strict=False))


@pytest.mark.parametrize("taps", [1, 253, 8192, 8193, 16385, 40000])
def test_convolution_of_pieces_is_that_of_the_whole(taps: int) -> None:
    rng = np.random.default_rng(taps)
    sound, impulse = (rng.standard_normal((2, count)).astype(np.float32) for count in (30000, taps))
    spectra = (np.fft.rfft(part.astype(float), 1 << 17) for part in (sound, impulse))
    wanted = np.fft.irfft(np.multiply(*spectra), 1 << 17)
    heard = Convolver(impulse)
    pieces = [heard(part) for part in np.split(sound, [0, 1, 3000, 9000], 1)]
    atol = 1e-5 * float(np.abs(wanted).max())
    np.testing.assert_allclose(np.concatenate(pieces, 1), wanted[:, :30000], atol=atol)
    np.testing.assert_allclose(heard(np.zeros((2, taps - 1), np.float32)), wanted[:, 30000:][:, : taps - 1], atol=atol)
    assert not heard.ringing.any() or np.abs(heard.ringing).max() < atol


@pytest.mark.parametrize("cuts", [[1, 2, 5000, 5001, 20000], [3600], []])
def test_echoes_and_chorus_of_pieces_join_into_those_of_the_whole(cuts: list[int]) -> None:
    sound = np.random.default_rng(0).standard_normal((2, 30000)).astype(np.float32)
    for make in (
        lambda: Delay(sample_rate=RATE, seconds=0.15, feedback=0.6),
        lambda: Chorus(sample_rate=RATE, start=777),
    ):
        one, parts = make(), np.split(sound, cuts, 1)
        np.testing.assert_allclose(np.concatenate([one(part) for part in parts], 1), make()(sound), atol=1e-6)


def test_a_chorus_detunes_a_tone_a_little() -> None:
    tone = np.tile(np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE), (2, 1)).astype(np.float32)
    heard = Chorus(sample_rate=RATE)(tone)[:, RATE:]
    spectrum = np.square(np.abs(np.fft.rfft(heard * np.hanning(heard.shape[1]))))
    hertz = np.fft.rfftfreq(heard.shape[1], 1 / RATE)
    near, off = (spectrum[:, (np.abs(hertz - 1000) < wide)].sum() for wide in (30, 2))
    assert near > 0.99 * spectrum.sum() and off < 0.5 * near
    assert np.corrcoef(heard)[0, 1] < 0.9  # left and right differ


@pytest.mark.parametrize("style", ["ambient", "techno", "lofi"])
def test_a_stream_with_echoes_and_chorus_is_the_whole_mix(style: str) -> None:
    plan = planned(style, 1, effects={"delay": 0.5, "chorus": 0.4})
    stems, tracks, effects = played(plan), arrange(plan).tracks, style_of(plan).effects
    rows = np.concatenate([stems[track.role] for track in tracks])
    blocks = np.split(rows, [1000, 4800, 33600, 90000], 1)
    scene = Scene(0, dict(enumerate(tracks)), effects, plan.seed)
    pieces = list(mix_stream(blocks, lambda: [scene], sample_rate=RATE))
    whole = mix(stems, tracks, effects, sample_rate=RATE, seed=plan.seed)
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, atol=2e-6)


def test_echoes_of_a_scene_ring_on_after_it() -> None:
    track = Track("lead", 1, (), reverb_send=1.0)
    sound = np.zeros((1, 2 * RATE), np.float32)
    sound[0, 1000:1100] = 0.5
    echoing = {"delay": 1.0, "delay_seconds": 0.5, "delay_feedback": 0.3}
    scenes = [Scene(0, {0: track}, echoing, 1), Scene(6000, {0: track}, {}, 1)]
    pieces = list(mix_stream(np.split(sound, 8, 1), lambda: scenes, sample_rate=RATE))
    heard = np.abs(np.concatenate(pieces, 1)).max(0)
    assert heard[13000:13100].max() > 0.1 and heard[25000:25100].max() > 0.02
    assert heard[14000:24000].max() < 1e-4


def test_a_wish_for_an_effect_that_the_style_does_not_draw_is_taken() -> None:
    drawn, told = draw_effects({}, 1, {"vinyl": 0.5})
    assert drawn == {"vinyl": 0.5} and told == "user: vinyl=0.5"
    assert draw_effects({}, 1) == ({}, "rule: the style's own")
