"""The benchmark command on a tiny model: it measures what it says, refuses what it must, and counts rightly."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gen_audio.codecs.spectral import Spectral

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package

from benchmarks import cells, engine, mood_report, one_cell, tables, wider_band  # noqa: E402
from benchmarks.limits import bytes_of_step  # noqa: E402
from benchmarks.stopwatch import Stopwatch  # noqa: E402


def test_the_whole_command_runs_on_a_tiny_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.engine", "--quick", "--busy", "--threads", "1"]
    command += ["--models", str(tmp_path / "models"), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["equality"]["precisions"]["fp32"]["max_error"] < 1e-3
    rows = {row["name"]: row for row in report["cells"]}
    for name in ("main/transformers-fp32-sdpa-x1", "main/ours-fp32-x1", "batch/ours-fp32-x2", "etude/etude-fp32-x1"):
        found = rows[name]["processes"][0]
        assert all(run["whole"] >= run["loop"] > 0 for run in found["runs"])
        assert found["seconds_to_load"] > 0 and found["seconds_of_first_call"][0] > 0
        assert found["peak_bytes"] > 100 << 20
    assert rows["main/ours-fp32-x1"]["processes"][0]["first_sound"] > 0
    page = (tmp_path / "out.md").read_text()
    assert "random weights" in page
    assert ("No ratios: the machine was not idle." if report["busy"] else "* Our loop: fp32") in page


def report_of(rates: dict[tuple[str, str, str], float]) -> list[dict[str, Any]]:
    """Rows of one piece of 250 frames at so many frames a second."""
    rows = []
    for (program, precision, variant), rate in rates.items():
        cell = cells.Cell("main", program, precision, variant)
        rows.append({"cell": vars(cell), "problem": "", "processes": [{"runs": [{"loop": 250 / rate}]}]})
    return rows


def test_the_same_precision_is_compared_first_and_with_the_fastest() -> None:
    rows = report_of(
        {
            ("ours", "int8", ""): 80,
            ("ours", "fp32", ""): 10,
            ("ours", "bf16", ""): 30,
            ("transformers", "fp32", "sdpa"): 4,
            ("transformers", "bf16", "sdpa"): 10,
            ("audiocraft", "fp32", ""): 5,
        }
    )
    assert tables.ratios(rows) == [
        "* Our loop: fp32 2.00 x audiocraft in fp32; bf16 3.00 x transformers sdpa in bf16; "
        "int8 (other arithmetic) 8.00 x transformers sdpa in bf16, their fastest here."
    ]


def test_programs_take_turns_and_every_cell_runs_before_the_third_round() -> None:
    planned = cells.plan(list(cells.TABLES), 250, [4])
    assert len({cell.name for cell in planned}) == len(planned)
    ran = [cell for cell, _ in engine.order(planned, [{}] * len(planned), 3)]
    main = [cell for cell in planned if cell.table == "main"]
    assert ran[: 2 * len(main)] == main * 2
    assert set(ran[: len(main) + len(planned)]) == set(planned)
    assert {cell.table for cell in ran[len(main) + len(planned) :]} == {"main", "etude"}


def test_a_step_of_small_reads_the_weights_that_it_has() -> None:
    assert bytes_of_step("small", "fp32", 1, 250, 16) / 1e9 == pytest.approx(1.443 + 0.05, abs=0.01)
    assert bytes_of_step("small", "int8", 1, 250, 16) < bytes_of_step("small", "bf16", 1, 250, 16) / 1.7


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    assert engine.main(["-o", "nowhere", "--threads", "2"]) == 2
    assert "load average is 3.00" in capsys.readouterr().err


def test_logits_that_differ_stop_the_timing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = {"precisions": {"fp32": {"max_error": 0.01, "kl": [0.0], "top_1": [1.0]}}}
    wrong |= {"prompts": ["a"], "steps": 1, "logits_std": 1.0, "codec_max_error": 0.0}
    monkeypatch.setattr(engine, "prove", lambda model, threads: wrong)
    monkeypatch.setattr(cells, "run", lambda *_: pytest.fail("a cell was timed"))
    asked = ["--quick", "--busy", "-o", str(tmp_path / "out"), "--models", str(tmp_path / "models")]
    assert engine.main(asked) == 2
    assert "1.0e-02" in (tmp_path / "out.md").read_text()


def test_a_cell_that_takes_too_long_is_stopped_and_named(tmp_path: Path) -> None:
    start = time.perf_counter()
    found = cells.run(cells.Cell("main", "ours", "fp32"), str(tmp_path), 1, 0.05)
    assert "--limit" in found["failed"] and time.perf_counter() - start < 5


def test_a_cell_of_a_program_that_cannot_play_says_why(tmp_path: Path) -> None:
    found = one_cell.measure(cells.Cell("main", "ours", "fp32"), str(tmp_path / "nowhere"))
    assert "nowhere" in found["unavailable"]


SIBLINGS = {path.stem: ast.parse(path.read_text("utf-8")) for path in (ROOT / "benchmarks").glob("*.py")}


def defined(tree: ast.Module) -> set[str]:
    """Names that a module gives to others: what it defines, assigns and imports at its top level."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            names |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names


