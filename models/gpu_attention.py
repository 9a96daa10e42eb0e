"""The kernels of attention on an NVIDIA GPU: to a row's own past, for few rows and for many, and to what it hears."""

from __future__ import annotations

import triton
import triton.language as tl

from .gpu_kernels import begin

__all__ = ["attend", "attend_long", "hear"]


@triton.jit
def attend(
    fresh_ptr, keys_ptr, values_ptr, positions_ptr, out_ptr, parts_ptr, arrived_ptr,
    position_stride, room, length, factor,
    PASSES: tl.constexpr, HEADS: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """Write a position's keys and values, and attend to all. One program a row, head and BLOCK of the positions.

    fresh [R, 3, HEADS, SIZE] are queries, keys and values; the program that arrives last puts the blocks together.
    parts [R, HEADS, SPLITS, SIZE + 2] and arrived [R, HEADS], zeros before and after, are for that.
    """
    row, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    axis, at = tl.arange(0, SIZE), split * BLOCK + tl.arange(0, BLOCK)
    position = tl.load(positions_ptr + row // PASSES * position_stride)
    place = (position % room).to(tl.int32)
    seen = tl.minimum(position + 1, length).to(tl.int32)
    blocks = tl.cdiv(seen, BLOCK)
    if split >= blocks:
        return
    begins = (row * HEADS + head).to(tl.int64) * room * SIZE
    where = begins + at[:, None] * SIZE + axis[None, :]
    held = ((at < seen) & (at != place))[:, None]
    keys, values = tl.load(keys_ptr + where, held, 0.0), tl.load(values_ptr + where, held, 0.0)
    begin(EARLY)
    mine = fresh_ptr + (row * 3 * HEADS + head) * SIZE + axis
    query = tl.load(mine).to(tl.float32) * factor
    key = tl.load(mine + HEADS * SIZE).to(keys.dtype)
    value = tl.load(mine + 2 * HEADS * SIZE).to(values.dtype)
    if place // BLOCK == split:
        tl.store(keys_ptr + begins + place * SIZE + axis, key)
        tl.store(values_ptr + begins + place * SIZE + axis, value)
    is_new = (at == place)[:, None]
    keys = tl.where(is_new, key[None, :], keys).to(tl.float32)
    values = tl.where(is_new, value[None, :], values).to(tl.float32)
    score = tl.where(at < seen, tl.sum(keys * query[None, :], 1), float("-inf"))
    highest = tl.max(score, 0)
    weight = tl.exp(score - highest)
    total = tl.sum(weight, 0)
    read = tl.sum(weight[:, None] * values, 0)
    target = out_ptr + (row * HEADS + head) * SIZE + axis
    if SPLITS == 1:
        tl.store(target, read / total)
    else:
        mine = parts_ptr + ((row * HEADS + head) * SPLITS + split) * (SIZE + 2)
        tl.store(mine + axis, read)
        tl.store(mine + SIZE, highest)
        tl.store(mine + SIZE + 1, total)
        tl.debug_barrier()  # all threads have stored before one of them says so
        if tl.atomic_add(arrived_ptr + row * HEADS + head, 1) == blocks - 1:
            every = tl.arange(0, SPLITS)
            theirs = parts_ptr + ((row * HEADS + head) * SPLITS + every) * (SIZE + 2)
            there = every < blocks
            peaks = tl.load(theirs + SIZE, there, float("-inf"), cache_modifier=".cg")
            weights = tl.exp(peaks - tl.max(peaks, 0))
            total = tl.sum(weights * tl.load(theirs + SIZE + 1, there, 0.0, cache_modifier=".cg"), 0)
            reads = tl.load(theirs[:, None] + axis[None, :], there[:, None], 0.0, cache_modifier=".cg")
            tl.store(target, tl.sum(weights[:, None] * reads, 0) / total)
            tl.store(arrived_ptr + row * HEADS + head, 0)


@triton.jit
def attend_long(
    fresh_ptr, keys_ptr, values_ptr, positions_ptr, out_ptr, position_stride, room, length, factor,
    PASSES: tl.constexpr, HEADS: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """As `attend`, a program a row and head: for many rows, when the memory is busy with one block after the other."""
    row, head = tl.program_id(0), tl.program_id(1)
    axis = tl.arange(0, SIZE)
    position = tl.load(positions_ptr + row // PASSES * position_stride)
    place = (position % room).to(tl.int32)
    seen = tl.minimum(position + 1, length).to(tl.int32)
    begins = (row * HEADS + head).to(tl.int64) * room * SIZE
    begin(EARLY)
    mine = fresh_ptr + (row * 3 * HEADS + head) * SIZE + axis
    query = tl.load(mine).to(tl.float32) * factor
    key = tl.load(mine + HEADS * SIZE).to(keys_ptr.dtype.element_ty)
    value = tl.load(mine + 2 * HEADS * SIZE).to(values_ptr.dtype.element_ty)
    tl.store(keys_ptr + begins + place * SIZE + axis, key)
    tl.store(values_ptr + begins + place * SIZE + axis, value)
    highest = tl.sum(key.to(tl.float32) * query, 0)  # the new position comes first, from where it was made
    total = 1.0
    read = value.to(tl.float32)
    for start in tl.range(0, seen, BLOCK, num_stages=STAGES):
        at = start + tl.arange(0, BLOCK)
        where = begins + at[:, None] * SIZE + axis[None, :]
        held = (at < seen) & (at != place)
        keys, values = tl.load(keys_ptr + where, held[:, None], 0.0), tl.load(values_ptr + where, held[:, None], 0.0)
        score = tl.where(held, tl.sum(keys.to(tl.float32) * query[None, :], 1), float("-inf"))
        higher = tl.maximum(highest, tl.max(score, 0))
        weight = tl.exp(score - higher)
        fade = tl.exp(highest - higher)
        total = total * fade + tl.sum(weight, 0)
        read = read * fade + tl.sum(weight[:, None] * values.to(tl.float32), 0)
        highest = higher
    tl.store(out_ptr + (row * HEADS + head) * SIZE + axis, read / total)


@triton.jit
def hear(
    queries_ptr, keys_ptr, values_ptr, heard_ptr, out_ptr, source, factor,
    HEADS: tl.constexpr, SIZE: tl.constexpr, PADDED: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Attend to a source: queries [L, HEADS, SIZE] to keys and values [L, HEADS, source, SIZE]. A program a head."""
    row, head = tl.program_id(0), tl.program_id(1)
    axis, at = tl.arange(0, SIZE), tl.arange(0, PADDED)
    there = at < tl.maximum(tl.load(heard_ptr + row), 1)  # a row without a source reads a key of zeros
    where = ((row * HEADS + head).to(tl.int64) * source + at[:, None]) * SIZE + axis[None, :]
    keys, values = tl.load(keys_ptr + where, there[:, None], 0.0), tl.load(values_ptr + where, there[:, None], 0.0)
    begin(EARLY)
    mine = (row * HEADS + head) * SIZE + axis
    query = tl.load(queries_ptr + mine).to(tl.float32) * factor
    score = tl.where(there, tl.sum(keys.to(tl.float32) * query[None, :], 1), float("-inf"))
    weight = tl.exp(score - tl.max(score, 0))
    tl.store(out_ptr + mine, tl.sum(weight[:, None] * values.to(tl.float32), 0) / tl.sum(weight, 0))
