"""Train the performer: transformer and conditioners, on the codes of composed stems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..composition.score import MIX, ROLES
from ..conditioning.notes import note_roll
from ..conditioning.plan import plan_frames
from ..errors import ConfigError
from ..pipeline.performer import Performer
from .loop import autocast, pick_device, run, to_device
from .pool import Piece, Pool, Stem
from .tokens import Tokens

__all__ = ["LMStage", "train"]

ROWS = (*ROLES, MIX)


class LMStage:
    """Next-column prediction on crops of single stems, every condition dropped at random."""

    part, critic = "performer", None

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.device = config, pick_device(config.get("device", "auto"))
        self.module = Performer(lm=config["lm"], conditioners=config["conditioners"])
        self.pool = Pool(config["pool"])
        self.frame_rate = config["frame_rate"]
        self.tokens = Tokens(self.pool, config["hop_length"])
        self.texts = [np.load(folder / "text.npy") for folder in self.pool.folders]
        self.stems = {part: self._by_role(part) for part in (False, True)}

    def _by_role(self, held_out: bool) -> dict[str, list[tuple[int, int, Piece, Stem]]]:
        """Group the long enough stems by role, each with its shard and the number of its piece in the shard."""
        groups: dict[str, list[tuple[int, int, Piece, Stem]]] = {role: [] for role in ROWS}
        for shard, pieces in enumerate(self.pool.pieces):
            if (shard == 0) != held_out:
                continue
            for number, piece in enumerate(pieces):
                for stem in piece.stems:
                    if stem.audio[1] >= self.config["crop_frames"] * self.config["hop_length"]:
                        groups[stem.role].append((shard, number, piece, stem))
        wanted = {role: rows for role, rows in groups.items() if rows and self.config["role_weights"].get(role)}
        if not wanted:
            raise ConfigError(
                f"the {'held-out' if held_out else 'training'} part of {self.config['pool']} has no stem of "
                f"{self.config['crop_frames']} frames or more for the roles in role_weights. Make longer pieces."
            )
        return wanted

    def batch(
        self, rng: np.random.Generator, held_out: bool, count: int, roles: list[str] | None = None
    ) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
        """Codes [B, K, T] and prepared conditions of `count` crops; silent stretches are drawn again."""
        weights = np.array([self.config["role_weights"].get(role, 0) for role in self.stems[held_out]], float)
        names = list(self.stems[held_out])
        codes: list[np.ndarray] = []
        rolls, plans, texts, role_ids, programs, starts, totals = [], [], [], [], [], [], []
        frames = self.config["crop_frames"]
        while len(codes) < count:
            role = roles[len(codes)] if roles else names[rng.choice(len(names), p=weights / weights.sum())]
            group = self.stems[held_out][role]
            shard, number, piece, stem = group[rng.integers(len(group))]
            start = int(rng.integers(stem.audio[1] // self.config["hop_length"] - frames + 1))
            roll = self._roll(shard, piece, stem, start)
            if not roll[:, :, 2:-2].any() and stem.role != MIX and rng.random() < 0.95:
                continue
            codes.append(self.tokens.codes(shard, stem, start, frames)[: self.module.lm.n_q])
            rolls.append(roll)
            plans.append(plan_frames(piece.plan, start_frame=start, num_frames=frames, frame_rate=self.frame_rate))
            texts.append(self.texts[shard][number, rng.integers(self.texts[shard].shape[1])])
            role_ids.append(ROWS.index(stem.role))
            programs.append(stem.program if stem.role != MIX else -1)
            starts.append(start)
            totals.append(piece.plan.duration)
        parts = self.module.conditioners
        prepared = {
            "notes": parts["notes"].prepare(rolls, role_ids, programs),
            "plan": parts["plan"].prepare(plans),
            "timing": parts["timing"].prepare(starts, frames, totals, self.frame_rate),
            "minilm": {"embedding": torch.from_numpy(np.stack(texts).astype(np.float32))},
        }
        return to_device((torch.from_numpy(np.stack(codes)), prepared), self.device)

    def _roll(self, shard: int, piece: Piece, stem: Stem, start: int) -> np.ndarray:
        """Piano roll of a stem with the notes' margin on both sides; a mix hears the notes of all stems."""
        margin = self.module.conditioners["notes"].margin
        rolls = []
        for part in piece.stems if stem.role == MIX else (stem,):
            first, count = part.notes
            table = self.pool.notes[shard][first : first + count]
            rolls.append(
                note_roll(
                    np.asarray(table),
                    is_drums=part.role == "drums",
                    start_frame=start - margin,
                    num_frames=self.config["crop_frames"] + 2 * margin,
                    frame_rate=self.frame_rate,
                )
            )
        return np.maximum.reduce(rolls)

    def _drops(self, rng: np.random.Generator, prepared: Mapping[str, Any]) -> dict[str, Tensor]:
        """Decide which rows hear which condition; mixes lose their notes more often."""
        count = len(prepared["notes"]["role"])
        chance = {name: np.full(count, share) for name, share in self.config["drop"].items()}
        is_mix = prepared["notes"]["role"].cpu().numpy() == ROWS.index(MIX)
        chance["notes"] = np.where(is_mix, self.config["drop_mix_notes"], chance["notes"])
        return {name: torch.from_numpy(rng.random(count) < share).to(self.device) for name, share in chance.items()}

    def _history(self, rng: np.random.Generator, codes: Tensor) -> Tensor:
        """Codes as the network will see them: some frames come from elsewhere, and in some rows one frame stays on.

        At inference the past is the network's own and has errors; a network that has seen errors recovers. A tone that
        does not end is the error that feeds itself, so it has to be seen for some seconds.
        """
        rows, _, frames = codes.shape
        hit = torch.from_numpy(rng.random((rows, frames)) < self.config["corrupt"]).to(self.device)
        other = codes[torch.from_numpy(rng.permutation(rows)).to(self.device)].roll(int(rng.integers(1, frames)), -1)
        history = torch.where(hit[:, None], other, codes)
        for row in np.flatnonzero(rng.random(rows) < self.config["hold"]):
            start, length = int(rng.integers(1, frames)), int(rng.integers(5, 75))
            history[row, :, start : start + length] = history[row, :, start - 1 : start]
        return history

    def level_losses(self, codes: Tensor, prepared: Any, drop: Any, rng: np.random.Generator, share: float) -> Tensor:
        """Cross-entropy in nats of each level [K], on a random `share` of the frames."""
        lm = self.module.lm
        trim = self.module.conditioners["notes"].margin
        with autocast(self.device, self.config["bf16"]):
            frames = self.module.frames(prepared, drop, trim)
            history = self._history(rng, codes) if self.module.training else codes
            hidden = lm.hidden(codes, frames, history=history).flatten(0, 1)  # [B * T, D]
            columns = codes.transpose(1, 2).flatten(0, 1)  # [B * T, K]
            chosen = torch.from_numpy(rng.random(len(columns)) < share).to(self.device)
            logits = lm.head.logits(hidden[chosen], columns[chosen])  # [M, K, card]
        columns = columns[chosen]
        losses = [functional.cross_entropy(logits[:, k].float(), columns[:, k]) for k in range(lm.n_q)]
        return torch.stack(losses)

    def loss(self, step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        codes, prepared = self.batch(rng, False, self.config["batch_size"])
        losses = self.level_losses(codes, prepared, self._drops(rng, prepared), rng, self.config["head_share"])
        weights = torch.tensor(self.config["level_weights"][: len(losses)], device=self.device)
        metrics = {f"level_{k + 1}": float(value) for k, value in enumerate(losses.detach())}
        return (losses * weights).sum() / weights.sum(), metrics

    def validate(self) -> dict[str, float]:
        """Cross-entropy of each level with everything said; of level 1 for each role, and without notes."""
        report: dict[str, float] = {}
        total, rows = np.zeros(self.module.lm.n_q), 0
        for role in self.stems[True]:
            rng = np.random.default_rng(0)
            codes, prepared = self.batch(rng, True, 8, [role] * 8)
            losses = self.level_losses(codes, prepared, None, rng, 1.0).cpu().numpy()
            report[f"level_1/{role}"] = float(losses[0])
            if role != MIX:
                total, rows = total + losses, rows + 1
            if role == "chords":
                mute = {"notes": torch.ones(8, dtype=torch.bool, device=self.device)}
                report["level_1/chords_without_notes"] = float(self.level_losses(codes, prepared, mute, rng, 1.0)[0])
        return report | {f"level_{k + 1}": float(v) for k, v in enumerate(total / rows)}


def train(config: dict[str, Any], out: Path) -> None:
    """Train the performer; writes `model.safetensors` of transformer and conditioners."""
    run(LMStage(config), config, out)
