"""Put the trained parts together as a model folder that `gen_audio.load` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from ..conditioning.attributes import AttributeHeads
from ..errors import ConfigError
from ..pipeline import checkpoint
from .weights import read_weights

__all__ = ["train"]

LIMIT = 32 * 2**20  # bytes that the weights of one release may take


def train(config: dict[str, Any], out: Path) -> None:
    """Write `config.yaml` and `model.safetensors` of a model.

    Keys of config: name, licence, codec, codec_weights, lm_config (the YAML that the performer was trained with),
    lm_weights, attributes (file that the attribute stage wrote), sampling, highs (a model, name or folder, whose
    fitted octave above the codec's band is taken over; null for none), int8 (prefixes of tensors stored as int8).
    Weights may also be those of a model: its name or folder.

    Raises:
        ConfigError: the folder would be larger than a release may be.
    """
    recipe = yaml.safe_load(Path(config["lm_config"]).read_text())
    heads = AttributeHeads.load(Path(config["attributes"]))
    tensors: dict[str, Tensor] = {}
    parts = {
        "codec.": read_weights(config["codec_weights"], "codec"),
        "performer.": read_weights(config["lm_weights"], "performer"),
        "attributes.": heads.state_dict(),
    }
    for prefix, part in parts.items():
        tensors |= {prefix + name: value for name, value in part.items()}
    model = {
        "name": config["name"],
        "licence": config["licence"],
        "codec": config["codec"],
        "lm": recipe["lm"],
        "conditioners": recipe["conditioners"],
        "attributes": {
            "styles": list(heads.styles),
            "moods": list(heads.moods),
            "instruments": list(heads.instruments),
            "hidden": heads.hidden,
            "style_hidden": heads.style_hidden,
        },
        "sampling": config["sampling"],
        "roles": {"stems": True, "mix": bool(recipe["role_weights"].get("mix"))},
    }
    if config["highs"]:
        model["highs"] = checkpoint.read_config(checkpoint.find_folder(config["highs"]))["highs"]
    checkpoint.save(out, model, tensors, int8=tuple(config["int8"]))
    size = (out / "model.safetensors").stat().st_size
    if size > LIMIT:
        raise ConfigError(
            f"{out} holds {size / 2**20:.1f} MiB; a release may hold {LIMIT / 2**20:.0f}. Store more as int8."
        )
    print(f"{out}: {size / 2**20:.1f} MiB, sha256 {checkpoint.sha256(out / 'model.safetensors')}")
