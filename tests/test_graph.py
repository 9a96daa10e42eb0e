"""The executor of slots: it equals the reference whoever plays beside whom, and its step never waits for a device.

On a CPU the step runs as it is; on a GPU the very same operations are recorded. What needs a GPU is marked.
"""

from __future__ import annotations

import copy
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gen_audio.errors import ConfigError
from gen_audio.models.lm import CodecLM
from gen_audio.models.musicgen import MusicGenLM
from gen_audio.models.slot_models import steps_of
from gen_audio.models.slots import Room, Slots
from gen_audio.pipeline.device import find_device
from gen_audio.pipeline.executors import choice
from gen_audio.pipeline.executors.base import Choosing, Executor
from gen_audio.pipeline.executors.graph import Graph
from gen_audio.pipeline.executors.reference import Reference
from gen_audio.pipeline.executors.rules import Rules
from gen_audio.pipeline.executors.slot_pool import Pool, length_of, size_of
from gen_audio.pipeline.fuse import Fused
from gen_audio.pipeline.generate import Piece, play, play_together
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.load import load
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.patterns.delay import Delay
from gen_audio.pipeline.patterns.parallel import Parallel
from gen_audio.pipeline.samplers.base import Chain, Sampler, SamplingParams, build_sampler
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/ is no part of the package

from benchmarks import gpu, gpu_check  # noqa: E402

N_Q, CARD, WIDTH, FRAMES, WINDOW, SOURCE = 3, 40, 48, 12, 7, 5
KINDS = ("depth", "parallel", "hearing", "musicgen", "melody")
GUIDANCE = {1: Guidance(), 2: Guidance(3.0), 3: Guidance(3.0, 2.0)}
CPU = torch.device("cpu")


def model(kind: str) -> CodecLM | MusicGenLM:
    torch.manual_seed(0)
    lm: CodecLM | MusicGenLM
    if kind in ("musicgen", "melody"):
        settings = {"n_q": N_Q, "card": CARD, "width": WIDTH, "num_layers": 2, "num_heads": 3, "hidden": 80}
        lm = MusicGenLM(**settings, has_cross=kind == "musicgen")
    else:
        deep = {"name": "depth", "width": 24, "num_layers": 1, "num_heads": 2}
        head = {"name": "parallel"} if kind == "parallel" else deep
        cross = SOURCE * 2 if kind == "hearing" else None
        settings = {"n_q": N_Q, "card": CARD, "width": WIDTH, "num_layers": 2, "num_heads": 3, "window": WINDOW}
        lm = CodecLM(**settings, head=head, cross_width=cross)
    for matrix in lm.parameters():
        if matrix.dim() > 1:
            nn.init.normal_(matrix, std=0.2)
    return lm.eval().requires_grad_(False)


def conditions(kind: str, passes: int = 1, batch: int = 3, seed: int = 2, frames: int = FRAMES) -> Fused:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    if kind == "musicgen":
        told = torch.arange(SOURCE) < torch.tensor([5, 2, 3])[torch.arange(batch) % 3, None]
        return Fused(batch, passes, cross=random(batch, SOURCE, WIDTH) * told[..., None], cross_mask=told)
    if kind == "melody":
        return Fused(batch, passes, prefix=random(passes * batch, 9, WIDTH))
    cross = random(passes * batch, SOURCE, SOURCE * 2) if kind == "hearing" else None
    prefix = random(passes * batch, 2, WIDTH)
    told = random(passes * batch, frames, WIDTH)
    return Fused.whole(told, batch_size=batch, prefix=prefix, cross=cross)


def graph(kind: str, precision: str = "fp32", **settings: Any) -> Graph:
    return Graph(model(kind), precision, **{"ahead": True, **settings})


def piece(
    executor: Executor,
    fused: Fused,
    sampler: Sampler | None = None,
    *,
    seed: int = 4,
    told: Tensor | None = None,
    frames: int = FRAMES,
) -> Piece:
    pattern = Parallel if fused.frame is not None else Delay
    noise = GumbelNoise([seed + row for row in range(fused.batch_size)], [0] * fused.batch_size, n_q=N_Q, card=CARD)
    return Piece(
        executor,
        pattern(n_q=N_Q, special_token_id=CARD),
        fused,
        Choosing(sampler or build_sampler(SamplingParams(top_k=9)), GUIDANCE[fused.num_passes], noise),
        num_frames=frames,
        told=told,
    )


