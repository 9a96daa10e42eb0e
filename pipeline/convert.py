"""`gen-audio convert`: public weights -> a folder of ours, which loads without any guessing and can be verified."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from ..errors import CheckpointError, ConfigError
from ..models.native.programs import Packer
from . import checkpoint, hub
from .audiocraft import is_audiocraft, load_audiocraft
from .audit import Audit
from .musicgen_checkpoint import MusicGenParts, build_parts, fill_lm, finish, load_parts, text_dtype
from .tensor_file import TensorFiles

__all__ = ["DTYPES", "convert", "load_converted"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SETTINGS = ("lm", "text", "codec", "melody", "channels", "sampling")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model", "README.md")
TIED = "text.encoder.encoder.embed_tokens.weight"  # the same tensor as text.encoder.shared.weight


def convert(
    source: str, out: Path, dtype: str = "fp32", *, text_encoder: Path | None = None, codec: Path | None = None
) -> Path:
    """Write a MusicGen as a folder of ours.

    Args:
        source: a folder of transformers, a hub id, or a state dict of audiocraft.
        out: the folder to make; it must not exist.
        dtype: type of the transformer and of T5 on disk: fp32, bf16 or fp16. The codec stays fp32.
        text_encoder, codec: folders of transformers with the T5 and the EnCodec of an audiocraft model.

    Raises:
        ConfigError: `out` exists or its parent does not, an unknown type, or a source that is ours already.
        CheckpointError: the source cannot be read.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"--dtype is '{dtype}'; it must be one of {', '.join(DTYPES)}.")
    if out.exists() or not out.parent.is_dir():
        raise ConfigError(f"'{out}' exists, or its parent folder does not. Name a new folder inside one that is there.")
    if is_audiocraft(source):
        parts = load_audiocraft(Path(source), text_encoder, codec, DTYPES[dtype])
        assert text_encoder is not None
        return write(parts, out, name=source, licence=hub.licence_of(Path(source).parent), tokenizer=text_encoder)
    if text_encoder is not None or codec is not None:
        raise ConfigError(f"'{source}' has a T5 and a codec of its own. Leave --text-encoder and --codec out.")
    folder = checkpoint.find_folder(source)
    if (folder / "config.yaml").is_file():
        raise ConfigError(f"'{source}' is in our format already. Convert the folder that transformers wrote.")
    parts = load_parts(folder, DTYPES[dtype])
    return write(parts, out, name=source, licence=hub.licence_of(folder), tokenizer=folder)


def write(parts: MusicGenParts, out: Path, *, name: str, licence: str, tokenizer: Path) -> Path:
    """Write a loaded MusicGen as a folder, which takes its name when it is whole."""
    tensors = {
        f"{part}.{key}": tensor.contiguous()
        for part, module in parts.modules().items()
        for key, tensor in module.state_dict().items()
    }
    tensors.pop(TIED)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        save_file(tensors, part / "model.safetensors")
        (part / "model.safetensors").chmod(0o644)
        for file in TOKENIZER:
            if (tokenizer / file).is_file():
                shutil.copyfile(tokenizer / file, part / file)
        config = {
            "format_version": checkpoint.FORMAT_VERSION,
            "family": "musicgen",
            "name": name,
            "licence": licence,
            **{key: parts.settings[key] for key in SETTINGS},
            "sha256": checkpoint.sha256(part / "model.safetensors"),
        }
        (part / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def load_converted(folder: Path, dtype: torch.dtype = torch.float32, packer: Packer | None = None) -> MusicGenParts:
    """Load what `convert` wrote, after checking the hash of its weights; `packer` as for `load_parts`.

    Raises:
        CheckpointError: it was damaged or edited.
    """
    config: dict[str, Any] = checkpoint.read_config(folder)
    checkpoint.verify(folder, config)
    if missing := [key for key in SETTINGS if key not in config]:
        raise CheckpointError(f"{folder / 'config.yaml'} lacks {', '.join(missing)}. Convert the model again.")
    files = TensorFiles(folder)
    parts, audit = build_parts({key: config[key] for key in SETTINGS}, files), Audit(files)
    for part, module in parts.modules().items():
        names = {key: [f"{part}.{key}"] for key in module.state_dict()}
        if part == "text":
            names["encoder.encoder.embed_tokens.weight"] = names["encoder.shared.weight"]
        if module is parts.lm:
            fill_lm(audit, parts.lm, names, dtype, packer)
        else:
            audit.fill(module, names, {"codec": torch.float32, "text": text_dtype(dtype)}.get(part, dtype))
    return finish(parts, audit, folder)
