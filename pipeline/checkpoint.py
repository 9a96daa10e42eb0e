"""A model is a folder: `config.yaml`, `model.safetensors` and a card. Save, load, verify; nothing is ever unpickled.

Large weights may be stored as int8 with one scale per output channel; they are read back as fp32, so a stored model is
small and the parts that use it know nothing of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .. import weights
from ..errors import CheckpointError, UnknownNameError
from ..models.int8 import quantise_rows
from . import hub

__all__ = [
    "FORMAT_VERSION",
    "embedded_models",
    "family",
    "find_folder",
    "load",
    "read_config",
    "save",
    "sha256",
    "verify",
]

FORMAT_VERSION = 1
CONFIGS = ("config.yaml", "config.json")  # ours, and that of transformers
SCALE = "::scale"  # suffix of the tensor that holds the scales of an int8 one


def embedded_models() -> dict[str, Path]:
    """Names and folders of the models that came with the package."""
    root = Path(next(iter(weights.__path__)))
    return {path.parent.name: path.parent for path in sorted(root.glob("*/config.yaml"))}


def sha256(path: Path) -> str:
    """Hash a file without reading it into memory whole."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def pack(tensors: Mapping[str, Tensor], int8: tuple[str, ...]) -> dict[str, Tensor]:
    """Store floats as fp16, and matrices whose name starts with one of `int8` as int8 with a scale per row."""
    packed = {}
    for name, value in tensors.items():
        if not value.is_floating_point():
            packed[name] = value.contiguous()
        elif value.dim() >= 2 and name.startswith(int8) and value[0].numel() >= 64:
            codes, packed[name + SCALE] = quantise_rows(value.flatten(1))
            packed[name] = codes.view_as(value)
        else:
            packed[name] = value.half().contiguous()
    return packed


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `pack`: everything floating comes back as fp32."""
    plain = {}
    for name, value in tensors.items():
        if name.endswith(SCALE):
            continue
        if value.dtype == torch.int8:
            scale = tensors[name + SCALE].float()
            plain[name] = value.float() * scale.view(-1, *[1] * (value.dim() - 1))
        else:
            plain[name] = value.float() if value.is_floating_point() else value
    return plain


def save(folder: Path, config: dict[str, Any], tensors: Mapping[str, Tensor], int8: tuple[str, ...] = ()) -> None:
    """Write a model folder. `config` gains the format version and the hash of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(pack(tensors, int8), folder / "model.part")
    (folder / "model.part").chmod(0o644)  # safetensors writes files that only their owner may read
    os.replace(folder / "model.part", folder / "model.safetensors")
    facts = {"int8": list(int8), "sha256": sha256(folder / "model.safetensors")}
    config = {"format_version": FORMAT_VERSION, **config, **facts}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def find_folder(name: str) -> Path:
    """Return the folder of an embedded model, a path that holds a model, or a model of the hub.

    An embedded name wins over a folder of that name in the current directory, whose path is ./name, and a folder wins
    over the hub.

    Raises:
        UnknownNameError: none of them.
        CheckpointError: a folder without a configuration, or a hub that cannot be reached.
    """
    models = embedded_models()
    if name in models:
        return models[name]
    folder = Path(name)
    if any((folder / file).is_file() for file in CONFIGS):
        return folder
    if (folder / "state_dict.bin").is_file():
        raise CheckpointError(
            f"{folder} holds a state dict of audiocraft. Convert it: gen-audio convert {folder} OUT --text-encoder T5 "
            "--codec ENCODEC, then --model OUT."
        )
    if folder.is_dir():
        raise CheckpointError(f"{folder} holds no model: neither {' nor '.join(CONFIGS)} is there.")
    if hub.is_hub_id(name):
        return hub.fetch(name)
    raise UnknownNameError("model", name, models)


def family(folder: Path) -> str:
    """Which kind of model a folder holds: etude or musicgen."""
    if not (folder / "config.yaml").is_file():
        return "musicgen"
    return str(read_config(folder).get("family", "etude"))


def read_config(folder: Path) -> dict[str, Any]:
    """Read and check `config.yaml` of a model folder."""
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
    except (OSError, yaml.YAMLError) as error:
        raise CheckpointError(f"{folder / 'config.yaml'} cannot be read: {error}") from error
    if not isinstance(config, dict) or "format_version" not in config:
        raise CheckpointError(f"{folder / 'config.yaml'} is no model configuration: it has no format_version")
    if config["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{folder} has format version {config['format_version']}; this release reads up to {FORMAT_VERSION}. "
            "Update gen-audio."
        )
    return config


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a model folder after checking the hash of its weights: (config, fp32 tensors)."""
    config = read_config(folder)
    verify(folder, config)
    try:
        return config, unpack(load_file(folder / "model.safetensors"))
    except SafetensorError as error:
        raise CheckpointError(f"{folder / 'model.safetensors'} cannot be read: {error}") from error


def verify(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless the weights in `folder` have the hash that its configuration states."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing. Restore the file, or install gen-audio again.")
    found = sha256(path)
    if found != config.get("sha256"):
        raise CheckpointError(
            f"{path} is damaged: its sha256 is {found}, but config.yaml says {config.get('sha256')}. "
            "Restore the file, or install gen-audio again."
        )
