"""Train the codes of the spectral codec on log-mel patches; the vocoder is trained apart, by training/vocoder.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from .. import registry
from .loop import autocast, pick_device, run
from .pool import Pool

__all__ = ["CodecStage", "MelCache", "train"]


class MelCache:
    """Normalised log-mels of a pool as one float16 file, so that a training step needs no FFT.

    `spans[i]` is (first, last) mel frame of stem i; stems shorter than a crop are left out.
    """

    def __init__(self, pool: Pool, codec: Any, path: Path, *, held_out: bool, shortest: int, shards: int) -> None:
        stems = [
            s for s in pool.stems(held_out) if s[0] <= shards and s[2].audio[1] * 100 // codec.sample_rate >= shortest
        ]
        lengths = [4 * codec.num_frames(s.audio[1]) for _, _, s in stems]
        ends = np.cumsum(lengths)
        self.spans = list(zip(ends - lengths, ends, strict=True))
        if not path.exists():
            part = path.with_suffix(".part")
            table = open_memmap(part, "w+", np.float16, (int(ends[-1]), codec.num_bands))
            for (shard, _, stem), (first, last) in zip(stems, self.spans, strict=True):
                sound = torch.from_numpy(pool.sound(shard, stem))
                table[first:last] = codec.log_mel(sound[None, None])[0].numpy()
            table.flush()
            part.rename(path)
        self.table = np.load(path, mmap_mode="r")

    def crops(self, rng: np.random.Generator, count: int, frames: int) -> Tensor:
        """Draw [count, frames, bands]; crops that are nearly silent are drawn again, up to four times."""
        out = np.empty((count, frames, self.table.shape[1]), np.float32)
        for row in range(count):
            for _ in range(4):
                first, last = self.spans[rng.integers(len(self.spans))]
                start = first + 4 * rng.integers((last - first - frames) // 4 + 1)
                out[row] = self.table[start : start + frames]
                if out[row].mean() > self.table.dtype.type(-1.5):  # digital silence is -1.68
                    break
        return torch.from_numpy(out)


class CodecStage:
    """Autoencoder of mel patches: plain for the first steps, then k-means, then quantised."""

    part, critic = "codec", None

    def __init__(self, config: dict[str, Any], out: Path) -> None:
        self.config, self.device = config, pick_device(config.get("device", "auto"))
        self.module = registry.build("codecs", **config["codec"])
        self.module.vocoder.requires_grad_(False)
        pool = Pool(config["pool"])
        frames = config["crop_frames"] * 4
        out.mkdir(parents=True, exist_ok=True)
        shards = config["shards"]
        self.data = MelCache(pool, self.module, out / "mel-train.npy", held_out=False, shortest=frames, shards=shards)
        self.held_out = MelCache(
            pool, self.module, out / "mel-held-out.npy", held_out=True, shortest=frames, shards=shards
        )

    def batch(self, data: MelCache, rng: np.random.Generator) -> Tensor:
        mel = data.crops(rng, self.config["batch_size"], self.config["crop_frames"] * 4)
        floor = float(np.log(1e-4) + 5.0) / 2.5
        gain = torch.from_numpy(rng.uniform(-0.5, 0.2, (len(mel), 1, 1)).astype(np.float32))  # -11 .. +4 dB
        return (mel + gain).clamp(min=floor).to(self.device)

    def loss(self, step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        codec, quantiser = self.module, self.module.quantiser
        if step == self.config["quantise_from"]:
            with torch.no_grad(), autocast(self.device, self.config["bf16"]):
                latents = [codec.latent(self.batch(self.data, rng)).flatten(0, 1) for _ in range(10)]
            quantiser.start(torch.cat(latents))
        mel = self.batch(self.data, rng)
        commitment, used = torch.zeros(()), torch.ones(1)
        with autocast(self.device, self.config["bf16"]):
            latent = codec.latent(mel)
            if step >= self.config["quantise_from"]:
                keep = torch.from_numpy(self._levels(rng, len(mel))).to(self.device)
                latent, commitment, used = quantiser(latent, keep)
            rebuilt, _ = codec.mel_from_latent(latent)
        error = (rebuilt.float() - mel).abs().mean()
        metrics = {
            "mel_l1": 2.5 * float(error.detach()),
            "commitment": float(commitment.detach()),
            "used_least": float(used.min()),
        }
        return error + self.config["commitment_weight"] * commitment, metrics

    def _levels(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Levels that each item keeps: a share of the items keeps only the first few (quantiser dropout)."""
        few = rng.integers(1, self.module.n_q + 1, count)
        return np.where(rng.random(count) < self.config["quantiser_dropout"], few, self.module.n_q)

    def validate(self) -> dict[str, float]:
        """Mel L1 in nats with 1, 2, 4 and all levels, and the share of entries used at the worst level."""
        mel = self.batch(self.held_out, np.random.default_rng(0))
        codec = self.module
        latent = codec.latent(mel)
        rebuilt, _ = codec.mel_from_latent(latent)
        report = {"mel_plain": 2.5 * float((rebuilt - mel).abs().mean())}
        if float(codec.quantiser.codebooks.abs().sum()) == 0:
            return report
        codes = codec.quantiser.encode(latent)
        for levels in (1, 2, 4, codec.n_q):
            rebuilt, _ = codec.mel_from_latent(codec.quantiser.decode(codes[:, :levels]))
            report[f"mel_{levels}"] = 2.5 * float((rebuilt - mel).abs().mean())
        report["codes_seen_least"] = float(min(len(level.unique()) for level in codes.transpose(0, 1)))
        return report


def train(config: dict[str, Any], out: Path) -> None:
    """Train the codes; writes `model.safetensors` of the whole codec with an untrained vocoder."""
    run(CodecStage(config, out), config, out)
