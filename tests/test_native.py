"""The loop in C++: the numbers of the reference, whatever the precision, company, threads or instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gen_audio.errors import ConfigError
from gen_audio.models.lm import CodecLM
from gen_audio.models.musicgen import MusicGenLM
from gen_audio.models.native import library
from gen_audio.models.native.machine import PRECISIONS, Machine, Matrix, Program
from gen_audio.models.native.programs import Packer
from gen_audio.models.native.records import GROUP, ROW
from gen_audio.pipeline.executors import choice
from gen_audio.pipeline.executors.base import Choosing, Executor
from gen_audio.pipeline.executors.native import Native
from gen_audio.pipeline.executors.reference import Reference
from gen_audio.pipeline.fuse import Fused
from gen_audio.pipeline.generate import Piece, play, play_together
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.patterns.delay import Delay
from gen_audio.pipeline.patterns.parallel import Parallel
from gen_audio.pipeline.samplers.base import Chain, Sampler, SamplingParams, build_sampler
from torch import Tensor, nn

N_Q, CARD, WIDTH, FRAMES = 3, 40, 48, 12
KINDS = ("depth", "parallel", "musicgen")
BOUNDS = {"fp32": 2e-6, "bf16": 0.02, "int8": 0.06, "int4": 0.5}  # error, as a share of the logits' deviation


def model(kind: str) -> CodecLM | MusicGenLM:
    torch.manual_seed(0)
    lm: CodecLM | MusicGenLM
    if kind == "musicgen":
        lm = MusicGenLM(n_q=N_Q, card=CARD, width=WIDTH, num_layers=2, num_heads=3, hidden=80)
    else:
        head = {"name": "depth", "width": 24, "num_layers": 1, "num_heads": 2} if kind == "depth" else {"name": kind}
        lm = CodecLM(n_q=N_Q, card=CARD, width=WIDTH, num_layers=2, num_heads=3, window=7, head=head)
    for matrix in lm.parameters():
        if matrix.dim() > 1:
            nn.init.normal_(matrix, std=0.3)
    return lm.eval()


def conditions(kind: str, passes: int = 1, batch: int = 3) -> Fused:
    generator = torch.Generator().manual_seed(2)
    if kind == "musicgen":
        told = torch.arange(5) < torch.tensor([5, 2, 3])[:batch, None]
        source = torch.randn(batch, 5, WIDTH, generator=generator) * told[..., None]
        return Fused(batch, passes, cross=source, cross_mask=told)
    prefix = torch.randn(passes * batch, 2, WIDTH, generator=generator)
    frames = torch.randn(passes * batch, FRAMES, WIDTH, generator=generator)
    return Fused.whole(frames, batch_size=batch, prefix=prefix)


def native(lm: CodecLM | MusicGenLM, precision: str = "fp32", threads: int = 2) -> Native:
    return Native(lm, Packer(precision), threads)


def piece(
    executor: Executor, fused: Fused, guidance: Guidance, sampler: Sampler | None = None, seed: int = 4, told: int = 0
) -> Piece:
    pattern = Delay if fused.cross is not None else Parallel
    noise = GumbelNoise([seed + row for row in range(fused.batch_size)], [0] * fused.batch_size, n_q=N_Q, card=CARD)
    return Piece(
        executor,
        pattern(n_q=N_Q, special_token_id=CARD),
        fused,
        Choosing(sampler or build_sampler(SamplingParams(top_k=9)), guidance, noise),
        num_frames=FRAMES,
        told=torch.randint(CARD, (fused.batch_size, N_Q, told)) if told else None,
    )


def codes(playing: Piece) -> Tensor:
    return torch.stack(list(play(playing)), -1)


# --- products ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", [(32, 64), (70, 48), (5, 200)])
def test_a_product_is_that_of_the_rounded_matrix(precision: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    weight, x = torch.randn(shape), torch.randn(13, shape[1]) * torch.rand(13, 1)
    machine = Machine({"x": shape[1], "y": shape[0]}, threads=2)
    program = Program(machine.buffers)
    program.add("embed", to="x")
    program.add("linear", "x", "y", matrix=Matrix(weight, precision))

    def product(rows: Tensor, apart: bool = False) -> Tensor:
        groups = np.zeros(len(rows), GROUP)
        groups["first_row"], groups["passes"] = np.arange(len(rows)), 1
        machine.run(program, np.zeros(len(rows), ROW), groups, card=0, given=rows.contiguous().numpy(), apart=apart)
        return machine.read("y", len(rows))

    whole, exact = product(x), x @ weight.T
    share = {"fp32": 1e-6, "bf16": 0.004, "int8": 0.015, "int4": 0.2}[precision]
    assert float((whole - exact).norm() / exact.norm()) < share
    for count in range(1, 13):  # a row is the same to the bit in any company
        assert torch.equal(product(x[:count]), whole[:count])
        assert torch.equal(product(x[count:], apart=True), whole[count:])


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_reference(kind: str, precision: str, passes: int) -> None:
    lm, fused = model(kind), conditions(kind, passes)
    steps = torch.randint(CARD, (3, N_Q, FRAMES), generator=torch.Generator().manual_seed(1))
    wanted = Reference(lm).logits(fused, steps)
    error = float((native(lm, precision).logits(fused, steps) - wanted).std() / wanted.std())
    assert error < BOUNDS[precision] and (precision == "fp32" or error > 0)


@pytest.mark.parametrize(
    "rules",
    [
        {"temperature": 0.0},
        {"temperature": (0.7, 0.5)},
        {"top_k": 5},
        {"top_p": 0.8},
        {"min_p": 0.1},
        {"top_k": 20, "top_p": 0.9, "min_p": 0.02, "temperature": 1.3},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_those_of_the_reference_under_every_rule(kind: str, rules: dict[str, float]) -> None:
    lm, sampler = model(kind), build_sampler(SamplingParams(**rules))  # type: ignore[arg-type]
    fused, guidance = conditions(kind, 2), Guidance(3.0)
    wanted = codes(piece(Reference(lm), fused, guidance, sampler))
    assert torch.equal(codes(piece(native(lm), fused, guidance, sampler)), wanted)
    assert len(wanted.unique()) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_told_beginning_is_read_as_by_the_reference(kind: str) -> None:
    lm, fused, guidance = model(kind), conditions(kind, 2), Guidance(3.0)
    torch.manual_seed(3)
    wanted = codes(piece(Reference(lm), fused, guidance, told=5))
    torch.manual_seed(3)
    assert torch.equal(codes(piece(native(lm), fused, guidance, told=5)), wanted)
    assert wanted.shape[-1] == FRAMES - 5


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_played_together_are_those_played_alone(kind: str, precision: str) -> None:
    lm = model(kind)
    alone, together = native(lm, precision, threads=1), native(lm, precision, threads=3)
    shapes = [(1, 2), (2, 1), (3, 3), (1, 1)]  # rows and passes of pieces that share steps

    def pieces(executor: Executor) -> list[Piece]:
        scales = {1: Guidance(), 2: Guidance(3.0), 3: Guidance(3.0, 2.0)}
        return [piece(executor, conditions(kind, p, b), scales[p], seed=b + p) for b, p in shapes]

    wanted = [codes(one) for one in pieces(alone)]
    waiting = pieces(together)
    found: dict[int, list[Tensor]] = {id(one): [] for one in waiting}
    for one, frame in play_together(waiting, slots=2):
        found[id(one)].append(frame)
    for one, want in zip(waiting, wanted, strict=True):
        assert torch.equal(torch.stack(found[id(one)], -1), want)


# --- where it cannot be used ------------------------------------------------------------------------------------------


class Odd(Sampler):
    def transform(self, logits: Tensor, level: int) -> Tensor:
        return logits


def test_a_sampler_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not know the sampler Odd"):
        piece(native(model("depth")), conditions("depth"), Guidance(), Odd())
    backwards = build_sampler(SamplingParams(top_k=5, top_p=0.5))
    assert isinstance(backwards, Chain)
    with pytest.raises(ConfigError, match="TopK at this place"):
        piece(native(model("depth")), conditions("depth"), Guidance(), Chain(backwards.samplers[::-1]))


def test_more_positions_than_its_table_has_are_refused() -> None:
    fused, noise = Fused(1), GumbelNoise([1], [0], n_q=N_Q, card=CARD)
    choosing = Choosing(build_sampler(SamplingParams()), Guidance(), noise)
    with pytest.raises(ConfigError, match="5000 positions were asked for"):
        native(model("musicgen")).open(fused, choosing, 5000)


@pytest.mark.parametrize("flags", ["-mno-avx512f", "-march=x86-64", "-O1"])
def test_other_instruction_sets_give_the_same_numbers(flags: str, tmp_path: Path) -> None:
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("instruction sets of x86-64")
    code = "import sys, torch; sys.path.insert(0, sys.argv[1]); import test_native as t; "
    code += "steps = torch.randint(t.CARD, (3, t.N_Q, 12), generator=torch.Generator().manual_seed(1)); "
    code += "save = {p: t.native(t.model('depth'), p).logits(t.conditions('depth'), steps) for p in t.PRECISIONS}; "
    code += "torch.save(save, sys.argv[2])"
    environment = dict(os.environ, CXXFLAGS=flags, XDG_CACHE_HOME=str(tmp_path))
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "out.pt")]
    subprocess.run(command, env=environment, check=True, timeout=300)
    steps = torch.randint(CARD, (3, N_Q, 12), generator=torch.Generator().manual_seed(1))
    for precision, found in torch.load(tmp_path / "out.pt").items():
        wanted = native(model("depth"), precision).logits(conditions("depth"), steps)
        assert float((found - wanted).std() / wanted.std()) < (1e-5 if precision == "fp32" else 0.02), precision


def test_without_a_compiler_pytorch_plays_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(library, "load", library.load.__wrapped__)
    assert choice.choose("auto", "int8") == "reference"
    assert "needs a C++ compiler, and none was found" in caplog.text
    for executor, precision in (("native", "fp32"), ("auto", "int4")):
        with pytest.raises(ConfigError, match="none was found"):
            choice.choose(executor, precision)


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXXFLAGS", "-DLANES=+")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(library.NativeError, match="cannot compile the fast loop: .*error"):
        library.compiled()
    assert not list(tmp_path.rglob("*.so"))
