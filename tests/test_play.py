"""From a command line to files, with a tiny model of random weights: everything but the beauty."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from gen_audio.audio import Waveform
from gen_audio.composition.arranger import arrange
from gen_audio.models import int8
from gen_audio.pipeline import checkpoint
from gen_audio.pipeline import load as loader
from gen_audio.pipeline.cli import run
from gen_audio.pipeline.mixer import mix_plan, whole_band
from gen_audio.pipeline.pipeline import Pipeline


@pytest.fixture
def model(nano_model: Path) -> Path:
    return nano_model


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def play(model: Path, *arguments: str) -> int:
    return run(["lofi jazz piano", "--model", str(model), *arguments])


def test_a_prompt_becomes_a_sound_a_sidecar_and_stems(model: Path) -> None:
    assert play(model, "--duration", "1.5", "--seed", "4", "--stems", "stems") == 0
    said = json.loads(Path("lofi-jazz-piano-4.json").read_text())
    sound = soundfile.info("lofi-jazz-piano-4.wav")
    assert (sound.frames, sound.channels) == (round(1.5 * sound.samplerate), 2)
    assert said["kind"] == "generated" and said["model"]["sha256"] == checkpoint.read_config(model)["sha256"]
    assert {path.stem for path in Path("stems").iterdir()} == set(said["plan"]["instruments"])
    assert f"seed {said['seed']}" in soundfile.SoundFile("lofi-jazz-piano-4.wav").comment


def test_the_sidecar_makes_the_piece_again(model: Path) -> None:
    assert play(model, "--duration", "1", "-o", "a.flac") == 0
    seed = json.loads(Path("a.json").read_text())["seed"]
    assert play(model, "--plan", "a.json", "--seed", str(seed), "-o", "b.flac") == 0
    assert np.array_equal(Waveform.read("a.flac").samples, Waveform.read("b.flac").samples)


def test_one_role_played_anew_leaves_the_others_bit_exact(model: Path) -> None:
    common = ["--duration", "1", "--seed", "4", "--instruments", "piano, bass, drums"]
    assert play(model, *common, "--stems", "one") == 0
    assert play(model, *common, "-o", "b.wav", "--stems", "two", "--role-seed", "drums=9") == 0
    changed = {path.stem for path in Path("one").iterdir() if path.read_bytes() != Path("two", path.name).read_bytes()}
    assert changed == {"drums"}


def test_a_silenced_role_has_no_stem(model: Path) -> None:
    assert play(model, "--duration", "1", "--seed", "4", "--instruments", "piano, drums", "-o", "a.wav") == 0
    assert play(model, "--plan", "a.json", "-o", "b.wav", "--stems", "stems", "--without", "drums") == 0
    stems = {path.stem for path in Path("stems").iterdir()}
    assert "chords" in stems and "drums" not in stems


def test_a_mix_is_one_row_that_hears_all_notes_but_those_of_silenced_roles(model: Path) -> None:
    player = loader.load(str(model))
    whole = player.generate("lofi jazz piano", as_mix=True, seed=4, duration=1.0)
    again, fewer = (
        player.generate("lofi jazz piano", as_mix=True, seed=4, plan=whole.plan, without=silent)
        for silent in ((), ("chords", "lead"))
    )
    assert list(whole.codes) == list(whole.stems) == ["mix"] and whole.waveform.samples.shape[0] == 2
    assert np.array_equal(whole.waveform.samples, again.waveform.samples)
    assert not np.array_equal(whole.codes["mix"].numpy(), fewer.codes["mix"].numpy())
    assert np.abs(whole.waveform.samples).max() > 0.01


def test_a_silenced_role_has_no_part_in_the_reverb_of_a_mix(model: Path) -> None:
    player = loader.load(str(model))
    plan = player.generate("lofi jazz piano", seed=4, duration=1.0, instruments=("piano", "drums")).plan
    score = arrange(plan)
    sends = {track.role: track.reverb_send for track in score.tracks}
    made = player.generate("lofi jazz piano", as_mix=True, seed=4, plan=plan, without=("drums",), loudness="none")
    stem = {"mix": player.decode(made.codes, plan.duration)["mix"].samples}
    left = whole_band([track for track in score.tracks if track.role != "drums"])
    assert left.reverb_send == pytest.approx(np.mean([sends[role] for role in sends if role != "drums"]))
    assert left.reverb_send > whole_band(score.tracks).reverb_send  # drums are dry
    expected = mix_plan(plan, stem, [left], sample_rate=player.sample_rate)
    assert np.array_equal(made.waveform.samples, expected)


def test_a_mix_is_refused_by_a_model_that_learnt_stems_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stems_only = shutil.copytree(model, tmp_path / "stems-only")
    config = stems_only / "config.yaml"
    config.write_text(config.read_text().replace("mix: true", "mix: false"))
    assert play(stems_only, "--duration", "1", "--as-mix") == 2
    assert "never learnt to play a whole mix" in " ".join(capsys.readouterr().err.split())
    for more, said in ((["--stems", "s"], "no stems"), (["--role-seed", "lead=2"], "role_seeds has no effect")):
        assert play(model, "--duration", "1", "--as-mix", *more) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert play(model, "--stream", "-", "--as-mix") == 2 and "no stream" in capsys.readouterr().err


def test_several_samples_have_a_seed_each(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert play(model, "--duration", "0.5", "--seed", "4", "--num-samples", "2", "--json") == 0
    assert [piece["seed"] for piece in json.loads(capsys.readouterr().out)] == [4, 5]
    assert sorted(path.name for path in Path().glob("*.wav")) == ["lofi-jazz-piano-4.wav", "lofi-jazz-piano-5.wav"]


def test_rung_and_precision_are_obeyed_and_recorded(model: Path) -> None:
    common = ["--duration", "1", "--seed", "4", "--temperature", "0"]
    sounds = {}
    for option in ("notes", "plan", "text", "int8"):
        named = ["--precision", "int8"] if option == "int8" else ["--rung", option]
        if option == "int8" and not int8.available():
            continue
        assert play(model, *common, *named, "-o", f"{option}.wav") == 0
        said = json.loads(Path(f"{option}.json").read_text())
        assert said["parameters"]["rung"] == ("notes" if option == "int8" else option)
        assert said["model"]["precision"] == ("int8" if option == "int8" else "fp32")
        assert ("notes" in said["provenance"]["perform"]) == (option in ("notes", "int8"))
        sounds[option] = Path(f"{option}.wav").read_bytes()
    assert len({sounds[rung] for rung in ("notes", "plan", "text")}) == 3


def test_roles_stay_bit_exact_in_int8(model: Path) -> None:
    if not int8.available():
        pytest.skip("no int8 product for this CPU")
    common = ["--duration", "1", "--seed", "4", "--instruments", "piano, bass, drums", "--precision", "int8"]
    assert play(model, *common, "-o", "a.wav", "--stems", "one") == 0
    assert play(model, *common, "-o", "b.wav", "--stems", "two", "--role-seed", "drums=9") == 0
    changed = {path.stem for path in Path("one").iterdir() if path.read_bytes() != Path("two", path.name).read_bytes()}
    assert changed == {"drums"}
    without = ["--plan", "a.json", "--seed", "4", "--precision", "int8", "--without", "drums"]
    assert play(model, *without, "-o", "c.wav", "--stems", "three") == 0
    left = {path.name: path.read_bytes() for path in Path("three").iterdir()}
    assert left == {path.name: path.read_bytes() for path in Path("one").iterdir() if path.stem != "drums"}


def test_damaged_weights_are_refused_by_their_hash(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = shutil.copytree(model, tmp_path / "bad")
    with open(bad / "model.safetensors", "r+b") as file:
        file.truncate(1000)
    assert play(bad) == 2
    assert "sha256" in capsys.readouterr().err
    assert not list(Path().glob("*.wav"))


def test_a_prompt_beyond_the_encoder_is_refused(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["word " * 600, "--model", str(model)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(Path().iterdir())


def test_ctrl_c_leaves_no_file_and_exits_with_130(model: Path) -> None:
    code = "import sys; from gen_audio.pipeline import cli; print('ready', flush=True); sys.exit(cli.run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "lofi", "--model", str(model), "--duration", "3000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            time.sleep(3)  # it is importing, or playing, or anything between
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.strip().splitlines()[-1].startswith("gen-audio: interrupted")
    assert not list(Path().iterdir())


def test_a_ctrl_c_that_a_library_swallowed_still_ends_the_work(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def swallow(*arguments: object, **options: object) -> Pipeline:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            pass
        return load(str(model))

    load = loader.load
    monkeypatch.setattr(loader, "load", swallow)
    assert run(["lofi", "--model", str(model), "--duration", "3000"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(Path().iterdir())
