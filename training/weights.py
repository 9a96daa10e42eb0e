"""Weights to begin with: a file that an earlier run wrote, or a part of a finished model."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import ConfigError, GenAudioError
from ..pipeline import checkpoint

__all__ = ["read_weights"]


def read_weights(source: str | Path, part: str) -> dict[str, Tensor]:
    """Read the tensors of one part, named as that part names them.

    Args:
        source: a safetensors file of that part alone; or a model's folder or name, such as "etude".
        part: of a model: "codec", "performer" or "attributes".

    Raises:
        ConfigError: neither of both, or a model without that part.
    """
    if Path(source).is_file():
        try:
            return load_file(source)
        except SafetensorError as error:
            raise ConfigError(f"{source} is no safetensors file, or damaged: {error}.") from error
    try:
        _, tensors = checkpoint.load(checkpoint.find_folder(str(source)))
    except GenAudioError as error:
        raise ConfigError(f"weights are to come from '{source}', which is no file, and no model: {error}") from error
    found = {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
    if not found:
        raise ConfigError(f"the model '{source}' has no part '{part}'. Name a model of our own, such as etude.")
    return found
