"""The steps that every backend computes: weights, what was played before, the codes to read, the logits to find.

The shape is that of MusicGen-small under guidance: two rows, of which the first hears a text of 16 tokens. Weights are
random, because speed does not depend on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from gen_audio.models.kv_cache import KVCache
from gen_audio.models.musicgen import MusicGenLM
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.samplers.base import SamplingParams
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

__all__ = ["CHECKED", "GUIDE", "SAMPLING", "SIZES", "START", "STEPS", "TEXT", "Backend", "Work", "guided", "make"]

SIZES: dict[str, dict[str, Any]] = {
    "small": {"n_q": 4, "card": 2048, "width": 1024, "num_layers": 24, "num_heads": 16, "hidden": 4096},
    "tiny": {"n_q": 4, "card": 128, "width": 256, "num_layers": 2, "num_heads": 4, "hidden": 512},
}
TEXT = 16  # positions of the text
START, STEPS = 227, 46  # positions that were played before, and steps to play: around 250 on average
CHECKED = 6  # first steps, whose logits are compared; they warm up too
GUIDE = Guidance(3.0, 3.0)
SAMPLING = SamplingParams(top_k=250)


class Backend(Protocol):
    """One way to run steps; built from a `Work`, whose tensors it copies if it keeps them."""

    def step(self, number: int) -> None:
        """Read the codes of step `number` at position START + number, which follow each other; this is what is timed.

        Afterwards the guided logits, or the sampled codes of a backend that samples itself, lie on the host.
        """

    def logits(self) -> Tensor:
        """The guided logits [K, card] of the last step; not timed."""


class Work:
    """A file of `make`, mapped into memory, so that reading it does not count as memory of a backend.

    Attributes:
        keys, values: [layers, 2, H, START, head_dim] of the positions before.
        cross_keys, cross_values: [layers, 1, H, TEXT, head_dim] of the row that hears.
        cross: [1, TEXT, D] what it hears.
        codes: [STEPS, K] int64 to read; wanted: [CHECKED, K, card] guided logits of the reference in float32.
    """

    def __init__(self, path: Path) -> None:
        with safe_open(path, "pt") as file:
            self.size: dict[str, Any] = SIZES[file.metadata()["size"]]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
        self.weights = {name[3:]: tensor for name, tensor in tensors.items() if name.startswith("lm.")}
        self.keys, self.values = tensors["keys"], tensors["values"]
        self.cross_keys, self.cross_values = tensors["cross_keys"], tensors["cross_values"]
        self.cross, self.codes, self.wanted = tensors["cross"], tensors["codes"], tensors["wanted"]

    def model(self) -> MusicGenLM:
        """The reference, its weights still in the mapped file."""
        with torch.device("meta"):
            lm = MusicGenLM(**self.size)
        lm.load_state_dict(self.weights, assign=True)
        return lm.eval().requires_grad_(False)

    def cache(self, lm: MusicGenLM) -> KVCache:
        """A cache for the reference with what was played before."""
        cache = lm.new_cache(2, START + STEPS)
        cache.memory[..., :START, :] = torch.stack((self.keys, self.values), 1)
        cache.cross = [
            (k.to(lm.dtype), v.to(lm.dtype)) for k, v in zip(self.cross_keys, self.cross_values, strict=True)
        ]
        cache.advance(START)
        return cache


@torch.inference_mode()
def make(path: Path, size: str) -> None:
    """Draw weights, play START + CHECKED steps of random codes by the reference, and write all of it to a file."""
    torch.manual_seed(0)
    lm = MusicGenLM(**SIZES[size]).eval()
    for name, weight in lm.named_parameters():
        center = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        nn.init.normal_(weight, center, 0.03)
    codes = torch.randint(lm.card, (START + STEPS, lm.n_q))
    cross, cache = torch.randn(1, TEXT, lm.width), lm.new_cache(2, START + STEPS)
    lm.prefill(cache, cross=cross)
    lm.read(codes[:START].T[None], cache)
    played: dict[str, Any] = dict(zip(("keys", "values"), cache.memory[..., :START, :].unbind(1), strict=True))
    wanted = torch.stack([guided(lm, column, cache) for column in codes[START : START + CHECKED]])
    heard = dict(zip(("cross_keys", "cross_values"), map(torch.stack, zip(*cache.cross, strict=True)), strict=True))
    tensors = played | heard | {"cross": cross, "codes": codes[START:], "wanted": wanted}
    tensors |= {f"lm.{name}": weight for name, weight in lm.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"size": size})


def guided(lm: MusicGenLM, column: Tensor, cache: KVCache) -> Tensor:
    """Read codes [K] and score the next, guided [K, card] float32."""
    hidden = lm.step(column[None], None, cache)
    return GUIDE(lm.head.logits(hidden, hidden))[0]
