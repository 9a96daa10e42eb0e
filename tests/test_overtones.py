"""Which tones a score lets sound, and that the decoder keeps to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gen_audio import registry
from gen_audio.codecs.layers.vocoder import PATCH, STRAY
from gen_audio.codecs.spectral import Spectral
from gen_audio.codecs.toy import Toy
from gen_audio.composition.overtones import DRY, FURTHER, INHARMONIC, RING, sounding_tones
from gen_audio.composition.score import MIX, Note, Score, Track
from gen_audio.composition.tempo_map import TempoMap
from gen_audio.pipeline import load as loader
from gen_audio.pipeline.pipeline import Pipeline
from gen_audio.pipeline.sounding import sounding

TONES = range(24, 104)
STEADY = TempoMap(60.0)  # a beat is a second
PIANO, DRAWBAR, GLOCKENSPIEL, HARP = 0, 16, 9, 46


def track(*notes: tuple[float, float, int], program: int = PIANO, role: str = "chords") -> Track:
    return Track(role, program, tuple(Note(start, duration, pitch, 90) for start, duration, pitch in notes))


def marks(of: Track, first: int = 0, count: int = 100, **settings: Any) -> np.ndarray:
    return sounding_tones(of, STEADY, TONES, first=first, count=count, frame_rate=25.0, **settings)


def tones_at(found: np.ndarray, frame: int) -> list[int]:
    return [TONES[index] for index in found[frame].nonzero()[0]]


def test_a_note_lets_its_harmonics_sound_and_not_what_lies_between() -> None:
    heard = tones_at(marks(track((1.0, 1.0, 45))), 30)
    assert heard[:8] == [45, 57, 64, 69, 73, 76, 79, 81]  # octave, fifth, octave, third, fifth, seventh, octave
    assert not {44, 46, 56, 58, 63, 65} & set(heard)


def test_a_tone_sounds_from_a_frame_before_its_note_until_it_has_rung_out() -> None:
    for program in (PIANO, HARP):
        held = marks(track((1.0, 1.0, 60), program=program), count=200)[:, 60 - TONES.start]
        frames = held.nonzero()[0]
        assert frames[0] == 24 and frames[-1] == np.ceil((2 + RING.get(program, DRY)) * 25) - 1
    assert RING[HARP] > DRY


def test_organs_sound_below_what_is_written_and_bells_as_they_like() -> None:
    assert tones_at(marks(track((0.0, 4.0, 60), program=DRAWBAR)), 50)[:6] == [36, 48, 60, 67, 72, 76]
    for one in (track((0.0, 4.0, 60), program=GLOCKENSPIEL), track((0.0, 4.0, 36), role="drums")):
        assert marks(one).all()
    assert not set(FURTHER) & INHARMONIC and not set(RING) & INHARMONIC


def test_a_window_is_a_piece_of_the_whole_and_agrees_with_a_slow_count() -> None:
    rng = np.random.default_rng(1)
    notes = [
        (float(s), float(d), int(p)) for s, d, p in zip(*rng.uniform((0, 0.1, 26), (4, 1, 90), (40, 3)).T, strict=True)
    ]
    whole = marks(track(*notes))
    assert np.array_equal(marks(track(*notes), first=37, count=20), whole[37:57])
    for frame in (0, 40, 99):
        slow = {
            round(pitch + 12 * np.log2(harmonic))
            for start, duration, pitch in notes
            for harmonic in range(1, 97)
            if np.floor((start - 0.04) * 25) <= frame < np.ceil((start + duration + DRY) * 25)
        }
        assert tones_at(whole, frame) == sorted(slow & set(TONES))
    assert not marks(track()).any() and marks(track(*notes), first=-50, count=10).sum() == 0


def test_what_is_struck_after_a_change_is_not_heard_and_what_rings_is() -> None:
    found = marks(track((0.0, 1.0, 60), (1.0, 1.0, 62)), until=1.0)
    assert found[25, 60 - TONES.start] and not found[:, 62 - TONES.start].any()


def test_a_score_that_changes_is_followed_and_a_mix_is_left_alone() -> None:
    torch.manual_seed(0)
    codec = registry.build("codecs", "spectral")
    assert isinstance(codec, Spectral) and codec.tones == TONES
    one, two = (Score(STEADY, 4, 4.0, (track((0.0, 4.0, pitch)),)) for pitch in (60, 61))
    told = sounding(codec, ["chords", MIX, "lead"], lambda: [(0, one), (50, two)])
    assert told is not None
    chords, mix, lead = told(40, 40).numpy()
    assert mix.all() and not lead.any()  # nobody plays the lead
    assert tones_at(chords, 9)[0] == 60 and 61 not in tones_at(chords, 9)
    assert tones_at(chords, 10)[:2] == [60, 61]  # the first one's note was held beyond the change
    late = sounding(codec, ["chords"], lambda: [(0, one), (50, two)], begin=30)
    assert late is not None and np.array_equal(late(10, 40)[0].numpy(), chords)
    assert sounding(Toy(), ["chords"], lambda: [(0, one)]) is None


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(1, 2, 3, 34), (40,), (17, 20, 1, 1, 1)])
def test_the_decoder_turns_down_what_may_not_sound_in_blocks_of_any_length(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    codec = registry.build("codecs", "spectral")
    codec.vocoder.to_partials.bias[:80] = 4.0  # all its sinusoids are loud
    codes = torch.randint(codec.card, (2, codec.n_q, 40))
    may = torch.rand(2, 40, 80) < 0.5
    pieces = codec.decode_sounding(codes.split(sizes, -1), lambda first, count: may[:, first : first + count])
    spectrum, amplitude, detune = codec.vocoder.parts(*codec.mel_from_latent(codec.quantiser.decode(codes)))
    whole = codec.vocoder.draw(spectrum, amplitude * torch.where(may, 1.0, STRAY).repeat_interleave(PATCH, 1), detune)[
        0
    ][:, None]
    torch.testing.assert_close(torch.cat(list(pieces), -1), whole, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(whole, codec.decode(codes), atol=1e-2)


def test_only_a_decoder_whose_network_was_told_the_notes_is_told_them(nano_model: Path) -> None:
    player = loader.load(str(nano_model))
    assert isinstance(player, Pipeline)
    for rung, is_told in (("notes", True), ("plan", False)):
        made = player.generate("lofi", duration=1.0, seed=3, rung=rung, loudness="none")
        assert ("no note explains" in made.provenance["decode"]) is is_told  # type: ignore[union-attr]
        streamed = np.concatenate(
            [piece.samples for piece in player.stream("lofi", duration=1.0, seed=3, rung=rung)], 1
        )
        np.testing.assert_allclose(streamed, made.waveform.samples, atol=1e-4)  # type: ignore[union-attr]
