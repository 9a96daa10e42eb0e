"""Turn the stems of a pool into codes, once, for the vocoder and the transformer to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from .. import registry
from .pool import Pool, Stem

__all__ = ["Tokens", "load_codec", "train"]


def load_codec(config: dict[str, Any], weights: str | Path) -> Any:
    """Build the codec of a config block and fill it from a safetensors file."""
    codec = registry.build("codecs", **config)
    codec.load_state_dict(load_file(weights))
    return codec.eval()


@torch.no_grad()
def train(config: dict[str, Any], out: Path) -> None:
    """Write `tokens.npy` ([frames, K] int16, stems end to end) into every shard of the pool that lacks it."""
    pool, codec = Pool(config["pool"]), load_codec(config["codec"], config["codec_weights"])
    for index, (folder, pieces) in enumerate(zip(pool.folders, pool.pieces, strict=True)):
        if (folder / "tokens.npy").exists():
            continue
        rows = []
        for stem in (s for piece in pieces for s in piece.stems):
            sound = torch.from_numpy(pool.sound(index, stem))
            rows.append(codec.encode(sound[None, None])[0].T.numpy().astype(np.int16))
        np.save(folder / "tokens.part.npy", np.concatenate(rows))
        (folder / "tokens.part.npy").rename(folder / "tokens.npy")
        print(f"{folder.name}: {sum(map(len, rows))} frames", flush=True)


class Tokens:
    """The codes of a pool; finds the frames of a stem."""

    def __init__(self, pool: Pool, hop_length: int) -> None:
        self.tables = [np.load(folder / "tokens.npy", mmap_mode="r") for folder in pool.folders]
        self.first: dict[tuple[int, int], int] = {}
        for shard, pieces in enumerate(pool.pieces):
            position = 0
            for stem in (s for piece in pieces for s in piece.stems):
                self.first[shard, stem.audio[0]] = position
                position += -(-stem.audio[1] // hop_length)
        self.hop_length = hop_length

    def codes(self, shard: int, stem: Stem, start: int, frames: int) -> np.ndarray:
        """Codes [K, T] int64 of a stem from frame `start`; T is less than `frames` at the end of the stem."""
        total = -(-stem.audio[1] // self.hop_length)
        first = self.first[shard, stem.audio[0]]
        return self.tables[shard][first + start : first + min(start + frames, total)].T.astype(np.int64)
