"""The command line: what bad input gets, what good input writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gen_audio import __version__
from gen_audio.audio import Waveform
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.errors import AudioError, CheckpointError, ConfigError, MissingExtraError, UnknownNameError
from gen_audio.pipeline import outputs, sidecar
from gen_audio.pipeline.cli import _exit_code, run
from gen_audio.pipeline.commands import split_names
from gen_audio.pipeline.generation import Generation
from gen_audio.pipeline.outputs import Target, plan_targets, slug, staged
from gen_audio.pipeline.params import GenerationParams, resolve_params

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def plan() -> MusicalPlan:
    return plan_music(Attributes(style="lofi"), Constraints(key="A minor", tempo=75.0, bars=2, seed=3))


@pytest.fixture
def generation(plan: MusicalPlan) -> Generation:
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 4800)).astype(np.float32)
    return Generation(
        prompt="lofi jazz piano",
        waveform=Waveform(sound, 24000),
        codes={},
        stems={"drums": Waveform(sound[:1], 24000), "bass": Waveform(sound[1:], 24000)},
        seed=7,
        plan=plan,
        params=resolve_params(seed=7, plan=plan),
        timings={"perform": 1.25},
        model={"name": "etude", "sha256": "ab" * 32},
    )


BAD = {
    "empty prompt": ([""], "prompt"),
    "blank prompt": (["  \t"], "prompt"),
    "no prompt": ([], "prompt"),
    "duration 0": (["x", "--duration", "0"], "duration is 0.0; it must be a number above 0 and at most 3600 seconds"),
    "duration negative": (["x", "--duration", "-3"], "duration"),
    "duration nan": (["x", "--duration", "nan"], "duration is nan"),
    "duration inf": (["x", "--duration", "inf"], "duration is inf"),
    "duration too long": (["x", "--duration", "3600.5"], "at most 3600"),
    "duration text": (["x", "--duration", "long"], "--duration"),
    "unknown option": (["x", "--durration", "3"], "--duration"),
    "tempo": (["x", "--bpm", "1000"], "tempo is 1000.0"),
    "rubato": (["x", "--rubato", "1.5"], "rubato is 1.5; it must be a number from 0 to 1"),
    "seed": (["x", "--seed", "-1"], "seed is -1"),
    "num samples": (["x", "--num-samples", "0"], "num_samples is 0"),
    "temperature": (["x", "--temperature", "-0.1"], "temperature"),
    "guidance": (["x", "--guidance-scale", "nan"], "guidance_scale"),
    "top p": (["x", "--top-p", "1.5"], "top_p"),
    "top k": (["x", "--top-k", "0"], "top_k"),
    "no effect": (["x", "--temperature", "0", "--top-k", "5"], "no effect"),
    "loudness text": (["x", "--loudness", "loud"], "loudness is 'loud'"),
    "loudness number": (["x", "--loudness", "3"], "loudness"),
    "style": (["x", "--style", "jaz"], "Did you mean 'jazz'"),
    "instrument": (["x", "--instruments", "pianoo"], "pianoo"),
    "no instrument": (["x", "--instruments", " , "], "--instruments is empty"),
    "chord": (["x", "--chords", "Am7 Hm"], "'Hm' is not a chord"),
    "key": (["x", "--key", "H minor"], "'H minor' is not a key"),
    "meter": (["x", "--meter", "7/8"], "7/8"),
    "bars": (["x", "--bars", "0"], "bars is 0"),
    "section": (["x", "--sections", "verse, chorsu"], "Did you mean 'chorus'"),
    "role": (["x", "--without", "drumz"], "drumz"),
    "role seed": (["x", "--role-seed", "lead"], "--role-seed"),
    "role seed role": (["x", "--role-seed", "leed=3"], "Did you mean 'lead'"),
    "format": (["x", "--format", "wave"], "Did you mean 'wav'"),
    "suffix": (["x", "-o", "a.aiff"], "No format named 'aiff'"),
    "format against suffix": (["x", "-o", "a.wav", "--format", "flac"], "ends in .wav"),
    "missing folder": (["x", "-o", "nowhere/a.wav"], "'nowhere' does not exist"),
    "missing plan": (["x", "--plan", "nowhere.json"], "nowhere.json"),
    "device": (["x", "--device", "gpu"], "--device is 'gpu'"),
    "rung": (["x", "--rung", "note"], "Did you mean 'notes'"),
    "rung and guidance": (["x", "--rung", "text", "--plan-guidance", "2"], "plan_guidance has no effect"),
    "precision": (["x", "--precision", "int2"], "No precision named 'int2'"),
    "executor": (["x", "--executor", "gpu"], "No executor named 'gpu'"),
    "int4": (["x", "--executor", "reference", "--precision", "int4"], "reference executor does not have"),
    "model": (["x", "--model", "etuud"], "No model named 'etuud'"),
    "compose prompt": (["compose", " "], "prompt"),
    "compose midi": (["compose", "x", "--midi", "nowhere/a.mid"], "'nowhere' does not exist"),
    "compose twice": (["compose", "x", "-o", "a.wav", "--plan", "a.json"], "named twice"),
    "inspect": (["inspect", "nowhere.wav"], "nowhere.wav"),
    "list": (["list", "styels"], "Did you mean 'styles'"),
    "train stage": (["train", "lmm", "--config", "a", "--out", "b"], "Did you mean 'lm'"),
    "train config": (["train", "lm", "--config", "nowhere", "--out", "b"], "No configuration named 'nowhere'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(case: str, cli: Cli, tmp_path: Path) -> None:
    arguments, message = BAD[case]
    code, out, err = cli(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("gen-audio: error: ") and err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_refused_before_torch_is_imported() -> None:
    code = (
        "import sys; from gen_audio.pipeline.cli import run; code = run(['x', '--key', 'H']); "
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}', '{"style": "lofi"}'])
def test_a_broken_plan_is_refused(text: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text)
    code, _, err = cli("x", "--plan", "plan.json")
    assert code == 2 and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--bpm", "90"],
        ["--rubato", "0.5"],
        ["--ritardando"],
        ["--key", "C major"],
        ["--style", "jazz"],
        ["--meter", "3/4"],
        ["--bars", "9"],
        ["--duration", "99"],
        ["--chords", "C"],
        ["--instruments", "bagpipes"],
        ["--sections", "bridge"],
    ],
)
def test_a_flag_that_contradicts_the_plan_is_refused(
    flags: list[str], plan: MusicalPlan, cli: Cli, tmp_path: Path
) -> None:
    plan.save(tmp_path / "plan.json")
    code, _, err = cli("x", "--plan", "plan.json", *flags)
    assert code == 2 and "but the plan" in err


def test_a_flag_that_agrees_with_the_plan_is_fine(plan: MusicalPlan) -> None:
    params = resolve_params(plan=plan, key="Am", tempo=75, bars=2, style=plan.style, duration=plan.duration)
    assert params.duration == plan.duration


def test_writing_over_the_plan_that_is_read_is_refused(plan: MusicalPlan, cli: Cli, tmp_path: Path) -> None:
    plan.save(tmp_path / "song.json")
    code, _, err = cli("x", "--plan", "song.json", "-o", "song.wav", "--overwrite")
    assert code == 2 and "would replace the input" in err


def test_an_existing_file_is_kept_unless_overwrite_is_said(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("mine")
    code, _, err = cli("x", "-o", "a.wav")
    assert code == 2 and "Add --overwrite" in err
    assert Target.of(tmp_path / "a.wav", overwrite=True).path == tmp_path / "a.wav"


def test_a_read_only_folder_is_refused(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs.os, "access", lambda path, mode: False)  # the tests may run as root, who may write
    code, _, err = cli("x", "-o", "a.wav")
    assert code == 2 and "read-only" in err


def test_help_and_version_say_what_there_is(cli: Cli) -> None:
    assert cli("--version")[:2] == (0, f"gen-audio {__version__}\n")
    code, out, _ = cli("--help")
    options = (
        "duration seed num-samples output format guidance-scale temperature top-k top-p min-p bpm key chords style"
    )
    options += " instruments plan model device precision executor rung loudness overwrite json stems without bars debug"
    assert code == 0
    assert all(f"--{name}" in out for name in options.split())
    assert all(name in out for name in ("compose", "inspect", "models", "list", "train"))


@pytest.mark.parametrize("command", ["compose", "inspect", "models", "list", "train"])
def test_each_command_has_help(command: str, cli: Cli) -> None:
    code, out, _ = cli(command, "--help")
    assert code == 0 and f"gen-audio {command}" in out


def test_lists_name_what_is_there(cli: Cli) -> None:
    assert "lofi" in cli("list", "styles")[1]
    assert "toy" in json.loads(cli("list", "codecs", "--json")[1])
    for kind in ("conditioners", "patterns", "samplers", "instruments", "moods", "codecs"):
        code, out, _ = cli("list", kind)
        assert code == 0 and out
    assert "valence -0.8, arousal -0.6" in next(line for line in cli("list", "moods")[1].splitlines() if "sad" in line)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mood", "rainy"], "No mood named 'rainy'"),
        (["--style", "70% jazz, 40% house"], "110 % in all"),
        (["--negative-prompt", "noise"], "negative_prompt is 'noise'"),
        (["--negative-prompt", "drums", "--instruments", "drums"], "forbid it"),
    ],
)
def test_what_no_style_mood_or_instrument_is_is_refused(
    options: list[str], words: str, cli: Cli, nano_model: Path
) -> None:
    code, _, err = cli("piano", "--model", str(nano_model), "--duration", "1", *options)
    assert code == 2 and words in err


def test_models_are_listed(cli: Cli) -> None:
    code, out, _ = cli("models", "--json")
    assert code == 0 and isinstance(json.loads(out), list)


def test_an_interrupt_exits_with_130(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gen_audio.pipeline.commands.generate", interrupt)
    code, _, err = cli("x")
    assert code == 130 and "interrupted" in err and err.strip().count("\n") == 0


def test_a_bug_exits_with_1_and_debug_shows_where(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("gen_audio.pipeline.commands.generate", fail)
    code, _, err = cli("x")
    assert code == 1 and err == "gen-audio: error: RuntimeError: two lines. This is a bug; --debug shows where.\n"
    assert "Traceback" in cli("x", "--debug")[2]


def test_exit_codes_follow_the_kind_of_error() -> None:
    mendable = [ConfigError(""), UnknownNameError("a", "b", []), AudioError(""), CheckpointError(""), OSError("")]
    assert {_exit_code(error) for error in mendable} == {2}
    assert {_exit_code(error) for error in (MissingExtraError(""), RuntimeError(""))} == {1}


@pytest.mark.parametrize(
    ("prompt", "name"),
    [("Lo-fi, JAZZ  piano!", "lo-fi-jazz-piano"), ("日本", "music"), ("../../etc", "etc"), ("é" * 90, "e" * 40)],
)
def test_a_slug_is_a_safe_file_name(prompt: str, name: str) -> None:
    assert slug(prompt) == name


def test_default_names_hold_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [str(t.path) for t in plan_targets("lofi piano", [7, 8])] == ["lofi-piano-7.wav", "lofi-piano-8.wav"]
    assert [t.path.name for t in plan_targets("x", [7, 8], Path("a.flac"))] == ["a-7.flac", "a-8.flac"]
    assert plan_targets("x", [7], tmp_path, "ogg")[0].path == tmp_path / "x-7.ogg"
    assert plan_targets("x", [7], Path("song"), "mp3")[0].path.name == "song.mp3"


@pytest.mark.parametrize(
    ("text", "bars"),
    [("Am7 D7  G", ("Am7", "D7", "G")), ("Dm7 G7 | C", ("Dm7 G7", "C")), ("Am,F", ("Am", "F"))],
)
def test_chords_are_split_at_bars(text: str, bars: tuple[str, ...]) -> None:
    assert split_names(text, by_space=True) == bars


def test_an_absent_seed_is_drawn_and_others_count_up() -> None:
    first, second = resolve_params(num_samples=3), resolve_params()
    assert first.seed is not None and first.seed != second.seed
    assert first.seeds == (first.seed, first.seed + 1, first.seed + 2)


def test_the_prompt_states_length_meter_and_silence_unless_flags_do() -> None:
    stated = resolve_params("a 30 second waltz without drums")
    assert (stated.duration, stated.meter, stated.without) == (30.0, "3/4", ("drums",))
    given = resolve_params("a 30 second waltz", duration=5, meter="4/4")
    assert (given.duration, given.meter) == (5, "4/4")
    assert resolve_params(bars=8).duration is None


def test_settings_are_frozen_and_checked() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'temperature'"):
        resolve_params(temprature=1)
    with pytest.raises(ConfigError, match="same setting"):
        resolve_params(cfg_coef=2.0, guidance_scale=2.0)
    assert resolve_params(cfg_coef=2.0).guidance_scale == 2.0
    with pytest.raises(AttributeError):
        GenerationParams().seed = 3  # type: ignore[misc]


def test_silence_means_the_role_or_the_instrument() -> None:
    params = GenerationParams(without=("drums", "guitar"))
    assert params.is_silent("drums", 0) and params.is_silent("chords", 25)
    assert not params.is_silent("chords", 0) and not params.is_silent("bass", 33)


@pytest.mark.parametrize("format", outputs.FORMATS)
def test_a_generation_is_saved_with_its_sidecar(format: str, generation: Generation, tmp_path: Path) -> None:
    path = generation.save(tmp_path / f"a.{format}")
    said = json.loads((tmp_path / "a.json").read_text())
    assert Waveform.read(path).duration == pytest.approx(0.2, abs=0.2)
    assert said["kind"] == "generated" and said["seed"] == 7 and said["version"] == __version__
    assert said["model"]["sha256"] == "ab" * 32 and said["timings"] == {"perform": 1.25}
    assert MusicalPlan.from_json(json.dumps(said["plan"])) == generation.plan
    assert said["parameters"]["seed"] == 7 and said["parameters"]["temperature"] == 1.0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"a.{format}", "a.json"])


def test_stems_are_one_file_a_role(generation: Generation, tmp_path: Path) -> None:
    paths = generation.save_stems(tmp_path / "stems")
    assert sorted(path.name for path in paths) == ["bass.wav", "drums.wav"]
    with pytest.raises(ConfigError, match="exists"):
        generation.save_stems(tmp_path / "stems", overwrite=False)


def test_a_failed_write_leaves_nothing(generation: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sidecar, "dumps", full)
    with pytest.raises(AudioError, match="No space left on device"):
        generation.save(tmp_path / "a.wav")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged([tmp_path / "a.wav", tmp_path / "b.json"]) as parts:
        parts[0].write_text("half")
        raise KeyboardInterrupt
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.wav", "old")]


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    sidecar.write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError):
        sidecar.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


def test_inspect_prints_numbers_and_draws(cli: Cli, generation: Generation, tmp_path: Path) -> None:
    generation.waveform.save(tmp_path / "a.wav")
    code, out, _ = cli("inspect", "a.wav", "-o", "a.png", "--json")
    assert code == 0 and json.loads(out)["duration"] == pytest.approx(0.2)
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert "BPM" in cli("inspect", "a.wav")[1] or "none found" in cli("inspect", "a.wav")[1]
    assert cli("inspect", "a.wav", "-o", "a.png")[0] == 2


def test_train_refuses_to_mix_two_runs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("steps: 1\n")
    (tmp_path / "run").mkdir()
    assert "holds no run" in cli("train", "lm", "--config", "a.yaml", "--out", "run", "--resume")[2]
    (tmp_path / "run" / "state").touch()
    assert "Add --resume" in cli("train", "lm", "--config", "a.yaml", "--out", "run")[2]


def test_python_m_gen_audio_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gen_audio", "--version"], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.stdout == f"gen-audio {__version__}\n"


def test_doctor_says_what_this_machine_will_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["etude"]["loop"].endswith("x real time") and "GB/s" in found["speed, measured now"]["read of memory"]
    assert run(["doctor", "--quick"]) == 0
    said = capsys.readouterr().out
    assert "etude plays in" in said and "measured" not in said
