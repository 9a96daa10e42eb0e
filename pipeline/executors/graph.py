"""Steps on buffers that stay where they are: on a GPU one CUDA graph a step, on a CPU the same operations one by one.

    pieces     a (2 rows)   b (1 row)   c (1 row)         columns, positions, frames of the rows that are asked for
    slots      0   1        2           -   4              are copied in; the smallest recorded size that holds them
    recorded   1   2            4               8          runs, here 8; the chosen codes are copied out.

A slot is one row of codes with its passes of guidance, its keys and values, and everything that decides its codes.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from ...errors import ConfigError
from ...models.kernel_steps import find_kernels
from ...models.lm import CodecLM
from ...models.musicgen import MusicGenLM
from ...models.slot_models import steps_of
from ...models.slot_step import Steps
from ...models.slots import Room
from ..fuse import Fused
from ..guidance import Guidance
from ..noise import GumbelNoise
from ..threads import at_most
from .base import Asked, Choosing, Executor, Session, columns_before
from .rules import Rules, read_rules
from .slot_pool import Pool

__all__ = ["Graph"]

MOST = 64  # pieces at a time on a GPU; on an H100 they make 2.5 times the sound of 16
READ_AT_ONCE = 256  # known positions that go through the model together
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class GraphSession(Session):
    """Which slots a batch has; row i of the batch is in slots[i]."""

    def __init__(self, fused: Fused, slots: list[int], first_step: int) -> None:
        self.batch, self.passes, self.slots = fused.batch_size, fused.num_passes, slots
        self.first_step, self.position, self.has_frames = first_step, 0, False

    def by_slot(self, stacked: Tensor, passes: int) -> Tensor:
        """Sort rows [M, ...] of pass after pass into [B, passes, ...]; passes that the batch lacks are zeros."""
        rows = stacked.unflatten(0, (-1, self.batch)).transpose(0, 1)
        if rows.shape[1] == passes:
            return rows
        return torch.cat((rows, rows.new_zeros(self.batch, passes - rows.shape[1], *rows.shape[2:])), 1)

    def by_pass(self, rows: Tensor) -> Tensor:
        """Sort [B, passes, ...] back into [M, ...], and leave out passes that the batch lacks."""
        return rows[:, : self.passes].transpose(0, 1).flatten(0, 1)


class Graph(Executor):
    """PyTorch on one device, pieces in slots.

    Matrices are in `precision`, but for those of the head; head, guidance and filters are in float32. A row is rounded
    differently in another company, because a product of another size is summed in another order.

    Args:
        lm: in eval mode; it is moved, and its own `step` cannot be used any more.
        precision: fp32 or bf16.
        device: a CUDA device, or the CPU, where it is slow and there for tests.
        rows: of codes, to have room for from the start; it grows, but then everything is recorded anew.
        record: whether steps are recorded as CUDA graphs; None: on a CUDA device.
        kernels: gpu_kernels; None: where they can run; False: PyTorch's operations alone.
        ahead: whether a step begins before it is asked for; None: where steps are recorded.

    Raises:
        ConfigError: another precision.
    """

    name = "graph"
    rows_apart = False

    def __init__(
        self,
        lm: CodecLM | MusicGenLM,
        precision: str = "fp32",
        device: torch.device | str = "cpu",
        *,
        rows: int = 1,
        record: bool | None = None,
        kernels: ModuleType | Literal[False] | None = None,
        ahead: bool | None = None,
    ) -> None:
        super().__init__(lm.n_q, lm.card)
        if precision not in DTYPES:
            raise ConfigError(f"precision is '{precision}', but the graph executor plays in {' or '.join(DTYPES)}.")
        self.precision, self.device = precision, torch.device(device)
        chosen = (find_kernels(self.device) if kernels is None else kernels) or None
        steps = steps_of(lm, self.device, DTYPES[precision], chosen)
        self.slots = _slots(steps) if self.device.type == "cuda" else 1
        self.threads = 1 if isinstance(lm, CodecLM) else torch.get_num_threads()  # on a CPU, as the reference
        is_recorded = self.device.type == "cuda" if record is None else record
        self.pool = Pool(steps, Room(rows), is_recorded, chosen, ahead)

    @torch.inference_mode()
    def open(self, fused: Fused, choosing: Choosing, num_positions: int) -> GraphSession:
        rules = read_rules(choosing.sampler)
        return self._open(fused, choosing.guidance, rules, choosing.noise, num_positions)

    @torch.inference_mode()
    def read(self, session: Session, columns: Tensor, frames: Tensor | None = None) -> None:
        session, passes = _own(session), self.pool.slots.room.passes
        x = self.pool.steps.embed(columns.to(self.device).transpose(1, 2))[:, None].expand(-1, passes, -1, -1)
        self._read(session, x if frames is None else x + session.by_slot(frames.to(self.device), passes))

    @torch.inference_mode()
    def step(self, asked: Sequence[Asked]) -> list[Tensor]:
        if self.device.type == "cpu":
            with at_most(self.threads):
                return self._run(asked)
        return self._run(asked)

    @torch.inference_mode()
    def logits(self, fused: Fused, steps: Tensor) -> Tensor:
        only = Guidance() if fused.num_passes == 1 else Guidance(2.0, 2.0 if fused.num_passes == 2 else 3.0)
        session = self._open(fused, only, Rules(), None, fused.prefix_length + steps.shape[-1])
        scores = []
        for step, column in enumerate(columns_before(steps, self.special_token_id).unbind(-1)):
            frame = fused.frame(step) if fused.frame else None
            self._run([Asked(session, column, frame, step)], steps[..., step])
            scores.append(session.by_pass(self.pool.logits[session.slots]))
        return torch.stack(scores, 2).cpu()

    @torch.inference_mode()
    def record(self, rows: int, positions: int) -> None:
        """Record the steps of all sizes up to so many rows and positions now, the largest first."""
        self.pool.reserve(Room(rows, length=positions))
        self.pool.record(rows, positions)

    def _open(
        self, fused: Fused, guidance: Guidance, rules: Rules, noise: GumbelNoise | None, num_positions: int
    ) -> GraphSession:
        hearing, source = 0, 0
        if fused.cross is not None:
            hearing, source = len(fused.cross) // fused.batch_size, fused.cross.shape[1]
        slots = self.pool.claim(Room(fused.batch_size, fused.num_passes, num_positions, hearing, source))
        session = GraphSession(fused, slots, noise.first_step if noise is not None else 0)
        weakref.finalize(session, self.pool.release, slots)
        self.pool.wishes.set(slots, guidance, rules, noise)
        if fused.cross is not None:
            self._hear(session, fused.cross, fused.cross_mask)
        if fused.prefix is not None:
            self._read(session, session.by_slot(fused.prefix.to(self.device), self.pool.slots.room.passes))
        return session

    def _hear(self, session: GraphSession, cross: Tensor, mask: Tensor | None) -> None:
        """Work out the keys and values of cross-attention once."""
        length = cross.shape[1]
        heard = torch.full((len(cross),), length) if mask is None else mask.sum(1).cpu()
        if mask is not None and not torch.equal(mask.cpu(), torch.arange(length) < heard[:, None]):
            raise ConfigError("the fast loop hears sources whose filler comes last. Use the reference executor.")
        passes = len(cross) // session.batch
        which = self.pool.index(session.slots)
        self.pool.steps.tell(session.by_slot(cross.to(self.device), passes), self.pool.slots, which)
        self.pool.slots.heard[:, :passes].index_copy_(0, which, session.by_slot(heard, passes).to(self.device))

    def _read(self, session: GraphSession, x: Tensor) -> None:
        """Read known positions [B, P, S, D], some of them at a time."""
        which, most = self.pool.index(session.slots), min(READ_AT_ONCE, self.pool.slots.room.length)
        for part in x.to(self.pool.steps.dtype).split(most, 2):
            self.pool.steps.read(part, session.position, self.pool.slots, which)
            self.pool.advance(session.slots, part.shape[2])
            session.position += part.shape[2]

    def _run(self, asked: Sequence[Asked], forced: Tensor | None = None) -> list[Tensor]:
        """Run a step of some sessions; the codes [B, K] of each that were chosen or forced."""
        self.pool.close_gaps()
        sessions = [_own(one.session) for one in asked]
        slots = [slot for session in sessions for slot in session.slots]
        turns = list[int]()
        for session, one in zip(sessions, asked, strict=True):
            turns += [session.first_step + one.step] * session.batch
        self.pool.ask(slots, torch.cat([one.column for one in asked]), turns, forced)
        has_frames = self._bring_frames(asked)
        chosen = self.pool.run(slots, is_guessed=forced is None and not has_frames)
        self.pool.advance(slots, 1)
        for session in sessions:
            session.position += 1
        return list(chosen.split([session.batch for session in sessions]))

    def _bring_frames(self, asked: Sequence[Asked]) -> bool:
        """Copy the conditions of frames into their slots, those of all sessions at once; whether there were any."""
        slots, rows = list[int](), list[Tensor]()
        passes, width = self.pool.slots.room.passes, self.pool.steps.width
        for one in asked:
            session = _own(one.session)
            if one.frame is not None:
                rows.append(session.by_slot(one.frame.to(self.device), passes))
            elif session.has_frames:  # what its last frame was told must not be told again
                rows.append(torch.zeros(session.batch, passes, width, device=self.device))
            else:
                continue
            session.has_frames = one.frame is not None
            slots += session.slots
        if rows:
            self.pool.frames.index_copy_(0, self.pool.index(slots), torch.cat(rows).to(self.pool.steps.dtype))
        return bool(rows)


def _slots(steps: Steps) -> int:
    """Pieces at a time: MOST, if keys and values of 30 s with guidance then fit into half of the free memory."""
    each = len(steps.blocks) * 2 * 2 * steps.width * (steps.window or 1536) * steps.dtype.itemsize
    return max(1, min(MOST, torch.cuda.mem_get_info(steps.device)[0] // 2 // each))


def _own(session: Session) -> GraphSession:
    assert isinstance(session, GraphSession), "a session belongs to the executor that opened it"
    return session
