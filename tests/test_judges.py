"""Judges on sounds whose answer is known; one that is not installed is skipped, and says what to install."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gen_audio import registry
from gen_audio.audio import Waveform
from gen_audio.errors import CheckpointError, ConfigError, MissingExtraError
from gen_audio.evaluation.judges.base import Judge
from gen_audio.evaluation.panel import Panel
from gen_audio.evaluation.tensorflow_file import read_checkpoint
from sounds import RATE, clicks

JUDGES = registry.names("evaluation.judges")


def build(name: str) -> Any:
    cls = registry.find("evaluation.judges", name)
    if message := cls.missing():
        pytest.skip(message)
    return cls()


def chords(pitches: list[tuple[int, ...]], seconds: float = 2.0) -> Waveform:
    times = np.arange(round(seconds * RATE)) / RATE
    parts = [
        sum(np.sin(2 * np.pi * h * 440 * 2 ** ((p - 69) / 12) * times) / h**1.5 for p in some for h in range(1, 6))
        * np.exp(-times)
        for some in pitches
    ]
    return Waveform(0.1 * np.concatenate(parts)[None].astype(np.float32), RATE)


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_says_who_it_is_and_under_which_licence(name: str) -> None:
    cls = registry.find("evaluation.judges", name)
    assert cls.title and cls.licence and "Source:" in (cls.__doc__ or "")
    assert cls.install.startswith("pip install") and (cls.needs or name == "outside")


def test_a_judge_that_is_missing_is_named_and_tells_nothing() -> None:
    class Absent(Judge):
        title, licence, needs = "absent", "none", ("no_such_module",)

        def hear(self, waveform: Waveform) -> dict[str, Any]:
            return {"tempo": 1.0}

    assert Absent.missing() == "absent needs no_such_module: pip install 'gen-audio[eval]'"
    with pytest.raises(MissingExtraError, match="no_such_module"):
        Absent.check()
    panel = Panel()
    panel.classes["librosa_beats"] = Absent
    panel.missing["librosa_beats"] = str(Absent.missing())
    assert "tempo" not in panel.hear(clicks(120, 1.0), "librosa_beats")
    assert panel.reason("librosa_beats") == "not measured: absent needs no_such_module: pip install 'gen-audio[eval]'"


@pytest.mark.parametrize("bpm", [100.0, 120.0])
def test_librosa_hears_the_tempo_of_clicks(bpm: float) -> None:
    found = build("librosa_beats").hear(clicks(bpm))
    assert found["tempo"] == pytest.approx(bpm, rel=0.02)
    phases = [(beat - 0.5) % (60 / bpm) for beat in found["beats"]]
    assert np.mean([min(phase, 60 / bpm - phase) < 0.07 for phase in phases]) > 0.8


def test_basic_pitch_hears_key_and_chords_of_a_cadence() -> None:
    found = build("basic_pitch").hear(chords([(60, 64, 67), (53, 57, 60), (55, 59, 62), (60, 64, 67)]))
    assert found["key"] == "C major"
    assert [found["chords"][cell] for cell in (3, 11, 19, 27)] == [0, 5, 7, 0]


def test_basic_pitch_hears_no_chord_in_silence() -> None:
    found = build("basic_pitch").hear(Waveform(np.zeros((1, 3 * RATE), np.float32), RATE))
    assert set(found["chords"]) == {24}


def test_the_taggers_know_a_click_track_from_a_chord() -> None:
    judge = build("musicnn")
    drums, tones = judge.hear(clicks(120, 6.0)), judge.hear(chords([(60, 64, 67)] * 3))
    assert drums["msd_musicnn"].shape == (2, 200) and drums["mtt_vgg"].shape == (2, 256)
    assert drums["tags"].shape == (100,) and (drums["tags"] > 0).all() and (drums["tags"] < 1).all()
    beat, slow = 50 + 11, 50 + 2  # MagnaTagATune's tags
    assert drums["tags"][beat] > tones["tags"][beat] and tones["tags"][slow] > drums["tags"][slow]


def test_loud_music_does_not_overflow_the_taggers() -> None:
    loud = Waveform(np.clip(chords([(36, 48, 60)] * 2).samples * 8, -1, 1), RATE)
    assert np.isfinite(build("musicnn").hear(loud)["msd_musicnn"]).all()


def test_timbre_is_a_row_of_finite_numbers_that_differs_between_sounds() -> None:
    judge = build("librosa_timbre")
    one, two = (judge.hear(sound)["timbre"] for sound in (clicks(120, 4.0), chords([(60, 64, 67)] * 2)))
    assert one.shape == two.shape and np.isfinite([one, two]).all() and np.abs(one - two).max() > 1


def test_visqol_ranks_noise_by_its_level() -> None:
    judge = build("visqol")
    noise = np.random.default_rng(0).normal(size=(2, 1, 3 * RATE)).astype(np.float32)
    music = Waveform(chords([(60, 64, 67), (53, 57, 60)], 1.5).samples + 0.02 * noise[0], RATE)
    scores = [judge.compare(music, Waveform(music.samples + level * noise[1], RATE)) for level in (0.0, 0.005, 0.1)]
    assert scores[0] > 4.4 and scores[0] > scores[1] > scores[2]


def test_a_program_of_ones_own_is_heard_before_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Panel().reason("outside").startswith("not measured: set GEN_AUDIO_JUDGE")
    program = tmp_path / "judge.py"
    program.write_text(
        "import json, os, sys\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'tempo': float(os.path.getsize(line.strip())), 'secret': 1}), flush=True)\n"
    )
    monkeypatch.setenv("GEN_AUDIO_JUDGE", f"{sys.executable} {program}")
    panel = Panel()
    heard = panel.hear(clicks(120, 1.0), "librosa_beats", "outside")
    panel.close()
    assert heard["tempo"] == 44 + 2 * 44100 and "secret" not in heard
    program.write_text("print('no')\n")
    with pytest.raises(ConfigError, match="one line of JSON"):
        panel.hear(clicks(120, 1.0), "outside")
    panel.close()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_checkpoint(tmp_path)
    (tmp_path / ".index").write_bytes(b"x" * 100)
    (tmp_path / ".data-00000-of-00001").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no index of TensorFlow"):
        read_checkpoint(tmp_path)
