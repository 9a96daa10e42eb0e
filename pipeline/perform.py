"""The network plays a score: a row of codes for every role, all rows in one batch.

Knows no sound and no words: notes, plan and a text embedding in, codes out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..composition.plan import MusicalPlan
from ..composition.score import MIX, ROLES, Score
from ..conditioning.notes import note_array, note_roll
from ..conditioning.plan import plan_frames
from .executors.base import Choosing, Executor
from .fuse import Fused
from .generate import Piece
from .guidance import Guidance
from .noise import GumbelNoise
from .patterns.parallel import Parallel
from .performer import Performer
from .samplers.base import Sampler
from .threads import at_most

__all__ = ["Conditions", "Performance", "begin"]

BLOCK = 250  # frames of conditions that are prepared at a time; memory does not grow with the piece


class Conditions:
    """Condition vectors [M, D] of one frame after the other, prepared block by block for every guidance pass."""

    def __init__(
        self,
        performer: Performer,
        score: Score,
        plan: MusicalPlan,
        text: Tensor,
        roles: Sequence[str],
        rows: Sequence[str],
        passes: Sequence[str],
        untold: Sequence[str],
        frame_rate: float,
        begin: int = 0,
        total: float | None = None,
    ) -> None:
        """`begin` is the frame of the piece at which the plan begins, `total` how many seconds the piece lasts."""
        self.begin, self.total = begin, plan.duration if total is None else total
        self.performer, self.plan, self.frame_rate = performer, plan, frame_rate
        self.passes, self.untold = passes, tuple(untold)
        worked_out = (MIX,) if MIX in rows else ROLES
        self.chosen = [worked_out.index(row) for row in rows]
        self.rows = [(*ROLES, MIX).index(row) for row in worked_out]
        self.text = text.expand(len(self.rows), -1)
        heard = [[t for t in score.tracks if t.role in roles and row in (t.role, MIX)] for row in worked_out]
        self.notes = [[(note_array(t.notes, score.tempo_map), t.is_drums) for t in tracks] for tracks in heard]
        self.programs = [
            tracks[0].program if tracks and row != MIX else -1 for row, tracks in zip(worked_out, heard, strict=True)
        ]
        self.first, self.block = 0, torch.empty(0)

    def __call__(self, frame: int) -> Tensor:
        if not self.first <= frame < self.first + self.block.shape[0]:
            self.first, self.block = frame, self._prepare(frame)
        return self.block[frame - self.first]

    def _prepare(self, start: int) -> Tensor:
        """Conditions [BLOCK, M, D] from frame `start`; those of rows that are not wanted are worked out, too."""
        parts, count = self.performer.conditioners, len(self.rows)
        margin = parts["notes"].margin
        rolls = [self._roll(tables, start - margin, BLOCK + 2 * margin) for tables in self.notes]
        plan = plan_frames(self.plan, start_frame=start, num_frames=BLOCK, frame_rate=self.frame_rate)
        prepared: dict[str, Mapping[str, Tensor]] = {
            "notes": parts["notes"].prepare(rolls, self.rows, self.programs),
            "plan": parts["plan"].prepare([plan] * count),
            "timing": parts["timing"].prepare(
                [self.begin + start] * count, BLOCK, [self.total] * count, self.frame_rate
            ),
            "minilm": {"embedding": self.text},
        }
        with at_most(1):  # sums of several threads round by how many there are, and a code may hang on the last bit
            rows = [
                self.performer.frames(prepared, self._drops(name), trim=margin)[self.chosen] for name in self.passes
            ]
        return torch.cat(rows).transpose(0, 1).contiguous()

    def _roll(self, tables: Sequence[tuple[np.ndarray, bool]], start: int, frames: int) -> np.ndarray:
        """Piano roll of a row, which hears the notes of one track, of none or, as a mix, of all."""
        draw = functools.partial(note_roll, start_frame=start, num_frames=frames, frame_rate=self.frame_rate)
        rolls = [draw(notes, is_drums=is_drums) for notes, is_drums in tables]
        return np.maximum.reduce(rolls) if rolls else draw(np.zeros((0, 4)), is_drums=False)

    def _drops(self, name: str) -> dict[str, Tensor] | None:
        """Conditions that a guidance pass leaves out (text; or text, plan and notes), and those that none is told."""
        everyone = torch.ones(len(self.rows), dtype=torch.bool)
        left_out = {"full": (), "no_text": ("minilm",), "null": ("minilm", "plan", "notes")}[name]
        return dict.fromkeys((*left_out, *self.untold), everyone) or None


@torch.inference_mode()
def begin(
    executor: Executor,
    performer: Performer,
    score: Score,
    plan: MusicalPlan,
    text: Tensor,
    *,
    roles: Sequence[str],
    seeds: Mapping[str, int],
    sampler: Sampler,
    guidance: Guidance,
    num_frames: int,
    frame_rate: float,
    untold: Sequence[str] = (),
    as_mix: bool = False,
) -> Performance:
    """Make ready to play some roles of a score.

    Args:
        executor: of the performer's language model.
        performer: in eval mode; its conditioners are used.
        score, plan: what to play.
        text: [1, E] embedding of the prompt.
        roles: which to play, in this order; the others are silent.
        seeds: role -> seed; the same seed gives the same codes, whatever the other roles do.
        num_frames: T.
        untold: conditioners that no row hears, such as notes and plan.
        as_mix: one row plays all the roles at once, with the seed of MIX, and its codes are all that is given out.
    """
    # Every role has its own row. PyTorch's float products round a row differently in a batch of another length, so
    # there all rows are computed whichever roles play: stems stay bit-exact when another role is left out.
    if as_mix:
        rows = [MIX]
    else:
        rows = [role for role in ROLES if role in roles] if executor.rows_apart else list(ROLES)
    conditions = Conditions(performer, score, plan, text, roles, rows, guidance.passes, untold, frame_rate)
    items = [(*ROLES, MIX).index(row) for row in rows]
    noise = GumbelNoise([seeds.get(row, 0) for row in rows], items, n_q=executor.n_q, card=executor.card)
    return Performance(
        executor,
        Parallel(n_q=executor.n_q, special_token_id=executor.special_token_id),
        Fused(len(rows), len(guidance.passes), conditions),
        Choosing(sampler, guidance, noise),
        num_frames=num_frames,
        chosen=[rows.index(role) for role in ([MIX] if as_mix else roles)],
    )


class Performance(Piece):
    """A piece whose rows are roles; of those that are played, only the `chosen` ones are given out, in that order."""

    def __init__(self, *parts: Any, chosen: Sequence[int], **settings: Any) -> None:
        super().__init__(*parts, **settings)
        self.chosen = list(chosen)

    def take(self, tokens: Tensor) -> list[Tensor]:
        return [frame[self.chosen] for frame in super().take(tokens)]
