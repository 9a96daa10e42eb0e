"""Weights of codecs, files of codes, and the commands that use them: what good and bad ones get."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gen_audio.audio import Waveform
from gen_audio.codecs.toy import Toy
from gen_audio.errors import CheckpointError, ConfigError, GenAudioError, ShapeError, UnknownNameError
from gen_audio.evaluation.reconstruction import log_mel_distance, si_sdr
from gen_audio.pipeline.cli import run
from gen_audio.pipeline.codec_weights import fill, fingerprint, load_codec
from gen_audio.pipeline.codes_file import CodesFile, load_codes, save_codes
from safetensors import safe_open
from safetensors.torch import load_file, save_file

Cli = Callable[..., tuple[int, str, str]]
OF_TRANSFORMERS = ["encodec_32khz", "dac", "mimi"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, public_codec: Callable[..., Any]) -> Callable[[str], Path]:
    """Name of a codec -> a folder that transformers saved it in."""
    root = tmp_path_factory.mktemp("saved")

    def saved(name: str, **settings: Any) -> Path:
        path = root / "-".join([name, *settings])
        if not path.exists():
            public_codec(name).model.save_pretrained(path, **settings)
        return path

    return saved


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """0.5 s of stereo at 44.1 kHz."""
    samples = 0.3 * np.sin(np.arange(22050) * np.array([[0.05], [0.07]]))
    return Waveform(samples, 44100).save(tmp_path / "sound.wav")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("settings", [{}, {"max_shard_size": "20KB"}], ids=["one file", "shards"])
@pytest.mark.parametrize("name", OF_TRANSFORMERS)
def test_a_folder_of_transformers_is_the_same_codec(
    name: str, settings: dict[str, str], folder: Callable[..., Path], public_codec: Callable[..., Any]
) -> None:
    path = folder(name, **settings)
    assert len(list(path.glob("*.safetensors"))) > 1 or not settings
    codec = load_codec(name, path)
    assert fingerprint(codec) == fingerprint(public_codec(name))
    assert not codec.training and not any(p.requires_grad for p in codec.parameters())


def test_both_weight_norms_of_pytorch_are_read(folder: Callable[..., Path], tmp_path: Path) -> None:
    shutil.copytree(folder("encodec_32khz"), tmp_path / "old")
    file = tmp_path / "old" / "model.safetensors"
    newer = load_file(file)
    older = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in newer.items()
    }
    assert older.keys() != newer.keys()
    save_file(older, file)
    assert fingerprint(load_codec("encodec_32khz", file.parent)) == fingerprint(
        load_codec("encodec_32khz", folder("encodec_32khz"))
    )


def test_a_musicgen_folder_gives_its_codec(folder: Callable[..., Path], tmp_path: Path) -> None:
    saved = folder("encodec_32khz")
    config = json.loads((saved / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "musicgen", "audio_encoder": config}))
    tensors = {f"audio_encoder.{name}": value for name, value in load_file(saved / "model.safetensors").items()}
    save_file({**tensors, "decoder.lm_heads.0.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    assert fingerprint(load_codec("encodec_32khz", tmp_path)) == fingerprint(load_codec("encodec_32khz", saved))


@pytest.mark.parametrize("form", ["checkpoint", "safetensors", "folder"])
def test_a_checkpoint_of_the_encodec_package_is_the_same_codec(
    form: str, public_codec: Callable[..., Any], tmp_path: Path
) -> None:
    codec = public_codec("encodec_24khz")
    path = tmp_path / {"safetensors": "a.safetensors"}.get(form, codec.public.checkpoint)
    if form == "safetensors":
        save_file(codec.model.state_dict(), path)
    else:
        torch.save(codec.model.state_dict(), path)
    assert fingerprint(load_codec("encodec_24khz", tmp_path if form == "folder" else path)) == fingerprint(codec)


def test_missing_unknown_and_wrongly_shaped_tensors_are_named() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    state = module.state_dict()
    del state["0.bias"]
    state |= {"1.weight": torch.zeros(7, 3), "2.scale": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        fill(module, state, "a.safetensors")
    for part in ("a.safetensors", "1 missing: 0.bias", "1 unknown: 2.scale", "1.weight is [7, 3] instead of [1, 3]"):
        assert part in str(caught.value)


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


def break_checkpoint(kind: str, path: Path) -> None:
    if kind == "pickle that runs code":
        torch.save({"weight": Evil()}, path)
    elif kind == "truncated":
        torch.save({"weight": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:-500])
    elif kind == "no checkpoint":
        path.write_text("hello")
    else:
        torch.save([torch.zeros(2)], path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pickle that runs code", r"could run code of its author \(it calls "),
        ("truncated", "truncated"),
        ("no checkpoint", "a.th is truncated"),
        ("list", "something other than tensors by name"),
    ],
)
def test_a_bad_checkpoint_is_refused_and_runs_nothing(
    kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    break_checkpoint(kind, tmp_path / "a.th")
    with pytest.raises(CheckpointError, match=message):
        load_codec("encodec_24khz", "a.th")
    assert not (tmp_path / "ran").exists()


def test_a_bad_folder_is_refused(folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="config.json cannot be read"):
        load_codec("dac", tmp_path)
    shutil.copytree(folder("dac"), tmp_path / "dac")
    file = tmp_path / "dac" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model.safetensors is truncated"):
        load_codec("dac", file.parent)
    with pytest.raises(ConfigError, match="type 'dac'; this codec needs 'mimi'"):
        load_codec("mimi", file.parent)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_codec("dac", tmp_path / "nowhere")
    file.rename(file.with_name("pytorch_model.bin"))
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is a pickle"):
        load_codec("dac", file.parent)


@pytest.mark.parametrize("name", ["encodec_24khz", "encodec_48khz", *OF_TRANSFORMERS])
def test_no_network_is_one_sentence_that_names_the_way_without(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        CheckpointError, match=rf"public weights of codec '{name}'.*could not be fetched.*--weights \./"
    ):
        load_codec(name)


def test_our_own_codecs_need_no_weights_to_be_given() -> None:
    spectral = load_codec("spectral")
    assert spectral.n_q == 8 and fingerprint(spectral) == fingerprint(load_codec("spectral", "etude"))
    assert load_codec("toy").n_q == 4
    with pytest.raises(ConfigError, match="which has none"):
        load_codec("toy", "etude")
    with pytest.raises(UnknownNameError, match="Did you mean 'toy'"):
        load_codec("toi")


@pytest.fixture
def codes_file(tmp_path: Path) -> Path:
    """Codes of 1000 samples by the toy codec."""
    codec = Toy()
    codes = codec.encode(torch.linspace(-1, 1, 1000)[None, None])[0]
    save_codes(tmp_path / "a.codes.safetensors", CodesFile.of(codes.numpy(), codec, "toy", fingerprint(codec), 1000))
    return tmp_path / "a.codes.safetensors"


def test_a_codes_file_says_all_that_decoding_needs(codes_file: Path) -> None:
    file = load_codes(codes_file)
    assert (file.codec, file.levels, file.duration, file.card) == ("toy", 4, 0.125, 16)
    assert file.codes.dtype == np.int64 and file.codes.shape == (4, 4)
    file.check(Toy(), "toy", fingerprint(Toy()))
    with safe_open(codes_file, "numpy") as raw:
        assert raw.get_tensor("codes").dtype == np.uint16 and raw.metadata()["format_version"] == "1"


@pytest.mark.parametrize(
    ("codec", "name", "sha256", "message"),
    [
        (Toy(), "dac", None, "made by codec 'toy', not by 'dac'"),
        (Toy(), "toy", "0" * 64, "other weights"),
        (Toy(card=8), "toy", None, "card 16, but codec 'toy' has 8"),
        (Toy(n_q=2), "toy", None, "has 2"),
    ],
)
def test_codes_of_another_codec_are_refused(
    codec: Toy, name: str, sha256: str | None, message: str, codes_file: Path
) -> None:
    with pytest.raises((ConfigError, ShapeError), match=message):
        load_codes(codes_file).check(codec, name, sha256 or fingerprint(codec))


CHANGES: dict[str, tuple[dict[str, str], Any, str]] = {
    "newer": ({"format_version": "2"}, None, "format version 2; this release reads up to 1. Update"),
    "range": ({}, np.full((4, 4), 16, np.uint16), "codes from 16 to 16, but entries 0 to 15"),
    "negative": ({}, np.full((4, 4), -1, np.int16), "codes from -1"),
    "levels": ({}, np.zeros((3, 4), np.uint16), r"needs whole numbers `codes` \[4, T\]"),
    "floats": ({}, np.zeros((4, 4), np.float32), "needs whole numbers"),
    "rate": ({"sample_rate": "-8000"}, None, "sample_rate as '-8000'"),
    "hash": ({"weights_sha256": "abc"}, None, "which codec and weights"),
    "foreign": ({"format": "else"}, None, "holds no codes of gen-audio"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_codes_file_is_refused(change: str, codes_file: Path) -> None:
    from safetensors.numpy import save_file as save_arrays

    facts, codes, message = CHANGES[change]
    with safe_open(codes_file, "numpy") as file:
        metadata, old = file.metadata(), file.get_tensor("codes")
    save_arrays({"codes": old if codes is None else codes}, codes_file, metadata={**metadata, **facts})
    with pytest.raises(CheckpointError, match=message):
        load_codes(codes_file)


def test_a_truncated_or_missing_codes_file_is_named(codes_file: Path) -> None:
    codes_file.write_bytes(codes_file.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"a.codes.safetensors is truncated"):
        load_codes(codes_file)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_codes(codes_file.with_name("b"))


def test_encode_and_decode_give_back_the_exact_length(cli: Cli, sound: Path, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        code, out, _ = cli("codec", "encode", "sound.wav", "--codec", "spectral", "--bandwidth", "1", "--json")
    assert code == 0
    said = json.loads(out)
    assert (said["path"], said["levels"], said["kbps"]) == ("sound.codes.safetensors", 4, pytest.approx(1.0, rel=0.1))
    assert caplog.messages == [
        "sound.wav: mixed down to mono, resampled from 44100 to 24000 Hz, as codec 'spectral' needs it"
    ]
    code, out, _ = cli("codec", "decode", "sound.codes.safetensors", "-o", "again.flac")
    assert code == 0 and out.startswith("again.flac: 0.5 s, 4 levels of spectral")
    again = Waveform.read("again.flac")
    assert again.samples.shape == (1, 12000) and again.sample_rate == 24000 and 0.01 < again.peak <= 1


def test_codes_need_the_weights_that_made_them(
    cli: Cli, sound: Path, folder: Callable[..., Path], public_codec: Callable[..., Any], tmp_path: Path
) -> None:
    saved, other = folder("mimi"), tmp_path / "other"
    assert cli("codec", "encode", "sound.wav", "--codec", "mimi", "--levels", "2", "--weights", str(saved))[0] == 0
    assert cli("codec", "decode", "sound.codes.safetensors", "--weights", str(saved), "--overwrite")[0] == 0
    assert Waveform.read("sound.wav").samples.shape == (1, 4000)
    shutil.copytree(saved, other)
    tensors = load_file(other / "model.safetensors")
    tensors["quantizer.acoustic_residual_vector_quantizer.layers.3.codebook.embed_sum"] += 1
    save_file(tensors, other / "model.safetensors")
    code, _, err = cli("codec", "decode", "sound.codes.safetensors", "--weights", "other", "-o", "b.wav")
    assert code == 2 and "with other weights" in err and not Path("b.wav").exists()


def test_a_sound_that_peaks_above_full_scale_is_turned_down_and_said(cli: Cli, tmp_path: Path, caplog: Any) -> None:
    from gen_audio.pipeline.codec_commands import _within_full_scale

    loud = Waveform(np.array([[0.0, 2.0, -1.0]]), 8000)
    with caplog.at_level(logging.WARNING):
        quiet = _within_full_scale(loud, Path("a.wav"))
    assert 0.99 < quiet.peak <= 1 and "turned down by 6.0 dB" in caplog.text
    assert _within_full_scale(quiet, Path("a.wav")) is quiet


BAD = {
    "codec": (["codec", "encode", "sound.wav", "--codec", "toi"], "Did you mean 'toy'"),
    "file": (["codec", "encode", "nowhere.wav", "--codec", "toy"], "'nowhere.wav' does not exist"),
    "no sound": (["codec", "encode", "text.wav", "--codec", "toy"], "cannot be read as sound"),
    "levels": (["codec", "encode", "sound.wav", "--codec", "toy", "--levels", "5"], "Use 1 to 4"),
    "no levels": (["codec", "encode", "sound.wav", "--codec", "toy", "--levels", "0"], "levels is 0"),
    "bandwidth": (["codec", "encode", "sound.wav", "--codec", "toy", "--bandwidth", "7"], "has 0.1, 0.2, 0.3, 0.4"),
    "both": (["codec", "encode", "sound.wav", "--levels", "1", "--bandwidth", "1"], "Give one of them"),
    "suffix": (["codec", "encode", "sound.wav", "-o", "a.bin"], "must end in .codes.safetensors"),
    "folder": (["codec", "encode", "sound.wav", "-o", "x/a.codes.safetensors"], "'x' does not exist"),
    "weights": (["codec", "encode", "sound.wav", "--codec", "toy", "--weights", "a"], "which has none"),
    "no weights": (["codec", "encode", "sound.wav", "--codec", "dac", "--weights", "./a"], "'./a' does not exist"),
    "codes": (["codec", "decode", "nowhere.codes.safetensors"], "does not exist"),
    "no codes": (["codec", "decode", "text.wav", "-o", "a.wav"], "truncated or no safetensors"),
    "format": (["codec", "decode", "a.codes.safetensors", "-o", "a.wave"], "Did you mean 'wav'"),
    "exists": (["codec", "decode", "sound.codes.safetensors"], "'sound.wav' exists. Add --overwrite"),
    "eval codec": (["eval", "codec", ".", "--codec", "toi:6"], "Did you mean 'toy'"),
    "eval kbps": (["eval", "codec", ".", "--codec", "toy:x"], "behind the colon stand kbit/s"),
    "eval bandwidth": (["eval", "codec", ".", "--codec", "toy:7"], "has 0.1, 0.2, 0.3, 0.4"),
    "eval weights": (["eval", "codec", ".", "--codec", "toy", "--weights", "dac=a"], "no --codec is 'dac'"),
    "eval weights form": (["eval", "codec", ".", "--codec", "toy", "--weights", "a"], "write a codec and a path"),
    "eval folder": (["eval", "codec", "nowhere", "--codec", "toy"], "'nowhere' is no folder"),
    "eval silence": (["eval", "codec", "empty", "--codec", "toy"], "holds no sound files"),
    "eval seconds": (["eval", "codec", ".", "--codec", "toy", "--seconds", "0"], "seconds is 0"),
    "eval nothing": (["eval", "codec", "."], "--codec"),
    "no command": (["codec"], "Missing command"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(case: str, cli: Cli, sound: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello, this is no sound at all")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.iterdir())
    arguments, message = BAD[case]
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("gen-audio: error: ") and err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


def test_eval_writes_a_table_and_every_result(cli: Cli, sound: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Waveform(np.zeros((1, 4000)), 8000).save(tmp_path / "in" / "silence.wav")
    code, out, _ = cli(
        "eval", "codec", ".", "--codec", "toy:0.1", "--codec", "toy", "--seconds", "0.3", "-o", "report.md"
    )
    assert code == 0
    assert out == Path("report.md").read_text() and out.count("| toy |") == 2
    rows = json.loads(Path("report.json").read_text())["codecs"]
    assert [row["levels"] for row in rows] == [1, 4]
    assert rows[1]["kbps"] == pytest.approx(4 * rows[0]["kbps"]) == pytest.approx(0.4, rel=0.1)
    assert [file["duration"] for file in rows[0]["files"]] == pytest.approx([0.3, 0.3])
    assert rows[1]["files"][0]["si_sdr"] is None and rows[1]["si_sdr"] == rows[1]["files"][1]["si_sdr"]
    assert rows[0]["encode_speed"] > 0 and rows[0]["decode_speed"] > 0
    assert cli("eval", "codec", ".", "--codec", "toy", "-o", "report")[0] == 2


def test_distances_are_nought_for_the_same_and_grow_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    sound = 0.3 * torch.sin(torch.arange(24000) * 0.05)
    noise = torch.randn(24000, generator=generator)
    assert log_mel_distance(sound, sound, 24000) == 0 and si_sdr(sound, sound) == 100
    assert si_sdr(sound, 0.5 * sound) == 100  # scale does not count
    found = [
        (log_mel_distance(sound, sound + g * noise, 24000), si_sdr(sound, sound + g * noise)) for g in (1e-3, 1e-1)
    ]
    assert 0 < found[0][0] < found[1][0]
    assert found[0][1] == pytest.approx(46.5, abs=0.5) and found[1][1] == pytest.approx(6.5, abs=0.5)
    assert log_mel_distance(sound, sound * 2.718281828, 24000) < 1.0  # a nat where it sounds, nothing where it does not
    assert si_sdr(torch.zeros(10), sound[:10]) is None
    with pytest.raises(GenAudioError, match="one length"):
        si_sdr(sound, sound[:5])
