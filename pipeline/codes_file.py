"""Sound as codes in a file: `NAME.codes.safetensors`, which docs/codes.md describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import CheckpointError, ConfigError, ShapeError

if TYPE_CHECKING:
    from ..codecs.base import Codec

__all__ = ["FORMAT_VERSION", "CodesFile", "load_codes", "save_codes"]

FORMAT = "gen-audio codes"
FORMAT_VERSION = 1
COUNTS = ("sample_rate", "hop_length", "channels", "card", "levels", "num_audio_samples")


@dataclass(frozen=True)
class CodesFile:
    """Codes of one sound and all that is needed to decode them with the right codec to the right length."""

    codes: np.ndarray  # [K, T] int64
    codec: str
    weights_sha256: str  # of the codec, by `codec_weights.fingerprint`
    sample_rate: int
    hop_length: int
    channels: int
    card: int
    num_audio_samples: int  # of the sound, at sample_rate, in one channel

    @classmethod
    def of(cls, codes: np.ndarray, codec: Codec, name: str, sha256: str, num_audio_samples: int) -> CodesFile:
        """Describe codes [K, T] that a codec has made of so many samples."""
        rate, hop = codec.sample_rate, codec.hop_length
        return cls(codes, name, sha256, rate, hop, codec.channels, codec.card, num_audio_samples)

    @property
    def levels(self) -> int:
        return self.codes.shape[0]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_audio_samples / self.sample_rate

    def check(self, codec: Codec, name: str, sha256: str) -> None:
        """Raise ConfigError or ShapeError unless `codec` is the one that made the codes."""
        if name != self.codec:
            raise ConfigError(f"the codes were made by codec '{self.codec}', not by '{name}'. Decode them with it.")
        if sha256 != self.weights_sha256:
            raise ConfigError(
                f"the codes were made by codec '{name}' with other weights: sha256 {self.weights_sha256[:12]}, but "
                f"these have {sha256[:12]}. Give the weights that encoded them."
            )
        for fact in ("sample_rate", "hop_length", "channels", "card"):
            if getattr(self, fact) != getattr(codec, fact):
                raise ConfigError(
                    f"the codes have {fact} {getattr(self, fact)}, but codec '{name}' has {getattr(codec, fact)}. "
                    "Decode them with the codec that made them."
                )
        if self.levels > codec.n_q:
            raise ShapeError(f"the codes have {self.levels} levels, but codec '{name}' has {codec.n_q}.")
        if codec.num_frames(self.num_audio_samples) != self.codes.shape[1]:
            raise ShapeError(
                f"the codes have {self.codes.shape[1]} frames, but {self.num_audio_samples} samples need "
                f"{codec.num_frames(self.num_audio_samples)}. The file was changed; encode again."
            )


def save_codes(path: Path, file: CodesFile) -> None:
    """Write a codes file to `path` itself; a caller that must not leave half a file gives a temporary path."""
    facts = {name: str(getattr(file, name)) for name in COUNTS}
    facts |= {"codec": file.codec, "weights_sha256": file.weights_sha256}
    facts |= {"format": FORMAT, "format_version": str(FORMAT_VERSION)}
    save_file({"codes": np.ascontiguousarray(file.codes, np.uint16)}, path, metadata=facts)
    path.chmod(0o644)  # safetensors writes files that only their owner may read


def load_codes(path: Path) -> CodesFile:
    """Read a codes file.

    Raises:
        CheckpointError: it is missing, truncated, no codes file, of a newer version, or contradicts itself.
    """
    if not path.is_file():
        raise CheckpointError(f"'{path}' does not exist. Give a file that gen-audio codec encode wrote.")
    try:
        with safe_open(path, "numpy") as file:
            facts = file.metadata() or {}
            names = list(file.keys())
            codes = file.get_tensor("codes") if "codes" in names else None
    except (SafetensorError, OSError, TypeError) as error:
        raise CheckpointError(f"{path} is truncated or no safetensors file: {error}. Encode again.") from error
    if facts.get("format") != FORMAT:
        raise CheckpointError(f"{path} holds no codes of gen-audio. Give a file that gen-audio codec encode wrote.")
    if _number(path, facts, "format_version") > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {facts['format_version']}; this release reads up to {FORMAT_VERSION}. "
            "Update gen-audio."
        )
    return _checked(path, facts, codes)


def _checked(path: Path, facts: Mapping[str, str], codes: Any) -> CodesFile:
    """Check that a file of ours agrees with itself."""
    counts = {name: _number(path, facts, name) for name in COUNTS}
    levels = counts.pop("levels")
    if codes is None or codes.ndim != 2 or codes.dtype.kind not in "iu" or codes.shape[0] != levels or not codes.size:
        shape = "none" if codes is None else f"{codes.dtype} {list(codes.shape)}"
        raise CheckpointError(f"{path} needs whole numbers `codes` [{levels}, T], but has {shape}. Encode again.")
    codes = codes.astype(np.int64)
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= counts["card"]:
        raise CheckpointError(
            f"{path} has codes from {low} to {high}, but entries 0 to {counts['card'] - 1}. Encode again."
        )
    if not facts.get("codec") or not re.fullmatch("[0-9a-f]{64}", facts.get("weights_sha256", "")):
        raise CheckpointError(f"{path} does not say which codec and weights made it. Encode again.")
    return CodesFile(codes=codes, codec=facts["codec"], weights_sha256=facts["weights_sha256"], **counts)


def _number(path: Path, facts: Mapping[str, str], name: str) -> int:
    """Read a positive whole number out of the metadata."""
    text = facts.get(name, "")
    if not re.fullmatch(r"[1-9]\d{0,17}", text):
        raise CheckpointError(f"{path} states {name} as '{text}'; it must be a positive whole number. Encode again.")
    return int(text)
