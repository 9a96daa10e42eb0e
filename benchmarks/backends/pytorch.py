"""PyTorch: the reference executor's modules, and the same with other products of PyTorch in their linear layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from gen_audio.models.half import has_fast_bf16, to_half
from gen_audio.models.int8 import quantise_rows, to_int8
from torch import Tensor, nn

from .workload import Work, guided

__all__ = ["VARIANTS", "PyTorch"]

Product = Callable[[Tensor], Tensor]  # [..., K] -> [..., N]
GROUP = 64  # inputs that share a scale in int4


class Layer(nn.Module):
    """A linear layer whose product was made from its weight [N, K] by one of PRODUCTS."""

    def __init__(self, product: Product) -> None:
        super().__init__()
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x)

    __call__ = forward


def fbgemm_int8(weight: Tensor) -> Product:
    """int8 weights with a scale a row; inputs are rounded to 8 bits, with one scale for all rows."""
    codes, scale = quantise_rows(weight)
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    # from codes and scales themselves, so that the weights are those of the reference in int8
    quantised = torch._make_per_channel_quantized_tensor(codes, scale.double(), zeros, 0)
    packed = torch.ops.quantized.linear_prepack(quantised, None)
    return lambda x: torch.ops.quantized.linear_dynamic(x, packed, False)


def fbgemm_fp16(weight: Tensor) -> Product:
    packed = torch.ops.quantized.linear_prepack_fp16(weight, None)
    return lambda x: torch.ops.quantized.linear_dynamic_fp16(x, packed)


def onednn(weight: Tensor) -> Product:
    """In the dtype of the weight, reordered once for two rows."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 2)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def int4(weight: Tensor) -> Product:
    """Codes -8..7 in groups of GROUP; inputs in bf16."""
    groups = weight.float().unflatten(1, (-1, GROUP))
    far = groups.gather(2, groups.abs().argmax(2, keepdim=True))
    scale = (far / -8).bfloat16()
    codes = ((groups / scale.float()).round().clamp(-8, 7) + 8).flatten(1).int()
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    both = torch.cat((scale, torch.zeros_like(scale)), 2).transpose(0, 1).contiguous()  # [K / GROUP, N, 2]

    def product(x: Tensor) -> Tensor:
        out = torch.ops.aten._weight_int4pack_mm_for_cpu(x.bfloat16().flatten(0, -2), packed, GROUP, both)
        return out.unflatten(0, x.shape[:-1])

    return product


PRODUCTS: dict[str, tuple[Callable[[Tensor], Product], torch.dtype]] = {  # and the dtype of everything else
    "fbgemm fp16": (fbgemm_fp16, torch.float32),
    "fbgemm int8": (fbgemm_int8, torch.float32),
    "oneDNN fp32": (onednn, torch.float32),
    "oneDNN bf16": (onednn, torch.bfloat16),
    "int4pack": (int4, torch.bfloat16),
}
VARIANTS = ("fp32", "bf16", "int8", *PRODUCTS)


class PyTorch:
    @torch.inference_mode()
    def __init__(self, work: Work, variant: str, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.backends.quantized.engine = "fbgemm"
        make, dtype = PRODUCTS.get(variant, (None, torch.bfloat16 if variant == "bf16" else torch.float32))
        self.work, self.lm = work, work.model()
        for block in self.lm.blocks:
            del block.cross_kv  # a step does not read it
        if variant == "int8":
            to_int8(self.lm)
        if make:
            replace(self.lm, lambda weight: make(weight.to(dtype)))
        for weight in self.lm.parameters():  # those of linear layers too, unless they were replaced
            weight.data = weight.data.to(dtype, copy=True)
        if variant == "bf16" and not has_fast_bf16():
            to_half(self.lm)
        self.cache = work.cache(self.lm)

    @torch.inference_mode()
    def step(self, number: int) -> None:
        self.found = guided(self.lm, self.work.codes[number], self.cache)

    def logits(self) -> Tensor:
        return self.found


def replace(module: nn.Module, make: Callable[[Tensor], Product]) -> None:
    """Replace the linear layers inside `module`."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Layer(make(child.weight)))
        else:
            replace(child, make)
