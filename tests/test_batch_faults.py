"""What goes wrong in a data set: bad rows, kills, newer and damaged files, a model that goes away. Nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gen_audio.errors import CheckpointError, MissingExtraError
from gen_audio.pipeline import load as loader
from gen_audio.pipeline.batch.settings import HOME
from gen_audio.pipeline.cli import run
from gen_audio.pipeline.pipeline import Pipeline

ROOT = Path(__file__).parent.parent
GOOD = [{"id": name, "prompt": f"lofi {name}", "duration": 0.2} for name in ("a", "b", "c")]
Batch = Callable[..., int]


@pytest.fixture(scope="module")
def pipeline(nano_model: Path) -> Pipeline:
    return loader.load(str(nano_model))


@pytest.fixture
def batch(nano_model: Path, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Run `gen-audio batch` on rows, in an empty folder, with a model that is loaded once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loader, "load", lambda *arguments, **options: pipeline)

    def call(lines: list[Any], *arguments: str, out: str = "out") -> int:
        whole = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        Path("rows.jsonl").write_bytes(b"\n".join(whole) + b"\n")
        return run(["batch", "rows.jsonl", "-o", out, "--model", str(nano_model), *arguments])

    return call


def everything(out: str = "out") -> dict[str, bytes]:
    paths = [path for path in Path(out).rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


BAD = {
    "a missing prompt": ({"duration": 0.2}, "the prompt is missing"),
    "a bad number": ({"prompt": "a", "duration": "long"}, "duration is 'long'; it must be a number"),
    "a duplicate id": ({**GOOD[0], "prompt": "another"}, "an earlier row has the same id"),
    "invalid UTF-8": (b'{"prompt": "a\xff"}', "is not UTF-8"),
    "an unknown parameter": ({"prompt": "a", "temprature": 1}, "Did you mean 'temperature'"),
    "a 10 MB prompt": ({"prompt": "a" * 10_000_000}, "10,000,000 characters"),
    "an id that climbs out": ({"prompt": "a", "id": "../../a"}, "climbs out of the output folder"),
}


def test_each_bad_row_is_refused_by_its_number_and_the_rest_rendered(
    batch: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [line for line, _ in BAD.values()]
    assert batch([GOOD[0], *bad, GOOD[1]]) == 1
    told = capsys.readouterr().err.splitlines()
    for number, (line, (_, reason)) in enumerate(zip(told, BAD.values(), strict=True), start=2):
        assert line.startswith(f"gen-audio: row {number}") and reason in line
    records = [json.loads(line) for line in Path("out/metadata.jsonl").read_text().splitlines()]
    assert [record["id"] for record in records] == ["a", "b"]
    assert sorted(path.name for path in Path().iterdir()) == ["out", "rows.jsonl"]
    assert len(list(Path("out/data").rglob("*.flac"))) == 2


def test_of_two_runs_at_the_same_time_the_second_says_so_and_stops(
    batch: Batch, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin, codes = pipeline.begin, []

    def meanwhile(prompt: str, *settings: Any) -> Any:
        if not codes:
            codes.append(run(["batch", "rows.jsonl", "-o", "out"]))
        return begin(prompt, *settings)

    monkeypatch.setattr(pipeline, "begin", meanwhile)
    assert batch(GOOD[:2]) == 0 and codes == [2]
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err


def test_a_newer_journal_is_named_and_nothing_overwritten(batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch(GOOD[:1]) == 0
    journal = Path("out", HOME, "journal-1-of-1.jsonl")
    journal.write_text(journal.read_text().replace('{"journal":1}', '{"journal":2}', 1))
    before = everything()
    assert batch(GOOD) == 2
    assert f"{journal} has version 2" in capsys.readouterr().err
    assert everything() == before


@pytest.mark.parametrize("layout", ["webdataset", "parquet"])
def test_a_truncated_file_is_named_and_nothing_overwritten(
    layout: str, batch: Batch, nano_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(GOOD[:2], "--layout", layout, "--keep-codes") == 0
    (packed,) = Path("out").glob("data-*")
    os.truncate(packed, packed.stat().st_size // 2)
    before = everything()
    assert run(["verify", "out", "--sample", "0"]) == 1
    assert f"damaged: {packed.name} has" in capsys.readouterr().out
    assert run(["batch", "--from-codes", "out", "-o", "again", "--model", str(nano_model)]) == 2
    assert f"{packed} is truncated or damaged" in capsys.readouterr().err
    assert batch(GOOD, "--layout", layout) == 0  # goes on behind it
    after = everything()
    assert after[packed.name] == before[packed.name] and len(list(Path("out").glob("data-*"))) == 2


@pytest.mark.parametrize("error", [CheckpointError("weights are gone"), MissingExtraError("no SoundFont found")])
def test_a_model_or_font_that_goes_away_ends_the_run_and_keeps_what_is_done(
    error: Exception,
    batch: Batch,
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin = pipeline.begin
    monkeypatch.setattr(pipeline.executor, "slots", 1)

    def gone(prompt: str, *settings: Any) -> Any:
        if prompt == "lofi b":
            raise error
        return begin(prompt, *settings)

    monkeypatch.setattr(pipeline, "begin", gone)
    assert batch(GOOD) in (1, 2)
    assert f"gen-audio: error: {error}\n" in capsys.readouterr().err
    (first,) = Path("out/data").rglob("*.flac")
    before = first.read_bytes()
    monkeypatch.setattr(pipeline, "begin", begin)
    assert batch(GOOD) == 0
    assert first.read_bytes() == before and run(["verify", "out", "--sample", "0"]) == 0


def test_a_model_that_is_missing_is_named_and_nothing_overwritten(
    batch: Batch, nano_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(GOOD[:1]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    model = Path(shutil.copytree(nano_model, "model"))
    (model / "model.safetensors").unlink()
    before = everything()
    assert run(["batch", "rows.jsonl", "-o", "out", "--model", "./model"]) == 2
    assert "model.safetensors" in capsys.readouterr().err
    assert everything() == before


def test_killed_at_random_moments_the_set_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    """Real kills, SIGKILL, of processes that render: three layouts, and three shards side by side, three kills each.

    The same program does it with 50, and with Ray.
    """
    scenes = ("audiofolder", "webdataset", "parquet", "shards")
    command = [sys.executable, str(ROOT / "benchmarks" / "kills.py"), str(tmp_path), "--kills", "3", "--items", "5"]
    done = subprocess.run([*command, "--scenes", *scenes], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert list(found) == list(scenes)
    for scene in found.values():
        assert scene["different"] == [] and scene["wrong_exits"] == [] and scene["killed"] == 3
