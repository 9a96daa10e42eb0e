"""Rendering a data set with a tiny model: nothing lost, nothing twice, and files that other libraries load."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from gen_audio import registry
from gen_audio.audio import FORMATS, Waveform
from gen_audio.errors import AudioError, ConfigError
from gen_audio.pipeline import load as loader
from gen_audio.pipeline.batch import kept_codes
from gen_audio.pipeline.batch.settings import HOME
from gen_audio.pipeline.cli import run
from gen_audio.pipeline.pipeline import Pipeline

ROWS = [
    {"prompt": "lofi", "duration": 0.2, "id": "one", "note": "first", "year": 1999},
    {"prompt": "house", "duration": 0.3, "tempo": [100, 124], "note": "second"},
    {"prompt": "ambient pads", "duration": 0.2, "seed": 5, "instruments": ["pad"]},
]
Batch = Callable[..., int]


@pytest.fixture(scope="module")
def pipeline(nano_model: Path) -> Pipeline:
    return loader.load(str(nano_model))


@pytest.fixture
def batch(nano_model: Path, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Run `gen-audio batch` on rows, in an empty folder, with a model that is loaded once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loader, "load", lambda *arguments, **options: pipeline)

    def call(rows: list[dict[str, Any]] | str, *arguments: str, out: str = "out") -> int:
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        Path("rows.jsonl").write_text(text)
        return run(["batch", "rows.jsonl", "-o", out, "--model", str(nano_model), *arguments])

    return call


def records(out: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "metadata.jsonl").read_text().splitlines()]


def content(out: str = "out") -> dict[str, bytes]:
    """Every file but those of the bookkeeping."""
    paths = [path for path in Path(out).rglob("*") if path.is_file() and HOME not in path.parts]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def samples(out: str, layout: str) -> dict[str, tuple[Any, ...]]:
    """Address -> (record, codes) of a packed folder; each sound must be there once."""
    reader = registry.build("pipeline.batch.layouts", layout)
    found = [sample for path in Path(out).glob("data-*") for sample in reader.unpack(path)]
    assert len({sample.address for sample in found}) == len(found)
    told = [{name: value for name, value in sample.record.items() if value is not None} for sample in found]
    return {sample.address: (record, sample.codes) for sample, record in zip(found, told, strict=True)}


def test_rows_become_sounds_with_everything_known_of_them(batch: Batch, pipeline: Pipeline) -> None:
    assert batch(ROWS, "--keep-codes", "--format", "wav") == 0
    found = records()
    assert [(row["prompt"], row["tempo"]) for row in found[1:3]] == [("house", 100.0), ("house", 124.0)]
    assert found[0]["id"] == "one" and found[0]["year"] == 1999 and found[3]["id"] == found[3]["address"]
    for row in found:
        sound = soundfile.info(Path("out", row["file_name"]))
        assert (sound.frames, sound.channels) == (round(row["duration"] * row["sample_rate"]), row["channels"])
        assert row["model_sha256"] == pipeline.sha256 and json.loads(row["plan"])["style"] == row["style"]
    by_hand = pipeline.generate("ambient pads", duration=0.2, seed=5, instruments=["pad"])
    assert kept_codes.hash_codes(by_hand.codes) == found[3]["codes_sha256"]
    by_hand.save("by_hand.wav")
    name = Path("out", found[3]["file_name"])
    assert np.array_equal(soundfile.read(name)[0], soundfile.read("by_hand.wav")[0])
    card = Path("out/README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n") and "# 4 sounds" in card and pipeline.sha256[:12] in card
    shown = {path.stem for path in Path("out/card").iterdir()}
    assert shown == {"duration", "loudness_lufs", "style", "tempo"}
    assert run(["verify", "out", "--sample", "0"]) == 0


def test_what_is_done_stays_done_and_a_changed_parameter_is_a_new_item(
    batch: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(ROWS[:1]) == 0
    before = content()
    assert batch(ROWS[:1], "--json") == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["already_there"] == 1
    assert content() == before
    assert batch([{**ROWS[0], "duration": 0.3}], "--limit", "1") == 0
    assert sorted(row["duration"] for row in records()) == [0.2, 0.3]


def test_bad_rows_are_refused_by_number_and_the_rest_rendered(batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ['{"prompt": ""}', json.dumps(ROWS[0]), "{", json.dumps({**ROWS[0], "duration": 0.3}), json.dumps(ROWS[2])]
    lines += ['{"prompt": "a", "duration": 99999}', json.dumps({**ROWS[2], "note": "the same"})]
    assert batch("\n".join(lines)) == 1
    err = capsys.readouterr().err
    told = sorted(line.removeprefix("gen-audio: ") for line in err.splitlines())
    assert [line.partition(":")[0] for line in told] == ["row 1", "row 3", "row 4 (one)", "row 6", "row 7"]
    assert "same id" in told[2] and "those of row 5" in told[4]
    assert sorted(row["prompt"] for row in records()) == ["ambient pads", "lofi"]
    failed = Path("out", HOME, "failed-1-of-1.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["row"] for line in failed) == [1, 3, 4, 6, 7]


def test_a_poisoned_row_fails_alone_and_is_tried_again_on_request(
    batch: Batch, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin, calls = pipeline.begin, []

    def poisoned(prompt: str, *settings: Any) -> Any:
        calls.append(prompt)
        if prompt == "lofi":
            raise RuntimeError("division by\nzero")
        return begin(prompt, *settings)

    monkeypatch.setattr(pipeline, "begin", poisoned)
    rows = [ROWS[0], ROWS[2]]
    assert batch(rows) == 1
    assert "row 1 (one): RuntimeError: division by zero" in capsys.readouterr().err
    assert batch(rows) == 1
    assert "failed in an earlier run: RuntimeError: division by zero" in capsys.readouterr().err
    assert calls == ["lofi", "ambient pads"]
    monkeypatch.setattr(pipeline, "begin", begin)
    assert batch(rows, "--retry-failed") == 0
    assert batch(rows) == 0
    assert sorted(row["prompt"] for row in records()) == ["ambient pads", "lofi"]


def test_a_full_disk_stops_the_run_and_loses_nothing(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sync, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 12:
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert batch(ROWS) == 2
    assert "No space left" in capsys.readouterr().err
    monkeypatch.setattr(os, "fsync", sync)
    assert batch(ROWS) == 0
    assert len(records()) == 4 and run(["verify", "out", "--sample", "0"]) == 0


LAYOUTS = ("audiofolder", "webdataset", "parquet")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shards_together_equal_one_run(layout: str, batch: Batch) -> None:
    options = ["--keep-codes", "--format", "wav", "--layout", layout, "--per-file", "3"]
    assert batch(ROWS, *options, out="whole") == 0
    for shard in ("2/2", "1/2"):
        assert batch(ROWS, *options, "--shard", shard, out="parts") == 0
    if layout == "audiofolder":
        assert content("parts") == content("whole")
    else:
        assert samples("parts", layout) == samples("whole", layout)
    assert run(["verify", "parts", "--sample", "0"]) == 0
    assert batch(ROWS, *options, out="parts") == 0  # and one process goes on where shards ended
    assert batch(ROWS, "--limit", "0", out="whole") == 0


def test_an_audiofolder_loads_with_datasets(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("torchcodec")
    assert batch(ROWS, "--keep-codes") == 0
    cache = str(tmp_path / "cache")
    found = datasets.load_dataset("audiofolder", data_dir="out", split="train", cache_dir=cache)
    found = found.cast_column("audio", datasets.Audio(decode=False))
    assert sorted(found["prompt"]) == ["ambient pads", "house", "house", "lofi"]
    for row in found:
        rate = soundfile.info(row["audio"]["path"]).samplerate
        assert rate == row["sample_rate"] and row["address"] in row["audio"]["path"]


def test_tar_files_load_with_webdataset(batch: Batch) -> None:
    webdataset = pytest.importorskip("webdataset")
    assert batch(ROWS, "--keep-codes", "--layout", "webdataset", "--per-file", "3") == 0
    paths = sorted(str(path) for path in Path("out").glob("*.tar"))
    assert [Path(path).name for path in paths] == ["data-000000.tar", "data-000001.tar"]
    with warnings.catch_warnings():  # the library leaves the files to the garbage collector
        warnings.simplefilter("ignore")
        found = list(webdataset.WebDataset(paths, shardshuffle=False).decode())
        gc.collect()
    assert sorted(row["json"]["prompt"] for row in found) == ["ambient pads", "house", "house", "lofi"]
    for row in found:
        samples, rate = soundfile.read(io.BytesIO(row["flac"]))
        assert len(samples) == round(row["json"]["duration"] * rate)
        codes, facts = kept_codes.parse(row["codes.safetensors"], "it")
        assert ", ".join(sorted(codes)) == ", ".join(sorted(row["json"]["roles"].split(", ")))
        assert facts["prompt"] == row["json"]["prompt"]


def test_parquet_loads_with_datasets_as_sound(batch: Batch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    assert batch(ROWS, "--layout", "parquet", "--per-file", "2", "--keep-codes") == 0
    files = sorted(str(path) for path in Path("out").glob("*.parquet"))
    assert len(files) == 2
    cache = str(tmp_path / "cache")
    found = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
    assert isinstance(found.features["audio"], datasets.Audio)
    for row in found.cast_column("audio", datasets.Audio(decode=False)):
        assert soundfile.read(io.BytesIO(row["audio"]["bytes"]))[1] == row["sample_rate"]
        assert row["year"] == (1999.0 if row["prompt"] == "lofi" else None)


@pytest.mark.parametrize("layout", ["audiofolder", "webdataset"])
def test_kept_codes_are_decoded_again_without_the_network(
    layout: str, batch: Batch, nano_model: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batch(ROWS[:1], "--keep-codes", "--format", "wav", "--layout", layout) == 0
    monkeypatch.setattr(pipeline, "perform", None)  # whoever asks the network gets an error
    again = ["batch", "--from-codes", "out", "--model", str(nano_model), "--format", "wav"]
    assert run([*again, "-o", "same"]) == 0
    assert run([*again, "-o", "same"]) == 0
    (row,) = records("same")
    assert row["decoded_from"] and row["id"] == "one" and row["note"] == "first"
    if layout == "audiofolder":
        (old,) = records()
        sounds = [soundfile.read(Path(out, name["file_name"]))[0] for out, name in (("out", old), ("same", row))]
        assert np.array_equal(*sounds)
        assert run([*again, "-o", "rough", "--levels", "1", "--loudness", "-30", "--sample-rate", "16000"]) == 0
        (rough,) = records("rough")
        assert (rough["sample_rate"], rough["levels"]) == (16000, 1)
        assert rough["loudness_lufs"] == pytest.approx(-30, abs=0.5) and run(["verify", "rough", "--all"]) == 0
        assert run([*again, "-o", "no", "--levels", "9"]) == 1


def test_kept_codes_know_who_was_silent_in_a_mix(batch: Batch, nano_model: Path, pipeline: Pipeline) -> None:
    asked = {"duration": 1.0, "seed": 4, "instruments": ["piano", "drums"]}
    Path("plan.json").write_text(pipeline.generate("lofi", **asked).plan.to_json())
    row = {"prompt": "lofi", "plan": "plan.json", "as_mix": True, "without": ["drums"], "loudness": "none"}
    assert batch([row], "--keep-codes", "--format", "wav") == 0
    again = ["batch", "--from-codes", "out", "-o", "again", "--model", str(nano_model), "--format", "wav"]
    assert run([*again, "--loudness", "none"]) == 0
    one, other = (soundfile.read(Path(out, records(out)[0]["file_name"]))[0] for out in ("out", "again"))
    assert np.abs(one).max() > 0.001 and np.array_equal(one, other)


def test_codes_of_a_stereo_musicgen_are_decoded_again(tiny_musicgen: Any, tmp_path: Path) -> None:
    folder, out, again = str(tiny_musicgen("stereo").folder), str(tmp_path / "out"), str(tmp_path / "again")
    (tmp_path / "rows.txt").write_text("lofi jazz\n")
    options = ["--duration", "0.3", "--keep-codes", "--format", "wav"]
    assert run(["batch", str(tmp_path / "rows.txt"), "-o", out, "--model", folder, *options]) == 0
    assert run(["batch", "--from-codes", out, "-o", again, "--model", folder, "--format", "wav"]) == 0
    one, other = (soundfile.read(Path(name, records(name)[0]["file_name"]))[0] for name in (out, again))
    assert one.shape[1] == 2 and np.array_equal(one, other)
    assert records(out)[0]["style"] is None and run(["verify", out]) == 0


def damage_byte(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


DAMAGE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "gone": (lambda sound, out: sound.unlink(), "missing: data/"),
    "changed": (lambda sound, out: damage_byte(sound), "another sha256"),
    "truncated": (lambda sound, out: os.truncate(sound, 100), "100 bytes instead of"),
    "orphan": (lambda sound, out: shutil.copy(sound, sound.with_name("ff.wav")), "orphaned: data/"),
    "index": (lambda sound, out: (out / "metadata.jsonl").write_text("{}\n"), "index: metadata.jsonl"),
}


@pytest.fixture(scope="module")
def finished(nano_model: Path, pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    arguments = ["--format", "wav", "--keep-codes", "--model", str(nano_model)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "load", lambda *arguments, **options: pipeline)
        assert run(["batch", str(folder / "rows.jsonl"), "-o", str(folder / "out"), *arguments]) == 0
    return folder / "out"


@pytest.mark.parametrize("case", DAMAGE)
def test_verify_finds_what_is_wrong(
    case: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    (sound,) = out.glob("data/*/*.wav")
    change, finding = DAMAGE[case]
    change(sound, out)
    assert run(["verify", str(out), "--sample", "0"]) == 1
    assert finding in capsys.readouterr().out


def test_verify_plays_again_and_tells_where_codes_differ(
    finished: Path,
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loader, "load", lambda *arguments, **options: pipeline)
    assert run(["verify", str(finished), "--all"]) == 0
    generate = pipeline.generate
    monkeypatch.setattr(pipeline, "generate", lambda prompt, **told: generate(prompt, **{**told, "temperature": 2.0}))
    assert run(["verify", str(finished), "--sample", "1"]) == 1
    out = capsys.readouterr().out
    assert "plays differently now" in out and "differs from frame" in out


def test_verify_asks_for_the_folder_of_a_model_that_it_cannot_find(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(finished)]) == 2
    assert "The data set says 'nano': name its folder by --model." in capsys.readouterr().err


def test_opus_is_written_and_read(batch: Batch) -> None:
    assert batch(ROWS[:1], "--format", "opus", "--loudness", "peak") == 0
    (row,) = records()
    samples, rate = soundfile.read(Path("out", row["file_name"]))
    assert len(samples) == round(0.2 * rate) and np.abs(samples).max() > 0.5


@pytest.mark.parametrize("format", FORMATS)
def test_encoded_bytes_are_the_file_that_save_writes(format: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 12_000))
    sound, tags = Waveform(noise, 24_000), {"title": "noise"}
    sound.save(tmp_path / "sound", format, tags)
    held = io.BytesIO(sound.encode(format, tags))
    (one, rate), (other, same) = soundfile.read(held), soundfile.read(tmp_path / "sound")
    assert np.array_equal(one, other) and rate == same == 24_000
    with pytest.raises(AudioError, match="above 1"):
        Waveform(noise * 9, 24_000).encode(format)


BAD_CALLS = {
    "nothing": (["batch", "-o", "out"], "Give a MANIFEST"),
    "both": (["batch", "rows.txt", "--from-codes", "x", "-o", "out"], "Give a MANIFEST"),
    "missing": (["batch", "no.jsonl", "-o", "out"], "does not exist"),
    "empty": (["batch", "empty.txt", "-o", "out"], "holds no row"),
    "layout": (["batch", "rows.txt", "-o", "out", "--layout", "webdatset"], "Did you mean 'webdataset'"),
    "format": (["batch", "rows.txt", "-o", "out", "--format", "flak"], "Did you mean 'flac'"),
    "rate": (["batch", "rows.txt", "-o", "out", "--sample-rate", "0"], "sample_rate is 0"),
    "rate of format": (
        ["batch", "rows.txt", "-o", "out", "--format", "opus", "--sample-rate", "44100"],
        "opus has 8000",
    ),
    "shard": (["batch", "rows.txt", "-o", "out", "--shard", "4/3"], "--shard is '4/3'"),
    "set": (["batch", "rows.txt", "-o", "out", "--set", "temprature=1"], "Did you mean 'temperature'"),
    "set value": (["batch", "rows.txt", "-o", "out", "--set", "tempo"], "NAME=VALUE"),
    "other things": (["batch", "rows.txt", "-o", "."], "holds other things"),
    "nowhere": (["batch", "rows.txt", "-o", "no/out"], "does not exist"),
    "levels": (["batch", "rows.txt", "-o", "out", "--levels", "1"], "--from-codes"),
    "no codes": (["batch", "--from-codes", ".", "-o", "out"], "was not written by gen-audio batch"),
    "shard of codes": (["batch", "--from-codes", ".", "-o", "out", "--limit", "3"], "--limit has no effect"),
    "verify": (["verify", "."], "was not written by gen-audio batch"),
    "verify both": (["verify", ".", "--all", "--sample", "2"], "both given"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_call_is_one_line_and_writes_nothing(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.txt").write_text("lofi\n")
    Path("empty.txt").write_text("\n")
    arguments, message = BAD_CALLS[case]
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["empty.txt", "rows.txt"]


def test_another_form_in_the_same_folder_is_refused(finished: Path, tmp_path: Path) -> None:
    from gen_audio.pipeline.batch.settings import settle

    with pytest.raises(ConfigError, match="was begun with format wav, and now it is flac"):
        settle(finished, {"format": "flac"})
    assert settle(finished, {"format": None}).format == "wav"


def test_a_dry_run_counts_and_writes_nothing(batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch([*ROWS, {"prompt": ""}], "--dry-run", "--json", "--duration", "1") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["to_make"], found["refused"], found["audio_seconds"]) == (4, 1, pytest.approx(1.0))
    assert found["disk_bytes"] > 0 and found["work_seconds"] > 0 and found["memory_mib"] > 0
    assert [path.name for path in Path().iterdir()] == ["rows.jsonl"]


def test_bad_rows_alone_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,tempo\nlofi,fast\n")
    code = "import sys; from gen_audio.pipeline.cli import run; c = run(sys.argv[1:]); print(c, 'torch' in sys.modules)"
    command = [sys.executable, "-c", code, "batch", "rows.csv", "-o", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["1", "False"]
    assert "row 1: tempo is 'fast'" in done.stderr and not (tmp_path / "out").exists()


def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(
    batch: Batch, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = pipeline.begin

    def pressed(prompt: str, *settings: Any) -> Any:
        if prompt == "house":
            raise KeyboardInterrupt
        return begin(prompt, *settings)

    monkeypatch.setattr(pipeline, "begin", pressed)
    assert batch(ROWS) == 130
    assert not list(Path("out").rglob("*.part*"))
    monkeypatch.setattr(pipeline, "begin", begin)
    assert batch(ROWS) == 0 and len(records()) == 4


def test_a_million_rows_are_read_as_they_come(tmp_path: Path) -> None:
    from gen_audio.pipeline.batch.manifest import open_manifest

    path = tmp_path / "rows.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt"])
        writer.writerows([f"lofi {i}"] for i in range(1_000_000))
    start = time.perf_counter()
    manifest = open_manifest(path)
    assert manifest.count() == 1_000_000 and next(manifest.rows()).values == {"prompt": "lofi 0"}
    assert time.perf_counter() - start < 5
