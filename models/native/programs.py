"""Our language models as programs: the same steps as their `step` and `sample`, written down for the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..heads import SOFT_CAP, DepthHead, ParallelHead
from ..lm import CodecLM
from ..musicgen import MusicGenLM, sinusoids
from ..transformer import Block, Transformer, rotation
from .library import NativeError
from .machine import KINDS, Cache, Machine, Matrix, Program
from .records import MOST_LEVELS

__all__ = ["MOST_POSITIONS", "Compiled", "Packer", "compile_model"]

MOST_HEAD_DIM = 256  # of machine.h
MOST_POSITIONS = 4096  # of MusicGen's table of positions; its windows are 1503 steps long


@dataclass
class Compiled:
    """A model on the C++ side.

    Args:
        machine: with the buffers of the programs.
        step: reads a column and what is given, chooses the codes of the next.
        read: the same without choosing, for columns that are known already.
        sources: one program a layer, from what is given to keys and values of cross-attention in buffer "source".
        depth: the cache of a head over levels, which grows with the rows.
        layers, heads, head_dim, window: of the cache of a sequence; window 0: as long as the sequence.
        num_bytes: of all matrices.
    """

    machine: Machine
    step: Program
    read: Program
    sources: list[Program]
    layers: int
    heads: int
    head_dim: int
    window: int
    num_bytes: int
    depth: _Depth | None = None


class _Depth:
    """The cache of a head over levels: a slot a row, emptied by every frame."""

    def __init__(self, transformer: Transformer, levels: int) -> None:
        self.sizes = {
            "layers": len(transformer.blocks),
            "heads": transformer.num_heads,
            "head_dim": transformer.head_dim,
            "window": levels,
        }
        self.rows = 0
        self.cache: Cache | None = None

    def make_room(self, program: Program, rows: int) -> None:
        """Hold so many rows; the operations that choose a level read another cache from now on."""
        if rows > self.rows:
            self.cache, self.rows = Cache(slots=rows, half=False, **self.sizes), rows
            own = (program.ops["kind"] == KINDS.index("attend")) & (program.ops["level"] >= 0)
            program.ops["cache"][own] = self.cache.handle


class Packer:
    """Packs matrices, each once however many operations use it, and counts their bytes."""

    def __init__(self, precision: str) -> None:
        self.precision, self.num_bytes = precision, 0
        self.done: dict[int, Matrix] = {}

    def __call__(self, layer: nn.Module) -> Matrix:
        if id(layer) not in self.done:
            assert isinstance(layer.weight, torch.Tensor)
            self._pack(layer, layer.weight)
        return self.done[id(layer)]

    def keep(self, module: nn.Module, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Pack tensor `name` of `module` if it is the weight of a linear layer, and return what the layer is to hold.

        So a large model is packed matrix by matrix while it is read, and never lies in memory in float32.
        """
        layer = module.get_submodule(name.rpartition(".")[0])
        if not isinstance(layer, nn.Linear):
            return weight
        self._pack(layer, weight)
        return torch.empty_like(weight, device="meta")

    def _pack(self, layer: nn.Module, weight: torch.Tensor) -> None:
        self.done[id(layer)] = matrix = Matrix(weight, self.precision)
        self.num_bytes += matrix.num_bytes


def compile_model(lm: nn.Module, pack: Packer, threads: int) -> Compiled:
    """Pack a model's matrices, those that are not packed yet, and write its programs.

    Raises:
        NativeError: a kind or size of model that the machine does not know.
    """
    if isinstance(lm, MusicGenLM):
        return _musicgen(lm, pack, threads)
    if isinstance(lm, CodecLM):
        return _codec_lm(lm, pack, threads)
    raise NativeError(f"the fast loop does not know models of type {type(lm).__name__}")


def _check(n_q: int, head_dim: int) -> None:
    if n_q > MOST_LEVELS or head_dim > MOST_HEAD_DIM:
        raise NativeError(
            f"the fast loop plays up to {MOST_LEVELS} codebooks and heads up to {MOST_HEAD_DIM} wide, not {n_q} and "
            f"{head_dim}"
        )


def _codec_lm(lm: CodecLM, pack: Packer, threads: int) -> Compiled:
    body, head = lm.transformer, lm.head
    _check(lm.n_q, body.head_dim)
    if lm.cross_width:
        raise NativeError("the fast loop does not know cross-attention in this kind of model")
    widths = {"x": lm.width, "qkv": 3 * lm.width, "heard": lm.width, "wide": 4 * lm.width}
    widths["logits"] = lm.n_q * lm.card
    if isinstance(head, DepthHead):
        inner = head.transformer.width
        _check(lm.n_q, head.transformer.head_dim)
        widths |= {"level_x": inner, "level_qkv": 3 * inner, "level_heard": inner, "level_wide": 4 * inner}
    machine = Machine(widths, threads)
    read = Program(machine.buffers)
    read.add("embed", to="x", table=lm.embedding.weight)
    read.add("turn", first=body.head_dim)
    for layer, block in enumerate(body.blocks):
        _block(read, pack, block, layer, ("x", "qkv", "heard", "wide"))
    step = Program(machine.buffers)
    step.ops, step.kept = read.ops, list(read.kept)
    compiled = Compiled(
        machine, step, read, [], len(body.blocks), body.num_heads, body.head_dim, body.window, pack.num_bytes
    )
    if isinstance(head, ParallelHead):
        _parallel(step, pack, head, lm.card, {"norm": "rms"})
    elif isinstance(head, DepthHead):
        compiled.depth = _Depth(head.transformer, lm.n_q)
        _depth(step, pack, head, lm.card)
    else:
        raise NativeError(f"the fast loop does not know heads of type {type(head).__name__}")
    compiled.num_bytes = pack.num_bytes
    return compiled


