"""`gen-audio eval model` and `eval set`, from command line to report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gen_audio.audio import Waveform
from gen_audio.evaluation.protocol import SIZES, Size
from gen_audio.pipeline.cli import run

RATE = 24000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four seconds of everything, and no SoundFont: what needs one must say so."""
    monkeypatch.setitem(SIZES, "tiny", Size(3, 1, 1, (1, 1), 0, 2, 1, 1, seconds=4.0))
    monkeypatch.setenv("GEN_AUDIO_SOUNDFONT", "/nowhere.sf3")


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    return {f"{row['group']}: {row['name']}": row for row in json.loads(path.read_text())["rows"]}


def evaluate(model: Path, output: Path, *more: str) -> int:
    return run(["eval", "model", str(model), "--size", "tiny", "--workers", "0", "-o", str(output), *more])


def test_a_model_is_measured_and_what_cannot_be_is_named(small: None, nano_model: Path, tmp_path: Path) -> None:
    assert evaluate(nano_model, tmp_path / "one", "--keep-audio", str(tmp_path / "sounds")) == 0
    rows = rows_of(tmp_path / "one.json")
    loud = rows["faults: not too quiet"]
    assert loud["count"] == 6 and loud["target"] == 1.0 and loud["composed"] is None
    assert "SoundFont" in rows["codec: ViSQOL, all levels"]["missing"]
    assert "SoundFont" in rows["text: free words: a style that fits is named first"]["missing"]
    assert "not measured" in (tmp_path / "one.md").read_text() and (tmp_path / "one.png").stat().st_size > 10000
    assert len(list((tmp_path / "sounds").glob("*-model.wav"))) == 6
    # the same model, from its report and anew: nothing can be told apart
    assert evaluate(nano_model, tmp_path / "two", "--compare", str(tmp_path / "one.json")) == 0
    comparison = json.loads((tmp_path / "two.json").read_text())["comparison"]
    assert {row["verdict"] for row in comparison["rows"]} == {"not told apart"}
    assert all(row["difference"] == 0 for row in comparison["rows"])


def test_reports_of_other_items_are_not_compared(
    small: None, nano_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"protocol": "other", "size": "full", "rows": []}))
    assert evaluate(nano_model, tmp_path / "one", "--compare", str(tmp_path / "old.json")) == 2
    assert "different items" in capsys.readouterr().err
    assert evaluate(nano_model, tmp_path / "one", "--compare", str(tmp_path / "none.json")) == 2
    assert not list(tmp_path.glob("one*"))  # checked before anything is played


def tone(folder: Path, name: str, pitch: float, hole: float = 0.0) -> None:
    times = np.arange(4 * RATE) / RATE
    sound = 0.3 * np.sin(2 * np.pi * pitch * times) * (1 + np.sign(np.sin(2 * np.pi * 2 * times))) / 2
    sound[RATE : RATE + round(hole * RATE)] = 0
    folder.mkdir(exist_ok=True)
    Waveform(sound[None].astype(np.float32), RATE).save(folder / name)


def test_a_folder_is_measured_beside_a_reference(tmp_path: Path) -> None:
    for number in range(4):
        tone(tmp_path / "known", f"{number}.wav", 220.0 * 2 ** (number / 12))
    tone(tmp_path / "mine", "whole.wav", 220.0)
    tone(tmp_path / "mine", "holed.wav", 440.0, hole=1.8)
    told = [str(tmp_path / "mine"), "--reference", str(tmp_path / "known"), "--workers", "0"]
    assert run(["eval", "set", *told, "-o", str(tmp_path / "set")]) == 0
    rows = rows_of(tmp_path / "set.json")
    assert rows["faults: no holes"]["items"]["model"] == {"whole.wav": 1.0, "holed.wav": 0.0}
    assert rows["levels: duration"]["value"] == 4.0
    assert "| key | sounds |" in (tmp_path / "set.md").read_text()
    assert any(name.startswith("distance: KAD") for name in rows)


def test_equal_sounds_have_no_variety_and_others_have(tmp_path: Path) -> None:
    for number in range(3):
        tone(tmp_path / "alike", f"{number}.wav", 220.0)
        tone(tmp_path / "unlike", f"{number}.wav", 220.0 * 2**number)
    found = {}
    for name in ("alike", "unlike"):
        assert run(["eval", "set", str(tmp_path / name), "--workers", "0", "-o", str(tmp_path / name)]) == 0
        row = rows_of(tmp_path / f"{name}.json")["variety: diversity, msd_musicnn"]
        if row["value"] is None:
            pytest.skip(row["missing"])
        found[name] = row["value"]
    assert abs(found["alike"]) < 1e-5 and found["unlike"] > 0.03


def test_an_unknown_size_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "model", "etude", "--size", "quik"]) == 2
    assert "Did you mean 'quick'" in capsys.readouterr().err
