"""A device by its name, if it can be used here."""

from __future__ import annotations

import torch

from ..errors import ConfigError

__all__ = ["find_device", "has_fast_gpu"]


def find_device(name: str) -> torch.device:
    """Turn auto, cpu, cuda or cuda:N into a device.

    "auto" is the CPU; `load` says when it is not.

    Raises:
        ConfigError: another name, or a device that this PyTorch does not see.
    """
    kind, _, number = name.partition(":")
    if name in ("auto", "cpu"):
        return torch.device("cpu")
    if name == "mps":
        raise ConfigError("device is 'mps', on which nothing here was ever tested. Use cpu.")
    if kind != "cuda" or not (number.isdecimal() or name == "cuda"):
        raise ConfigError(f"device is '{name}'; it must be auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        raise ConfigError(
            f"device is '{name}', but this PyTorch ({torch.__version__}) sees no CUDA device. Use cpu; or install the "
            "driver of an NVIDIA GPU, and a PyTorch that was built for CUDA."
        )
    if int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is '{name}', but there are {torch.cuda.device_count()} CUDA devices, counted from cuda:0."
        )
    return torch.device("cuda", int(number or 0))


def has_fast_gpu() -> bool:
    """Whether the first GPU has bf16 in hardware (Ampere and later)."""
    return torch.cuda.is_available() and torch.cuda.get_device_capability(0) >= (8, 0)