def codes(playing: Piece) -> Tensor:
    return torch.stack(list(play(playing)), -1)


def known(frames: int, batch: int = 3) -> Tensor:
    return torch.randint(CARD, (batch, N_Q, frames), generator=torch.Generator().manual_seed(1))


def watched(executor: Graph) -> list[tuple[int, int]]:
    """What `executor` runs from now on: slots and positions of each step."""
    seen: list[tuple[int, int]] = []
    run = executor.pool.graphs.run

    def noted(key: Any, work: Callable[[], None]) -> None:
        seen.append(key)
        run(key, work)

    executor.pool.graphs.run = noted  # type: ignore[method-assign]
    return seen


# --- equal to the reference -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_reference(kind: str, passes: int) -> None:
    fused, steps = conditions(kind, passes), known(FRAMES)
    wanted = Reference(model(kind)).logits(fused, steps)
    assert float((graph(kind).logits(fused, steps) - wanted).abs().max()) < 1e-5
    error = float((graph(kind, "bf16").logits(fused, steps) - wanted).std() / wanted.std())
    assert 0 < error < 0.02  # a share of their deviation; 0.009 to 0.013 was measured


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"temperature": 0.0},
        {"temperature": (0.7, 0.0, 0.5)},
        {"top_k": 5},
        {"top_k": 1000},
        {"top_p": 0.8},
        {"min_p": 0.1},
        {"top_k": 20, "top_p": 0.9, "min_p": 0.02, "temperature": 1.3},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_those_of_the_reference_under_every_rule(kind: str, rules: dict[str, Any]) -> None:
    sampler, fused = build_sampler(SamplingParams(**rules)), conditions(kind, 2)
    wanted = codes(piece(Reference(model(kind)), fused, sampler))
    assert torch.equal(codes(piece(graph(kind), fused, sampler)), wanted)
    assert len(wanted.unique()) > 5


