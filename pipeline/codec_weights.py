"""Codecs with their weights: the embedded one, those in a file or folder, or the public ones from the network.

Nothing that could run code is ever unpickled.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import registry
from ..codecs.base import Codec, PublicWeights
from ..errors import CheckpointError, ConfigError
from . import checkpoint, hub
from .tensor_file import TensorFiles, read_json

__all__ = ["fill", "fingerprint", "load_codec"]

SHOWN = 4  # names of tensors in an error
# The two weight norms of PyTorch name their tensors differently; a checkpoint may have been written with either.
WEIGHT_NORMS = (".weight_g", ".parametrizations.weight.original0"), (".weight_v", ".parametrizations.weight.original1")


def load_codec(name: str, weights: str | Path | None = None) -> Codec:
    """Build a codec and fill it, in eval mode and without gradients.

    Args:
        name: of a codec, as `gen-audio list codecs` shows them.
        weights: for "spectral" a model folder of ours, by default the embedded one's; "toy" has none. For a codec of
            transformers the folder with its `config.json` and safetensors (a MusicGen folder will do for
            encodec_32khz) or a hub id, for one of the encodec package its checkpoint or a safetensors file. By
            default the public weights are taken from the cache or fetched, unless HF_HUB_OFFLINE is set.

    Raises:
        UnknownNameError: no such codec.
        ConfigError: weights for a codec that has none, or a config that does not describe it.
        CheckpointError: weights that are missing, damaged, of another shape, or a pickle that would run code.
    """
    kind: type[Codec] = registry.find("codecs", name)
    public = kind.public
    if public is None:
        codec = _ours(name, weights)
    elif public.hub_id:
        codec = _of_transformers(name, _folder_or_file(name, public, weights))
    else:
        codec = _of_encodec(name, public, _folder_or_file(name, public, weights))
    return codec.eval().requires_grad_(False)


def fingerprint(codec: Codec) -> str:
    """Hash a codec's tensors, names and shapes included: equal for equal weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(codec.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Give a module all its tensors, neither more nor fewer.

    Args:
        where: the file or folder, for the message.

    Raises:
        CheckpointError: names each tensor that is missing, unknown or of another shape (the first few of many).
    """
    wanted = module.state_dict()
    tensors = {_same_norm(name, wanted): value for name, value in tensors.items()}
    wrong = [
        f"{name} is {list(tensors[name].shape)} instead of {list(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    faults = {
        "missing": [name for name in wanted if name not in tensors],
        "unknown": [name for name in tensors if name not in wanted],
        "wrongly shaped": wrong,
    }
    if any(faults.values()):
        told = "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in faults.items() if names)
        raise CheckpointError(f"the tensors in {where} do not fit: {told}. Give the weights of this very model.")
    module.load_state_dict(tensors)


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _same_norm(name: str, wanted: Mapping[str, Tensor]) -> str:
    """Rename a tensor of a weight norm if the module has the other kind."""
    for pair in WEIGHT_NORMS:
        for old, new in (pair, pair[::-1]):
            if name.endswith(old) and name not in wanted:
                return name[: -len(old)] + new
    return name


def _ours(name: str, weights: str | Path | None) -> Codec:
    """Build a codec of ours, from a model folder unless it has no tensors at all."""
    plain = registry.build("codecs", name)
    if not plain.state_dict():
        if weights is not None:
            raise ConfigError(f"weights were given for codec '{name}', which has none. Leave them out.")
        return plain
    folder = checkpoint.find_folder(str(weights)) if weights is not None else _embedded(name)
    config, tensors = checkpoint.load(folder)
    if config.get("codec", {}).get("name") != name:
        raise ConfigError(f"{folder} holds no codec '{name}'. Give a folder whose config.yaml names it.")
    codec = registry.build("codecs", **config["codec"])
    fill(codec, {key[6:]: value for key, value in tensors.items() if key.startswith("codec.")}, folder)
    return codec


def _embedded(name: str) -> Path:
    for folder in checkpoint.embedded_models().values():
        if checkpoint.read_config(folder).get("codec", {}).get("name") == name:
            return folder
    raise CheckpointError(f"no embedded model has codec '{name}'. Give the folder of one that has, as its weights.")


def _folder_or_file(name: str, public: PublicWeights, weights: str | Path | None) -> Path:
    if weights is None:
        return _fetch(name, public)
    if public.hub_id and hub.is_hub_id(str(weights)):
        return hub.fetch(str(weights))
    if not Path(weights).exists():
        raise CheckpointError(f"'{weights}' does not exist. Give the file or folder with the weights of {name}.")
    return Path(weights)


def _of_transformers(name: str, path: Path) -> Codec:
    """Build a codec from a folder that `save_pretrained` wrote, or from a safetensors file and the default config."""
    config, prefix = None, ""
    if path.is_dir():
        config = read_json(path / "config.json")
        if "audio_encoder" in config:  # a MusicGen folder
            config, prefix = config["audio_encoder"], "audio_encoder."
    codec = registry.build("codecs", name, **({} if config is None else {"config": config}))
    if path.is_file() and path.suffix != ".safetensors":
        raise CheckpointError(f"{path} is no safetensors file. Give one, or the folder that it lies in.")
    files = TensorFiles(path)
    stored = {key[len(prefix) :]: key for key in files.entries if key.startswith(prefix)}
    wanted = codec.model.state_dict()
    tensors = {
        name if name in wanted else codec.published_name(name): files.read(key, torch.float32)
        for name, key in stored.items()
    }
    fill(codec.model, tensors, path)
    return codec


def _of_encodec(name: str, public: PublicWeights, path: Path) -> Codec:
    """Build a codec of the encodec package from its checkpoint, from safetensors, or from a folder with either."""
    if path.is_dir():
        found = [path / public.checkpoint, *sorted(path.glob("*.safetensors"))]
        path = next((file for file in found if file.is_file()), path / public.checkpoint)
        if not path.is_file():
            raise CheckpointError(f"{path} is missing. Put the file of the encodec package there, or a safetensors.")
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    codec = registry.build("codecs", name)
    fill(codec.model, tensors, path)
    return codec


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    files = TensorFiles(path)
    return {name: files.read(name, torch.float32) for name in files.entries}


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint of PyTorch that holds tensors and nothing that would run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on newer pickles, before it refuses them
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what is wrong inside a pickle can fail in any way
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path} is refused: to unpickle it could run code of its author (it calls {found[1]}). Give a "
                "checkpoint that holds tensors alone, or safetensors."
            ) from error
        raise CheckpointError(
            f"{path} is truncated or holds more than tensors. Copy it again, or give safetensors."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds something other than tensors by name. Give the state of the model alone.")
    return state


def _fetch(name: str, public: PublicWeights) -> Path:
    """Find the public weights in the cache, or fetch them into it."""
    try:
        return hub.fetch(public.hub_id) if public.hub_id else _fetch_checkpoint(public.checkpoint)
    except Exception as error:  # every layer of a network has errors of its own
        raise CheckpointError(
            f"the public weights of codec '{name}' ({public.hub_id or public.checkpoint}) are not in the local cache "
            f"and could not be fetched. Connect to the network, or copy the {'folder' if public.hub_id else 'file'} "
            f"from another machine and give its path: --weights ./{'folder' if public.hub_id else public.checkpoint}."
        ) from error


def _fetch_checkpoint(checkpoint: str) -> Path:
    """Find a checkpoint of the encodec package where PyTorch keeps downloads, or fetch it; its name holds its hash."""
    from encodec.model import ROOT_URL

    path = Path(torch.hub.get_dir()) / "checkpoints" / checkpoint
    if not path.is_file():
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):  # one switch for every download
            raise FileNotFoundError(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = checkpoint.rsplit("-", 1)[1].partition(".")[0]
        torch.hub.download_url_to_file(ROOT_URL + checkpoint, str(path), hash_prefix=digest, progress=False)
    return path
