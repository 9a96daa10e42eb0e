"""Workers of Ray: who dies is replaced, nothing is lost or there twice, and nothing outlives a run."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gen_audio.errors import CheckpointError, ConfigError, GenAudioError, MissingExtraError, UnknownNameError
from gen_audio.pipeline.batch import identity, ray_cluster, ray_guard
from gen_audio.pipeline.batch.items import Item
from gen_audio.pipeline.batch.ray_cluster import Workers
from gen_audio.pipeline.batch.ray_player import Fatal, Loaded, Player, portable
from gen_audio.pipeline.batch.ray_workers import HELD, LIMIT, TRIES, Crew
from gen_audio.pipeline.batch.settings import HOME, Settings
from gen_audio.pipeline.batch.sound import Finished
from gen_audio.pipeline.batch.watch import Watch
from gen_audio.pipeline.cli import run

COUNT = 24  # more than two workers hold, so that a kill meets some that wait
ROWS = [{"id": f"row-{number}", "prompt": f"lofi number {number}", "duration": 0.2} for number in range(COUNT)]
ROWS.append({"prompt": "a row that the model refuses", "duration": 0.2, "melody": "rows.jsonl"})
FORM = ["--keep-codes", "--format", "wav"]
ON_LINUX = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found by /proc")


@pytest.fixture(scope="module")
def calm(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of rows.jsonl and of `calm`, which one process made of it undisturbed."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert (
        run(["batch", str(folder / "rows.jsonl"), "-o", str(folder / "calm"), "--model", str(nano_model), *FORM]) == 1
    )
    return folder


def start(folder: Path, out: str, nano_model: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gen_audio", "batch", "rows.jsonl", "-o", out, "--model", str(nano_model), *FORM]
    command += ["--engine", "ray", "--workers", "2"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def done(out: Path) -> int:
    journal = out / HOME / "journal-1-of-1.jsonl"
    return journal.read_text().count('{"done"') if journal.exists() else 0


def title(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def content(out: Path) -> dict[str, bytes]:
    paths = [path for path in out.rglob("*") if path.is_file() and HOME not in path.parts]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


@ON_LINUX
def test_a_killed_worker_is_replaced_and_the_set_is_that_of_one_process(calm: Path, nano_model: Path) -> None:
    pytest.importorskip("ray")
    process = start(calm, "worker", nano_model)
    wait_until(lambda: done(calm / "worker") >= 1 or process.poll() is not None)
    family = ray_guard.descendants(process.pid)
    workers = [child for child in family if title(child).startswith("ray::Player")]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1 and out.startswith(f"worker: {COUNT} made, 0 there already, 1 failed")
    assert err.count("\n") == 1 and f"row {COUNT + 1}: nano cannot be told melody" in err  # not a word of Ray's
    assert content(calm / "worker") == content(calm / "calm")
    assert wait_until(lambda: not any(map(title, family)), 30)


@ON_LINUX
def test_a_killed_run_takes_its_ray_with_it_and_one_process_goes_on(calm: Path, nano_model: Path) -> None:
    pytest.importorskip("ray")
    process = start(calm, "writer", nano_model)
    wait_until(lambda: done(calm / "writer") >= 1 or process.poll() is not None)
    family = ray_guard.descendants(process.pid)
    folders = [word for child in family for word in title(child).split("\0") if "gen-audio-ray-" in word]
    session = Path(next(word for word in folders if Path(word).is_dir()))
    process.kill()
    process.communicate()
    before = done(calm / "writer")
    assert wait_until(lambda: not any(map(title, family)) and not session.exists(), 30)
    assert 1 <= before < COUNT and done(calm / "writer") == before
    rows, model = str(calm / "rows.jsonl"), str(nano_model)
    assert run(["batch", rows, "-o", str(calm / "writer"), "--model", model, *FORM]) == 1
    assert content(calm / "writer") == content(calm / "calm")


class Died(Exception):
    pass


class FakeWorker:
    dead = False
    load: Any
    make: Any


class FakeRay:
    """As much of Ray as the crew asks for, in one process; `act` says what becomes of an item at a worker."""

    exceptions = SimpleNamespace(RayError=Died)

    def __init__(
        self, act: Callable[[Item], Any], load: Callable[[int], Any] | None = None, order: random.Random | None = None
    ) -> None:
        self.act, self.load, self.order = act, load or (lambda worker: loaded()), order
        self.workers: list[Any] = []

    def remote(self, kind: type) -> Any:
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=self.start))

    def start(self, *arguments: Any) -> Any:
        worker, number = FakeWorker(), len(self.workers)
        worker.load = SimpleNamespace(remote=lambda: (worker, lambda: self.load(number)))
        worker.make = SimpleNamespace(remote=lambda item: (worker, lambda: self.act(item)))
        self.workers.append(worker)
        return worker

    def wait(self, calls: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        place = self.order.randrange(len(calls)) if self.order else 0
        return [calls[place]], calls[:place] + calls[place + 1 :]

    def get(self, call: Any) -> Any:
        worker, result = call
        if worker.dead:
            raise Died
        try:
            return result()
        except Died:
            worker.dead = True
            raise

    def kill(self, worker: Any) -> None:
        worker.dead = True

    def available_resources(self) -> dict[str, float]:
        return {}


def loaded(sha256: str = "ab", host: str = "here", slots: int = 1) -> Loaded:
    return Loaded(sha256, "ef" * 8, "fp32", "native", "1", 1, host, (), slots)


def crew(ray: FakeRay, count: int = 2) -> Crew:
    return Crew(ray, Workers(count), count, ())


def item(number: int) -> Item:
    return Item(number, 0, "lofi", {"seed": number}, str(number))


def finished(of: Item) -> Finished:
    return Finished(b"", {"row": of.row}, None, "", {})


@pytest.mark.parametrize("slots", [1, 4])
def test_what_kills_its_workers_fails_alone(slots: int) -> None:
    def act(of: Item) -> Finished:
        if of.row == 5:
            raise Died
        return finished(of)

    ray = FakeRay(act, load=lambda worker: loaded(slots=slots), order=random.Random(slots))
    found = {of.row: made for of, made in crew(ray).play(map(item, range(20)), Watch(None))}
    assert sorted(found) == list(range(20))
    assert [row for row, made in found.items() if isinstance(made, Exception)] == [5]
    assert f"{TRIES} workers died" in str(found[5]) and len(ray.workers) == 2 + TRIES


def test_what_was_with_a_worker_that_died_is_made_again_with_nothing_beside_it() -> None:
    beside: dict[int, list[int]] = {}

    def act(of: Item) -> Finished:
        beside.setdefault(of.row, []).append(max(len(worker.jobs) for worker in found.workers if of in held(worker)))
        if of.row == 3 and len(beside[3]) == 1:
            raise Died
        return finished(of)

    def held(worker: Any) -> list[Item]:
        return [job.item for job in worker.jobs]

    found = crew(FakeRay(act, load=lambda worker: loaded(slots=4), order=random.Random(1)))
    made = sorted(of.row for of, _ in found.play(map(item, range(40)), Watch(None)))
    assert made == list(range(40)) and beside[3][0] > 1
    again = [counts[1:] for counts in beside.values() if len(counts) > 1]
    assert [1] in again and all(counts == [1] for counts in again)


@pytest.mark.parametrize("slots", [1, 4])
def test_no_more_items_are_taken_than_the_workers_hold(slots: int) -> None:
    taken: list[int] = []

    def source() -> Iterator[Item]:
        for number in range(50):
            taken.append(number)
            yield item(number)

    given, most = 0, 0
    for _ in crew(FakeRay(finished, load=lambda worker: loaded(slots=slots)), 3).play(source(), Watch(None)):
        most = max(most, len(taken) - given)
        given += 1
    assert given == 50 and most == 3 * HELD * slots


def die(of: Any) -> Any:
    raise Died


def test_a_run_whose_workers_all_die_ends_and_says_so() -> None:
    with pytest.raises(GenAudioError, match="workers died and nothing was made"):
        crew(FakeRay(finished, load=die))
    ray = FakeRay(die)
    with pytest.raises(GenAudioError, match="fewer --workers"):
        list(crew(ray, 1).play(map(item, range(50)), Watch(None)))
    assert len(ray.workers) == 1 + LIMIT + 3


def test_a_worker_with_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="sha256 ab on one, but cd on two"):
        ray = FakeRay(finished, load=lambda worker: loaded(("ab", "cd")[worker], ("one", "two")[worker]))
        list(crew(ray).play(map(item, range(9)), Watch(None)))


def test_what_no_item_would_survive_ends_the_run() -> None:
    error = CheckpointError("the weights are gone. Restore them.")
    with pytest.raises(CheckpointError, match="weights are gone"):
        crew(FakeRay(finished, load=lambda worker: error))
    with pytest.raises(CheckpointError, match="weights are gone"):
        list(crew(FakeRay(lambda of: Fatal(error))).play([item(1)], Watch(None)))


def test_a_player_gives_finished_pieces_and_errors_as_values(
    nano_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    player = Player("nano", {"precision": "fp32"}, Settings(format="wav"), str(nano_model.parent))
    told = player.load()
    assert isinstance(told, Loaded) and told.sound_version == identity.SOUND_VERSION
    made = player.make(Item(1, 0, "lofi", {"duration": 0.2, "seed": 3}, "a"))
    assert isinstance(made, Finished) and made.record["model_sha256"] == told.sha256 and made.audio[:4] == b"RIFF"
    refused = player.make(Item(1, 0, "lofi", {"seed": 3, "rung": "stairs"}, "a"))
    assert isinstance(refused, ConfigError) and "stairs" in str(refused)
    missing = Player("nowhere", {}, Settings(), "").load()
    assert isinstance(missing, ConfigError) and "No model named 'nowhere'" in str(missing)
    monkeypatch.setattr(player.pipeline, "begin", lambda prompt, *told: 1 // 0)
    poisoned = player.make(item(1))
    assert isinstance(poisoned, Exception) and type(poisoned).__name__ == "ZeroDivisionError"
    monkeypatch.setattr(player.pipeline, "begin", lambda prompt, *told: open("/nowhere/at/all"))
    gone = player.make(item(1))
    assert isinstance(gone, Fatal) and isinstance(gone.error, OSError) and "/nowhere/at/all" in str(gone.error)


def test_errors_travel_with_their_name_and_text() -> None:
    copy = portable(UnknownNameError("style", "jaz", ["jazz"]))
    assert isinstance(copy, ConfigError) and type(copy).__name__ == "UnknownNameError" and "jazz" in str(copy)
    assert isinstance(portable(FileNotFoundError("no file")), OSError)
    assert type(portable(ZeroDivisionError("by zero"))).__name__ == "ZeroDivisionError"


def test_as_many_workers_as_fit() -> None:
    half = Workers(cpus=1, gpus=0.5)
    machines = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 8.0}, {"CPU": 64.0}]
    assert [half.fit(machine) for machine in machines] == [4, 3, 0]
    assert ray_cluster.size(half, machines) == 7
    assert ray_cluster.size(Workers(9, address="auto"), [{"CPU": 1.0}]) == 9  # a cluster may grow
    with pytest.raises(ConfigError, match="1 workers of 1 CPU and 0.5 GPU do not fit into 64 CPU, 0 GPU"):
        ray_cluster.size(half, [{"CPU": 64.0}])
    with pytest.raises(ConfigError, match="3 workers"):
        ray_cluster.size(Workers(3), [{"CPU": 2.0}])


BAD_FLAGS = {
    "engine": (["--engine", "rai"], "Did you mean 'ray'"),
    "no engine": (["--workers", "2"], "--workers has no effect without --engine ray"),
    "address": (["--ray-address", "auto"], "--ray-address has no effect"),
    "no workers": (["--engine", "ray", "--workers", "0"], "--workers is 0"),
    "odd share": (["--engine", "ray", "--worker-gpus", "1.5"], "must be a fraction up to 1, or a whole number"),
    "nothing": (["--engine", "ray", "--worker-cpus", "0"], "are both 0"),
    "nobody": (["--engine", "ray", "--ray-address", "nowhere:6379"], "No Ray cluster answers at 'nowhere:6379'"),
}


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_flags_are_refused_before_anything_is_made(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*arguments: Any, **options: Any) -> None:
        raise OSError("no such host")

    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "create_connection", unreachable)
    Path("rows.txt").write_text("lofi\n")
    flags, message = BAD_FLAGS[case]
    assert run(["batch", "rows.txt", "-o", "out", *flags]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and not Path("out").exists()


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gen-audio\[ray\]'"):
        ray_cluster.need_ray()


def test_a_dry_run_says_how_many_workers_and_starts_none(
    nano_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", None)
    Path("rows.txt").write_text("lofi\n")
    command = ["batch", "rows.txt", "-o", "out", "--model", str(nano_model), "--duration", "0.2", "--dry-run", "--json"]
    assert run([*command, "--engine", "ray", "--workers", "3", "--worker-cpus", "0.5"]) == 0
    assert json.loads(capsys.readouterr().out)["workers"] == 3


def test_a_guard_clears_up_behind_a_killed_process(tmp_path: Path) -> None:
    (tmp_path / "session").mkdir()
    code = (
        "import sys, subprocess, time; from gen_audio.pipeline.batch.ray_guard import Guard;"
        "guard = Guard(sys.argv[1]);"
        "child = subprocess.Popen(['sleep', '600']); time.sleep(1); print(child.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "session")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.communicate()
    assert wait_until(lambda: not (tmp_path / "session").exists(), 30)
    if Path("/proc").is_dir():
        assert wait_until(lambda: not title(child), 30)
    else:
        os.kill(child, signal.SIGKILL)