@pytest.mark.parametrize("told", [1, 5, WINDOW + 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_told_beginning_is_read_at_once_as_by_the_reference(kind: str, told: int) -> None:
    fused = conditions(kind, 2)
    wanted = codes(piece(Reference(model(kind)), fused, told=known(told)))
    assert torch.equal(codes(piece(graph(kind), fused, told=known(told))), wanted)
    assert wanted.shape[-1] == FRAMES - told


def test_a_window_that_comes_round_forgets_its_oldest_frame() -> None:
    fused, frames = conditions("depth", 2, frames=3 * WINDOW), 3 * WINDOW
    wanted = codes(piece(Reference(model("depth")), fused, frames=frames))
    executor = graph("depth")
    assert torch.equal(codes(piece(executor, fused, frames=frames)), wanted)
    assert executor.pool.slots.room.length == WINDOW


def test_a_source_is_heard_up_to_its_own_length_only() -> None:
    fused = conditions("musicgen", 2)
    assert fused.cross is not None and fused.cross_mask is not None
    noisy = Fused(3, 2, cross=fused.cross + 9.0 * ~fused.cross_mask[..., None], cross_mask=fused.cross_mask)
    assert torch.equal(graph("musicgen").logits(noisy, known(4)), graph("musicgen").logits(fused, known(4)))
    gap = Fused(3, 2, cross=fused.cross, cross_mask=fused.cross_mask.flip(1))
    with pytest.raises(ConfigError, match="filler comes last"):
        graph("musicgen").logits(gap, known(4))


# --- continuous batching ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_played_together_are_those_played_alone(kind: str) -> None:
    together = graph(kind)
    seen = watched(together)
    shapes = [(1, 2, 3), (1, 1, 9), (2, 1, 5), (3, 3, 12), (1, 2, 2), (5, 2, 6), (1, 1, 12)]  # rows, passes, frames

    def begin(executor: Executor, number: int) -> Piece:
        rows, passes, frames = shapes[number]
        rules = SamplingParams(top_k=3 + number, temperature=0.5 + number / 9)
        fused = conditions(kind, passes, rows, seed=number)
        return piece(executor, fused, build_sampler(rules), seed=10 * number, frames=frames)

    found: dict[int, list[Tensor]] = {number: [] for number in range(len(shapes))}
    numbers: dict[Any, int] = weakref.WeakKeyDictionary()  # type: ignore[assignment]  # a piece that is kept keeps slots

    def waiting() -> Iterator[Piece]:
        for number in found:
            one = begin(together, number)
            numbers[one] = number
            yield one

    for one, frame in play_together(waiting(), slots=4):
        found[numbers[one]].append(frame)
    for number, frames in found.items():
        assert torch.equal(torch.stack(frames, -1), codes(begin(Reference(model(kind)), number)))
    assert {count for count, _ in seen} >= {1, 8, 16}


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 0.02)])
@pytest.mark.parametrize("kind", KINDS)
def test_company_changes_the_rounding_alone(kind: str, precision: str, bound: float) -> None:
    fused, executor = conditions(kind, 2, batch=21), graph(kind, precision)
    steps, rows = known(4, batch=21), torch.tensor([5, 26])  # the sixth of each pass

    def only(told: Tensor | None) -> Tensor | None:
        return None if told is None else told[rows[: len(told) // 21]]

    alone = Fused(1, 2, None, only(fused.prefix), only(fused.cross), only(fused.cross_mask))
    if fused.frame is not None:
        alone = Fused.whole(
            torch.stack([fused.frame(t)[rows] for t in range(4)], 1),
            batch_size=1,
            prefix=alone.prefix,
            cross=alone.cross,
        )
    wanted = executor.logits(alone, steps[5:6])
    assert float((executor.logits(fused, steps)[rows] - wanted).std() / wanted.std()) < bound


def test_a_piece_that_waits_is_not_disturbed() -> None:
    executor = graph("depth")
    first, second = (piece(executor, conditions("depth", 2, 1, seed=s), seed=s) for s in (1, 2))
    wanted = [codes(piece(Reference(model("depth")), conditions("depth", 2, 1, seed=s), seed=s)) for s in (1, 2)]
    found = []
    for turn in range(2 * FRAMES):  # the second moves two steps at a time, then the first does
        one = first if turn % 4 < 2 else second
        found += [(one, frame) for frame in one.take(executor.step([one.ask()])[0])]
    for one, want in zip((first, second), wanted, strict=True):
        assert torch.equal(torch.stack([frame for who, frame in found if who is one], -1), want)


def test_a_step_that_nobody_changes_runs_before_it_is_asked_for() -> None:
    runs = dict[bool, int]()
    for ahead in (True, False):
        executor = graph("musicgen", ahead=ahead)
        seen, wrong = watched(executor), list[bool]()
        run = executor.pool.run

        def watching(held: Any, is_guessed: bool = False) -> Tensor:
            guess = executor.pool.guess  # noqa: B023
            if guess is not None:
                wrong.append(not guess.is_right(held, executor.pool.told[held]))  # noqa: B023
            return run(held, is_guessed)  # noqa: B023

        executor.pool.run = watching  # type: ignore[method-assign]
        fused = conditions("musicgen", 2)
        found = codes(piece(executor, fused))
        assert torch.equal(found, codes(piece(Reference(model("musicgen")), fused)))
        runs[ahead] = len(seen)
        # the delay of three codebooks writes special tokens into what steps 0, 1 and FRAMES have chosen
        assert wrong == ([True] * 2 + [False] * (FRAMES - 2) + [True] if ahead else [])
    assert runs[False] == FRAMES + N_Q - 1
    assert runs[True] == runs[False] + 4  # three wrong guesses, and the one after the last step


def test_guesses_disturb_no_piece_that_waits_at_its_last_position() -> None:
    frames = 256 - N_Q + 1  # with its delay it fills a memory of 256 positions
    executor = graph("musicgen")
    first, second = (piece(executor, conditions("musicgen", 1, 1, seed=s), seed=s, frames=frames) for s in (1, 2))
    wanted = [
        codes(piece(Reference(model("musicgen")), conditions("musicgen", 1, 1, seed=s), seed=s, frames=frames))
        for s in (1, 2)
    ]
    found: dict[Piece, list[Tensor]] = {first: [], second: []}
    for one, steps in ((first, frames + N_Q - 2), (second, 40), (first, 1), (second, frames + N_Q - 41)):
        for _ in range(steps):
            found[one] += one.take(executor.step([one.ask()])[0])
    for made, want in zip(found.values(), wanted, strict=True):
        assert torch.equal(torch.stack(made, -1), want)


def test_slots_are_used_again_and_rows_move_down() -> None:
    executor = graph("musicgen", ahead=False)
    seen = watched(executor)
    pieces = [piece(executor, conditions("musicgen", 2, 1, seed=s), seed=s) for s in range(9)]
    last = pieces[-1]
    wanted = codes(piece(Reference(model("musicgen")), conditions("musicgen", 2, 1, seed=8), seed=8))
    frames = last.take(executor.step([one.ask() for one in pieces])[-1])
    del pieces[:-1]
    gc.collect()
    while last.is_playing:
        frames += last.take(executor.step([last.ask()])[0])
    assert torch.equal(torch.stack(frames, -1), wanted)
    assert [count for count, _ in seen] == [16] + [1] * (len(seen) - 1)
    again = [piece(executor, conditions("musicgen", 2, 1, seed=s), seed=s) for s in range(15)]
    assert executor.pool.slots.room.slots == 16 and len(again) + 1 == 16


def test_a_larger_piece_makes_room_while_another_plays() -> None:
    executor = graph("musicgen")
    small, large = conditions("musicgen", 1, 1), conditions("musicgen", 3, 2)
    first = piece(executor, small)
    frames = first.take(executor.step([first.ask()])[0])
    wide = Fused(2, 3, cross=torch.cat([large.cross] * 9, 1))  # type: ignore[list-item]
    second = piece(executor, wide, frames=400)
    assert executor.pool.slots.room == Room(4, 3, 512, 1, 64)
    while first.is_playing:
        frames += first.take(executor.step([second.ask(), first.ask()])[1])
    assert torch.equal(torch.stack(frames, -1), codes(piece(Reference(model("musicgen")), small)))


def test_a_long_piece_goes_through_the_sizes_of_memory() -> None:
    executor, fused = graph("musicgen", ahead=False), conditions("musicgen", 2, 1)
    seen = watched(executor)
    wanted = codes(piece(Reference(model("musicgen")), fused, frames=300))
    assert torch.equal(codes(piece(executor, fused, frames=300)), wanted)
    assert set(seen) == {(1, 256), (1, 512)} and seen.index((1, 512)) == 256


def test_what_a_row_leaves_behind_reaches_no_other() -> None:
    executor, fused = graph("musicgen"), conditions("musicgen", 2)
    wanted = graph("musicgen").logits(fused, known(4))
    executor.logits(fused, known(4))
    with torch.inference_mode():
        for memory in (executor.pool.slots.memory, executor.pool.slots.source):
            memory.fill_(float("nan"))
    assert torch.equal(executor.logits(fused, known(4)), wanted)


@pytest.mark.parametrize(("count", "size"), [(0, 1), (1, 1), (2, 2), (3, 4), (64, 64), (65, 128)])
def test_sizes_are_powers_of_two(count: int, size: int) -> None:
    assert size_of(count) == size


def test_lengths_come_in_few_steps() -> None:
    assert [length_of(n) for n in (1, 256, 257, 512, 513, 1500, 1537)] == [256, 256, 512, 512, 1024, 1536, 2048]


# --- nothing waits ----------------------------------------------------------------------------------------------------


class Operations(TorchDispatchMode):
    """Note every operation and the shapes of what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[int, ...]]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        shape = tuple(result.shape) if isinstance(result, Tensor) else ()
        self.seen.append((str(operation), shape))
        return result


WAITING = ("_local_scalar_dense", "nonzero", "item", "masked_select", "unique", "equal.default")


def small_pool(kind: str, lm: Any, device: torch.device, dtype: torch.dtype) -> Pool:
    """A pool of four slots with two passes; outside inference mode, where composite operations are seen through."""
    hearing = {"musicgen": 1, "hearing": 2}.get(kind, 0)
    return Pool(steps_of(lm, device, dtype), Room(4, 2, 20, hearing, SOURCE), False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_never_waits_and_is_the_same_whatever_the_numbers(kind: str) -> None:
    pool, seen = small_pool(kind, model(kind), CPU, torch.float32), []
    with torch.no_grad():
        for turn in range(3):
            pool.numbers[:, :N_Q] = known(turn + 1, 4)[..., -1]
            pool.numbers[:, N_Q : 2 * N_Q] = -1 if turn < 2 else 5
            pool.numbers[:, -2:] = torch.tensor([[turn, 9 * turn]] * 4)
            pool.wishes.set([turn], GUIDANCE[2], Rules(top_k=turn, top_p=0.5 + turn, temperature=(0.0,)), None)
            with Operations() as operations:
                pool.step(4, pool.slots.room.length)
            seen.append(operations.seen)
    assert seen[0] == seen[1] == seen[2] and len(seen[0]) > 100
    assert not [name for name, _ in seen[0] for word in WAITING if word in name]


def test_an_operation_that_waits_or_mixes_devices_would_be_seen() -> None:
    with Operations() as operations:
        x = torch.ones(3)
        float(x[0])
        x.masked_select(x > 0)
    names = " ".join(name for name, _ in operations.seen)
    assert "_local_scalar_dense" in names and "masked_select" in names
    with pytest.raises(Exception, match="data-dependent|_local_scalar_dense"), FakeTensorMode():
        float(torch.ones(3)[0])
    with pytest.raises(RuntimeError, match="device"), FakeTensorMode():
        torch.ones(3) + torch.ones(3, device="cuda")


def pretend(module: nn.Module, mode: FakeTensorMode, dtype: torch.dtype | None = None) -> None:
    """Put tensors without contents on a CUDA device that need not be there; mixing devices fails as on a real one."""
    for name, part in module.named_modules():
        kind = torch.float32 if dtype is None or name.startswith("head") else dtype
        for store in (part._parameters, part._buffers):
            for key, tensor in list(store.items()):
                if tensor is not None:
                    far = mode.from_tensor(tensor).to("cuda", kind if tensor.is_floating_point() else None)
                    store[key] = nn.Parameter(far, requires_grad=False) if store is part._parameters else far


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_stays_on_its_device(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm, mode = model(kind), FakeTensorMode()
    with mode, torch.no_grad():
        pretend(lm, mode, torch.bfloat16)
        monkeypatch.setattr(nn.Module, "to", lambda self, *args, **settings: self)
        pool = small_pool(kind, lm, torch.device("cuda", 0), torch.bfloat16)
        pool.step(4, pool.slots.room.length)
        columns = torch.zeros(2, 6, N_Q, dtype=torch.int64, device="cuda")
        pool.steps.read(pool.steps.embed(columns)[:, None].expand(-1, 2, -1, -1), 5, pool.slots, pool.index([1, 3]))
        assert pool.chosen.device.type == pool.logits.device.type == "cuda"


# --- whole pipelines --------------------------------------------------------------------------------------------------


def test_etude_plays_the_same_in_slots(nano_model: Path) -> None:
    told = {"duration": 1.0, "seed": 3, "guidance_scale": 2.0}
    one, other = (load(str(nano_model), "cpu", "fp32", executor) for executor in ("reference", "graph"))
    wanted, found = one.generate("jazz", **told), other.generate("jazz", **told)
    assert all(torch.equal(found.codes[role], wanted.codes[role]) for role in wanted.codes)
    assert np.array_equal(found.waveform.samples, wanted.waveform.samples)
    assert found.model["executor"] == "graph" and found.model["device"] == "cpu"
    heard = np.concatenate([chunk.samples for chunk in other.stream("jazz", **told)], 1)
    assert heard.shape == wanted.waveform.samples.shape


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
def test_musicgen_plays_the_same_in_slots(kind: str, tiny_musicgen: Any) -> None:
    folder, told = str(tiny_musicgen(kind).folder), {"duration": 0.5, "seed": 3}
    wanted, found = (load(folder, "cpu", "fp32", name).generate("rock", **told) for name in ("reference", "graph"))
    assert torch.equal(found.codes["mix"], wanted.codes["mix"])
    assert np.allclose(found.waveform.samples, wanted.waveform.samples, atol=1e-6)


class Far(Tensor):
    """What a GPU would give: no NumPy before it came back."""

    def numpy(self, *args: Any, **settings: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def cpu(self, *args: Any, **settings: Any) -> Tensor:
        return self.as_subclass(Tensor)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", ["nano", "mono"])
def test_sound_that_was_decoded_elsewhere_comes_back(
    name: str, streamed: bool, nano_model: Path, tiny_musicgen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(str(nano_model if name == "nano" else tiny_musicgen(name).folder), executor="reference")
    codec = model.codec
    monkeypatch.setattr(type(codec), "device", torch.device("meta"))  # codes that are not sent there can be told

    def decoded(pieces: Any, *args: Any) -> Any:
        for codes in [pieces] if isinstance(pieces, Tensor) else pieces:
            assert codes.device.type == "meta"
            yield torch.zeros(codes.shape[0], 1, codes.shape[-1] * codec.hop_length).as_subclass(Far)

    monkeypatch.setattr(codec, "decode_stream", decoded)
    monkeypatch.setattr(codec, "decode_blocks", decoded)
    monkeypatch.setattr(codec, "decode_sounding", decoded)
    if streamed:
        assert sum(chunk.samples.shape[1] for chunk in model.stream("rock", duration=0.5, seed=1)) > 0
    else:
        assert model.generate("rock", duration=0.5, seed=1, loudness="none").waveform.samples.shape[1] > 0


def test_conditions_are_made_where_the_conditioners_are(nano_model: Path) -> None:
    model, mode = load(str(nano_model), executor="reference"), FakeTensorMode(allow_non_fake_inputs=True)
    parts = model.performer.conditioners
    prepared = {name: parts[name].example(2, 8) for name in ("notes", "plan", "timing", "minilm")}
    with mode, torch.no_grad():
        pretend(model.performer, mode)
        drop = {"plan": torch.tensor([True, False])}
        assert model.performer.frames(prepared, drop).device.type == "cuda"


@pytest.mark.parametrize("kind", ["mono", "melody"])
def test_words_and_tune_are_heard_where_their_networks_are(kind: str, tiny_musicgen: Any) -> None:
    model: Any = load(str(tiny_musicgen(kind).folder), executor="reference")
    chroma = model.parts.melody.one_hot([1, 2, 3]) if kind == "melody" else None
    told, mode = model.parts.text.prepare(["rock", "calm guitar"]), FakeTensorMode(allow_non_fake_inputs=True)
    with mode, torch.no_grad():
        for module in (model.parts.text, model.parts.melody):
            if module is not None:
                pretend(module, mode)
        fused = model.conditions(model.parts.text(**told), None if chroma is None else lambda second: chroma, True, 0)
        source = fused.cross if kind == "mono" else fused.prefix
        assert source is not None and source.device.type == "cuda"


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = graph("musicgen")
    first = piece(executor, conditions("musicgen", 2, 1))

    def full(self: Slots, room: Room) -> Slots:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Slots, "grown", full)
    with pytest.raises(ConfigError, match="8 rows of 512 positions and 2 passes .* Play fewer pieces together"):
        piece(executor, conditions("musicgen", 2, 5), frames=400)
    assert torch.equal(codes(first), codes(piece(Reference(model("musicgen")), conditions("musicgen", 2, 1))))


# --- where it cannot be used ------------------------------------------------------------------------------------------


class Odd(Sampler):
    def transform(self, logits: Tensor, level: int) -> Tensor:
        return logits


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not know the sampler Odd"):
        piece(graph("depth"), conditions("depth"), Chain([Odd()]))
    with pytest.raises(ConfigError, match="precision is 'int8', but the graph executor plays in fp32 or bf16"):
        graph("depth", "int8")
    for executor, precision, device, message in (
        ("native", "auto", "cuda", "executor is 'native', which plays on the CPU"),
        ("reference", "fp32", "cuda", "executor is 'reference', which plays on the CPU"),
        ("auto", "int4", "cuda", "precision is 'int4', but the graph executor"),
        ("graph", "int8", "cpu", "precision is 'int8', but the graph executor"),
    ):
        with pytest.raises(ConfigError, match=message):
            choice.choose(executor, precision, torch.device(device))
    assert choice.choose("auto", "auto", torch.device("cuda", 1)) == "graph"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_device("auto") == find_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ConfigError, match=rf"device is '{name}', but this PyTorch \(.*\) sees no CUDA device"):
            load("etude", device=name)
    with pytest.raises(ConfigError, match="sees no CUDA device"):
        load("etude", executor="graph")
    for name, message in (("mps", "was ever tested"), ("tpu", "must be auto"), ("cuda:x", "must be auto")):
        with pytest.raises(ConfigError, match=message):
            load("etude", device=name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda") == torch.device("cuda", 0) and find_device("cuda:1").index == 1
    with pytest.raises(ConfigError, match="device is 'cuda:2', but there are 2 CUDA devices"):
        find_device("cuda:2")


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({}, "cuda"),
        ({"precision": "bf16"}, "cuda"),
        ({"precision": "int8"}, "cpu"),
        ({"executor": "reference"}, "cpu"),
        ({"device": "cpu"}, "cpu"),
    ],
)
def test_a_gpu_is_taken_for_musicgen_if_nothing_else_is_asked_for(
    asked: dict[str, str], where: str, tiny_musicgen: Any, nano_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, folder = sys.modules[load.__module__], str(tiny_musicgen("mono").folder)
    seen: list[torch.device] = []

    def choosing(executor: str, precision: str, device: torch.device) -> str:
        seen.append(device)
        raise ConfigError("seen")

    monkeypatch.setattr(module, "choose", choosing)
    monkeypatch.setattr(module, "has_fast_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name in (folder, str(nano_model)):
        with pytest.raises(ConfigError, match="seen"):
            load(name, **asked)
    assert [device.type for device in seen] == [where, "cpu"]


# --- the check for a machine with a GPU -------------------------------------------------------------------------------


def test_the_check_of_a_gpu_runs_and_finds_what_is_wrong(nano_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = gpu.load
    monkeypatch.setattr(
        gpu,
        "load",
        lambda name, *rest, **more: embedded({"etude": str(nano_model)}.get(name, name), *rest, **more),
    )
    report = gpu.measure("cpu", "tiny", (1, 2), (300,), frames=5, duration=1.0, together=2)
    assert [row["ok"] for row in report["equality"]] == [True] * 12
    assert [row["rows"] for row in report["loop"]["rows"]] == [1, 2]
    assert "0 of 12 sizes fail" in gpu.table(report)
    monkeypatch.setattr(gpu_check, "BOUNDS", {"fp32": (1e-4, 1e-3), "bf16": (0.02, 1e-4)})  # which bf16 cannot keep
    rows = gpu_check.check(model("musicgen"), "cpu", (1,), (), 2)
    assert [row["ok"] for row in rows] == [True, True, False, False]


def test_the_check_of_a_gpu_says_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(tmp_path / "out", "small") == 2
    assert "sees no CUDA device" in capsys.readouterr().out and not (tmp_path / "out").exists()


# --- on a GPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_recorded_steps_are_those_that_run_one_by_one(kind: str, batch: int) -> None:
    fused, steps, lm = conditions(kind, 2, batch), known(FRAMES, batch), model(kind)
    recorded, plain = (
        Graph(copy.deepcopy(lm), "fp32", "cuda", record=record).logits(fused, steps) for record in (True, False)
    )
    assert float((recorded - plain).abs().max()) < 1e-5
    assert float((recorded - Reference(lm).logits(fused, steps)).abs().max()) < 1e-4
