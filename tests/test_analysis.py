"""What `inspect` hears in sounds whose answer is known."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from gen_audio.audio import Waveform
from gen_audio.evaluation.analysis import analyse
from gen_audio.evaluation.inspection import describe
from gen_audio.evaluation.picture import draw
from sounds import RATE, clicks

TRIADS = {"Am": (57, 60, 64), "Dm": (50, 57, 65), "E": (52, 56, 59), "F": (53, 57, 60), "C": (48, 60, 64, 67)}


def tune(names: list[str], seconds: float = 2.0) -> Waveform:
    times = np.arange(round(seconds * RATE)) / RATE
    parts = []
    for name in names:
        part = np.zeros_like(times)
        for pitch in TRIADS[name]:
            for harmonic in range(1, 6):
                part += np.sin(2 * np.pi * harmonic * 440 * 2 ** ((pitch - 69) / 12) * times) / harmonic**1.5
        parts.append(part * np.exp(-times) * np.minimum(1, times * 200))
    sound = np.concatenate(parts).astype(np.float32)
    return Waveform(np.stack([sound, sound]) * 0.1, RATE)


@pytest.mark.parametrize("bpm", [75.0, 100.0, 120.0, 150.0])
def test_clicks_give_their_tempo_and_beats(bpm: float) -> None:
    found = analyse(clicks(bpm))
    assert found.tempo == pytest.approx(bpm, rel=0.02)
    phases = [(beat - 0.5) % (60 / bpm) for beat in found.beats]
    assert all(min(phase, 60 / bpm - phase) < 0.04 for phase in phases)


def test_chords_and_key_of_a_cadence_are_named() -> None:
    names = ["Am", "Dm", "E", "Am", "F", "C", "E", "Am"]
    found = analyse(tune(names))
    assert [span.name for span in found.chords] == names
    assert found.key == "A minor"
    starts = [span.start for span in found.chords]
    assert np.allclose(starts, np.arange(8) * 2.0, atol=0.35)


def test_chords_cover_the_whole_sound_without_a_gap() -> None:
    found = analyse(tune(["C", "F", "C"]))
    assert found.chords[0].start == 0 and found.chords[-1].end == pytest.approx(found.duration)
    assert all(a.end == b.start for a, b in pairwise(found.chords))


@pytest.mark.parametrize("seconds", [0.01, 0.2, 3.0])
def test_silence_has_neither_tempo_nor_key(seconds: float) -> None:
    found = analyse(Waveform(np.zeros((2, round(seconds * RATE)), np.float32), RATE))
    assert (found.tempo, found.key, found.loudness, found.peak_db) == (None, None, None, None)
    assert {span.name for span in found.chords} <= {"N"}
    assert "silent" in describe(Path("x.wav"), found)


def test_the_same_music_at_another_rate_reads_the_same() -> None:
    sound = tune(["Am", "Dm", "E", "Am"])
    other = analyse(sound.resample(44100))
    assert other.key == "A minor"
    assert [span.name for span in other.chords] == ["Am", "Dm", "E", "Am"]


@pytest.mark.parametrize("sound", [clicks(120.0, 6.0), tune(["Am", "E"]), Waveform(np.zeros((1, 4000), "f"), RATE)])
def test_the_picture_is_a_png(sound: Waveform, tmp_path: Path) -> None:
    draw(sound, analyse(sound), tmp_path / "a.png", title="50 % of $x")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
