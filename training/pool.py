"""The composed stream: pieces are written, arranged and rendered into shards of stems that the trainers read.

A shard is a folder: `audio.npy` (int16, all stems end to end), `notes.npy` ([notes, 4] float32: start and duration in
seconds, pitch, velocity) and `pieces.jsonl` (plan, SoundFont, and for each stem its role, program and place in both
arrays).
Everything follows from the pool's seed, so the audio is never kept anywhere: the recipe is.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..composition.arranger import arrange
from ..composition.plan import MusicalPlan
from ..composition.planner import Attributes, Constraints, plan_music
from ..composition.renderer import Renderer
from ..composition.score import MIX, Score, Track
from ..composition.style import load_style, style_names
from ..conditioning.notes import note_array
from ..errors import AudioError, ConfigError
from ..pipeline.mixer import dry_mix
from .fonts import draw_font, lacking, read_fonts, settle_fonts

__all__ = ["Piece", "Pool", "Stem", "note_table", "train"]

FULL_SCALE = 2.0  # what int16 32767 stands for: stems peak above 1 before they are mixed


@dataclass(frozen=True)
class Stem:
    """Where one stem of a piece lies in its shard."""

    role: str
    program: int
    audio: tuple[int, int]  # first sample, number of samples
    notes: tuple[int, int]  # first note, number of notes


@dataclass(frozen=True)
class Piece:
    """One composed piece: its plan, its stems, and the SoundFont that played it."""

    plan: MusicalPlan
    stems: tuple[Stem, ...]
    font: str = ""  # file name; empty in pools from before it was kept


def note_table(track: Track, score: Score) -> np.ndarray:
    """Notes of one track as [n, 4] float32: start and duration in seconds, pitch, velocity."""
    return note_array(track.notes, score.tempo_map)


def draw_plan(rng: random.Random, seconds: tuple[float, float]) -> MusicalPlan:
    """Draw a plan with an even choice of styles and keys, in a mood of the style or in none."""
    style = rng.choice(style_names())
    mode = rng.choices(list(load_style(style).modes), list(load_style(style).modes.values()))[0]
    tonic = rng.choice(["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"])
    constraints = Constraints(duration=rng.uniform(*seconds), seed=rng.getrandbits(32))
    if rng.random() < 0.3:  # off the frame grid, so that the network can play any tempo
        low, high = load_style(style).tempo[:2]
        constraints = Constraints(
            duration=constraints.duration, seed=constraints.seed, tempo=round(rng.uniform(low, high), 2)
        )
    mood = rng.choice([*load_style(style).moods, None])
    return plan_music(Attributes(style=style, key=f"{tonic} {mode}", mood=mood), constraints)


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Float audio to int16 of FULL_SCALE; a peak beyond it is an AudioError, so nothing is clipped in silence."""
    peak = float(np.abs(audio).max(initial=0.0))
    if peak > FULL_SCALE:
        raise AudioError(f"a stem peaks at {peak:.2f}, above {FULL_SCALE}; the piece is left out")
    return np.round(audio * (32767 / FULL_SCALE)).astype(np.int16)


def render_piece(
    plan: MusicalPlan, renderer: Renderer, with_mix: bool
) -> list[tuple[str, int, np.ndarray, np.ndarray]]:
    """Play one plan: (role, program, mono int16 audio, note table) for each stem, and for the mix if asked."""
    score = arrange(plan)
    stems = renderer.render(score)
    rows = [(t.role, t.program, to_int16(stems[t.role].mean(0)), note_table(t, score)) for t in score.tracks]
    if with_mix:
        whole = dry_mix(stems, score.tracks).mean(0)  # effects come after the network, for a mix as for stems
        level = float(np.sqrt(np.mean(np.square(whole)))) + 1e-9
        rows.append((MIX, 0, to_int16(whole * (0.1 / level)), np.zeros((0, 4), np.float32)))
    return rows


