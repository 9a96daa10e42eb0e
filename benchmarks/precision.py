"""What quantised precisions cost etude: cross-entropy on held-out composed music, teacher-forced, in each precision.

Usage: python -m benchmarks.precision -o OUT [--pieces 16] [--seconds 10] [--precisions fp32 bf16 int8 int4]

Pieces are composed from seeds that no training pool has (a pool's seeds are numbers, these are words), rendered by the
SoundFont stem by stem, and encoded by etude's codec. Then the network is told notes, plan, timing and a caption, as it
is when it plays, and scored on the codes of every stem. Writes OUT.json and OUT.md. Needs a SoundFont and
tinysoundfont. etude's weights are stored as int8, and fp32 computes with those: what the rounding cost before is not in
the table.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gen_audio import load
from gen_audio.composition.arranger import arrange
from gen_audio.composition.captions import caption
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.renderer import Renderer
from gen_audio.composition.score import ROLES, Score
from gen_audio.conditioning.notes import note_array, note_roll
from gen_audio.conditioning.plan import plan_frames
from gen_audio.errors import AudioError, GenAudioError
from gen_audio.pipeline.fuse import Fused
from gen_audio.training.pool import draw_plan
from gen_audio.training.tokens import facts_of
from torch import Tensor

from benchmarks import machine
from benchmarks.cells import PRECISIONS

__all__ = ["main"]

HELD_OUT = "precision benchmark"  # seeds of these pieces


class Piece:
    """A composed piece: its plan, score and caption, and the codes [K, T] of each role's stem."""

    def __init__(self, plan: MusicalPlan, words: str, codes: dict[str, Tensor]) -> None:
        self.plan, self.words, self.codes, self.score = plan, words, codes, arrange(plan)


@torch.inference_mode()
def compose(model: Any, count: int, seconds: float) -> list[Piece]:
    """Compose, render and encode `count` pieces."""
    renderer, rng, pieces = Renderer(None, model.codec.sample_rate), random.Random(HELD_OUT), list[Piece]()
    levels = model.executor.n_q
    while len(pieces) < count:
        plan = draw_plan(rng, (seconds, seconds))
        try:
            stems = renderer.render(arrange(plan))
        except AudioError:  # infinities from the synthesizer: drawn again, as for the pool
            continue
        words = caption(facts_of(FromPlan(plan)), rng)  # type: ignore[arg-type]
        sounds = {role: torch.from_numpy(sound.mean(0))[None, None] for role, sound in stems.items()}
        pieces.append(Piece(plan, words, {role: model.codec.encode(s)[0, :levels] for role, s in sounds.items()}))
    return pieces


class FromPlan:
    """What `facts_of` looks at."""

    def __init__(self, plan: MusicalPlan) -> None:
        self.plan = plan


@torch.inference_mode()
def score(model: Any, pieces: Sequence[Piece]) -> Tensor:
    """Cross-entropy in nats of each level [K], over all frames of all stems."""
    total, frames = torch.zeros(model.executor.n_q), 0
    for piece in pieces:
        codes = torch.stack([piece.codes[role] for role in playing(piece)])  # [R, K, T]
        vectors = conditions(model, piece, codes.shape[-1])
        logits = model.executor.logits(Fused.whole(vectors, batch_size=len(codes)), codes)
        losses = F.cross_entropy(logits.permute(0, 3, 1, 2), codes, reduction="none")  # [R, K, T]
        total, frames = total + losses.sum((0, 2)), frames + codes.shape[0] * codes.shape[2]
    return total / frames


def playing(piece: Piece) -> list[str]:
    return [role for role in ROLES if role in piece.codes]


