"""A tiny etude of random weights: everything but the beauty, for tests and for measuring what is not the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .. import registry
from ..composition.style import style_names
from ..conditioning.attributes import AttributeHeads
from ..pipeline import checkpoint
from ..pipeline.performer import Performer

__all__ = ["make_model"]

CODEC = {"n_q": 4, "card": 64, "width": 32, "latent_width": 8, "vocoder_width": 32}
CODEC |= {"encoder_layers": 1, "decoder_layers": 1, "vocoder_layers": 1}
LM = {"n_q": 4, "card": 64, "width": 32, "num_layers": 1, "num_heads": 2, "window": 50}


def make_model(folder: Path, seed: int = 0) -> Path:
    """Write a model folder whose weights follow from `seed`, and return it."""
    config: dict[str, Any] = {
        "name": "nano",
        "licence": "Apache-2.0",
        "codec": {"name": "spectral", **CODEC},
        "lm": {**LM, "head": {"name": "depth", "width": 16, "num_layers": 1, "num_heads": 2}},
        "conditioners": {"notes": {}, "plan": {}, "timing": {}, "minilm": {}},
        "attributes": {"styles": style_names(), "moods": ["calm"], "instruments": ["piano"], "hidden": 8},
        "roles": {"stems": True, "mix": True},
    }
    torch.manual_seed(seed)
    modules = {
        "codec": registry.build("codecs", **config["codec"]),
        "performer": Performer(lm=config["lm"], conditioners=config["conditioners"]),
        "attributes": AttributeHeads(**config["attributes"]),
    }
    for tensor in modules["codec"].state_dict().values():
        if tensor.is_floating_point() and not tensor.any():  # codebooks start at zero, so every code would sound alike
            tensor.normal_(std=0.5)
    tensors = {
        f"{part}.{name}": value for part, module in modules.items() for name, value in module.state_dict().items()
    }
    checkpoint.save(folder, config, tensors)
    return folder
