"""The step of MusicGen by our own kernels: what starts them, and where PyTorch's products are the better ones."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .musicgen import MusicGenLM
from .slot_models import MusicGenSteps
from .slot_step import Pick
from .slots import Slots

__all__ = ["KernelSteps", "find_kernels"]

logger = logging.getLogger(__name__)

FEW = 4  # rows up to which a product is a read of its matrix, and ours is the faster one
OUTPUTS = 2  # of a product that one warp works out, if its chunk of a row is no longer than 2048
POSITIONS = 32  # that a program of attention, one warp, reads
LONG = (64, 2, 3)  # for many rows: positions that it reads at once, its warps, blocks that are on their way


@functools.cache
def find_kernels(device: torch.device) -> ModuleType | None:
    """Our kernels, or None where they cannot run: a sentence says why, and PyTorch's run instead."""
    if device.type != "cuda":
        return None
    try:
        from . import gpu_kernels

        x = torch.zeros(2, device=device)
        number = torch.zeros(1, dtype=torch.int64, device=device)
        with torch.cuda.device(device):  # runs one, since a compiler may be missing
            gpu_kernels.embed[(1, 1)](number, x, x, number, x, x, 1, 1, 1, 1, 1, 2, 2, False)
    except Exception as error:  # of whatever kind: Triton has many, and so has what it needs
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        logger.warning("Triton cannot make our kernels for %s, so PyTorch's run, more slowly: %s", device, reason)
        return None
    return gpu_kernels


