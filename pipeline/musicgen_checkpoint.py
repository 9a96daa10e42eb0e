"""MusicGen's public weights, as `save_pretrained` of transformers writes them, put into our own modules.

Every tensor is accounted for: one that is missing, left over or of another shape is named.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import registry
from ..codecs.base import Codec
from ..conditioning.melody import Melody
from ..conditioning.t5 import T5
from ..errors import CheckpointError
from ..models.half import has_fast_bf16
from ..models.musicgen import MusicGenLM
from ..models.native.programs import Packer
from .audit import Audit, Stored
from .tensor_file import TensorFiles, read_json

__all__ = [
    "MusicGenParts",
    "build_parts",
    "codec_sources",
    "finish",
    "lm_sources",
    "load_parts",
    "quiet",
    "read_settings",
    "text_dtype",
]

FAMILIES = ("musicgen", "musicgen_melody")
DECODER = "decoder.model.decoder."
DERIVED = (f"{DECODER}embed_positions.weights", "text_encoder.encoder.embed_tokens.weight")  # stored by some


@dataclass
class MusicGenParts:
    """A loaded MusicGen: its modules, in eval mode, and the settings that they were built from."""

    lm: MusicGenLM
    text: T5
    codec: Codec
    melody: Melody | None
    settings: dict[str, Any]  # lm, text, codec, melody: constructor arguments; channels, sampling
    files: list[Path]

    @property
    def channels(self) -> int:
        """1, or 2: the codebooks of left and right take turns."""
        return int(self.settings["channels"])

    def modules(self) -> dict[str, nn.Module]:
        """The modules that hold weights, by the names that our own files give them."""
        parts = {"lm": self.lm, "text": self.text, "codec": self.codec, "melody": self.melody}
        return {name: module for name, module in parts.items() if module is not None}


def read_settings(folder: Path) -> dict[str, Any]:
    """What config.json says, as settings of our modules, with the defaults of transformers filled in.

    Raises:
        CheckpointError: it cannot be read, or it describes another architecture.
    """
    from transformers import MusicgenConfig, MusicgenMelodyConfig

    path = folder / "config.json"
    said = read_json(path)
    family = said.get("model_type")
    if family not in FAMILIES:
        raise CheckpointError(
            f"{path} describes a model of type '{family}'; --model plays {' and '.join(FAMILIES)}, and our own folders."
        )
    cls = MusicgenConfig if family == "musicgen" else MusicgenMelodyConfig
    with quiet():  # it finds fault with special tokens that lie one past the vocabulary, where they belong here
        full: dict[str, Any] = cls.from_dict(said).to_dict()
    decoder, text, audio = full["decoder"], full["text_encoder"], full["audio_encoder"]
    kinds = (decoder["activation_function"], text["model_type"], audio["model_type"])
    if kinds != ("gelu", "t5", "encodec"):
        raise CheckpointError(
            f"{path} asks for activation '{kinds[0]}', text encoder '{kinds[1]}' and audio encoder '{kinds[2]}'; "
            "only gelu, t5 and encodec can be played."
        )
    return {
        "lm": {
            "n_q": decoder["num_codebooks"],
            "card": decoder["vocab_size"],
            "width": decoder["hidden_size"],
            "num_layers": decoder["num_hidden_layers"],
            "num_heads": decoder["num_attention_heads"],
            "hidden": decoder["ffn_dim"],
            "has_cross": family == "musicgen",
        },
        "text": {"width": decoder["hidden_size"], "config": text},
        "codec": {"name": "encodec_32khz", "config": audio},
        "melody": _melody_settings(folder, full) if family == "musicgen_melody" else None,
        "channels": decoder["audio_channels"],
        "sampling": _sampling(folder),
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Hear nothing but errors from transformers for a while."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def load_parts(folder: Path, dtype: torch.dtype = torch.float32, packer: Packer | None = None) -> MusicGenParts:
    """Load a folder that transformers saved; the transformer in `dtype`, T5 if it can, the codec in float32.

    `packer`, if given, takes the matrices of the transformer as they are read; its modules hold none then.

    Raises:
        CheckpointError: a broken configuration or file, or tensors that do not fit; each is named.
    """
    settings, files = read_settings(folder), TensorFiles(folder)
    parts, audit = build_parts(settings, files), Audit(files)
    fill_lm(audit, parts.lm, lm_sources(parts.lm), dtype, packer)
    audit.fill(parts.text, text_sources(parts.text), text_dtype(dtype))
    if parts.melody is not None:
        names = {name: [name.replace("project", "audio_enc_to_dec_proj")] for name in _names(parts.melody)}
        audit.fill(parts.melody, names, dtype)
    audit.fill(parts.codec, codec_sources(parts.codec, files), torch.float32)
    audit.ignore(*DERIVED)
    return finish(parts, audit, folder)


def fill_lm(
    audit: Audit, lm: MusicGenLM, sources: dict[str, list[str]], dtype: torch.dtype, packer: Packer | None
) -> None:
    """Fill the transformer, or pack its matrices, from float32."""
    if packer is None:
        audit.fill(lm, sources, dtype)
    else:
        audit.fill(lm, sources, torch.float32, functools.partial(packer.keep, lm))


def text_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type that T5 runs in beside a transformer in `dtype`: bf16 only where that is fast."""
    return dtype if dtype != torch.bfloat16 or has_fast_bf16() else torch.float32


