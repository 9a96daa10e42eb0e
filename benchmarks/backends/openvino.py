"""OpenVINO: one stateful graph a step, written with its operations; keys and values are variables of the plugin.

Attention is written as the pattern that the CPU plugin turns into one operation with a cache of its own, linear layers
as the patterns that it turns into products with compressed weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
import torch
from gen_audio.models.musicgen import sinusoids
from openvino import opset13 as op
from torch import Tensor

from .rounding import in_groups, packed
from .workload import GUIDE, START, STEPS, TEXT, Work

__all__ = ["VARIANTS", "Graph", "OpenVino", "constant", "settings_for", "zero"]

EPSILON = 1e-5  # of the norms
# variant -> bits of the weights, inputs that share a scale (0: all), dtype that is computed in. There is no fp16: the
# plugin turns such weights into float32 before it begins, and then reads as many bytes as for fp32.
PRECISIONS: dict[str, tuple[int, int, str]] = {
    "fp32": (32, 0, "f32"),
    "bf16": (16, 0, "bf16"),
    "int8": (8, 0, "f32"),
    "int4 g64": (4, 64, "f32"),
    "int4 g128": (4, 128, "f32"),
    "int4 g64 in bf16": (4, 64, "bf16"),
}
VARIANTS = tuple(PRECISIONS)


class OpenVino:
    def __init__(self, work: Work, variant: str, threads: int) -> None:
        bits, group, dtype = PRECISIONS[variant]
        graph = Graph(work.weights, work.size, bits, group)
        settings = settings_for(bits, group, dtype, threads)
        compiled = ov.Core().compile_model(graph.model(), "CPU", settings)
        self.request = compiled.create_infer_request()
        self.work = work
        history = {"keys": work.keys, "values": work.values}
        for state in self.request.query_state():
            kind, layer = state.name.split(".")
            state.state = ov.Tensor(np.ascontiguousarray(history[kind][int(layer)].numpy()))
        for layer in range(work.size["num_layers"]):
            for kind, heard in (("keys", work.cross_keys), ("values", work.cross_values)):
                self.request.set_tensor(f"cross_{kind}.{layer}", ov.Tensor(heard[layer].numpy().copy()))
        self.codes, self.position = np.zeros((1, work.size["n_q"]), np.int64), np.zeros(1, np.int64)
        self.request.set_tensor("codes", ov.Tensor(self.codes, shared_memory=True))
        self.request.set_tensor("position", ov.Tensor(self.position, shared_memory=True))
        self.request.set_tensor("rows", ov.Tensor(np.arange(2, dtype=np.int32)))

    def step(self, number: int) -> None:
        self.codes[0], self.position[0] = self.work.codes[number].numpy(), START + number
        self.request.infer()
        both = torch.from_numpy(self.request.get_output_tensor(0).data)
        self.found = GUIDE(both.flatten(0, 1))

    def logits(self) -> Tensor:
        return self.found.view(self.work.size["n_q"], self.work.size["card"])


def settings_for(bits: int, group: int, dtype: str, threads: int) -> dict[str, Any]:
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": dtype,  # else bf16 where the processor has it
    }
    if bits > 8:
        settings["KV_CACHE_PRECISION"] = dtype  # else u8, which stays for the small ones: a seventh faster
    else:
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = group or 128  # inputs are rounded to int8; at 0 they are not
    return settings


class Graph:
    """Builds the step; inputs are codes [1, K], position [1], rows [2] (the order of the cache) and cross_*.

    `count` is 2, but for those who build on this.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], size: Mapping[str, Any], bits: int, group: int, count: int = 2
    ) -> None:
        self.weights, self.size, self.bits, self.group, self.count = weights, size, bits, group, count
        self.inputs: list[Any] = []
        self.variables: list[Any] = []
        self.assigned: list[Any] = []
        self.heads = size["num_heads"]
        self.head_dim = size["width"] // self.heads

    def model(self) -> ov.Model:
        self.rows = self.input("rows", [self.count], "i32")
        x = self.embed()
        for layer in range(self.size["num_layers"]):
            x = self.block(x, layer)
        logits = self.linear(self.norm(x, "norm"), "head.out")  # [2, 1, K * card]
        return ov.Model([op.result(logits)], self.assigned, self.inputs, self.variables, "step")

    def input(self, name: str, shape: list[int], dtype: str = "f32") -> Any:
        node = op.parameter(shape, dtype=getattr(ov.Type, dtype), name=name)
        node.output(0).set_names({name})
        self.inputs.append(node)
        return node

    def embed(self) -> Any:
        size = self.size
        codes, position = self.input("codes", [1, size["n_q"]], "i64"), self.input("position", [1], "i64")
        offsets = op.constant(np.arange(size["n_q"], dtype=np.int64)[None] * (size["card"] + 1))
        table = op.constant(self.weights["embedding.weight"].numpy())
        summed = op.reduce_sum(op.gather(table, op.add(codes, offsets), zero()), constant([1]), True)  # [1, 1, D]
        places = op.constant(sinusoids(0, START + STEPS, size["width"]).numpy())
        x = op.add(summed, op.unsqueeze(op.gather(places, position, zero()), zero()))
        return op.concat([x, x], 0)  # [2, 1, D]

    def block(self, x: Any, layer: int) -> Any:
        name = f"blocks.{layer}."
        x = op.add(
            x, self.linear(self.attend(self.linear(self.norm(x, f"{name}norm"), f"{name}qkv"), layer), f"{name}out")
        )
        told, untold = op.split(x, zero(), 2).outputs()
        query = self.linear(self.norm(told, f"{name}cross_norm"), f"{name}cross_q")
        told = op.add(told, self.linear(self.hear(query, layer), f"{name}cross_out"))
        x = op.concat([told, untold], 0)
        wide = op.gelu(self.linear(self.norm(x, f"{name}up_norm"), f"{name}up"), "erf")
        return op.add(x, self.linear(wide, f"{name}down"))

    def norm(self, x: Any, name: str) -> Any:
        flat = op.mvn(x, constant([-1]), True, EPSILON, "inside_sqrt")
        scaled = op.multiply(flat, op.constant(self.weights[f"{name}.weight"].numpy()[None, None]))
        return op.add(scaled, op.constant(self.weights[f"{name}.bias"].numpy()[None, None]))

    def attend(self, qkv: Any, layer: int) -> Any:
        query, key, value = (self.split_heads(part) for part in op.split(qkv, constant(2), 3).outputs())
        keys, values = self.remember(key, f"keys.{layer}"), self.remember(value, f"values.{layer}")
        return self.join_heads(op.scaled_dot_product_attention(query, keys, values))

    def remember(self, new: Any, name: str) -> Any:
        """Append [rows, H, 1, head_dim] to a variable; what it holds now, [rows, H, positions, head_dim]."""
        shape = ov.PartialShape([self.count, self.heads, -1, self.head_dim])
        info = ov.op.util.VariableInfo()
        info.data_shape, info.data_type, info.variable_id = shape, ov.Type.f32, name
        variable = ov.op.util.Variable(info)
        empty = op.constant(np.zeros((self.count, self.heads, 0, self.head_dim), np.float32))
        before = op.read_value(empty, variable)
        both = op.concat([op.gather(before, self.rows, zero()), new], 2)
        self.variables.append(variable)
        self.assigned.append(op.assign(both, variable))
        return both

    def hear(self, query: Any, layer: int) -> Any:
        shape = [1, self.heads, TEXT, self.head_dim]
        keys, values = (self.input(f"cross_{kind}.{layer}", shape) for kind in ("keys", "values"))
        return self.join_heads(op.scaled_dot_product_attention(self.split_heads(query), keys, values))

    def split_heads(self, x: Any) -> Any:
        return op.transpose(op.reshape(x, constant([0, 0, self.heads, self.head_dim]), True), constant([0, 2, 1, 3]))

    def join_heads(self, x: Any) -> Any:
        return op.reshape(op.transpose(x, constant([0, 2, 1, 3])), constant([0, 0, -1]), True)

    def linear(self, x: Any, name: str) -> Any:
        weight = self.weights[f"{name}.weight"]
        matrix = self.compressed(weight) if self.bits <= 8 else op.constant(weight.numpy())  # the plugin makes bf16
        return op.matmul(x, matrix, False, True)

    def compressed(self, weight: Tensor) -> Any:
        n, k = weight.shape
        codes, scale = in_groups(weight, self.bits, self.group or k)
        if self.bits == 4:
            stored, middle = four_bits(packed(codes), list(codes.shape)), four_bits(torch.tensor([8]), [1])
        else:
            stored, middle = op.constant(codes.numpy()), op.constant(np.array([128], np.uint8))
        exact = op.subtract(op.convert(stored, "f32"), op.convert(middle, "f32"))
        return op.reshape(op.multiply(exact, op.constant(scale[..., None].numpy())), constant([n, k]), False)


def four_bits(codes: Tensor, shape: list[int]) -> Any:
    """A constant of `shape` out of packed codes. It copies them; one made from an array would not keep the array."""
    tensor = ov.Tensor(ov.Type.u4, ov.Shape(shape))
    tensor.data[:] = codes.numpy().reshape(tensor.data.shape)
    return op.constant(tensor)


def constant(value: Any) -> Any:
    return op.constant(np.array(value, np.int64))


def zero() -> Any:
    return constant(0)
