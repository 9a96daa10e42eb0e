"""The musical plan as one vector a frame: chord, beat, bar, section and energy. Knows no notes and no text."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..composition.plan import SECTION_NAMES, MusicalPlan
from ..composition.theory import Chord
from ..errors import ShapeError
from .base import Condition, Conditioner

__all__ = ["Plan", "plan_frames"]

FAMILIES = ("maj", "min", "dim", "aug", "dom", "maj7", "min7", "sus")  # the values of Chord.simple
SECTIONS = (*SECTION_NAMES, "ring")  # "ring": after the last bar
NO_PITCH, PHRASE, MAX_BEATS = 12, 8, 8  # "no chord"; bars are counted modulo a phrase; beats a bar at most
SIZES = {
    "root": NO_PITCH + 1,
    "family": len(FAMILIES) + 1,
    "bass": NO_PITCH + 1,
    "beat": MAX_BEATS + 1,
    "bar": PHRASE + 1,
    "section": len(SECTIONS) + 1,
}


def plan_frames(plan: MusicalPlan, start_frame: int, num_frames: int, frame_rate: float) -> dict[str, np.ndarray]:
    """Read a plan at the middle of each frame of a window.

    The last chord rings on, in the section "ring", until the plan's duration. Frames before the piece and after its
    duration hold "none", the last number of each table, and zeros.

    Args:
        plan: what is to be played.
        start_frame: first frame of the window; may lie before the piece.
        num_frames: T.
        frame_rate: frames a second.

    Returns:
        int64 arrays [T]: `root` and `bass` 0..11 or 12, `family` an index of FAMILIES, `beat` in the bar, `bar` modulo
        8, `section` an index of SECTIONS; and `values` [T, 3] float32: sine and cosine of the phase in the beat, and
        the section's energy 0..1.
    """
    time = (start_frame + np.arange(num_frames) + 0.5) / frame_rate
    bar_position = plan.bar_at(time)
    beat_position = bar_position * plan.beats_per_bar
    inside = (time >= 0) & (time < plan.duration)
    bar = np.floor(bar_position).astype(np.int64)
    starts, chords, sections, energies = _tables(plan)
    chord = np.clip(np.searchsorted(starts, bar_position, side="right") - 1, 0, len(chords) - 1)
    played = np.clip(bar, 0, len(sections) - 1)  # the bar that speaks; the last one while the chord rings
    section = np.where(bar < len(sections), sections[played], SECTIONS.index("ring"))
    phase = 2 * np.pi * beat_position
    columns = {
        "root": chords[chord, 0],
        "family": chords[chord, 1],
        "bass": chords[chord, 2],
        "beat": np.floor(beat_position).astype(np.int64) % plan.beats_per_bar,
        "bar": bar % PHRASE,
        "section": section,
    }
    frames = {name: np.where(inside, column, SIZES[name] - 1) for name, column in columns.items()}
    values = np.stack([np.sin(phase), np.cos(phase), energies[played]], 1) * inside[:, None]
    return {**frames, "values": values.astype(np.float32)}


@functools.lru_cache(maxsize=4096)
def _read_chord(symbol: str) -> tuple[int, int, int]:
    """Turn a chord symbol into (root, family, bass); training reads the same few symbols over and over."""
    chord = Chord.parse(symbol)
    return chord.root, FAMILIES.index(chord.simple), chord.root if chord.bass is None else chord.bass


def _tables(plan: MusicalPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """List where each chord starts in bars, its (root, family, bass), and each bar's section and energy."""
    starts: list[float] = []
    chords: list[tuple[int, int, int]] = []
    sections: list[int] = []
    energies: list[float] = []
    for section in plan.sections:
        for symbols in section.chords:
            starts += [len(sections) + place / len(symbols) for place in range(len(symbols))]
            chords += [_read_chord(symbol) for symbol in symbols]
            sections.append(SECTIONS.index(section.name))
            energies.append(section.energy)
    return np.array(starts), np.array(chords, np.int64), np.array(sections), np.array(energies)


class Plan(Conditioner):
    """Sum of learned vectors for root, chord family, bass, beat, bar, section, and a linear map of phase and energy.

    Source: chords and beats as frame-wise conditions, Tal et al. 2024 (JASCO), arXiv:2406.10970, and Lan et al. 2024
    (MusiConGen), arXiv:2407.15060. We sum embeddings instead of concatenating, and add bar, section and energy.
    """

    per_frame = True

    def __init__(self, *, width: int) -> None:
        super().__init__(width)
        tables = {name: nn.Embedding(size, width) for name, size in SIZES.items()}
        self.values = nn.Linear(3, width)
        for table in tables.values():
            nn.init.normal_(table.weight, std=0.3)
        self.tables = nn.ModuleDict(tables)

    def prepare(self, rows: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
        """Stack what `plan_frames` returned for each row."""
        return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in (*SIZES, "values")}

    def forward(
        self,
        root: Tensor,
        family: Tensor,
        bass: Tensor,
        beat: Tensor,
        bar: Tensor,
        section: Tensor,
        values: Tensor,
        drop: Tensor | None = None,
    ) -> Condition:
        """Turn numbers [B, T] int64 and values [B, T, 3] into a Condition [B, T, D]; `drop` is [B] bool."""
        if values.dim() != 3 or values.shape[2] != 3:
            raise ShapeError(f"values have shape {list(values.shape)}; need [B, T, 3]: sine, cosine, energy.")
        numbers = {"root": root, "family": family, "bass": bass, "beat": beat, "bar": bar, "section": section}
        tensor = self.values(values)
        for name, number in numbers.items():
            tensor = tensor + self.tables[name](number)
        return Condition.full(self.replace_dropped(tensor, drop))

    def example(self, batch: int, length: int) -> dict[str, Tensor]:
        """Return rows of random numbers."""
        random = np.random.default_rng(0)
        rows = [{name: random.integers(0, size, length) for name, size in SIZES.items()} for _ in range(batch)]
        return self.prepare([{**row, "values": random.random((length, 3), np.float32)} for row in rows])
