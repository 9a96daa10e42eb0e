"""The kernels of a step on an NVIDIA GPU, in Triton: eight a layer for few rows, where PyTorch starts nineteen.

With one or two rows a product is a read of its matrix, and starting a kernel takes longer than many of those reads. So
what PyTorch does between two products happens inside them here: norms before, non-linearities and sums after. A matrix
depends on no step, so a kernel that is EARLY fetches its part of it while the kernel before it still runs, and then
waits (programmatic dependent launch, of Hopper and later).

Without a GPU, Triton's interpreter runs them (TRITON_INTERPRET=1 before this is imported): so they are tested.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

__all__ = ["begin", "choose", "embed", "product", "settle"]


@triton.jit
def begin(EARLY: tl.constexpr) -> None:
    """Wait until the kernels before are done; the one after may begin to fetch."""
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def embed(
    columns_ptr, table_ptr, frames_ptr, positions_ptr, rates_ptr, out_ptr,
    column_stride, position_stride, card,
    N_Q: tl.constexpr, PASSES: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """What a position reads: the embeddings of its codes, its condition, its sinusoid. One program a row and block."""
    begin(EARLY)
    row = tl.program_id(0)
    slot = row // PASSES
    axis = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = axis < WIDTH
    x = tl.load(frames_ptr + row * WIDTH + axis, inside, 0.0).to(tl.float32)
    for level in tl.static_range(N_Q):
        code = tl.load(columns_ptr + slot * column_stride + level) + level * (card + 1)
        x += tl.load(table_ptr + code * WIDTH + axis, inside, 0.0).to(tl.float32)
    half: tl.constexpr = WIDTH // 2
    rate = tl.load(rates_ptr + axis % half, inside, 0.0)
    angle = tl.load(positions_ptr + slot * position_stride).to(tl.float32) * rate
    x += tl.where(axis < half, tl.cos(angle), tl.sin(angle))
    tl.store(out_ptr + row * WIDTH + axis, x, inside)


@triton.jit
def product(
    x_ptr, matrix_ptr, out_ptr, gain_ptr, gained_ptr, shift_ptr, outputs, smallest,
    ROWS: tl.constexpr, PADDED: tl.constexpr, HEARING: tl.constexpr, PASSES: tl.constexpr,
    NORM: tl.constexpr, GELU: tl.constexpr, ADD: tl.constexpr,
    WIDTH: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """out [ROWS, outputs] = act(norm(x [ROWS, WIDTH]) matrix^T), or that added to it. One program a block of outputs.

    With a norm x, and with a sum out, has the rows of all PASSES of a slot, of which the first HEARING take part. The
    mean and deviation of a row are put right afterwards, so that nothing waits for them: gained and shift [outputs] are
    the products of the matrix with the norm's gain and shift. `smallest` is added to the variance.
    """
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    axis, ids = tl.arange(0, CHUNK), tl.arange(0, PADDED)
    inside = column < outputs
    place = matrix_ptr + column.to(tl.int64)[:, None] * WIDTH + axis[None, :]
    part = tl.load(place, inside[:, None], 0.0)
    if NORM:
        gain = tl.load(gain_ptr + axis)
        gained, shift = tl.load(gained_ptr + column, inside, 0.0), tl.load(shift_ptr + column, inside, 0.0)
    begin(EARLY)
    into = ids // HEARING * PASSES + ids % HEARING if ADD else ids
    target = out_ptr + into[:, None] * outputs + column[None, :]
    kept = (ids < ROWS)[:, None] & inside[None, :]
    if ADD:
        before = tl.load(target, kept, 0.0)
    sums = tl.zeros([PADDED, BLOCK], tl.float32)
    for row in tl.static_range(ROWS):
        source = x_ptr + (row // HEARING * PASSES + row % HEARING if NORM else row) * WIDTH + axis
        read = tl.zeros([BLOCK], tl.float32)
        total, squares = 0.0, 0.0
        for first in tl.static_range(0, WIDTH, CHUNK):
            if first > 0:
                part = tl.load(place + first, inside[:, None], 0.0)
            value = tl.load(source + first).to(tl.float32)
            if NORM:
                total += tl.sum(value, 0)
                squares += tl.sum(value * value, 0)
                if first > 0:
                    gain = tl.load(gain_ptr + first + axis)
                value = value * gain
            read += tl.sum(part.to(tl.float32) * value[None, :], 1)
        if NORM:
            mean = total / WIDTH
            spread = tl.maximum(squares / WIDTH - mean * mean, 0.0)
            read = (read - mean * gained) * tl.rsqrt(spread + smallest) + shift
        sums += tl.where((ids == row)[:, None], read[None, :], 0.0)
        if WIDTH > CHUNK and row + 1 < ROWS:
            part = tl.load(place, inside[:, None], 0.0)
            if NORM:
                gain = tl.load(gain_ptr + axis)
    if GELU:
        sums = 0.5 * sums * (1.0 + tl.erf(sums * 0.7071067811865476))
    if ADD:
        sums += before
    tl.store(target, sums, kept)


@triton.jit
def settle(
    x_ptr, added_ptr, out_ptr, gain_ptr, shift_ptr, smallest,
    PASSES: tl.constexpr, ADDED: tl.constexpr, TAKEN: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """x [R, WIDTH] += added, and out = norm(x). One program a row.

    Of a slot's PASSES rows the first ADDED are in `added`, and the first TAKEN go out.
    """
    begin(EARLY)
    row = tl.program_id(0)
    slot, one = row // PASSES, row % PASSES
    axis = tl.arange(0, PADDED)
    inside = axis < WIDTH
    x = tl.load(x_ptr + row * WIDTH + axis, inside, 0.0)
    if one < ADDED:
        x += tl.load(added_ptr + (slot * ADDED + one) * WIDTH + axis, inside, 0.0).to(tl.float32)
        tl.store(x_ptr + row * WIDTH + axis, x, inside)
    if one < TAKEN:
        away = tl.where(inside, x - tl.sum(x, 0) / WIDTH, 0.0)
        x = away * tl.rsqrt(tl.sum(away * away, 0) / WIDTH + smallest)
        x = x * tl.load(gain_ptr + axis, inside, 0.0) + tl.load(shift_ptr + axis, inside, 0.0)
        tl.store(out_ptr + (slot * TAKEN + one) * WIDTH + axis, x, inside)


@triton.jit
def _child(key, index):
    """Of noise.py, the same to the bit: a key of 64 bits for each index."""
    key += (index.to(tl.uint64) + 1) * 0x9E3779B97F4A7C15
    key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9
    key = (key ^ (key >> 27)) * 0x94D049BB133111EB
    return key ^ (key >> 31)


@triton.jit
def _in_order(x):
    """Whole numbers [n] int32 in the order of floats."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


