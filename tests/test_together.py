"""Requests in one running batch: each comes out as if it had been alone, whatever plays beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gen_audio import load
from gen_audio.errors import CheckpointError
from gen_audio.pipeline import together
from gen_audio.pipeline.pipeline import Pipeline
from gen_audio.pipeline.together import Request, play_requests

WISHES = [
    ("lofi piano", {"duration": 1.0, "seed": 3}),
    ("techno", {"duration": 0.4, "seed": 4, "temperature": 0.7}),
    ("jazz trio", {"duration": 0.6, "seed": 5, "guidance_scale": 2.0, "plan_guidance": 1.5}),
    ("ambient pads", {"duration": 0.8, "seed": 6, "top_k": 5}),
    ("rock drums", {"duration": 0.3, "seed": 7, "without": ["bass"]}),
]


@pytest.fixture(scope="module", params=["native", "reference"])
def pipeline(request: pytest.FixtureRequest, nano_model: Path) -> Pipeline:
    return load(str(nano_model), precision="int8", executor=request.param)


def requests(pipeline: Pipeline) -> Iterator[Request]:
    for prompt, wishes in WISHES:
        params = pipeline.settle(prompt, wishes)
        yield Request(prompt, params, params.seeds[0], prompt)


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_every_request_comes_out_as_alone(pipeline: Pipeline, slots: int) -> None:
    done = {request.tag: made for request, made in play_requests(pipeline, requests(pipeline), slots)}
    assert list(done) != [prompt for prompt, _ in WISHES] or slots == 1  # short ones end before long ones
    for prompt, wishes in WISHES:
        alone, made = pipeline.generate(prompt, **wishes), done[prompt]
        assert alone.codes.keys() == made.codes.keys()
        assert all(torch.equal(alone.codes[role], made.codes[role]) for role in alone.codes)
        np.testing.assert_array_equal(alone.waveform.samples, made.waveform.samples)


def test_pieces_that_are_decoded_aside_are_the_same(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {request.tag: made for request, made in play_requests(pipeline, requests(pipeline), 2)}
    threads: set[str] = set()
    decode = pipeline.decode

    def seen(*settings: object) -> object:
        threads.add(threading.current_thread().name)
        return decode(*settings)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "decode", seen)
    decoder = together._Decoder
    monkeypatch.setattr(together, "_Decoder", lambda aside: decoder(aside=True))
    found = {request.tag: made for request, made in play_requests(pipeline, requests(pipeline), 2)}
    assert found.keys() == wanted.keys() and threads == {"decoder_0"}
    for tag, made in found.items():
        np.testing.assert_array_equal(made.waveform.samples, wanted[tag].waveform.samples)


@pytest.mark.parametrize(("slots", "room", "wanted"), [(2, float("inf"), 2), (5, 1, 1), (5, float("inf"), 5)])
def test_no_more_are_begun_than_there_are_slots_and_room(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, slots: int, room: float, wanted: int
) -> None:
    if room == 1 and pipeline.executor.name != "native":
        pytest.skip("the reference does not count its keys and values")
    monkeypatch.setattr(pipeline.executor, "room", room)
    begin, open_now, most = pipeline.begin, set(), 0

    def counted(prompt: str, *settings: object) -> object:
        nonlocal most
        open_now.add(prompt)
        most = max(most, len(open_now))
        return begin(prompt, *settings)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "begin", counted)
    for request, _ in play_requests(pipeline, requests(pipeline), slots):
        open_now.remove(request.tag)
    assert most == wanted and not open_now


def test_a_request_fails_alone_unless_no_other_would_survive(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, errors = pipeline.begin, {"techno": ValueError("odd"), "rock drums": ValueError("late")}

    def broken(prompt: str, *settings: object) -> object:
        if prompt in errors:
            raise errors[prompt]
        return begin(prompt, *settings)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "begin", broken)
    done = {request.tag: made for request, made in play_requests(pipeline, requests(pipeline), 2)}
    assert len(done) == len(WISHES)
    assert {tag for tag, made in done.items() if isinstance(made, Exception)} == set(errors)
    errors["jazz trio"] = CheckpointError("gone")  # type: ignore[assignment]
    with pytest.raises(CheckpointError, match="gone"):
        list(play_requests(pipeline, requests(pipeline), 2))


def test_a_list_of_prompts_comes_back_in_order_and_tells_how_far_it_is(pipeline: Pipeline) -> None:
    said: list[tuple[int, int]] = []
    made = pipeline.generate(
        ["lofi", "techno"], duration=0.4, num_samples=2, seed=1, progress=lambda done, total: said.append((done, total))
    )
    assert [(one.prompt, one.seed) for one in made] == [("lofi", 1), ("lofi", 2), ("techno", 1), ("techno", 2)]
    assert said == sorted(said) and said[-1][0] == said[-1][1] == 40
