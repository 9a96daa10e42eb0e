"""The notes of one instrument as a piano roll at the codec's frame rate, with a short look ahead.

Knows no score and no style: notes come as arrays of seconds, roles and programs as integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..composition.tempo_map import TempoMap
from ..errors import ConfigError, ShapeError
from .base import Condition, Conditioner

__all__ = ["Notes", "note_array", "note_roll"]

NUM_CHANNELS, NUM_PITCHES, NUM_PROGRAMS = 6, 128, 128
DRUM_HALF_LIFE, DRUM_RING = 0.1, 0.5  # seconds: a drum note has no length of its own, so its mark fades instead
SNAP = 1e-3  # frames; an onset meant for a frame's first instant must not fall into the frame before by rounding


def note_array(notes: Iterable[Any], tempo_map: TempoMap) -> np.ndarray:
    """Turn notes in beats (with start, duration, pitch, velocity) into the compact form kept for training.

    Returns:
        [n, 4] float32: start in seconds, duration in seconds, pitch 0..127, velocity 1..127.
    """
    rows = [(tempo_map.seconds(n.start), tempo_map.span(n.start, n.duration), n.pitch, n.velocity) for n in notes]
    return np.array(rows, np.float32).reshape(-1, 4)


def note_roll(notes: np.ndarray, *, is_drums: bool, start_frame: int, num_frames: int, frame_rate: float) -> np.ndarray:
    """Draw notes into a window of frames.

    A channel holds 128 pitches. Channels 0-2 belong to pitched instruments and 3-5 to drums, so a roll of both is
    the element-wise maximum of two rolls:
        0, 3  held: velocity / 127 in every frame in which the note sounds; on drums it halves every 0.1 s for 0.5 s
        1, 4  onset: velocity / 127 in the frame that holds the onset
        2, 5  place of the onset in its frame: 1 at the frame's first instant, falling towards 0 at its end, so that
              0 means no onset

    Args:
        notes: [n, 4] as `note_array` makes it; not modified. Notes outside the window are ignored.
        is_drums: draws into channels 3-5 if True.
        start_frame: first frame of the window; may lie before the piece.
        num_frames: T.
        frame_rate: frames a second.

    Returns:
        [6, 128, T] float32.

    Raises:
        ShapeError: `notes` is not [n, 4].
        ConfigError: a pitch or velocity lies outside 0..127.
    """
    if notes.ndim != 2 or notes.shape[1] != 4:
        raise ShapeError(f"notes have shape {list(notes.shape)}; need [n, 4]: start, duration, pitch, velocity.")
    roll = np.zeros((NUM_CHANNELS, NUM_PITCHES, num_frames), np.float32)
    start, duration, pitch, velocity = notes.astype(np.float64).T
    if len(notes) and not (0 <= pitch.min() and pitch.max() <= 127 and 0 <= velocity.min() and velocity.max() <= 127):
        raise ConfigError("a note has a pitch or velocity outside 0..127. Check the score it comes from.")
    onset = _snap(start * frame_rate)
    end = _snap((start + (DRUM_RING if is_drums else duration)) * frame_rate)
    first = np.floor(onset).astype(np.int64)
    stop = np.maximum(np.ceil(end).astype(np.int64), first + 1)
    place = 1 - (onset - first)
    first, stop = first - start_frame, stop - start_frame
    seen = (stop > 0) & (first < num_frames)
    first, stop, place = first[seen], stop[seen], place[seen]
    pitch, level = pitch[seen].astype(np.int64), (velocity[seen] / 127).astype(np.float32)

    held, onsets, places = roll[3:] if is_drums else roll[:3]
    struck = first >= 0
    np.maximum.at(onsets, (pitch[struck], first[struck]), level[struck])
    np.maximum.at(places, (pitch[struck], first[struck]), place[struck].astype(np.float32))
    which, frame = _spans(np.maximum(first, 0), np.minimum(stop, num_frames))
    value = level[which]
    if is_drums:
        value = value * 0.5 ** ((frame - first[which]) / (DRUM_HALF_LIFE * frame_rate)).astype(np.float32)
    np.maximum.at(held, (pitch[which], frame), value)
    return roll


def _snap(position: np.ndarray) -> np.ndarray:
    """Move positions that miss a whole frame only by rounding onto it."""
    nearest = np.round(position)
    return np.where(np.abs(position - nearest) < SNAP, nearest, position)


def _spans(first: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List every (span, position) pair of the half-open spans first..stop, as two flat arrays."""
    lengths = stop - first
    which = np.repeat(np.arange(len(first)), lengths)
    before = np.cumsum(lengths) - lengths
    return which, np.arange(len(which)) - before[which] + first[which]


