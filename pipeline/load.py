"""A model's name -> the pipeline that plays it."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from .. import registry
from ..conditioning.attributes import AttributeHeads
from ..errors import CheckpointError
from ..memory import keep_freed
from ..models import int8
from ..models.native.programs import Packer
from . import checkpoint, hub
from .device import find_device, has_fast_gpu
from .executors.choice import build, choose
from .executors.graph import DTYPES
from .performer import Performer
from .pipeline import Pipeline

__all__ = ["load"]

logger = logging.getLogger(__name__)


def load(name: str = "etude", device: str = "auto", precision: str = "auto", executor: str = "auto") -> Pipeline:
    """Load a model.

    Args:
        name: an embedded model; a folder of ours (config.yaml), or one that transformers saved (config.json); or the id
            of a MusicGen on the hub, such as facebook/musicgen-small, with @revision to pin it.
        device: cpu; or cuda or cuda:N, where transformer, text encoder, codec and conditioners go. auto is the first
            GPU for MusicGen, if there is one and precision and executor leave it open, and the CPU otherwise: the small
            steps of etude are faster there.
        precision: of the transformer's matrices: fp32, bf16, int8 or int4; fewer bits are faster and take less memory.
            auto is int8 for weights that are stored as int8, where it loses next to nothing, and fp32 otherwise; on
            a GPU it is bf16.
        executor: native, which is compiled for this processor on first use; reference, which is PyTorch; graph, which
            is for a GPU, and on a CPU for tests; or auto, the first that can be used. All precisions are native's; the
            reference has int8 for all models and bf16 for MusicGen, graph has fp32 and bf16.

    Raises:
        UnknownNameError: no such model, precision or executor.
        CheckpointError: weights that are missing, damaged or of another version, or a hub that cannot be reached.
        ConfigError: a device, precision or executor that cannot be used here.
    """
    keep_freed()
    if executor == "graph" and device == "auto":
        device = "cuda"
    place, folder = find_device(device), checkpoint.find_folder(name)
    is_musicgen = checkpoint.family(folder) == "musicgen"
    if device == "auto" and is_musicgen and executor == "auto" and precision in ("auto", *DTYPES) and has_fast_gpu():
        place = find_device("cuda")
    executor = choose(executor, precision, place)
    if executor == "graph" and precision == "auto":
        precision = "bf16" if place.type == "cuda" else "fp32"
    if is_musicgen:
        return _load_musicgen(folder, name, precision, executor, place)
    pipeline = _load_etude(folder, precision, executor, place)
    # Reads the text encoder now, so that nobody waits for it who waits for the first sound; and not before the tensors
    # of the file are gone, which would leave a hole of 40 MiB.
    pipeline.embed("music")
    return pipeline


def _load_etude(folder: Path, precision: str, executor: str, device: torch.device) -> Pipeline:
    """Load a folder of ours; understanding the prompt and composing stay on the CPU."""
    config, tensors = checkpoint.load(folder)
    codec = registry.build("codecs", **config["codec"])
    performer = Performer(lm=config["lm"], conditioners=config["conditioners"])
    heads = AttributeHeads(**config["attributes"])
    for prefix, module in (("codec.", codec), ("performer.", performer), ("attributes.", heads)):
        _fill(module, {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}, folder)
        module.eval().requires_grad_(False)
    if precision == "auto":
        stored = any(prefix.startswith("performer.") for prefix in config.get("int8", []))
        precision = "int8" if stored and (executor == "native" or int8.available()) else "fp32"
    player = build(performer.lm, executor, precision, device=device)
    for module in (codec, *performer.conditioners.values()):
        module.to(device)
    return Pipeline(config, codec, performer, heads, name=str(config.get("name", folder.name)), executor=player)


def _load_musicgen(folder: Path, name: str, precision: str, executor: str, device: torch.device) -> Pipeline:
    """Load a folder of ours or of transformers; auto is fp32."""
    from .convert import load_converted
    from .musicgen import MusicGen
    from .musicgen_checkpoint import load_parts

    precision = "fp32" if precision == "auto" else precision
    # graph turns the matrices into bf16 itself, and keeps those of the head
    dtype = torch.bfloat16 if precision == "bf16" and executor != "graph" else torch.float32
    packer = Packer(precision) if executor == "native" else None
    if (folder / "config.yaml").is_file():
        parts, licence = load_converted(folder, dtype, packer), str(checkpoint.read_config(folder)["licence"])
    else:
        parts, licence = load_parts(folder, dtype, packer), hub.licence_of(folder)
    logger.warning("licence of the weights of %s: %s", name, licence)
    revision = folder.name if hub.is_hub_id(name) else ""  # the cache names a snapshot after its commit
    player = build(parts.lm, executor, precision, packer, device)
    for module in (parts.text, parts.codec, parts.melody):
        if module is not None:
            module.to(device)
    return MusicGen(parts, name=name, licence=licence, executor=player, revision=revision)


def _fill(module: torch.nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        lines = " ".join(str(error).split())
        raise CheckpointError(f"the weights in {folder} do not fit their config.yaml: {lines}") from error
