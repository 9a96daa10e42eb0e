"""MusicGen as audiocraft stores it: one pickle of tensors and a configuration as text, without T5 and codec.

The pickle is read with `weights_only`, which builds tensors and plain values and runs nothing; one that needs more is
refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from .audit import Audit
from .musicgen_checkpoint import MusicGenParts, build_parts, codec_sources, finish, lm_sources
from .tensor_file import TensorFiles, read_json

__all__ = ["Tensors", "is_audiocraft", "load_audiocraft", "to_transformers"]

FILE = "state_dict.bin"
LAYER = {
    "norm1": "self_attn_layer_norm",
    "norm_cross": "encoder_attn_layer_norm",
    "norm2": "final_layer_norm",
    "linear1": "fc1",
    "linear2": "fc2",
    "self_attn.out_proj": "self_attn.out_proj",
    "cross_attention.out_proj": "encoder_attn.out_proj",
}
CONDITIONS = {"description": "enc_to_dec_proj", "self_wav": "audio_enc_to_dec_proj"}
CONDITION_PREFIX = "condition_provider.conditioners."


class Tensors:
    """Tensors in memory, read as those of `TensorFiles` are."""

    def __init__(self, path: Path, tensors: dict[str, Tensor]) -> None:
        self.path, self.entries, self.files = path, tensors, [path]

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.entries[name].shape)

    def read_into(self, name: str, out: Tensor) -> Tensor:
        return out.copy_(self.entries[name])


def is_audiocraft(source: str) -> bool:
    """Whether `source` is such a file, or a folder that holds one and no configuration of transformers."""
    path = Path(source)
    return path.suffix in (".bin", ".th", ".pt") or ((path / FILE).is_file() and not (path / "config.json").is_file())


def load_audiocraft(source: Path, text_encoder: Path | None, codec: Path | None, dtype: torch.dtype) -> MusicGenParts:
    """Load a state dict of audiocraft beside a T5 and an EnCodec that transformers saved.

    Raises:
        ConfigError: the folder of T5 or of the codec is not given.
        CheckpointError: a pickle that needs more than tensors, or tensors that do not fit; each is named.
    """
    if text_encoder is None or codec is None:
        raise ConfigError(
            f"{source} holds the transformer alone. Give its T5 and its codec, too: "
            "--text-encoder FOLDER --codec FOLDER, each as transformers saves it (t5-base, encodec_32khz)."
        )
    path = source / FILE if source.is_dir() else source
    state, said = read_state(path)
    tensors = Tensors(path, to_transformers(state))
    t5 = read_json(text_encoder / "config.json")
    settings = _settings(tensors, said, t5, read_json(codec / "config.json"))
    parts, audit = build_parts(settings, tensors), Audit(tensors)
    audit.fill(parts.lm, lm_sources(parts.lm), dtype)
    for module, name in ((parts.text.project, "enc_to_dec_proj"), (parts.melody, "audio_enc_to_dec_proj")):
        if module is not None:
            names = {key: [f"{name}.{key.removeprefix('project.')}"] for key in module.state_dict()}
            audit.fill(module, names, dtype)
    audit.close()
    text_files, codec_files = TensorFiles(text_encoder), TensorFiles(codec)
    ours, theirs = Audit(text_files), Audit(codec_files)
    names = {key: [key.replace("encoder.embed_tokens", "shared")] for key in parts.text.encoder.state_dict()}
    ours.fill(parts.text.encoder, names, dtype)
    ours.ignore("decoder.", "lm_head.", "encoder.embed_tokens.")  # a whole T5 was saved
    ours.close()
    theirs.fill(parts.codec, codec_sources(parts.codec, codec_files, prefix=""), torch.float32)
    return finish(parts, theirs, text_encoder)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and the configuration of the training."""
    try:
        package = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state, text = package["best_state"], package["xp.cfg"]
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} is a pickle that would run code, and is not opened: {reason} Get the weights as audiocraft or "
            "transformers publish them."
        ) from error
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is no state dict of audiocraft's MusicGen, or it is damaged: {error!r}. Copy it again."
        ) from error
    return state, yaml.safe_load(text)


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors the names that transformers has for them; three projections in one become three."""
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        head, _, rest = name.partition(".")
        if head == "emb":
            named[f"decoder.model.decoder.embed_tokens.{rest}"] = tensor
        elif head == "linears":
            named[f"decoder.lm_heads.{rest}"] = tensor
        elif head == "out_norm":
            named[f"decoder.model.decoder.layer_norm.{rest}"] = tensor
        elif name.startswith("transformer.layers."):
            number, part = name.removeprefix("transformer.layers.").split(".", 1)
            named |= _layer(f"decoder.model.decoder.layers.{number}.", part, tensor)
        elif name.startswith(CONDITION_PREFIX) and ".output_proj." in name:
            condition, _, part = name.removeprefix(CONDITION_PREFIX).partition(".output_proj.")
            named[f"{CONDITIONS.get(condition, condition)}.{part}"] = tensor
        else:
            named[name] = tensor  # unknown, and will be named in the error
    return named


def _layer(prefix: str, part: str, tensor: Tensor) -> dict[str, Tensor]:
    if part.endswith(".in_proj_weight"):
        attention = "self_attn" if part.startswith("self_attn") else "encoder_attn"
        return {f"{prefix}{attention}.{x}_proj.weight": w for x, w in zip("qkv", tensor.chunk(3), strict=True)}
    module, _, kind = part.rpartition(".")
    return {f"{prefix}{LAYER.get(module, module)}.{kind}": tensor}


def _settings(tensors: Tensors, said: dict[str, Any], t5: dict[str, Any], codec: dict[str, Any]) -> dict[str, Any]:
    """Settings of our modules: sizes from the tensors, the rest from the configuration."""
    names = list(tensors.entries)
    try:
        entries, width = tensors.shape("decoder.model.decoder.embed_tokens.0.weight")
        hidden = tensors.shape("decoder.model.decoder.layers.0.fc1.weight")[0]
        num_heads = int(said["transformer_lm"]["num_heads"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{tensors.path} is no MusicGen of audiocraft: {error!r} is missing.") from error
    has_melody = any(name.startswith("audio_enc_to_dec_proj") for name in names)
    chroma = {"width": width, "num_chroma": 12, "chroma_length": 235} if has_melody else None
    return {
        "lm": {
            "n_q": sum(name.startswith("decoder.lm_heads.") for name in names),
            "card": entries - 1,
            "width": width,
            "num_layers": sum(name.endswith(".fc1.weight") for name in names),
            "num_heads": num_heads,
            "hidden": hidden,
            "has_cross": any(".encoder_attn." in name for name in names),
        },
        "text": {"width": width, "config": t5},
        "codec": {"name": "encodec_32khz", "config": codec},
        "melody": chroma,
        "channels": int(said.get("channels", 1)),
        "sampling": {"guidance_scale": 3.0, "top_k": 250},
    }
