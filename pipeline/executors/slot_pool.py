"""The slots of the graph executor: who has which, what is copied in and out, and the step itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ...errors import ConfigError
from ...models.slot_step import Steps
from ...models.slots import Room, Slots
from ..noise import gumbel
from .capture import Graphs
from .draw import Wishes

__all__ = ["Pool", "length_of", "size_of"]

SOURCE = 32  # sources of cross-attention are given room in multiples of this
HELD = list[int]  # the slots of one session, changed in place when they move


def size_of(count: int) -> int:
    """The recorded number of slots that holds so many: 1, 2, 4, 8, ..."""
    return 1 << max(0, count - 1).bit_length()


def length_of(positions: int) -> int:
    """The recorded length of keys and values that holds so many positions: 256, 512, 1024, 1536, ..."""
    return 256 if positions <= 256 else -(-positions // 512) * 512


class Pool:
    """Slots of one model on one device.

    Args:
        steps: the model's step.
        room: to start with; the pool grows, and then its steps are recorded anew.
        is_recorded: whether they are recorded as CUDA graphs.
    """

    def __init__(self, steps: Steps, room: Room, is_recorded: bool) -> None:
        self.steps, self.graphs = steps, Graphs(steps.device if is_recorded else None)
        self.owners: list[HELD | None] = []  # of each slot
        self.left: list[HELD] = []  # by sessions that are gone; swept up at the next chance, not while slots move
        room = self._rounded(room)
        self._make(Slots(len(steps.blocks), steps.heads, steps.head_dim, room, steps.device, steps.dtype))

    def _make(self, slots: Slots) -> None:
        """Make all buffers of a step."""
        self.slots, room = slots, slots.room
        steps, device = self.steps, self.steps.device
        count, n_q = room.slots, steps.n_q
        self.wishes = Wishes(count, room.passes, n_q, steps.card, device)
        self.frames = torch.zeros(count, room.passes, steps.width, device=device, dtype=steps.dtype)
        self.chosen = torch.zeros(count, n_q, device=device, dtype=torch.int64)
        self.logits = torch.zeros(count, room.passes, n_q, steps.card, device=device)
        # of each slot: the column to read, codes that are forced or -1, position, step of the piece
        self.numbers = torch.zeros(count, 2 * n_q + 2, device=device, dtype=torch.int64)
        self.told = torch.zeros(count, 2 * n_q + 2, dtype=torch.int64, pin_memory=device.type == "cuda")
        self.owners += [None] * (count - len(self.owners))

    def reserve(self, room: Room) -> None:
        """Make room, if there is not enough; what is playing goes on.

        Raises:
            ConfigError: the device has no memory for it.
        """
        wanted = self.slots.room.and_also(self._rounded(room))
        if wanted == self.slots.room:
            return
        try:
            grown = self.slots.grown(wanted)
        except torch.cuda.OutOfMemoryError as error:
            raise ConfigError(
                f"{wanted.slots} rows of {wanted.length} positions and {wanted.passes} passes of guidance do not fit "
                f"into the memory of {self.steps.device}. Play fewer pieces together, or shorter ones."
            ) from error
        self.graphs.forget()
        wishes, frames, told = self.wishes, self.frames, self.told
        self._make(grown)
        self.wishes.copy_from(wishes)
        self.frames[: len(frames), : frames.shape[1]] = frames
        self.told[: len(told)] = told

    def _rounded(self, room: Room) -> Room:
        length = length_of(room.length)
        if self.steps.window is not None:
            length = min(length, self.steps.window)
        return replace(room, slots=size_of(room.slots), length=length, source=-(-room.source // SOURCE) * SOURCE)

    # --- who has which slots ---

    def claim(self, room: Room) -> HELD:
        """Take as many empty slots as `room` says, with so much room in each."""
        self._sweep()
        taken = sum(owner is not None for owner in self.owners)
        self.reserve(replace(room, slots=taken + room.slots))
        held = [slot for slot, owner in enumerate(self.owners) if owner is None][: room.slots]
        for slot in held:
            self.owners[slot] = held
        self.slots.clear(held)
        self.frames[held] = 0
        self.told[held] = 0
        return held

    def release(self, held: HELD) -> None:
        """Give slots back. May be called at any time, as by the collector of garbage."""
        self.left.append(held)

    def close_gaps(self) -> None:
        """Move rows down where that makes the next step smaller."""
        self._sweep()
        taken = [slot for slot, owner in enumerate(self.owners) if owner is not None]
        size = size_of(len(taken))
        free = [slot for slot in range(size) if self.owners[slot] is None]
        for old, new in zip([slot for slot in taken if slot >= size], free, strict=False):
            owner = self.owners[old]
            assert owner is not None
            owner[owner.index(old)] = new
            self.owners[new], self.owners[old] = owner, None
            self.slots.move(old, new)
            self.wishes.move(old, new)
            self.frames[new], self.told[new] = self.frames[old], self.told[old]

    def _sweep(self) -> None:
        while self.left:
            for slot in self.left.pop():
                self.owners[slot] = None

    # --- what is copied in ---

    def index(self, slots: Sequence[int]) -> Tensor:
        """Slots as a tensor on the device."""
        return torch.tensor(slots, device=self.steps.device)

    def advance(self, slots: Sequence[int], positions: int) -> None:
        """Move rows on. A step in which a row takes no part writes at its next position, too, and does no harm."""
        self.told[slots, -2] += positions

    def ask(self, slots: Sequence[int], columns: Tensor, turns: Tensor, forced: Tensor | None) -> None:
        """Say what slots read, [n, K], at which steps of their pieces, [n], and which codes [n, K] are forced."""
        n_q = self.steps.n_q
        self.told[slots, :n_q] = columns.cpu()
        self.told[slots, n_q : 2 * n_q] = -1 if forced is None else forced.cpu()
        self.told[slots, -1] = turns

    # --- the step ---

    def run(self, held: Sequence[int]) -> None:
        """Run the next step of these slots; `chosen` and `logits` have what came out."""
        count = size_of(max(held) + 1)
        length = min(length_of(int(self.told[held, -2].max()) + 1), self.slots.room.length)
        self._copy_in(count)
        self.graphs.run((count, length), partial(self.step, count, length))

    def record(self, slots: int, positions: int) -> None:
        """Run, and so record, the steps of all sizes up to so many slots and positions, the largest first."""
        lengths = {min(length_of(n), self.slots.room.length) for n in range(1, positions + 1)}
        self._copy_in(len(self.told))
        count = size_of(slots)
        while count:
            for length in sorted(lengths, reverse=True):
                self.graphs.run((count, length), partial(self.step, count, length))
            count //= 2

    def _copy_in(self, count: int) -> None:
        # Waits, because `told` is changed for the next step while this one runs.
        self.numbers[:count].copy_(self.told[:count])

    def step(self, count: int, length: int) -> None:
        """THE step of the first `count` slots, which look at `length` positions: from `numbers` to `chosen`."""
        steps, n_q = self.steps, self.steps.n_q
        columns, forced, last = self.numbers[:count].split((n_q, n_q, 2), 1)
        positions, turns = last.unbind(1)
        noise = gumbel(self.wishes.keys[:count], turns, (n_q, steps.card))
        hidden = steps.step(columns, self.frames[:count], positions, self.slots, length)
        codes, logits = steps.pick(hidden, forced, partial(self.wishes.pick, noise=noise))
        self.chosen[:count].copy_(codes)
        self.logits[:count].copy_(logits)