@triton.jit
def choose(
    logits_ptr, weights_ptr, keys_ptr, top_k_ptr, top_p_ptr, margin_ptr,
    temperature_ptr, dice_ptr, out_ptr, turns_ptr, turn_stride, card, first_level,
    N_Q: tl.constexpr, LEVELS: tl.constexpr, PASSES: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """Codes [n, LEVELS] from logits [n, PASSES, LEVELS, card], as executors/draw.py does. A program a slot and level.

    The k-th logit is found by halving the range of all floats, and so is the one that top_p ends at: the lowest that
    has less than top_p of the probability above it.
    """
    slot, level = tl.program_id(0), tl.program_id(1)
    entry = tl.arange(0, PADDED)
    there = entry < card
    mixed = tl.zeros([PADDED], tl.float32)
    for one in tl.static_range(PASSES):
        row = logits_ptr + ((slot * PASSES + one) * LEVELS + level).to(tl.int64) * card
        mixed += tl.load(weights_ptr + slot * PASSES + one) * tl.load(row + entry, there, 0.0)
    order = tl.where(there, _in_order(mixed), -(2**31))
    kept = there & (mixed >= tl.max(tl.where(there, mixed, float("-inf")), 0) - tl.load(margin_ptr + slot))
    count = tl.load(top_k_ptr + slot)
    low, high = tl.full([], -(2**31), tl.int64), tl.full([], 2**31, tl.int64)
    for _ in range(32):  # at low there are enough, at high there are not
        middle = (low + high) >> 1
        enough = tl.sum((order >= middle.to(tl.int32)).to(tl.int32), 0) >= count
        low, high = tl.where(enough, middle, low), tl.where(enough, high, middle)
    by_rank = there & (order >= low.to(tl.int32))
    share = tl.load(top_p_ptr + slot)
    if share < 1.0:
        strong = tl.where(by_rank, tl.exp(mixed - tl.max(tl.where(there, mixed, float("-inf")), 0)), 0.0)
        strong = strong / tl.sum(strong, 0)
        low, high = tl.full([], -(2**31), tl.int64), tl.full([], 2**31 - 1, tl.int64)
        for _ in range(32):  # above low lies too much, above high there does not
            middle = (low + high) >> 1
            much = tl.sum(tl.where(order > middle.to(tl.int32), strong, 0.0), 0) >= share
            low, high = tl.where(much, middle, low), tl.where(much, high, middle)
        kept = kept & (order >= high.to(tl.int32))
    kept = kept & by_rank
    at = level + first_level
    key = _child(tl.load(keys_ptr + slot).to(tl.uint64, bitcast=True), tl.load(turns_ptr + slot * turn_stride))
    key = _child(_child(key, at), entry)
    chance = ((key >> 41).to(tl.float32) + 0.5) * (2.0**-23)
    noise = -tl.log(-tl.log(chance)) * tl.load(dice_ptr + slot * N_Q + at)
    score = tl.where(kept, mixed / tl.load(temperature_ptr + slot * N_Q + at) + noise, float("-inf"))
    tl.store(out_ptr + slot * LEVELS + level, tl.argmax(score, 0).to(tl.int64))