def conditions(model: Any, piece: Piece, frames: int) -> Tensor:
    """What each frame of each stem is told, [R, T, D]: everything, as when the model plays."""
    performer, rate, roles = model.performer, model.codec.frame_rate, playing(piece)
    parts, count = performer.conditioners, len(roles)
    tracks = {track.role: track for track in piece.score.tracks}
    margin = parts["notes"].margin
    rolls = list(rolls_of(piece.score, roles, margin, frames, rate))
    prepared = {
        "notes": parts["notes"].prepare(rolls, [ROLES.index(r) for r in roles], [tracks[r].program for r in roles]),
        "plan": parts["plan"].prepare(
            [plan_frames(piece.plan, start_frame=0, num_frames=frames, frame_rate=rate)] * count
        ),
        "timing": parts["timing"].prepare([0] * count, frames, [piece.plan.duration] * count, rate),
        "minilm": {"embedding": parts["minilm"].encode([piece.words]).expand(count, -1)},
    }
    return performer.frames(prepared, None, trim=margin)


def rolls_of(score: Score, roles: Sequence[str], margin: int, frames: int, rate: float) -> Iterator[np.ndarray]:
    """Piano roll of each role, with the notes' margin on both sides."""
    tracks = {track.role: track for track in score.tracks}
    for role in roles:
        yield note_roll(
            note_array(tracks[role].notes, score.tempo_map),
            is_drums=role == "drums",
            start_frame=-margin,
            num_frames=frames + 2 * margin,
            frame_rate=rate,
        )


def table(report: dict[str, Any]) -> str:
    """Markdown: a row a precision, its change against fp32 in brackets."""
    rows, base = report["precisions"], report["precisions"]["fp32"]["levels"]
    lines = [
        "## Precisions of etude",
        "",
        f"Cross-entropy in nats on {report['pieces']} held-out composed pieces of {report['seconds']:g} s "
        f"({report['stems']} stems, {report['frames']} frames), and its change against fp32, which computes with the "
        "same weights, stored as int8.",
        "",
        "| | " + " | ".join(f"level {k + 1}" for k in range(len(base))) + " | mean |",
        "|---" * (len(base) + 2) + "|",
    ]
    for precision, row in rows.items():
        if "unavailable" in row:
            lines.append(f"| {precision} | not available: {row['unavailable']} |" + " |" * len(base))
            continue
        pairs = [*zip(row["levels"], base, strict=True), (row["mean"], rows["fp32"]["mean"])]
        lines.append(f"| {precision} | " + " | ".join(f"{a:.4f} ({a - b:+.4f})" for a, b in pairs) + " |")
    versions = ", ".join(f"{name} {version}" for name, version in report["machine"]["versions"].items())
    lines += [
        "",
        f"{report['machine']['date']} UTC; {versions}; commit {report['machine']['commit']}; font {report['font']}.",
    ]
    return "\n".join(lines) + "\n"


def main(output: Path, count: int, seconds: float, precisions: Sequence[str]) -> None:
    """Measure and write."""
    from gen_audio.composition.renderer import find_font

    pieces = compose(load("etude", precision="fp32"), count, seconds)
    stems = [codes for piece in pieces for codes in piece.codes.values()]
    report: dict[str, Any] = {
        "pieces": count,
        "seconds": seconds,
        "stems": len(stems),
        "frames": sum(codes.shape[-1] for codes in stems),
        "font": find_font(None).name,
        "machine": machine.describe(torch.get_num_threads()),
        "precisions": {},
    }
    for precision in ("fp32", *(p for p in precisions if p != "fp32")):
        try:
            levels = score(load("etude", precision=precision), pieces).tolist()
        except GenAudioError as error:
            report["precisions"][precision] = {"unavailable": " ".join(str(error).split())}
            continue
        report["precisions"][precision] = {"levels": levels, "mean": sum(levels) / len(levels)}
    stem = output.with_suffix("") if output.suffix in (".json", ".md") else output
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    stem.with_name(f"{stem.name}.md").write_text(table(report))
    print(table(report))


if __name__ == "__main__":
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    told.add_argument("--pieces", type=int, default=16)
    told.add_argument("--seconds", type=float, default=10.0)
    told.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    asked = told.parse_args()
    main(asked.output, asked.pieces, asked.seconds, asked.precisions)
