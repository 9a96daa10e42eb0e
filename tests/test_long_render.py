"""Long pieces: the same sound and sidecar as short ones, measured and limited block by block."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gen_audio
import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from gen_audio.audio import Waveform, limit
from gen_audio.errors import AudioError, ConfigError
from gen_audio.loudness import LoudnessMeter
from gen_audio.pipeline import commands
from gen_audio.pipeline.blockwise import blockwise
from gen_audio.pipeline.cli import run
from gen_audio.pipeline.long_render import render_long
from gen_audio.pipeline.outputs import Target
from gen_audio.pipeline.streaming import SoundStream


def noise(seconds: float, rate: int, channels: int = 2, level: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(0)
    swell = np.repeat(rng.random(int(seconds) + 1), rate)[: round(seconds * rate)]
    return (rng.standard_normal((channels, len(swell))) * level * swell).astype(np.float32)


@pytest.mark.parametrize(("rate", "channels"), [(24000, 2), (32000, 1), (8000, 2), (44100, 1), (48000, 2)])
def test_the_meter_reads_what_torchaudio_measures_of_the_whole(rate: int, channels: int) -> None:
    samples = noise(9.3, rate, channels)
    meter = LoudnessMeter(rate)
    for block in np.split(samples, [100, 5000, 3 * rate, 7 * rate + 1], 1):
        meter.add(block)
    theirs = float(torchaudio.functional.loudness(torch.from_numpy(samples), rate))
    assert meter.lufs == pytest.approx(theirs, abs=0.01)
    assert Waveform(samples, rate).loudness() == pytest.approx(theirs, abs=0.01)
    assert meter.peak == pytest.approx(np.abs(samples).max())


def test_the_meter_hears_nothing_in_silence_and_in_a_click() -> None:
    for samples in (np.zeros((1, 24000), np.float32), noise(0.3, 24000)):
        meter = LoudnessMeter(24000)
        meter.add(samples)
        assert meter.lufs == -np.inf


@pytest.mark.parametrize("rate", [24000, 22050, 44100])
def test_limiting_block_by_block_is_limiting_the_whole(rate: int) -> None:
    samples = noise(6.0, rate, level=1.0)
    blocks: Iterator[np.ndarray] = iter(np.split(samples, [10, 30000, 30100, 90000], 1))
    pieces = blockwise(
        blocks, lambda held, start: limit(held, rate), past=rate // 10, future=rate // 10, align=rate // 1000
    )
    np.testing.assert_allclose(np.concatenate(list(pieces), 1), limit(samples, rate), atol=1e-6)
    assert np.abs(samples).max() > 1.5


def stream_of(samples: np.ndarray, rate: int = 24000) -> SoundStream:
    facts: dict[str, Any] = {"prompt": "x", "plan": None, "parameters": {}, "provenance": {}}
    model = {"name": "nobody", "sha256": "0" * 64}
    pieces = iter(np.array_split(samples, 7, 1))
    return SoundStream(pieces, rate, samples.shape[0], samples.shape[1], 3, lambda: facts | {"model": model})


@pytest.mark.parametrize("loudness", [-16.0, -9.0, "peak", "none"])
@pytest.mark.parametrize(("format", "rate"), [("wav", 24000), ("flac", 24000), ("flac", 44100), ("ogg", 24000)])
def test_a_file_has_the_level_that_normalise_would_give(loudness: Any, format: str, rate: int, tmp_path: Path) -> None:
    samples = noise(25.0, rate, level=0.15)
    target = Target.of(tmp_path / f"long.{format}")
    seen: list[int] = []
    facts = render_long(stream_of(samples, rate), target, loudness, lambda done, total: seen.append(done))
    found, _ = soundfile.read(target.path, always_2d=True)
    wanted = Waveform(samples, rate).normalise(loudness).samples
    assert found.shape == (samples.shape[1], 2) and seen[-1] == samples.shape[1]
    if format != "ogg":
        np.testing.assert_allclose(found.T, wanted, atol=1e-3)
    assert json.loads(target.sidecar.read_text()) == json.loads(json.dumps(facts))
    assert facts["audio"]["duration"] == 25.0 and facts["seed"] == 3


@pytest.mark.parametrize("length", [["--duration", "2.5"], ["--bars", "1"]])
def test_the_command_makes_long_pieces_this_way_and_they_are_the_same(
    length: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["lofi jazz piano", *length, "--seed", "3"]
    assert run([*asked, "-o", "whole.wav"]) == 0
    monkeypatch.setattr(commands, "LONG", 1.0)
    assert run([*asked, "-o", "pieces.wav"]) == 0
    (whole, _), (pieces, _) = (soundfile.read(name) for name in ("whole.wav", "pieces.wav"))
    np.testing.assert_allclose(pieces, whole, atol=1e-3)
    one, other = (json.loads(Path(name).read_text()) for name in ("whole.json", "pieces.json"))
    assert set(other.pop("timings")) == {"play", "level"} and one.pop("timings")
    assert one.pop("audio")["file"] == "whole.wav" and other.pop("audio")["file"] == "pieces.wav"
    assert one == other


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield noise(1.0, 24000)
        raise OSError(28, "No space left on device")

    samples = noise(2.0, 24000)
    stream = SoundStream(broken(), 24000, 2, samples.shape[1], 3, dict)
    with pytest.raises(AudioError, match="No space left"):
        render_long(stream, Target.of(tmp_path / "x.wav"), -16.0, lambda done, total: None)
    assert not list(tmp_path.iterdir())


def test_a_rate_that_the_format_does_not_have_is_refused_before_a_note_is_played(tmp_path: Path) -> None:
    stream = stream_of(noise(1.0, 32000), 32000)
    with pytest.raises(ConfigError, match="32000 Hz, but opus has"):
        render_long(stream, Target.of(tmp_path / "x.opus"), -16.0, lambda *_: None)
    assert sum(piece.samples.shape[1] for piece in stream) == 32000 and not list(tmp_path.iterdir())


def test_silence_stays_silence(tmp_path: Path) -> None:
    render_long(stream_of(np.zeros((2, 48000), np.float32)), Target.of(tmp_path / "x.wav"), -16.0, lambda *_: None)
    assert not soundfile.read(tmp_path / "x.wav")[0].any()
    assert gen_audio.Waveform.read(tmp_path / "x.wav").duration == 2.0
