"""Sound that is heard while it is being made: the same sound, soon, without seams, and as a WAV on standard output."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gen_audio
import numpy as np
import pytest
import soundfile
import torch
from gen_audio.composition.score import Track
from gen_audio.composition.style import load_style, style_names
from gen_audio.errors import ConfigError
from gen_audio.pipeline import mixer
from gen_audio.pipeline.cli import run
from gen_audio.pipeline.live import Live
from gen_audio.pipeline.mixer import Scene, mix, mix_stream
from gen_audio.pipeline.pipeline import Pipeline
from gen_audio.pipeline.streaming import FIRST, LONGEST, cut, in_blocks

RATE = 24000
TRACKS = [Track("drums", 0, ()), Track("bass", 33, (), -3.0, 0.2, 0.1), Track("lead", 1, (), 0.0, -0.5, 0.4)]


@pytest.fixture(scope="module")
def etude() -> Pipeline:
    return gen_audio.load("etude")


@pytest.mark.parametrize(("style", "treble_db"), [*((style, 0.0) for style in style_names()), ("lofi", 5.0)])
def test_a_mix_made_block_by_block_is_the_whole_mix(
    style: str, treble_db: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    effects = {**load_style(style).effects, "treble_db": treble_db, "fade_out": 0.5, "ends_at": 8.0}
    rng = np.random.default_rng(0)
    swell = 1 + np.sin(np.arange(8 * RATE + 777) / 9000)
    stems = (rng.standard_normal((3, len(swell))) * 0.15 * swell).astype(np.float32)
    rows = {track.role: stems[i : i + 1] for i, track in enumerate(TRACKS)}
    whole = mix(rows, TRACKS, effects, sample_rate=RATE, seed=5)
    cuts = [0, 1000, 4800, 33600, 148000, len(swell)]
    blocks = (stems[:, a:b] for a, b in zip(cuts, cuts[1:], strict=False))
    scene = Scene(0, dict(enumerate(TRACKS)), effects, 5)
    pieces = list(mix_stream(blocks, lambda: [scene], sample_rate=RATE))
    assert len(pieces) >= 4
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, atol=2e-6)
    monkeypatch.setattr(mixer, "BLOCK", 1.5)  # as a long piece is finished
    np.testing.assert_allclose(mix(rows, TRACKS, effects, sample_rate=RATE, seed=5), whole, atol=2e-6)


def test_treble_is_raised_above_two_kilohertz_and_nowhere_else() -> None:
    time = np.arange(2 * RATE) / RATE
    for pitch, wanted in ((500.0, 0.0), (6000.0, -5.0)):
        stems = {"bass": (0.1 * np.sin(2 * np.pi * pitch * time))[None].astype(np.float32)}
        levels = [
            np.square(mix(stems, TRACKS[1:2], {"treble_db": db}, sample_rate=RATE, seed=1)).mean() for db in (0.0, -5.0)
        ]
        assert 10 * np.log10(levels[1] / levels[0]) == pytest.approx(wanted, abs=0.1)


def test_blocks_grow_from_a_short_first_one() -> None:
    sizes = [block.shape[-1] for block in in_blocks((torch.zeros(2, 3) for _ in range(500)), context=7)]
    assert sizes[:4] == [7 + FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert max(sizes) == LONGEST and sum(sizes) == 500


def test_pieces_are_cut_to_the_sample() -> None:
    pieces = list(cut([np.ones((2, 5)), np.ones((2, 5)), np.ones((2, 5))], 7))
    assert [piece.shape for piece in pieces] == [(2, 5), (2, 2)]


def test_a_streamed_piece_is_the_one_that_generate_makes(etude: Pipeline) -> None:
    asked: dict[str, Any] = {"duration": 2.3, "seed": 3, "without": ("drums",)}
    whole = etude.generate("lofi jazz piano", loudness="none", **asked).waveform
    stream = etude.stream("lofi jazz piano", **asked)
    pieces = [chunk.samples for chunk in stream]
    assert len(pieces) > 2 and stream.length == round(2.3 * etude.sample_rate)
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole.samples, atol=1e-5)


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_a_streamed_musicgen_is_the_one_that_generate_makes(kind: str, tiny_musicgen: Any) -> None:
    model = gen_audio.load(str(tiny_musicgen(kind).folder))
    asked: dict[str, Any] = {"duration": 1.7, "seed": 3}
    whole = model.generate("rock", loudness="none", **asked).waveform
    pieces = [chunk.samples for chunk in model.stream("rock", **asked)]
    assert len(pieces) > 2
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole.samples, atol=1e-5)


def test_the_first_sound_comes_long_before_the_last_frame(etude: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    played = 0
    columns = Live.columns

    def counted(self: Live) -> Iterator[Any]:
        nonlocal played
        for column in columns(self):
            played += 1
            yield column

    monkeypatch.setattr(Live, "columns", counted)
    next(iter(etude.stream("lofi jazz piano", duration=8.0, seed=3)))
    assert played == etude.codec.context + FIRST < 40


def test_a_stream_refuses_what_needs_the_whole_piece(etude: Pipeline) -> None:
    with pytest.raises(ConfigError, match="loudness is -14"):
        etude.stream("lofi", loudness=-14)
    with pytest.raises(ConfigError, match="one piece"):
        etude.stream("lofi", num_samples=2)
    with pytest.raises(ConfigError, match="prompt"):
        etude.stream("  ")


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "gen_audio", "lofi jazz piano", "--stream", "-", *options]


def test_the_command_writes_a_wav_to_standard_output(etude: Pipeline) -> None:
    done = subprocess.run(command("--duration", "1.5", "--seed", "3"), capture_output=True, check=True)
    samples, rate = soundfile.read(io.BytesIO(done.stdout), always_2d=True)
    wanted = etude.generate("lofi jazz piano", duration=1.5, seed=3, loudness="none").waveform
    assert rate == etude.sample_rate
    np.testing.assert_allclose(samples.T, wanted.samples, atol=1e-4)
    assert b"seed 3 (etude, first sound after" in done.stderr


def test_lines_typed_change_the_stream_at_the_next_bar(etude: Pipeline) -> None:
    asked = ("--duration", "6", "--seed", "3", "--bpm", "125", "--listen")
    typed = b"H minor please, 30 seconds\nfaster\n"
    done = subprocess.run(command(*asked), input=typed, capture_output=True, check=True)
    samples, _ = soundfile.read(io.BytesIO(done.stdout), always_2d=True)
    assert len(samples) == 6 * etude.sample_rate
    assert b"not changed: 'H minor please, 30 seconds' asks for duration 30" in done.stderr
    assert re.search(rb"from [1-4]\.\d s: faster", done.stderr)
    plain = etude.generate("lofi jazz piano", duration=6.0, seed=3, tempo=125.0, loudness="none").waveform
    # the first bar line is at 1.92 s, and what is decoded before it hears 0.8 s ahead
    assert np.abs(samples.T - plain.samples)[:, : etude.sample_rate].max() < 1e-4
    assert np.abs(samples.T - plain.samples).max() > 1e-2


def test_a_listener_may_go_away() -> None:
    with subprocess.Popen(command("--duration", "4"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(44)
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 0 and b"Traceback" not in said and b"error" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stream", "x.wav"], "standard output"),
        (["--stream", "-", "-o", "x.wav"], "--output has no effect"),
        (["--stream", "-", "--stems", "here"], "--stems has no effect"),
        (["--stream", "-", "--json"], "--json has no effect"),
        (["--stream", "-", "--loudness", "-14"], "loudness"),
        (["--stream", "-", "--num-samples", "2"], "one piece"),
    ],
)
def test_a_stream_and_what_it_cannot_do(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["lofi", *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_loop_gives_back_the_threads_that_it_does_not_use(etude: Pipeline) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        etude.generate("lofi", duration=1.0, seed=1)
        assert torch.get_num_threads() == 2
        next(iter(etude.stream("lofi", duration=1.0, seed=1)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
