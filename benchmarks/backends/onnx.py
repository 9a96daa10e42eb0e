"""onnxruntime: one graph a step, of operations of onnx and, for attention and rounded weights, of its own.

Keys and values are in buffers of full length that go in as past and come out as present, so that nothing is copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from gen_audio.models.musicgen import sinusoids
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from .rounding import in_groups, packed
from .workload import GUIDE, START, STEPS, TEXT, Work

__all__ = ["VARIANTS", "OnnxRuntime"]

EPSILON = 1e-5  # of the norms
# variant -> bits of the weights, inputs that share a scale
PRECISIONS = {"fp32": (32, 0), "int8 g128": (8, 128), "int4 g64": (4, 64), "int4 g128": (4, 128)}
VARIANTS = tuple(PRECISIONS)
OURS = "com.microsoft"  # the domain of onnxruntime's own operations
MOST_BYTES = 1 << 31  # of a model that is handed over in one piece


class OnnxRuntime:
    def __init__(self, work: Work, variant: str, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        graph = Graph(work, *PRECISIONS[variant])
        self.session = ort.InferenceSession(
            graph.model().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.work, self.binding = work, self.session.io_binding()
        size = work.size
        self.codes, self.position = np.zeros((1, size["n_q"]), np.int64), np.zeros(1, np.int64)
        self.last, self.total = np.zeros(2, np.int32), np.zeros((), np.int32)  # of the positions that are looked at
        self.scores = np.zeros((2, 1, size["n_q"] * size["card"]), np.float32)
        for name in ("codes", "position", "last", "total"):
            self._bind(name, getattr(self, name))
        self._bind(None, self.scores, "logits")
        for layer in range(size["num_layers"]):
            for kind, before in (("keys", work.keys), ("values", work.values)):
                past = graph.past(before[layer]).numpy()
                room = np.zeros((2, size["num_heads"], START + STEPS, past.shape[-1]), past.dtype)
                room[:, :, :START] = past
                self._bind(f"{kind}.{layer}", room, f"new_{kind}.{layer}")
            for kind, heard in (("keys", work.cross_keys), ("values", work.cross_values)):
                self._bind(f"cross_{kind}.{layer}", heard[layer].numpy().copy())

    def _bind(self, source: str | None, array: np.ndarray, to: str | None = None) -> None:
        """Let the graph read from an array, write into it, or both."""
        value = ort.OrtValue.ortvalue_from_numpy(array)
        if source:
            self.binding.bind_ortvalue_input(source, value)
        if to:
            self.binding.bind_ortvalue_output(to, value)

    def step(self, number: int) -> None:
        self.codes[0], self.position[0] = self.work.codes[number].numpy(), START + number
        self.last[:], self.total[...] = START + number, START + number + 1
        self.session.run_with_iobinding(self.binding)
        self.found = GUIDE(torch.from_numpy(self.scores).flatten(0, 1))

    def logits(self) -> Tensor:
        return self.found.view(self.work.size["n_q"], self.work.size["card"])


class Graph:
    """Builds the step; inputs are codes [1, K], position [1], last [2], total [], keys, values and cross_*."""

    def __init__(self, work: Work, bits: int, group: int) -> None:
        self.work, self.bits, self.group = work, bits, group
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.rounds = bits <= 8  # the cache to int8, which is all that its CPU attention has beside float32
        self.heads = work.size["num_heads"]
        self.head_dim = work.size["width"] // self.heads

    def model(self) -> Any:
        size = self.work.size
        for name, shape in (("last", [2]), ("total", [])):
            self.input(name, shape, TensorProto.INT32)
        x = self.embed()
        for layer in range(size["num_layers"]):
            x = self.block(x, layer)
        self.linear(self.norm(x, "norm"), "head.out", "logits")
        self.output("logits", [2, 1, size["n_q"] * size["card"]])
        graph = helper.make_graph(self.nodes, "step", self.inputs, self.outputs, self.tensors)
        versions = [helper.make_opsetid("", 20), helper.make_opsetid(OURS, 1)]
        model = helper.make_model(graph, opset_imports=versions, ir_version=10)
        assert model.ByteSize() < MOST_BYTES
        return model

    def input(self, name: str, shape: list[int], dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, shape: list[int], dtype: int = TensorProto.FLOAT) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def past(self, before: Tensor) -> Tensor:
        """Keys or values [2, H, T, head_dim] as the cache holds them."""
        if not self.rounds:
            return before
        return (before / cache_scale(before)).round().clamp(-128, 127).to(torch.int8)

    def constant(self, value: Tensor | np.ndarray | list[int] | int) -> str:
        name = f"constant.{len(self.tensors)}"
        array = value.numpy() if isinstance(value, Tensor) else np.array(value)
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, inputs: list[str], outputs: list[str] | None = None, **settings: Any) -> str:
        """Append an operation; the name of its first output."""
        outputs = outputs or [f"node.{len(self.nodes)}"]
        domain = OURS if kind in ("MatMulNBits", "GroupQueryAttention", "MultiHeadAttention", "Gelu") else ""
        self.nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **settings))
        return outputs[0]

    def embed(self) -> str:
        size = self.work.size
        codes = self.input("codes", [1, size["n_q"]], TensorProto.INT64)
        position = self.input("position", [1], TensorProto.INT64)
        offsets = self.constant(torch.arange(size["n_q"])[None] * (size["card"] + 1))
        table = self.constant(self.work.weights["embedding.weight"])
        read = self.add("Gather", [table, self.add("Add", [codes, offsets])])
        summed = self.add("ReduceSum", [read, self.constant([1])])  # [1, 1, D]
        places = self.constant(sinusoids(0, START + STEPS, size["width"]))
        x = self.add("Add", [summed, self.add("Gather", [places, position])])
        return self.add("Concat", [x, x], axis=0)  # [2, 1, D]

    def block(self, x: str, layer: int) -> str:
        name = f"blocks.{layer}."
        heard = self.attend(self.linear(self.norm(x, f"{name}norm"), f"{name}qkv"), layer)
        x = self.add("Add", [x, self.linear(heard, f"{name}out")])
        told, untold = f"{name}told", f"{name}untold"
        self.add("Split", [x], [told, untold], axis=0, num_outputs=2)
        query = self.linear(self.norm(told, f"{name}cross_norm"), f"{name}cross_q")
        told = self.add("Add", [told, self.linear(self.hear(query, layer), f"{name}cross_out")])
        x = self.add("Concat", [told, untold], axis=0)
        wide = self.add("Gelu", [self.linear(self.norm(x, f"{name}up_norm"), f"{name}up")])
        return self.add("Add", [x, self.linear(wide, f"{name}down")])

    def norm(self, x: str, name: str) -> str:
        scale, shift = (self.constant(self.work.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", [x, scale, shift], axis=-1, epsilon=EPSILON)

    def attend(self, qkv: str, layer: int) -> str:
        shape = [2, self.heads, START + STEPS, self.head_dim]
        dtype = TensorProto.INT8 if self.rounds else TensorProto.FLOAT
        past = [self.input(f"{kind}.{layer}", shape, dtype) for kind in ("keys", "values")]
        present = [f"new_{name}" for name in past]
        for name in present:
            self.output(name, shape, dtype)
        inputs = [qkv, "", "", *past, "last", "total"]
        settings: dict[str, Any] = {"num_heads": self.heads, "kv_num_heads": self.heads}
        if self.rounds:
            scales = [self.constant(cache_scale(before[layer])) for before in (self.work.keys, self.work.values)]
            inputs += [*[""] * 5, *scales]
            settings |= {"kv_cache_bit_width": 8, "k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL"}
        return self.add("GroupQueryAttention", inputs, [f"heard.{layer}", *present], **settings)

    def hear(self, query: str, layer: int) -> str:
        shape = [1, self.heads, TEXT, self.head_dim]
        told = [self.input(f"cross_{kind}.{layer}", shape) for kind in ("keys", "values")]
        return self.add("MultiHeadAttention", [query, *told], num_heads=self.heads)

    def linear(self, x: str, name: str, to: str | None = None) -> str:
        weight, outputs = self.work.weights[f"{name}.weight"], [to] if to else None
        if self.bits == 32:
            return self.add("MatMul", [x, self.constant(weight.T.contiguous())], outputs)
        codes, scale = in_groups(weight, self.bits, self.group)
        stored = [self.constant(packed(codes) if self.bits == 4 else codes), self.constant(scale)]
        settings = {"N": weight.shape[0], "K": weight.shape[1], "bits": self.bits, "block_size": self.group}
        # accuracy_level 4: inputs are rounded to int8; without it the product is several times slower
        return self.add("MatMulNBits", [x, *stored], outputs, accuracy_level=4, **settings)


def cache_scale(before: Tensor) -> Tensor:
    """Scales [1, H, 1, head_dim] of keys or values in int8. They are fixed, so what is yet to come has some room."""
    return before.abs().amax((0, 2), keepdim=True) * (1.25 / 127)
