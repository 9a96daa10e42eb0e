"""Our own C++ for the processor at hand (models/native): a whole step of all sessions is one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError
from ...models.lm import CodecLM
from ...models.musicgen import MusicGenLM
from ...models.native.machine import Cache
from ...models.native.programs import MOST_POSITIONS, Packer, compile_model
from ...models.native.records import GROUP, MOST_LEVELS, ROW
from ..fuse import Fused
from ..guidance import Guidance
from ..noise import GumbelNoise
from ..samplers.base import Chain
from .base import Asked, Choosing, Executor, Session, columns_before
from .rules import read_rules

__all__ = ["Native"]

IN_CACHE = 24 << 20  # bytes of matrices that a thread may read for itself: they stay in the processor's cache
READ_AT_ONCE = 64  # known positions that go through the model together
MOST_THREADS = 8  # unless more are asked for; they wait for each other several times a layer


class NativeSession(Session):
    """Rows and groups as the machine reads them; a group is a row of codes, its rows are the passes of guidance."""

    def __init__(self, fused: Fused, choosing: Choosing, cache: Cache) -> None:
        self.batch, self.passes = fused.batch_size, fused.num_passes
        self.cache, self.source = cache, None  # type: tuple[Cache, Cache | None]
        self.num_bytes = cache.num_bytes
        self.choosing, self.position = choosing, 0
        self.rows, self.groups = np.zeros(fused.rows, ROW), np.zeros(self.batch, GROUP)
        self.rows["cache"], self.rows["slot"] = cache.handle, np.arange(fused.rows)
        self.groups["first_row"], self.groups["passes"] = np.arange(self.batch) * self.passes, self.passes
        self.groups["weights"][:, : self.passes] = list(choosing.guidance.weights.values())
        choice = self.groups["choice"]
        choice["key"] = choosing.noise.keys.numpy().view(np.uint64)
        rules = read_rules(choosing.sampler)
        choice["top_k"], choice["top_p"], choice["margin"] = rules.top_k, rules.top_p, rules.margin
        choice["temperature"] = rules.temperatures(MOST_LEVELS)

    def by_group(self, stacked: Tensor) -> np.ndarray:
        """Sort rows [M, ...] of pass after pass into group after group, float32."""
        rows = stacked.detach().float()
        if self.passes > 1:
            rows = rows.unflatten(0, (self.passes, self.batch)).transpose(0, 1).flatten(0, 1)
        return np.ascontiguousarray(rows.numpy())

    def advance(self, positions: int = 1) -> None:
        self.position += positions
        self.rows["position"] = self.position


class Native(Executor):
    """C++, compiled on first use.

    A row comes out the same to the bit alone, in any batch and on any number of threads. Keys and values are kept in
    float32 beside fp32 matrices, else in bf16.

    Args:
        lm: whose matrices are packed, or were already.
        packer: of the precision that is wanted.
        threads: if nothing is said, as many as PyTorch uses, and no more than 8.

    Raises:
        NativeError: it cannot be compiled here, or does not know this model.
    """

    name = "native"
    room = 2 << 30
    rows_apart = True

    def __init__(self, lm: CodecLM | MusicGenLM, packer: Packer, threads: int | None = None) -> None:
        super().__init__(lm.n_q, lm.card)
        self.precision, self.threads = packer.precision, threads or min(torch.get_num_threads(), MOST_THREADS)
        self.model = compile_model(lm, packer, self.threads)
        self.half = self.precision != "fp32"
        self.apart = self.model.num_bytes <= IN_CACHE
        # large matrices are read from memory once for all pieces; a small model's are in the cache, unless the keys and
        # values of many pieces push them out
        self.slots = 4 if self.apart else 16

    @property
    def num_bytes(self) -> int:
        """Bytes of all packed matrices."""
        return self.model.num_bytes

    def open(self, fused: Fused, choosing: Choosing, num_positions: int) -> NativeSession:
        if not self.model.window and num_positions > MOST_POSITIONS:
            raise ConfigError(
                f"{num_positions} positions were asked for at once, and the fast loop has {MOST_POSITIONS}. Play it "
                "in windows."
            )
        window = min(self.model.window or num_positions, num_positions)
        session = NativeSession(fused, choosing, self._cache(fused.rows, window))
        if fused.cross is not None:
            self._hear(session, fused.cross, fused.cross_mask)
        if fused.prefix is not None:
            self._run(session, fused.prefix.shape[1], given=fused.prefix)
        return session

    def read(self, session: Session, columns: Tensor, frames: Tensor | None = None) -> None:
        self._run(_own(session), columns.shape[-1], columns=columns, given=frames)

    def step(self, asked: Sequence[Asked]) -> list[Tensor]:
        chosen = self._advance(asked)
        return list(torch.from_numpy(chosen).long().split([_own(one.session).batch for one in asked]))

    def _advance(self, asked: Sequence[Asked], forced: Tensor | None = None) -> np.ndarray:
        """Run a step; the codes [G, K] int32 that were chosen, or the `forced` ones."""
        sessions = [_own(one.session) for one in asked]
        for session, one in zip(sessions, asked, strict=True):
            session.groups["choice"]["step"] = one.step + session.choosing.noise.first_step
        codes = np.concatenate([one.column.numpy() for one in asked]).astype(np.int32)
        chosen = np.empty_like(codes) if forced is None else np.ascontiguousarray(forced.numpy().astype(np.int32))
        given = [s.by_group(one.frame) for s, one in zip(sessions, asked, strict=True) if one.frame is not None]
        if given and len(given) != len(asked):
            raise ConfigError("pieces with and without conditions of frames cannot share a step")
        rows, groups = _join(sessions)
        if self.model.depth is not None:
            self.model.depth.make_room(self.model.step, len(rows))
        self.model.machine.run(
            self.model.step,
            rows,
            groups,
            card=self.card,
            codes=codes,
            chosen=chosen,
            given=np.concatenate(given) if given else None,
            apart=self.apart,
            forced=forced is not None,
        )
        for session in sessions:
            session.advance()
        return chosen

    def logits(self, fused: Fused, steps: Tensor) -> Tensor:
        nothing = GumbelNoise([0] * fused.batch_size, [0] * fused.batch_size, n_q=self.n_q, card=self.card)
        only = Guidance() if fused.num_passes == 1 else Guidance(2.0, 2.0 if fused.num_passes == 2 else 3.0)
        session = self.open(fused, Choosing(Chain(()), only, nothing), fused.prefix_length + steps.shape[-1])
        scores = []
        for step, column in enumerate(columns_before(steps, self.special_token_id).unbind(-1)):
            frame = fused.frame(step) if fused.frame else None
            self._advance([Asked(session, column, frame, step)], forced=steps[..., step])
            rows = self.model.machine.read("logits", fused.rows).unflatten(0, (fused.batch_size, fused.num_passes))
            scores.append(rows.transpose(0, 1).flatten(0, 1).unflatten(-1, (self.n_q, self.card)))
        return torch.stack(scores, 2)

    def _cache(self, slots: int, window: int, half: bool | None = None) -> Cache:
        m = self.model
        half = self.half if half is None else half
        return Cache(layers=m.layers, slots=slots, heads=m.heads, head_dim=m.head_dim, window=window, half=half)

    def _hear(self, session: NativeSession, cross: Tensor, mask: Tensor | None) -> None:
        """Work out the keys and values of cross-attention once; rows beyond those of `cross` hear nothing."""
        count, length = cross.shape[:2]
        session.source = self._cache(count, length)
        lengths = mask.sum(1) if mask is not None else torch.full((count,), length)
        if mask is not None and not torch.equal(mask, torch.arange(length) < lengths[:, None]):
            raise ConfigError("the fast loop hears sources whose filler comes last. Use the reference executor.")
        rows, groups = np.zeros(length, ROW), _singles(length)
        for row in range(count):
            given = np.ascontiguousarray(cross[row].detach().float().numpy())
            for layer, program in enumerate(self.model.sources):
                self.model.machine.run(program, rows, groups, card=self.card, given=given)
                both = self.model.machine.read("source", length).view(length, 2, self.model.heads, -1)
                keys, values = both.permute(1, 2, 0, 3)
                session.source.write(layer, row, keys, values)
        told = np.arange(count)
        at = told % session.batch * session.passes + told // session.batch  # of pass after pass into group after group
        session.rows["source"][at], session.rows["source_slot"][at] = session.source.handle, told
        session.rows["source_length"][at] = lengths.numpy()

    def _run(
        self, session: NativeSession, length: int, columns: Tensor | None = None, given: Tensor | None = None
    ) -> None:
        """Read `length` positions, columns [B, K, S], vectors [M, S, D] or both, some of them at a time."""
        for first in range(0, length, READ_AT_ONCE):
            count = min(READ_AT_ONCE, length - first)
            rows = np.repeat(session.rows, count)
            rows["position"] += np.tile(np.arange(count, dtype=np.int32), len(session.rows))
            codes = vectors = None
            if columns is not None:
                part = columns[..., first : first + count].transpose(1, 2)  # [B, n, K]
                part = part.repeat_interleave(session.passes, 0).flatten(0, 1)
                codes = np.ascontiguousarray(part.numpy().astype(np.int32))
            if given is not None:
                vectors = session.by_group(given[:, first : first + count]).reshape(len(rows), -1)
            self.model.machine.run(
                self.model.read, rows, _singles(len(rows)), card=self.card, codes=codes, given=vectors
            )
            session.advance(count)


def _own(session: Session) -> NativeSession:
    assert isinstance(session, NativeSession), "a session belongs to the executor that opened it"
    return session


def _singles(count: int) -> np.ndarray:
    """Groups of one row each, which choose nothing."""
    groups = np.zeros(count, GROUP)
    groups["first_row"], groups["passes"] = np.arange(count), 1
    return groups


def _join(sessions: Sequence[NativeSession]) -> tuple[np.ndarray, np.ndarray]:
    if len(sessions) == 1:
        return sessions[0].rows, sessions[0].groups
    rows, groups = (np.concatenate([getattr(s, name) for s in sessions]) for name in ("rows", "groups"))
    before = np.cumsum([0] + [len(s.rows) for s in sessions[:-1]])
    groups["first_row"] += np.repeat(before, [len(s.groups) for s in sessions]).astype(np.int32)
    return rows, groups