def write_shard(folder: Path, seed: str, config: dict[str, Any]) -> None:
    """Compose and render one shard, in a temporary folder that takes its name when it is whole."""
    rng = random.Random(seed)
    fonts = read_fonts(config)
    renderers = {font: Renderer(font.path, config["sample_rate"]) for font in fonts}
    audio, notes, lines, num_samples, num_notes = [], [], [], 0, 0
    target = config["shard_minutes"] * 60 * config["sample_rate"]
    while num_samples < target:
        plan = draw_plan(rng, tuple(config["piece_seconds"]))
        font = draw_font(fonts, plan.seed)
        try:
            rows = render_piece(plan, renderers[font], with_mix=rng.random() < config["mix_share"])
        except AudioError:  # infinities from the synthesizer, a program that the font lacks, too loud: drawn again
            continue
        stems = []
        for role, program, sound, table in rows:
            stems.append(
                {"role": role, "program": program, "audio": [num_samples, len(sound)], "notes": [num_notes, len(table)]}
            )
            audio.append(sound)
            notes.append(table)
            num_samples, num_notes = num_samples + len(sound), num_notes + len(table)
        lines.append(json.dumps({"plan": json.loads(plan.to_json()), "font": font.name, "stems": stems}))
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    np.save(part / "audio.npy", np.concatenate(audio))
    np.save(part / "notes.npy", np.concatenate(notes))
    (part / "pieces.jsonl").write_text("\n".join(lines) + "\n")
    part.rename(folder)


def train(config: dict[str, Any], out: Path) -> None:
    """Fill a pool: `hours` of stems in shards, by `workers` processes. Shards that are there are kept.

    Shard 0 holds the pieces that no trainer learns from.

    Raises:
        ConfigError: the pool was begun with other SoundFonts.
        MissingExtraError: a SoundFont or the synthesizer is not there.
    """
    fonts = read_fonts(config)
    settle_fonts(fonts, out)
    for font in fonts:
        missing = lacking(font, config["sample_rate"])
        if missing:
            print(f"{font.name} has no {', '.join(missing)}: pieces that it should play with them are drawn again")
    count = max(2, math.ceil(config["hours"] * 60 / config["shard_minutes"]))
    jobs = [(out / f"shard-{i:04d}", f"{config['seed']}:{i}", config) for i in range(count)]
    jobs = [job for job in jobs if not job[0].exists()]
    with multiprocessing.get_context("spawn").Pool(config["workers"]) as workers:
        for job in workers.imap_unordered(_write_shard, jobs):
            print(f"{job} done", flush=True)


def _write_shard(job: tuple[Path, str, dict[str, Any]]) -> str:
    write_shard(*job)
    return job[0].name


class Pool:
    """The shards of a folder, memory-mapped. `held_out` pieces are those of shard 0."""

    def __init__(self, folder: Path) -> None:
        self.folders = sorted(p for p in Path(folder).glob("shard-*") if p.suffix != ".part")
        if len(self.folders) < 2:
            raise ConfigError(
                f"{folder} holds {len(self.folders)} shards; training needs 2 or more. Run the pool stage."
            )
        self.audio = [np.load(f / "audio.npy", mmap_mode="r") for f in self.folders]
        self.notes = [np.load(f / "notes.npy", mmap_mode="r") for f in self.folders]
        self.pieces = [
            [self._piece(line) for line in (f / "pieces.jsonl").read_text().splitlines()] for f in self.folders
        ]

    @staticmethod
    def _piece(line: str) -> Piece:
        row = json.loads(line)
        stems = tuple(Stem(s["role"], s["program"], tuple(s["audio"]), tuple(s["notes"])) for s in row["stems"])
        return Piece(MusicalPlan.from_dict(row["plan"]), stems, row.get("font", ""))

    def stems(self, held_out: bool) -> Iterator[tuple[int, Piece, Stem]]:
        """All (shard, piece, stem) of the training or of the held-out part."""
        for shard, pieces in enumerate(self.pieces):
            if (shard == 0) == held_out:
                for piece in pieces:
                    for stem in piece.stems:
                        yield shard, piece, stem

    def sound(self, shard: int, stem: Stem, start: int = 0, length: int | None = None) -> np.ndarray:
        """Float32 samples [L] of a stem, from `start`, zero-padded to `length`."""
        first, count = stem.audio
        length = count if length is None else length
        piece = self.audio[shard][first + start : first + min(start + length, count)]
        out = np.zeros(length, np.float32)
        out[: len(piece)] = piece * np.float32(FULL_SCALE / 32767)
        return out