def build_parts(settings: dict[str, Any], files: Stored) -> MusicGenParts:
    """Build the modules without weights."""
    from transformers.initialization import no_init_weights

    melody = settings["melody"]
    with torch.device("meta"):
        lm, text = MusicGenLM(**settings["lm"]), T5(**settings["text"])
        chroma = Melody(**melody) if melody is not None else None
    with no_init_weights():  # EnCodec has buffers that are not stored, so it is built for good
        codec = registry.build("codecs", **settings["codec"])
    return MusicGenParts(lm, text, codec, chroma, settings, files.files)


def finish(parts: MusicGenParts, audit: Audit, folder: Path) -> MusicGenParts:
    """Check that everything was filled, and load the tokenizer."""
    audit.close()
    parts.text.use_tokenizer(folder)
    for module in parts.modules().values():
        module.eval().requires_grad_(False)
    return parts


def lm_sources(lm: MusicGenLM) -> dict[str, list[str]]:
    """Name of each of our tensors -> the stored tensors that are stacked to make it."""
    levels = range(lm.n_q)
    sources = {
        "embedding.weight": [f"{DECODER}embed_tokens.{k}.weight" for k in levels],
        "head.out.weight": [f"decoder.lm_heads.{k}.weight" for k in levels],
        "norm.weight": [f"{DECODER}layer_norm.weight"],
        "norm.bias": [f"{DECODER}layer_norm.bias"],
    }
    matrices = {"qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], "out": ["self_attn.out_proj"]}
    norms = {"norm": "self_attn_layer_norm", "up_norm": "final_layer_norm"}
    if lm.has_cross:
        matrices |= {
            "cross_q": ["encoder_attn.q_proj"],
            "cross_kv": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
            "cross_out": ["encoder_attn.out_proj"],
        }
        norms["cross_norm"] = "encoder_attn_layer_norm"
    matrices |= {"up": ["fc1"], "down": ["fc2"]}
    for i in range(len(lm.blocks)):
        stored = f"{DECODER}layers.{i}."
        for ours, theirs in matrices.items():
            sources[f"blocks.{i}.{ours}.weight"] = [f"{stored}{name}.weight" for name in theirs]
        for ours, one in norms.items():
            for part in ("weight", "bias"):
                sources[f"blocks.{i}.{ours}.{part}"] = [f"{stored}{one}.{part}"]
    return sources


def text_sources(text: T5) -> dict[str, list[str]]:
    """As `lm_sources`, for T5, whose two names of the one embedding are stored once."""
    sources = {}
    for name in _names(text):
        stored = name.replace("encoder.", "text_encoder.", 1).replace("project.", "enc_to_dec_proj.")
        sources[name] = [stored.replace("text_encoder.encoder.embed_tokens", "text_encoder.shared")]
    return sources


def codec_sources(codec: nn.Module, files: Stored, prefix: str = "audio_encoder.") -> dict[str, list[str]]:
    """As `lm_sources`, for EnCodec; older files have other names for the two halves of a normalised weight."""
    sources = {}
    for name in _names(codec):
        stored = name.replace("model.", prefix, 1)
        if stored not in files:
            old = stored.replace("parametrizations.weight.original0", "weight_g")
            stored = old.replace("parametrizations.weight.original1", "weight_v")
        sources[name] = [stored]
    return sources


def _names(module: nn.Module) -> list[str]:
    return list(module.state_dict())


def _melody_settings(folder: Path, full: Mapping[str, Any]) -> dict[str, Any]:
    """The melody conditioner, with the spectrogram that preprocessor_config.json describes."""
    path = folder / "preprocessor_config.json"
    said = read_json(path) if path.is_file() else {}
    names = {"n_fft": "n_fft", "hop_length": "hop_length", "sample_rate": "sampling_rate"}
    found = {ours: said[theirs] for ours, theirs in names.items() if theirs in said}
    sizes = {"num_chroma": full["num_chroma"], "chroma_length": full["chroma_length"]}
    return {"width": full["decoder"]["hidden_size"], **sizes, **found}


def _sampling(folder: Path) -> dict[str, Any]:
    """Guidance and filter to use when the user says nothing: the folder's, else those of the paper."""
    path = folder / "generation_config.json"
    said = read_json(path) if path.is_file() else {}
    # transformers filters by top_k 50 unless told otherwise, audiocraft and the paper by 250
    return {"guidance_scale": said.get("guidance_scale") or 3.0, "top_k": said.get("top_k") or 250}