def _block(
    program: Program, pack: Packer, block: Block, layer: int, names: Sequence[str], **place: int | torch.Tensor
) -> None:
    """A block of `Transformer` over the buffers `names`; `place`: the `level` that all rows are at, and its `table`."""
    x, qkv, heard, wide = names
    head_dim = block.out.weight.shape[0] // block.num_heads
    program.add("linear", x, qkv, matrix=pack(block.qkv), norm="rms")
    program.add("attend", qkv, heard, layer=layer, rotary=1, number=head_dim**-0.5, **place)
    program.add("linear", heard, x, matrix=pack(block.out), add=1)
    program.add("linear", x, wide, matrix=pack(block.up), norm="rms", activation="squared_relu")
    program.add("linear", wide, x, matrix=pack(block.down), add=1)


def _depth(program: Program, pack: Packer, head: DepthHead, card: int) -> None:
    names = ("level_x", "level_qkv", "level_heard", "level_wide")
    turns = torch.cat(rotation(0, head.n_q, head.transformer.head_dim, torch.device("cpu")), -1)  # [K, 1, 2 * width]
    program.add("linear", "x", "level_x", matrix=pack(head.project), norm="rms")
    for level, out in enumerate(head.out):
        for layer, block in enumerate(head.transformer.blocks):
            _block(program, pack, block, layer, names, level=level, table=turns)
        cap = {"activation": "cap", "number": SOFT_CAP}
        program.add("linear", "level_x", "logits", matrix=pack(out), norm="rms", first=level * card, **cap)
        program.add("choose", "logits", first=level * card, level=level)
        if level + 1 < head.n_q:
            table = head.embedding.weight[level * (card + 1) : (level + 1) * (card + 1)]
            program.add("tell", to="level_x", table=table, level=level)


def _parallel(program: Program, pack: Packer, head: ParallelHead, card: int, norm: Mapping[str, Any]) -> None:
    cap = {"activation": "cap", "number": head.cap} if head.cap else {}
    program.add("linear", "x", "logits", matrix=pack(head.out), **norm, **cap)
    for level in range(head.n_q):
        program.add("choose", "logits", first=level * card, level=level)


def _musicgen(lm: MusicGenLM, pack: Packer, threads: int) -> Compiled:
    head_dim = lm.width // lm.num_heads
    _check(lm.n_q, head_dim)
    hidden = lm.blocks[0].up.weight.shape[0]
    widths = {"x": lm.width, "qkv": 3 * lm.width, "heard": lm.width, "wide": hidden, "logits": lm.n_q * lm.card}
    machine = Machine(widths | {"source": 2 * lm.width}, threads)
    read, sources = Program(machine.buffers), []
    positions = sinusoids(0, MOST_POSITIONS, lm.width)
    read.add("embed", to="x", table=lm.embedding.weight, bias=positions)
    scale = head_dim**-0.5
    for layer, block in enumerate(lm.blocks):
        read.add("linear", "x", "qkv", matrix=pack(block.qkv), **_layer_norm(block.norm))
        read.add("attend", "qkv", "heard", layer=layer, number=scale)
        read.add("linear", "heard", "x", matrix=pack(block.out), add=1)
        if lm.has_cross:
            read.add("linear", "x", "qkv", matrix=pack(block.cross_q), **_layer_norm(block.cross_norm))
            read.add("hear", "qkv", "heard", layer=layer, first=lm.num_heads, number=scale)
            read.add("linear", "heard", "x", matrix=pack(block.cross_out), add=1)
            source = Program(machine.buffers)
            source.add("embed", to="x", table=lm.embedding.weight)
            source.add("linear", "x", "source", matrix=pack(block.cross_kv))
            sources.append(source)
        activation = _layer_norm(block.up_norm) | {"activation": "gelu"}
        read.add("linear", "x", "wide", matrix=pack(block.up), **activation)
        read.add("linear", "wide", "x", matrix=pack(block.down), add=1)
    step = Program(machine.buffers)
    step.ops, step.kept = read.ops, list(read.kept)
    _parallel(step, pack, lm.head, lm.card, _layer_norm(lm.norm))
    return Compiled(machine, step, read, sources, len(lm.blocks), lm.num_heads, head_dim, 0, pack.num_bytes)


def _layer_norm(norm: nn.LayerNorm) -> dict[str, Any]:
    return {"norm": "layer", "table": norm.weight, "bias": norm.bias}