class Notes(Conditioner):
    """One vector a frame from the notes around it, the instrument's role and its program.

    A linear map reads the roll of each frame; one residual convolution lets a frame see `context` frames to either
    side, so the network knows what is about to be struck. Silence maps to exactly zero, which is also what the
    convolution pads with: frames before, after and outside a piece look alike, and a block computed with `margin`
    more frames on both sides (then cut off by `trim`) equals the same frames of the whole.

    Args:
        width: D.
        num_roles: roles, the last of which means a mix of all.
        drum_role: the role whose programs are drum kits, which have a table of their own.
        context: frames seen on either side.

    Source: note conditioning as in Hawthorne et al. 2022, arXiv:2206.05408; ours is a roll per frame, not a sequence
    of events, so that frames and notes need no alignment to be learnt.
    """

    per_frame = True

    def __init__(self, *, width: int, num_roles: int = 7, drum_role: int = 0, context: int = 2) -> None:
        super().__init__(width)
        self.num_roles, self.drum_role, self.margin = num_roles, drum_role, context
        self.roll = nn.Linear(NUM_CHANNELS * NUM_PITCHES, width, bias=False)
        self.look = nn.Conv1d(width, width, 2 * context + 1, padding=context, bias=False)
        self.role = nn.Embedding(num_roles, width)
        self.program = nn.Embedding(2 * NUM_PROGRAMS + 1, width)  # pitched, kits, and one for "not said"
        # Only a handful of the 768 inputs are on at once, so PyTorch's default for a dense input would leave the
        # notes thirty times quieter than the embeddings that are added to them.
        # A chord comes out near 0.6, comparable with code embeddings of unit variance.
        nn.init.normal_(self.roll.weight, std=0.5)
        for table in (self.role, self.program):
            nn.init.normal_(table.weight, std=0.3)

    def prepare(self, rolls: Sequence[np.ndarray], roles: Sequence[int], programs: Sequence[int]) -> dict[str, Tensor]:
        """Stack rows: rolls [6, 128, T] from `note_roll`, role numbers, programs 0..127 (-1 where not said)."""
        return {
            "roll": torch.from_numpy(np.stack(rolls)),
            "role": torch.tensor(list(roles), dtype=torch.long),
            "program": torch.tensor(list(programs), dtype=torch.long),
        }

    def forward(
        self,
        roll: Tensor,
        role: Tensor,
        program: Tensor,
        drop: Tensor | None = None,
        drop_program: Tensor | None = None,
        trim: int = 0,
    ) -> Condition:
        """Turn rolls into a Condition [B, T - 2 * trim, D].

        Args:
            roll: [B, 6, 128, T] float.
            role: [B] int64, 0..num_roles-1; never dropped.
            program: [B] int64, 0..127, or -1 for "not said".
            drop: [B] bool; True rows say nothing about their notes, but keep role and program.
            drop_program: [B] bool; True rows do not say their program.
            trim: frames at either end that were given only as margin.
        """
        if roll.dim() != 4 or roll.shape[1:3] != (NUM_CHANNELS, NUM_PITCHES):
            raise ShapeError(f"roll has shape {list(roll.shape)}; need [B, {NUM_CHANNELS}, {NUM_PITCHES}, T].")
        notes = self.roll(roll.flatten(1, 2).transpose(1, 2))  # [B, T, D]
        notes = self._look_around(notes)
        notes = self.replace_dropped(notes[:, trim : notes.shape[1] - trim], drop)
        return Condition.full(notes + self._instrument(role, program, drop_program)[:, None].to(notes.dtype))

    def null(self, batch: int, length: int = 1) -> Condition:
        """Return the condition of rows that say no notes, no program and the role "mix"."""
        device = self.null_vector.device
        role = torch.full((batch,), self.num_roles - 1, device=device)
        program = torch.full((batch,), -1, device=device)
        return Condition.full(super().null(batch, length).tensor + self._instrument(role, program, None)[:, None])

    def example(self, batch: int, length: int) -> dict[str, Tensor]:
        """Return rows of random notes; row i has role i."""
        notes = np.random.default_rng(0).uniform((0, 0.1, 30, 40), (length / 25, 1, 90, 120), (20, 4))
        rolls = [
            note_roll(notes, is_drums=i == self.drum_role, start_frame=i, num_frames=length, frame_rate=25)
            for i in range(batch)
        ]
        return self.prepare(rolls, [i % self.num_roles for i in range(batch)], range(batch))

    def _look_around(self, notes: Tensor) -> Tensor:
        """Add to each frame of [B, T, D] what a convolution finds around it."""
        # In bfloat16 on CPU a convolution is slow and coarse; it is a small part of the work, so it stays in float32.
        with torch.autocast(notes.device.type, enabled=False):
            hidden = functional.gelu(notes.float()).transpose(1, 2)  # [B, D, T]
            around = functional.conv1d(hidden, self.look.weight.float(), padding=self.margin)
        return notes + around.transpose(1, 2).to(notes.dtype)

    def _instrument(self, role: Tensor, program: Tensor, drop_program: Tensor | None) -> Tensor:
        """Embed role and program, [B] each, as [B, D]."""
        unsaid = program < 0
        if drop_program is not None:
            unsaid = unsaid | drop_program
        kit = NUM_PROGRAMS * (role == self.drum_role)
        return self.role(role) + self.program(torch.where(unsaid, 2 * NUM_PROGRAMS, program + kit))
