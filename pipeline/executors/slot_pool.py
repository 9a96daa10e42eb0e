"""The slots of the graph executor: who has which, what is copied in and out, and the step itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError
from ...models.slot_step import Steps
from ...models.slots import Room, Slots
from .ahead import Coming, Guess
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
        kernels: gpu_kernels, for the choice of codes; or None.
        is_ahead: whether a step is begun before it is asked for, see `Guess`; None: where they are recorded.
    """

    def __init__(
        self,
        steps: Steps,
        room: Room,
        is_recorded: bool,
        kernels: ModuleType | None = None,
        is_ahead: bool | None = None,
    ) -> None:
        self.steps, self.graphs, self.kernels = steps, Graphs(steps.device if is_recorded else None), kernels
        self.is_ahead = (is_recorded if is_ahead is None else is_ahead) and steps.window is None
        self.guess: Guess | None = None
        self.owners: list[HELD | None] = []  # of each slot
        self.left: list[HELD] = []  # by sessions that are gone; swept up at the next chance, not while slots move
        room = self._rounded(room)
        self._make(Slots(len(steps.blocks), steps.heads, steps.head_dim, room, steps.device, steps.dtype))

    def _make(self, slots: Slots) -> None:
        """Make all buffers of a step."""
        self.slots, room = slots, slots.room
        steps, device = self.steps, self.steps.device
        count, n_q = room.slots, steps.n_q
        self.wishes = Wishes(count, room.passes, n_q, steps.card, device, self.kernels)
        self.frames = torch.zeros(count, room.passes, steps.width, device=device, dtype=steps.dtype)
        self.chosen = torch.zeros(count, n_q, device=device, dtype=torch.int64)
        self.logits = torch.zeros(count, room.passes, n_q, steps.card, device=device)
        # of each slot: the column to read, codes that are forced or -1, position, step of the piece
        self.numbers = torch.zeros(count, 2 * n_q + 2, device=device, dtype=torch.int64)
        self.told = np.zeros((count, 2 * n_q + 2), np.int64)  # NumPy writes to it in a tenth of the time
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
        self.guess = None
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
        self.guess = None
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

    def ask(self, slots: Sequence[int], columns: Tensor, turns: Sequence[int], forced: Tensor | None) -> None:
        """Say what slots read, [n, K], at which steps of their pieces, [n], and which codes [n, K] are forced."""
        n_q = self.steps.n_q
        self.told[slots, :n_q] = columns.numpy(force=True)
        self.told[slots, n_q : 2 * n_q] = -1 if forced is None else forced.numpy(force=True)
        self.told[slots, -1] = turns

    # --- the step ---

    def run(self, held: Sequence[int], is_guessed: bool = False) -> Tensor:
        """Run the next step of these slots, or take what was guessed; `logits` has their logits if nothing is.

        Args:
            held: slots that were told what to do, by `ask`.
            is_guessed: whether the step after this may be begun.

        Returns:
            The codes [n, K] of those slots, on the CPU.
        """
        rows = self.told[held]
        if self.guess is None or not self.guess.is_right(held, rows):
            self.numbers.copy_(torch.from_numpy(self.told), non_blocking=True)
            coming = self._start(held, rows)
        else:
            coming = self.guess.coming
        self.guess = None
        follows = None
        if is_guessed and self.is_ahead and self._has_next():
            self._go_on()
            follows = self._start(held, rows, 1)
        codes = coming.wait()[held]  # the only wait; until then `told` must not change
        if follows is not None:
            self.guess = Guess(held, rows, codes, follows)
        return codes

    def record(self, slots: int, positions: int) -> None:
        """Run, and so record, the steps of all sizes up to so many slots and positions, the largest first."""
        lengths = {min(length_of(n), self.slots.room.length) for n in range(1, positions + 1)}
        count = size_of(slots)
        while count:
            for length in sorted(lengths, reverse=True):
                self.graphs.run((count, length), partial(self.step, count, length))
            count //= 2
        self.graphs.wait()

    def _start(self, held: Sequence[int], rows: np.ndarray, later: int = 0) -> Coming:
        """Begin the step that `numbers` tell, which is so many steps later than what `rows` of `told` say."""
        count = size_of(max(held) + 1)
        length = min(length_of(int(rows[:, -2].max()) + 1 + later), self.slots.room.length)
        self.graphs.run((count, length), partial(self.step, count, length))
        return Coming(self.chosen[:count])

    def _has_next(self) -> bool:
        """Whether no row would come round to its first position, which it may still need, also one that waits."""
        taken = [slot for slot, owner in enumerate(self.owners) if owner is not None]
        return int(self.told[taken, -2].max()) + 1 < self.slots.room.length

    def _go_on(self) -> None:
        """Let `numbers` tell the step after the one that runs, if nobody changes what it chooses."""
        self.numbers[:, : self.steps.n_q].copy_(self.chosen)
        self.numbers[:, -2:] += 1

    def step(self, count: int, length: int) -> None:
        """THE step of the first `count` slots, which look at `length` positions: from `numbers` to `chosen`."""
        steps, n_q = self.steps, self.steps.n_q
        columns, forced, last = self.numbers[:count].split((n_q, n_q, 2), 1)
        positions, turns = last.unbind(1)
        hidden = steps.step(columns, self.frames[:count], positions, self.slots, length)
        codes, logits = steps.pick(hidden, forced, partial(self.wishes.pick, turns=turns))
        self.chosen[:count].copy_(codes)
        self.logits[:count].copy_(logits)
