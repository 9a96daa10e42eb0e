"""A frame of a model of etude's size: all of it by our C++, and by OpenVINO the transformer over frames alone.

Usage: python -m benchmarks.backends.etude

What is left out of OpenVINO's is the head: a transformer over the levels of a frame that runs once a level, with
sampling in between. So its time is a lower bound of what a frame would take.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import openvino as ov
import torch
from gen_audio.models.lm import CodecLM
from gen_audio.models.native.programs import Packer
from gen_audio.models.transformer import rotation
from gen_audio.pipeline.executors.base import Asked, Choosing
from gen_audio.pipeline.executors.native import Native
from gen_audio.pipeline.fuse import Fused
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.samplers.base import build_sampler
from openvino import opset13 as op
from torch import nn

from .openvino import Graph, constant, settings_for, zero
from .workload import SAMPLING

ROWS, START, STEPS = 7, 100, 90  # stems; positions before and to play, so that the window of 200 never slides
WARM, ROUNDS, TIMED = 10, 4, 20
HEAD = {"name": "depth", "width": 192, "num_layers": 2, "num_heads": 3}
SIZE: dict[str, Any] = {"n_q": 4, "card": 1024, "width": 256, "num_layers": 6, "num_heads": 4}


class Trunk(Graph):
    """The transformer over frames as a graph; inputs are x [ROWS, 1, D], position [1] and rows [ROWS]."""

    def model(self) -> ov.Model:
        self.rows = self.input("rows", [self.count], "i32")
        x, position = self.input("x", [self.count, 1, self.size["width"]]), self.input("position", [1], "i64")
        cos, sin = rotation(0, START + STEPS, self.head_dim, torch.device("cpu"))  # [T, 1, head_dim]
        self.turn = [op.gather(op.constant(table[:, 0].numpy()), position, zero()) for table in (cos, sin)]
        for layer in range(self.size["num_layers"]):
            x = self.block(x, layer)
        return ov.Model([op.result(rms(x))], self.assigned, self.inputs, self.variables, "trunk")

    def block(self, x: Any, layer: int) -> Any:
        name = f"blocks.{layer}."
        qkv = self.split_heads(self.linear(rms(x), f"{name}qkv"))  # [ROWS, 3 * H, 1, head_dim]
        query, key, value = op.split(qkv, constant(1), 3).outputs()
        keys = self.remember(self.rotated(rms(key)), f"keys.{layer}")
        values = self.remember(value, f"values.{layer}")
        heard = op.scaled_dot_product_attention(self.rotated(rms(query)), keys, values)
        x = op.add(x, self.linear(self.join_heads(heard), f"{name}out"))
        wide = op.relu(self.linear(rms(x), f"{name}up"))
        return op.add(x, self.linear(op.multiply(wide, wide), f"{name}down"))

    def split_heads(self, x: Any) -> Any:
        return op.transpose(op.reshape(x, constant([0, 0, -1, self.head_dim]), True), constant([0, 2, 1, 3]))

    def rotated(self, x: Any) -> Any:
        first, second = op.split(x, constant(3), 2).outputs()
        return op.add(op.multiply(x, self.turn[0]), op.multiply(op.concat([second, first], 3), self.turn[1]))


def rms(x: Any) -> Any:
    square = op.reduce_mean(op.multiply(x, x), constant([-1]), True)
    return op.multiply(x, op.power(op.add(square, op.constant(np.float32(1e-12))), op.constant(np.float32(-0.5))))


class Frames:
    """The same random columns for both, played so far as START by the reference."""

    @torch.inference_mode()
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.lm = CodecLM(**SIZE, window=200, head=HEAD).eval()
        for weight in self.lm.parameters():
            nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
        self.columns = torch.randint(self.lm.card, (ROWS, self.lm.n_q, START + STEPS))
        cache = self.lm.new_cache(ROWS)
        for column in self.columns[..., :START].unbind(-1):
            self.lm.step(column, None, cache)
        self.before = [(keys[:, :, :START].clone(), values[:, :, :START].clone()) for keys, values in cache.layers]
        self.wanted = [self.lm.step(column, None, cache) for column in self.columns[..., START:].unbind(-1)]


class Ours:
    def __init__(self, frames: Frames, precision: str, threads: int) -> None:
        self.executor, self.columns = Native(frames.lm, Packer(precision), threads), frames.columns
        noise = GumbelNoise([0] * ROWS, list(range(ROWS)), n_q=SIZE["n_q"], card=SIZE["card"])
        choosing = Choosing(build_sampler(SAMPLING), Guidance(), noise)
        self.session = self.executor.open(Fused(ROWS), choosing, START + STEPS)
        self.executor.read(self.session, frames.columns[..., :START])

    def step(self, number: int) -> None:
        self.executor.step([Asked(self.session, self.columns[..., START + number], None, number)])


class OpenVinoTrunk:
    def __init__(self, frames: Frames, precision: str, threads: int) -> None:
        bits = {"fp32": 32, "int8": 8}[precision]
        graph = Trunk(frames.lm.transformer.state_dict(), SIZE, bits, 0, ROWS)
        compiled = ov.Core().compile_model(graph.model(), "CPU", settings_for(bits, 0, "f32", threads))
        self.request, self.frames, self.position = compiled.create_infer_request(), frames, np.zeros(1, np.int64)
        for state in self.request.query_state():
            kind, layer = state.name.split(".")
            state.state = ov.Tensor(frames.before[int(layer)][kind == "values"].numpy())
        self.request.set_tensor("position", ov.Tensor(self.position, shared_memory=True))
        self.request.set_tensor("rows", ov.Tensor(np.arange(ROWS, dtype=np.int32)))

    @torch.inference_mode()
    def step(self, number: int) -> None:
        x = self.frames.lm.embed(self.frames.columns[..., START + number])
        self.position[0] = START + number
        self.request.set_tensor("x", ov.Tensor(x[:, None].numpy()))
        self.request.infer()

    def error(self, number: int) -> float:
        """Of the hidden vectors of step `number`, the last one, as a share of their deviation."""
        wanted = self.frames.wanted[number]
        found = torch.from_numpy(self.request.get_output_tensor(0).data)[:, 0]
        return float((found - wanted).std() / wanted.std())


def main() -> None:
    frames, players = Frames(), dict[str, Any]()
    for precision in ("fp32", "int8"):
        for threads in (1, 2):
            players[f"ours, {precision}, whole frames, threads: {threads}"] = Ours(frames, precision, threads)
            players[f"OpenVINO, {precision}, trunk alone, threads: {threads}"] = OpenVinoTrunk(
                frames, precision, threads
            )
    times: dict[str, list[float]] = {name: [] for name in players}
    for number in range(WARM + ROUNDS * TIMED):
        for name, player in players.items():
            start = time.perf_counter()
            player.step(number)
            times[name].append(1000 * (time.perf_counter() - start))
    for name, player in players.items():
        error = f", error {player.error(number):.2g}" if isinstance(player, OpenVinoTrunk) else ""
        timed = times[name][WARM:]
        print(f"{name}: {statistics.median(timed):.2f} ms ({min(timed):.2f}, {max(timed):.2f}){error}")


if __name__ == "__main__":
    main()
