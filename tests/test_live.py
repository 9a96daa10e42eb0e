"""A piece that changes while it plays: at a bar line, without a seam, and what was made before it stays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import gen_audio
import numpy as np
import pytest
import torch
from gen_audio.codecs.toy import Toy
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Constraints, plan_music
from gen_audio.composition.revision import Wishes, next_bar, read_wishes, revise
from gen_audio.composition.score import ROLES, Track
from gen_audio.composition.theory import Key
from gen_audio.errors import ConfigError
from gen_audio.pipeline.live import Live
from gen_audio.pipeline.mixer import FADE, Scene, mix_stream
from gen_audio.pipeline.perform import Conditions
from gen_audio.pipeline.pipeline import Pipeline
from gen_audio.pipeline.streaming import SoundStream
from gen_audio.pipeline.voices import stems

ASKED: dict[str, Any] = {"duration": 7.0, "seed": 3, "tempo": 125.0, "style": "lofi", "instruments": ("piano", "bass")}
ASKED["without"] = ("drums", "lead", "pad", "colour")
BAR = 48  # frames: 125 BPM, 4/4


@pytest.fixture(scope="module")
def nano(nano_model: Any) -> Pipeline:
    return gen_audio.load(str(nano_model))


@pytest.fixture
def plan() -> MusicalPlan:
    wishes = {"instruments": ("piano", "bass"), "only": True}
    return plan_music(None, Constraints(style="lofi", tempo=125.0, key="A minor", duration=17.0, seed=3, **wishes))


def live_of(stream: SoundStream) -> Live:
    assert stream.changer is not None
    return stream.changer.__self__  # type: ignore[no-any-return]


def played(model: Pipeline, at: int | None = None, **wishes: Any) -> tuple[torch.Tensor, Live, float]:
    """Codes [R, K, T] of a stream that is asked for a change after so many frames; and when it took hold."""
    live, second, codes = live_of(model.stream("piano", **ASKED)), 0.0, []
    for frame, column in enumerate(live.columns()):
        codes.append(column)
        if frame == at:
            second = live.change(**wishes)
    return torch.stack(codes, -1), live, second


def test_codes_before_the_bar_are_those_of_the_unchanged_stream(nano: Pipeline) -> None:
    plain, _, _ = played(nano)
    changed, live, second = played(nano, at=60, prompt="faster", key="C minor")
    first = round(second * 25)
    assert first == 2 * BAR and changed.shape == plain.shape
    assert torch.equal(changed[..., :first], plain[..., :first])
    assert not torch.equal(changed[..., first:], plain[..., first:])
    assert [part.first for part in live.parts] == [0, first]
    assert live.parts[1].plan.tempo == 150 and live.parts[1].plan.key == "C minor"


def test_after_the_bar_the_conditions_are_those_of_the_new_plan(
    nano: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Conditions, int]] = []
    call = Conditions.__call__

    def noted(self: Conditions, frame: int) -> torch.Tensor:
        told.append((self, frame))
        return call(self, frame)

    monkeypatch.setattr(Conditions, "__call__", noted)
    _, live, second = played(nano, at=60, tempo=150.0)
    first = round(second * 25)
    assert [frame for _, frame in told] == [*range(first), *range(live.num_frames - first)]
    assert all(conditions.plan is live.parts[0].plan for conditions, _ in told[:first])
    assert all(conditions.plan is live.parts[1].plan for conditions, _ in told[first:])
    assert all(conditions.total == 7.0 and conditions.begin == first for conditions, _ in told[first:])


def test_a_role_that_joins_hears_what_was_played_and_leaves_it_as_it_is(
    nano: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nano.executor, "rows_apart", True)  # then rows that do not play are not computed
    plain, _, _ = played(nano)
    changed, live, second = played(nano, at=60, prompt="now with drums")
    first, drums = round(second * 25), ROLES.index("drums")
    special = nano.performer.lm.special_token_id
    assert set(live.parts[1].roles) == {*live.parts[0].roles, "drums"}
    assert torch.equal(changed[..., :first], plain[..., :first])
    assert (changed[drums, :, :first] == special).all()
    assert (changed[drums, :, first:] != special).all()


def test_a_changed_stream_is_as_long_as_it_was_and_sounds_alike_before_the_bar(nano: Pipeline) -> None:
    before = np.concatenate([chunk.samples for chunk in nano.stream("piano", **ASKED)], 1)
    stream, pieces = nano.stream("piano", **ASKED), []
    for number, chunk in enumerate(stream):
        pieces.append(chunk.samples)
        if number == 0:
            second = stream.change("now with drums, faster")
    after = np.concatenate(pieces, 1)
    bar = round(second * nano.sample_rate)
    assert after.shape == before.shape and bar % (BAR * nano.codec.hop_length) == 0
    # the decoder hears `context` frames ahead, filters and limiter 0.03 s
    look = nano.codec.context * nano.codec.hop_length + round(0.03 * nano.sample_rate)
    np.testing.assert_allclose(after[:, : bar - look], before[:, : bar - look], atol=1e-5)
    assert np.abs(after[:, bar:] - before[:, bar:]).max() > 1e-3
    changes = stream.facts()["provenance"]["changes"]
    assert [(each["second"], each["prompt"]) for each in changes] == [(second, "now with drums, faster")]
    assert "drums" in changes[0]["plan"]["instruments"]


def test_two_changes_before_one_bar_become_one(nano: Pipeline) -> None:
    live = live_of(nano.stream("piano", **ASKED))
    assert live.change("faster") == live.change("with strings") == 48 / 25
    assert len(live.parts) == 2 and live.parts[1].plan.tempo == 150 and len(live.parts[1].roles) == 3


def test_a_change_that_cannot_be_made_leaves_the_music_as_it_was(nano: Pipeline) -> None:
    stream = nano.stream("piano", **ASKED)
    whole = np.concatenate([chunk.samples for chunk in nano.stream("piano", **ASKED)], 1)
    for said, wishes in {
        "No key|key": {"key": "H minor"},
        "tempo": {"tempo": 1000.0},
        "duration cannot change": {"duration": 5.0},
        "nothing was asked for": {},
        "prompt": {"prompt": " "},
        "leaves nobody": {"without": ROLES},
        "but the piece has begun": {"prompt": "30 seconds of jazz"},
        "Take bars away": {"plan": plan_music(None, Constraints(style="jazz", duration=60.0))},
    }.items():
        with pytest.raises(ConfigError, match=said):
            stream.change(**wishes)
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in stream], 1), whole)


def test_a_change_after_the_end_is_refused(nano: Pipeline) -> None:
    stream = nano.stream("piano", **ASKED)
    list(stream)
    with pytest.raises(ConfigError, match="no further bar begins.*Begin a new stream"):
        stream.change("faster")


def test_a_musicgen_says_that_it_cannot_change(tiny_musicgen: Callable[[str], Any]) -> None:
    stream = gen_audio.load(str(tiny_musicgen("mono").folder)).stream("rock", duration=1.0, seed=3)
    with pytest.raises(ConfigError, match="cannot change while it plays"):
        stream.change("jazz")


def test_a_change_may_come_from_another_thread(nano: Pipeline) -> None:
    stream = nano.stream("piano", **ASKED)
    pieces = iter(stream)
    next(pieces)
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(stream.change(style="techno")))
    thread.start()
    rest = list(pieces)
    thread.join()
    assert rest and found[0] * 25 % BAR == 0
    assert live_of(stream).parts[-1].plan.style == "techno"


def test_what_nobody_wishes_to_change_stays(plan: MusicalPlan) -> None:
    bar = plan.seconds_per_bar
    same = revise(plan, 3 * bar, Wishes(), plan.duration - 3 * bar)
    assert (same.style, same.tempo, same.key, same.instruments) == (plan.style, plan.tempo, plan.key, plan.instruments)
    assert [b.chords for b in same.bars] == [b.chords for b in plan.bars[3:]]
    assert same.duration == plan.duration - 3 * bar and same.groove == plan.groove


@pytest.mark.parametrize(
    ("prompt", "tempo", "roles"),
    [
        ("faster", 150.0, {"bass", "chords"}),
        ("much slower", 88.235, {"bass", "chords"}),
        ("now with drums", 125.0, {"bass", "chords", "drums"}),
        ("no bass", 125.0, {"chords"}),
        ("solo flute", 125.0, {"lead"}),
        ("100 bpm", 100.0, {"bass", "chords"}),
    ],
)
def test_words_change_what_they_name(plan: MusicalPlan, prompt: str, tempo: float, roles: set[str]) -> None:
    changed = revise(plan, plan.seconds_per_bar, read_wishes(prompt), 12.0)
    assert (
        changed.tempo == pytest.approx(tempo, abs=0.01)
        and roles == set(changed.instruments)
        and changed.key == plan.key
    )


def test_another_style_brings_its_own_and_keeps_the_key(plan: MusicalPlan) -> None:
    changed = revise(plan, plan.seconds_per_bar, read_wishes("techno"), 12.0)
    assert changed.style == "techno" and "drums" in changed.instruments and changed.tempo != plan.tempo
    assert Key.parse(changed.key) == Key.parse(plan.key)


def test_the_next_bar_is_after_now_and_none_after_the_last(plan: MusicalPlan) -> None:
    bar = plan.seconds_per_bar
    assert next_bar(plan, 0.0) == pytest.approx(bar) and next_bar(plan, 1.5 * bar) == pytest.approx(2 * bar)
    assert next_bar(plan, (plan.num_bars - 1) * bar) is None


@torch.no_grad()
def test_a_row_that_joins_is_silent_before_and_decoded_from_there_on() -> None:
    torch.manual_seed(0)
    codec = Toy()
    codes = torch.randint(codec.card, (3, codec.n_q, 40))
    rows = {0: 0}

    def blocks() -> Any:
        for number, block in enumerate(codes.split(8, -1)):
            if number == 2:
                rows[2] = 21
            yield block

    sound = np.concatenate(list(stems(codec, blocks(), lambda: rows)), 1)
    hop = codec.hop_length
    assert sound.shape == (3, 40 * hop) and not sound[1].any() and not sound[2, : 21 * hop].any()
    np.testing.assert_allclose(sound[0], codec.decode(codes[:1])[0, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(sound[2, 21 * hop :], codec.decode(codes[2:, :, 21:])[0, 0].numpy(), atol=1e-6)


def test_scenes_fade_and_the_old_reverb_rings_on() -> None:
    rate, track = 8000, Track("lead", 1, (), 0.0, 0.0, 0.5)
    hall = {"reverb": "hall", "reverb_seconds": 1.0}
    scenes = [Scene(0, {0: track}, hall, 1), Scene(8000, {1: track}, {}, 1)]
    stem = np.zeros((2, 24000), np.float32)
    stem[0] = 0.1
    blocks = [stem[:, a : a + 3000] for a in range(0, 24000, 3000)]
    sound = np.concatenate(list(mix_stream(blocks, lambda: scenes, sample_rate=rate)), 1)
    alone = np.concatenate(list(mix_stream(blocks, lambda: scenes[:1], sample_rate=rate)), 1)
    np.testing.assert_allclose(sound[:, :8001], alone[:, :8001], atol=1e-6)
    faded = 8000 + round(FADE * rate)
    ringing = np.abs(sound).max(0)
    assert ringing[faded : faded + 800].max() > 1e-3 > ringing[-4000:].max() * 10
