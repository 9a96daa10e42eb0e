"""Which executor plays a model, and in which precision."""

from __future__ import annotations

import logging

import torch

from ...errors import ConfigError, UnknownNameError
from ...models import half, int8
from ...models.lm import CodecLM
from ...models.musicgen import MusicGenLM
from ...models.native import library
from ...models.native.programs import Packer
from ..params import EXECUTORS, PRECISIONS
from .base import Executor
from .graph import DTYPES, Graph
from .native import Native
from .reference import Reference

__all__ = ["build", "choose"]

logger = logging.getLogger(__name__)


CPU = torch.device("cpu")


def choose(executor: str, precision: str, device: torch.device = CPU) -> str:
    """Name the executor to use: graph on a GPU; on a CPU native where it can be, unless another was asked for.

    Raises:
        UnknownNameError: no such executor or precision.
        ConfigError: native was asked for, or int4, which it alone has, and it cannot be used here; or a device or
            precision that the executor does not have.
    """
    if executor not in EXECUTORS:
        raise UnknownNameError("executor", executor, EXECUTORS)
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    if executor == "graph" or device.type != "cpu":
        return _graph(executor, precision, device)
    if executor == "reference":
        if precision == "int4":
            raise ConfigError("precision is 'int4', which the reference executor does not have. Use native, or int8.")
        return "reference"
    try:
        library.load()
    except library.NativeError as error:
        if executor == "native" or precision == "int4":
            asked = "executor is 'native'" if executor == "native" else "precision is 'int4'"
            raise ConfigError(f"{asked}, but {error}; or leave it out, and PyTorch plays, more slowly.") from error
        logger.warning("%s. Until then PyTorch plays, more slowly.", error)
        return "reference"
    return "native"


def _graph(executor: str, precision: str, device: torch.device) -> str:
    if executor not in ("auto", "graph"):
        raise ConfigError(f"executor is '{executor}', which plays on the CPU, and device is '{device}'. Use graph.")
    if precision not in ("auto", *DTYPES):
        raise ConfigError(
            f"precision is '{precision}', but the graph executor plays in {' or '.join(DTYPES)}. Use one of these, or "
            "the CPU with another executor."
        )
    return "graph"


def build(
    lm: CodecLM | MusicGenLM,
    executor: str,
    precision: str,
    packer: Packer | None = None,
    device: torch.device = CPU,
) -> Executor:
    """Make the executor that `choose` named. The modules of `lm` may be changed by it; `packer` has its matrices.

    Raises:
        ConfigError: a precision that the reference executor lacks for this model, or on this CPU.
        NativeError: a model that the native one does not know.
    """
    if executor == "graph":
        return Graph(lm, precision, device)
    if executor == "native":
        return Native(lm, packer or Packer(precision))
    if precision == "int8":
        if not int8.available():
            raise ConfigError("precision is 'int8', but this PyTorch on this CPU has no fast int8 product. Use fp32.")
        int8.to_int8(lm)
    elif precision == "bf16":
        if isinstance(lm, CodecLM):
            raise ConfigError("precision is 'bf16', in which PyTorch does not play this model. Use auto, fp32 or int8.")
        if not half.has_fast_bf16():
            half.to_half(lm)
    return Reference(lm, precision)
