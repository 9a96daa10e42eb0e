"""Items that many threads ask for are played together, each as if alone, and each fails alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from gen_audio import load
from gen_audio.errors import CheckpointError, ConfigError
from gen_audio.pipeline.batch.ensemble import Ensemble
from gen_audio.pipeline.batch.items import Item
from gen_audio.pipeline.generation import Generation
from gen_audio.pipeline.pipeline import Pipeline

PROMPTS = ("lofi piano", "techno", "jazz trio", "ambient pads", "rock drums", "folk guitar", "house")
ITEMS = [Item(n, 0, prompt, {"duration": 0.2 + 0.1 * (n % 3), "seed": n}, "") for n, prompt in enumerate(PROMPTS)]


@pytest.fixture(scope="module")
def pipeline(nano_model: Path) -> Pipeline:
    return load(str(nano_model), precision="int8", executor="native")


@pytest.fixture
def steps(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many pieces each step played."""
    step, counts = pipeline.executor.step, list[int]()

    def counted(asked: list[Any]) -> Any:
        counts.append(len(asked))
        return step(asked)

    monkeypatch.setattr(pipeline.executor, "step", counted)
    yield counts


def ask_for(ensemble: Ensemble, items: list[Item]) -> list[Any]:
    """What a thread for each item gets, or what is raised there."""

    def ask(item: Item) -> Any:
        try:
            return ensemble.play(item)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(items)) as threads:
        return list(threads.map(ask, items))


def test_pieces_are_played_together_and_each_is_as_if_alone(pipeline: Pipeline, steps: list[int]) -> None:
    made = ask_for(Ensemble(pipeline), ITEMS)
    assert max(steps) == pipeline.executor.slots == 4
    for item, piece in zip(ITEMS, made, strict=True):
        alone = pipeline.generate(item.prompt, **item.told(), loudness="none")
        assert isinstance(piece, Generation) and piece.prompt == item.prompt
        assert alone.codes.keys() == piece.codes.keys()
        assert all(torch.equal(alone.codes[role], piece.codes[role]) for role in alone.codes)
        assert (alone.waveform.samples == piece.waveform.samples).all()


def test_one_that_comes_later_joins_those_that_play(
    pipeline: Pipeline, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble, asked = Ensemble(pipeline), pipeline.executor.step
    later = threading.Thread(target=ensemble.play, args=(ITEMS[1],))

    def meanwhile(pieces: list[Any]) -> Any:
        if later.ident is None:
            later.start()
            while ensemble.waiting.empty():
                time.sleep(0.001)
        return asked(pieces)

    monkeypatch.setattr(pipeline.executor, "step", meanwhile)
    ensemble.play(ITEMS[0])
    later.join()
    assert steps[0] == 1 and steps[1] == 2


def test_what_fails_fails_alone(pipeline: Pipeline, steps: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    begin, step, poisoned = pipeline.begin, pipeline.executor.step, set[Any]()

    def begun(prompt: str, *settings: Any) -> Any:
        if prompt == "techno":
            raise ValueError("odd")
        if prompt == "jazz trio":
            raise CheckpointError("the weights are gone")
        found = begin(prompt, *settings)
        if prompt == "house":
            poisoned.add(found.piece.session)  # type: ignore[attr-defined]
        return found

    def broken(asked: list[Any]) -> Any:
        if any(one.session in poisoned for one in asked):
            raise RuntimeError("the step failed")
        return step(asked)

    monkeypatch.setattr(pipeline, "begin", begun)
    monkeypatch.setattr(pipeline.executor, "step", broken)
    refused = Item(9, 0, "lofi", {"seed": 3, "rung": "stairs"}, "")
    ensemble = Ensemble(pipeline)
    *made, last = ask_for(ensemble, [*ITEMS, refused])
    kinds = [type(piece) for piece in made]
    assert kinds == [Generation, ValueError, CheckpointError, *[Generation] * 3, RuntimeError]
    assert isinstance(last, ConfigError) and "stairs" in str(last)
    assert isinstance(ensemble.play(ITEMS[0]), Generation)  # and it plays on
