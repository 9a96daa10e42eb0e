"""Pieces longer than a model hears at once: windows that overlap, each told the codes of the one before.

Knows frames only; what each window is told of text or melody is its caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from ..errors import ConfigError
from ..models.musicgen import MusicGenLM
from .fuse import Fused
from .generate import stream_columns
from .patterns.base import Pattern
from .samplers.base import Sampler

__all__ = ["continue_columns", "first_frame", "play_windows"]


def first_frame(done: int, window: int, stride: int) -> int:
    """First frame of the window that decides frame `done`: the earliest multiple of `stride` that reaches it.

    window = 30, stride = 18     window    frames         told     new
                                 0         0 .. 30        -        0 .. 30
                                 1        18 .. 48        18..30   30 .. 48
    """
    return max(0, -(-(done - window + 1) // stride) * stride)


@torch.inference_mode()
def play_windows(
    lm: MusicGenLM,
    pattern: Pattern,
    sampler: Sampler,
    conditions: Callable[[int], Fused],
    *,
    num_frames: int,
    guide: Callable[[Tensor], Tensor],
    noise: Callable[[int], Tensor],
    window: int,
    stride: int,
    given: Tensor | None = None,
) -> Iterator[Tensor]:
    """Play a piece of `num_frames` frames, those `given` [B, K, T0] first and unchanged.

    A code draws the noise of its own address in the piece, whichever window decides it, so a short piece is the
    beginning of the long one with the same seed, up to the last frames before the end.

    Args:
        conditions: gives what the window that starts at a frame is told.
        num_frames: T of the whole piece, the given frames included.
        window: frames that the model hears at once.
        stride: frames from one window's start to the next; window - stride frames are told again.

    Yields:
        Codes [B, K] of the next frame, as soon as its last codebook is decided.

    Source: Copet et al. 2023, arXiv:2306.05284, section 4, and its released code: 30 s windows, 18 s apart.
    """
    fused = conditions(0)
    codes = torch.empty((fused.batch_size, lm.n_q, 0), dtype=torch.int64) if given is None else given
    if codes.shape[-1] >= num_frames:
        raise ConfigError(f"{codes.shape[-1]} frames are given and {num_frames} asked for. Ask for a longer piece.")
    yield from codes.unbind(-1)
    done = codes.shape[-1]
    while done < num_frames:
        start = first_frame(done, window, stride)
        fused = conditions(start) if start else fused
        told, length = codes[..., codes.shape[-1] - (done - start) :], min(num_frames - start, window)
        columns = continue_columns(lm, pattern, sampler, fused, told, length, guide, _Shifted(noise, start))
        new = []
        for frame in _whole_frames(columns, pattern, told.shape[-1]):
            new.append(frame)
            yield frame
        codes = torch.cat((told, torch.stack(new, -1)), -1)  # of this window; older ones are not needed any more
        done += len(new)


def _whole_frames(columns: Iterable[Tensor], pattern: Pattern, first: int) -> Iterator[Tensor]:
    """Take frames [B, K] out of columns from frame `first` on, each when its last codebook is there."""
    seen: list[Tensor] = []
    levels = range(pattern.n_q)
    steps = [int(pattern.step_of(k, torch.tensor(first))) for k in levels]
    for column in columns:
        seen.append(column)
        while max(steps) < len(seen):
            yield torch.stack([seen[steps[k]][:, k] for k in levels], 1)
            first += 1
            steps = [int(pattern.step_of(k, torch.tensor(first))) for k in levels]


def continue_columns(
    lm: MusicGenLM,
    pattern: Pattern,
    sampler: Sampler,
    fused: Fused,
    told: Tensor,
    num_frames: int,
    guide: Callable[[Tensor], Tensor],
    noise: Callable[[int], Tensor],
) -> Iterator[Tensor]:
    """Yield all columns of a window of `num_frames` frames whose first ones are `told` [B, K, T0]."""
    settings = {"num_frames": num_frames, "guide": guide, "noise": noise}
    if told.shape[-1] == 0:
        yield from stream_columns(lm, pattern, sampler, fused, **settings)  # type: ignore[arg-type]
        return
    known = pattern.interleave(told)  # [B, K, S]
    levels = range(pattern.n_q)
    start = min(int(pattern.step_of(k, torch.tensor(told.shape[-1]))) for k in levels)  # first step that decides
    cache = lm.new_cache(fused.rows, fused.prefix_length + pattern.num_steps(num_frames))
    lm.prefill(cache, fused.prefix, fused.cross, fused.cross_mask)
    first = pattern.first_column(len(told), told.device)[..., None]
    lm.read(torch.cat((first, known[..., : start - 1]), -1), cache)
    yield from known[..., :start].unbind(-1)
    rest = {"known": known, "cache": cache, "column": known[..., start - 1], "start": start}
    yield from stream_columns(lm, pattern, sampler, fused, **settings, **rest)  # type: ignore[arg-type]


class _Shifted:
    """Noise of a window that starts at another frame than the piece."""

    def __init__(self, noise: Callable[[int], Tensor], start: int) -> None:
        self.noise, self.start = noise, start

    def __call__(self, step: int) -> Tensor:
        return self.noise(self.start + step)
