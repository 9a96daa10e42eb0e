"""Read a pool once for the trainers of vocoder and transformer: stems become codes, captions become embeddings."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import registry
from ..composition.captions import caption
from ..composition.instruments import program_name
from ..conditioning.minilm import find_folder, load_encoder
from .loop import pick_device
from .pool import Piece, Pool, Stem
from .weights import read_weights

__all__ = ["Tokens", "load_codec", "train"]


def load_codec(config: dict[str, Any], weights: str | Path) -> Any:
    """Build the codec of a config block and fill it from a safetensors file or a model."""
    codec = registry.build("codecs", **config)
    codec.load_state_dict(read_weights(weights, "codec"))
    return codec.eval()


def train(config: dict[str, Any], out: Path) -> None:
    """Write `tokens.npy` ([frames, K] int16, stems end to end) and `text.npy` into every shard that lacks them.

    A GPU takes one shard after the other; on a CPU `workers` take one each.
    """
    pool = Pool(config["pool"])
    jobs = [(config, i) for i, folder in enumerate(pool.folders) if not (folder / "tokens.npy").exists()]
    if pick_device(config.get("device", "auto")).type == "cpu":
        with multiprocessing.get_context("spawn").Pool(config["workers"]) as workers:
            for line in workers.imap_unordered(_encode_shard, jobs):
                print(line, flush=True)
    else:
        for job in jobs:
            print(_encode_shard(job), flush=True)
    embed_captions(pool, config["captions"], config["seed"])


@torch.no_grad()
def _encode_shard(job: tuple[dict[str, Any], int]) -> str:
    """Encode the stems of one shard, on a CPU with one thread: shards side by side use the cores better."""
    config, index = job
    device = pick_device(config.get("device", "auto"))
    if device.type == "cpu":
        torch.set_num_threads(1)
    pool, codec = Pool(config["pool"]), load_codec(config["codec"], config["codec_weights"])
    codec.to(device)
    folder, rows = pool.folders[index], []
    for stem in (s for piece in pool.pieces[index] for s in piece.stems):
        sound = torch.from_numpy(pool.sound(index, stem)).to(device)
        rows.append(codec.encode(sound[None, None])[0].T.cpu().numpy().astype(np.int16))
    np.save(folder / "tokens.part.npy", np.concatenate(rows))
    (folder / "tokens.part.npy").rename(folder / "tokens.npy")
    return f"{folder.name}: {sum(map(len, rows))} frames"


def facts_of(piece: Piece) -> dict[str, Any]:
    """What a caption may say about a piece."""
    plan = piece.plan
    return {
        "style": plan.style,
        "tempo": plan.tempo,
        "key": plan.key,
        "mood": plan.mood,
        "meter": plan.meter,
        "instruments": [program_name(role, program) for role, program in plan.instruments.items()],
        "energy": sum(bar.section.energy for bar in plan.bars) / plan.num_bars,
    }


def embed_captions(pool: Pool, count: int, seed: int) -> None:
    """Write `text.npy` ([pieces, count, E] float16) into every shard: embeddings of captions drawn for each piece."""
    encoder = load_encoder(find_folder())
    for index, (folder, pieces) in enumerate(zip(pool.folders, pool.pieces, strict=True)):
        if (folder / "text.npy").exists():
            continue
        rng = random.Random(f"{seed}:captions:{index}")
        texts = [caption(facts_of(piece), rng) for piece in pieces for _ in range(count)]
        vectors = encoder.encode(texts, batch_size=64).numpy().astype(np.float16)
        np.save(folder / "text.part.npy", vectors.reshape(len(pieces), count, -1))
        (folder / "text.part.npy").rename(folder / "text.npy")


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