class KernelSteps(MusicGenSteps):
    """As `MusicGenSteps`. Few rows run in our kernels alone; for many, PyTorch has the products and we what is between.

    Between two kernels lies what `dtype` says; the sum that all layers add to is in float32.

    Args:
        lm, device, dtype: as there.
        kernels: gpu_kernels.
    """

    def __init__(self, lm: MusicGenLM, device: torch.device, dtype: torch.dtype, kernels: ModuleType) -> None:
        super().__init__(lm, device, dtype)
        from . import gpu_attention

        self.kernels, self.attention = kernels, gpu_attention
        self.is_early = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
        self.start = {"launch_pdl": True} if self.is_early else {}
        self.norms = {
            part: (part.weight.float(), part.bias.float()) for part in lm.modules() if isinstance(part, nn.LayerNorm)
        }
        self.normed = {
            matrix: self._gained(matrix, norm)
            for block in lm.blocks
            for matrix, norm in (
                (block.qkv, block.norm),
                (block.up, block.up_norm),
                *([(block.cross_q, block.cross_norm)] if lm.has_cross else []),
            )
        }
        self.to_logits = lm.head.out
        self.normed[self.to_logits] = self._gained(self.to_logits, self.final)
        self.arrived: dict[int, Tensor] = {}  # programs of attention that are done, by rows; made before recording

    def step(self, columns: Tensor, frames: Tensor, positions: Tensor, slots: Slots, length: int) -> Tensor:
        """As `Steps.step`, without the last norm."""
        x = self._embed(columns, frames, positions)
        run = self._run_few if len(x) <= FEW else self._run_many
        run(x, slots, lambda layer, fresh: self._attend(fresh, slots, layer, positions, length))
        return x.unflatten(0, (-1, slots.room.passes))

    def pick(self, hidden: Tensor, forced: Tensor, pick: Pick) -> tuple[Tensor, Tensor]:
        """As `Steps.pick`, and the last norm before it."""
        rows = hidden.flatten(0, 1)
        if len(rows) <= FEW:
            logits = self._product(rows, self.to_logits, self.final, dtype=torch.float32)
        else:
            logits = self.to_logits(F.layer_norm(rows, (self.width,), *self.norms[self.final], self.final.eps))
        logits = logits.unflatten(0, hidden.shape[:2]).unflatten(-1, (self.n_q, self.card))
        return torch.where(forced < 0, pick(logits, 0), forced), logits

    # --- the layers ---

    def _run_few(self, x: Tensor, slots: Slots, attend: Callable[[int, Tensor], Tensor]) -> None:
        """Let all layers add to x [R, D]."""
        share = (slots.room.hearing, slots.room.passes)
        for layer, block in enumerate(self.blocks):
            read = attend(layer, self._product(x, block.qkv, block.norm))
            self._product(read, block.out, onto=x)
            if slots.room.hearing:
                query = self._product(x, block.cross_q, block.cross_norm, share=share)
                self._product(self._hear(query, slots, layer), block.cross_out, onto=x, share=share)
            inner = self._product(x, block.up, block.up_norm, is_active=True)
            self._product(inner, block.down, onto=x)

    def _run_many(self, x: Tensor, slots: Slots, attend: Callable[[int, Tensor], Tensor]) -> None:
        passes, hearing = slots.room.passes, slots.room.hearing
        y = self._settle(x, None, self.blocks[0].norm, passes, passes, passes)
        for layer, block in enumerate(self.blocks):
            after = self.blocks[layer + 1].norm if layer + 1 < len(self.blocks) else self.final
            y = block.out(attend(layer, block.qkv(y)))
            added = passes
            if hearing:
                y = block.cross_q(self._settle(x, y, block.cross_norm, passes, passes, hearing))
                y, added = block.cross_out(self._hear(y, slots, layer)), hearing
            y = self._settle(x, y, block.up_norm, passes, added, passes)
            y = self._settle(x, block.down(F.gelu(block.up(y))), after, passes, passes, passes)

    # --- the kernels ---

    def _embed(self, columns: Tensor, frames: Tensor, positions: Tensor) -> Tensor:
        """What is read, [R, D]."""
        rows = frames.shape[0] * frames.shape[1]
        x = torch.empty(rows, self.width, device=self.device)
        self.kernels.embed[(rows, 1)](
            columns, self.embedding.weight, frames, positions, self.rates, x,
            columns.stride(0), positions.stride(0), self.card,
            self.n_q, frames.shape[1], self.width, _power(self.width), self.is_early, **self.start,
        )  # fmt: skip
        return x

    def _product(
        self,
        x: Tensor,
        matrix: nn.Linear,
        norm: nn.LayerNorm | None = None,
        *,
        is_active: bool = False,
        onto: Tensor | None = None,
        share: tuple[int, int] = (1, 1),
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """act(norm(x) matrix^T), or that added to `onto`, whose rows are those of all passes, as x's with a norm.

        Args:
            share: so many passes take part, of so many.
            dtype: of what comes out; None: of this step.
        """
        hearing, passes = share
        rows = len(x) * hearing // passes if norm is not None else len(x)
        outputs, width = matrix.weight.shape
        out = torch.empty(rows, outputs, device=self.device, dtype=dtype or self.dtype) if onto is None else onto
        gain, gained, shift = (x, x, x) if norm is None else (self.norms[norm][0], *self.normed[matrix])
        chunk = _chunk(width)
        block = OUTPUTS if chunk <= 2048 else OUTPUTS // 2
        self.kernels.product[(-(-outputs // block),)](
            x, matrix.weight, out, gain, gained, shift, outputs, 0.0 if norm is None else norm.eps,
            rows, _power(rows), hearing, passes, norm is not None, is_active, onto is not None,
            width, chunk, block, self.is_early, num_warps=1, **self.start,
        )  # fmt: skip
        return out

    def _settle(
        self, x: Tensor, added: Tensor | None, norm: nn.LayerNorm, passes: int, of_added: int, taken: int
    ) -> Tensor:
        """Add to x [R, D] what the first passes of all slots are given, and norm the rows of the first `taken`."""
        out = torch.empty(len(x) // passes * taken, self.width, device=self.device, dtype=self.dtype)
        self.kernels.settle[(len(x),)](
            x, x if added is None else added, out, *self.norms[norm], norm.eps,
            passes, 0 if added is None else of_added, taken, self.width, _power(self.width), self.is_early,
            **self.start,
        )  # fmt: skip
        return out

    def _attend(self, fresh: Tensor, slots: Slots, layer: int, positions: Tensor, length: int) -> Tensor:
        """Attention of the next position, [R, 3 D] -> [R, D], whose keys and values are written."""
        rows, room, out = len(fresh), slots.room, fresh.new_empty(len(fresh), self.width)
        memory = (fresh, slots.memory[layer, 0], slots.memory[layer, 1], positions, out)
        numbers = (positions.stride(0), room.length, length, self.head_dim**-0.5)
        sizes = (room.passes, self.heads, self.head_dim)
        if rows > FEW:
            block, warps, stages = LONG
            self.attention.attend_long[(rows, self.heads)](
                *memory, *numbers, *sizes, block, stages, self.is_early, num_warps=warps, **self.start
            )
            return out
        splits = _power(-(-length // POSITIONS))
        if rows not in self.arrived:
            self.arrived[rows] = torch.zeros(rows, self.heads, dtype=torch.int32, device=self.device)
        parts = torch.empty(rows, self.heads, splits, self.head_dim + 2, device=self.device)
        self.attention.attend[(rows, self.heads, splits)](
            *memory, parts, self.arrived[rows], *numbers, *sizes, POSITIONS, splits, self.is_early,
            num_warps=1, **self.start,
        )  # fmt: skip
        return out

    def _hear(self, query: Tensor, slots: Slots, layer: int) -> Tensor:
        """Cross-attention of the rows that listen, [L, D]."""
        rows, room, out = len(query), slots.room, torch.empty_like(query)
        self.attention.hear[(rows, self.heads)](
            query, slots.source[layer, 0], slots.source[layer, 1], slots.heard, out, room.source, self.head_dim**-0.5,
            self.heads, self.head_dim, _power(room.source), self.is_early, num_warps=1, **self.start,
        )  # fmt: skip
        return out

    def _gained(self, matrix: nn.Linear, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """The products of a matrix with the gain and the shift of the norm before it, [outputs] float32 each."""
        gain, shift = self.norms[norm]
        return matrix.weight.float() @ gain, matrix.weight.float() @ shift


def _power(number: int) -> int:
    """The smallest power of two that is not below."""
    return 1 << max(0, number - 1).bit_length()


def _chunk(width: int) -> int:
    """The largest power of two up to 4096 that divides a width: so much of a row of a matrix is read at once."""
    return min(4096, width & -width)