def test_what_a_benchmark_takes_from_another_is_there() -> None:
    taken = [
        (name, node.module.removeprefix("benchmarks."), alias.name)
        for name, tree in SIBLINGS.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]
    wrong = [each for each in taken if each[1] in SIBLINGS and each[2] not in defined(SIBLINGS[each[1]])]
    assert not wrong and any(where == "render" for _, where, _ in taken)


def test_the_stopwatch_counts_a_stage_once_and_generators_too() -> None:
    class Codec:
        def decode(self) -> None:
            time.sleep(0.02)

        def stream(self) -> Iterator[int]:
            self.decode()
            yield 1
            self.decode()

    codec, clock = Codec(), Stopwatch()
    for method in ("decode", "stream"):
        clock.watch(codec, method, "decode")

    def work() -> int:
        for _ in codec.stream():
            time.sleep(0.05)  # outside of the codec
        return 5

    result, seconds = clock.run(work)
    assert result == 5
    assert 0.04 <= seconds["decode"] <= seconds["whole"] - 0.05


def timbres(count: int, drums: float) -> dict[int, dict[str, Any]]:
    rng = np.random.default_rng(count)
    return {number: {"timbre": [*rng.normal(size=60), *rng.normal(drums, 0.3, 8)]} for number in range(1, count)}


def test_drums_are_heard_by_what_was_learnt_from_other_notes() -> None:
    # nothing but chance tells these two apart, so whoever is right about them has seen them before
    heard = mood_report.hear_drums({"plain": timbres(60, 0), "drumless": timbres(61, 0), "negative": timbres(62, 0)})
    right = np.concatenate((heard["plain"], ~heard["drumless"]))
    assert 0.3 < right.mean() < 0.7 and len(heard["negative"]) == 61
    heard = mood_report.hear_drums({"plain": timbres(60, 1), "drumless": timbres(61, 0), "negative": timbres(62, 0)})
    assert heard["plain"].mean() > 0.9 > 0.2 > heard["negative"].mean()


def test_a_wider_codec_has_the_frames_and_the_weights_of_the_narrow_one() -> None:
    small = {"width": 32, "latent_width": 8, "vocoder_width": 32}
    narrow = Spectral(num_bands=40, **small).eval()
    wide = wider_band.codec_at(48000, narrow, **small)
    codes = torch.randint(0, narrow.card, (1, narrow.n_q, 30))
    assert (wide.frame_rate, wide.hop_length, wide.num_bands) == (narrow.frame_rate, 1920, 47)
    assert wide.decode(codes).shape[-1] == 2 * narrow.decode(codes).shape[-1]
    mels = [codec.mel_from_latent(codec.quantiser.decode(codes))[0] for codec in (narrow, wide)]
    assert torch.allclose(mels[0], mels[1][..., :40], atol=1e-5) and not mels[1][..., 40:].any()
    assert 0 < wider_band.mebibytes(narrow, ["codec.decoder."]) < wider_band.mebibytes(wide, ["codec.decoder."])
