"""Stems to a stereo mix: level and pan, a shared reverb, the style's effects, a limiter. Knows no network."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..composition import effects as fx
from ..composition.score import Track
from .blockwise import blockwise

__all__ = ["HEADROOM", "dry_mix", "mix", "mix_stream", "place"]

HEADROOM = np.float32(0.6)  # stems at -20 dBFS each sum to peaks above 1; effects and limiter want room


def place(stem: np.ndarray, track: Track) -> np.ndarray:
    """Put a stem [1 or 2, L] at the level and place of its track: [2, L]."""
    return np.broadcast_to(stem, (2, stem.shape[1])) * _sides(track)


def _sides(track: Track) -> np.ndarray:
    """How loud a track is left and right: [2, 1]; constant power over the panorama."""
    gain = 10 ** (track.level_db / 20)
    angle = (track.pan + 1) * np.pi / 4
    return np.array([[np.cos(angle)], [np.sin(angle)]], np.float32) * np.float32(gain * np.sqrt(2))


def dry_mix(stems: Mapping[str, np.ndarray], tracks: Sequence[Track]) -> np.ndarray:
    """Sum the placed stems, before any effect: [2, L]."""
    return functools.reduce(np.add, (place(stems[track.role], track) for track in tracks))


def mix(
    stems: Mapping[str, np.ndarray],
    tracks: Sequence[Track],
    effects: Mapping[str, Any],
    *,
    sample_rate: int,
    seed: int,
) -> np.ndarray:
    """Mix stems to stereo.

    No stem is set by looking at another, so leaving one out changes nothing about the rest until the effects of the
    whole mix.

    Args:
        stems: role -> [1 or 2, L] float32.
        tracks: level, pan and reverb send of each role that plays.
        effects: the style's effects block; a value that is missing or 0 means off.
        sample_rate: Hz.
        seed: of the reverb's tail and the vinyl's crackle.

    Returns:
        [2, L] float32 with a peak of at most 0.98.
    """
    sound = dry_mix(stems, tracks) * HEADROOM
    reverb = _reverb(effects, sample_rate, seed)
    if reverb is not None:
        sends = (place(stems[t.role], t) * (HEADROOM * np.float32(t.reverb_send)) for t in tracks)
        sound = sound + reverb(functools.reduce(np.add, sends))
    return _finish(sound, 0, effects, sample_rate, seed)


def _reverb(effects: Mapping[str, Any], sample_rate: int, seed: int) -> fx.Reverb | None:
    kind, seconds = effects.get("reverb", "none"), float(effects.get("reverb_seconds", 1.0))
    return None if kind == "none" else fx.Reverb(sample_rate=sample_rate, kind=kind, seconds=seconds, seed=seed)


def _finish(sound: np.ndarray, start: int, effects: Mapping[str, Any], sample_rate: int, seed: int) -> np.ndarray:
    """What happens to the whole mix [2, L], which begins with sample `start` of the piece."""
    if effects.get("drive"):
        sound = fx.drive(sound, amount=effects["drive"])
    if effects.get("tape"):
        sound = fx.tape(sound, sample_rate=sample_rate, amount=effects["tape"], seed=seed, start=start)
    if effects.get("lowpass_hz"):
        sound = fx.low_pass(sound, sample_rate=sample_rate, cutoff_hz=effects["lowpass_hz"])
    if effects.get("vinyl"):
        sound = fx.vinyl(sound, sample_rate=sample_rate, amount=effects["vinyl"], seed=seed, start=start)
    if effects.get("width"):
        sound = fx.widen(sound, sample_rate=sample_rate, amount=effects["width"])
    return fx.limiter(sound, sample_rate=sample_rate)


def mix_stream(
    blocks: Iterable[np.ndarray],
    tracks: Sequence[Track],
    effects: Mapping[str, Any],
    *,
    sample_rate: int,
    seed: int,
) -> Iterator[np.ndarray]:
    """Mix stems that arrive block by block; what is yielded, joined, equals `mix` of the whole stems.

    The reverb rings on from block to block; what follows it hears little more than a tenth of a second and is given
    that again.

    Args:
        blocks: [R, n] each, the stems of `tracks` in their order.

    Yields:
        [2, n] float32, as soon as no later block can change it.
    """
    sides = np.concatenate([_sides(track) for track in tracks], 1) * HEADROOM  # [2, R]
    sends = sides * np.array([track.reverb_send for track in tracks], np.float32)
    reverb = _reverb(effects, sample_rate, seed)

    def wet(block: np.ndarray) -> np.ndarray:
        dry = np.einsum("cr,rn->cn", sides, block)  # a product would wake BLAS's threads for nothing
        return dry if reverb is None else dry + reverb(np.einsum("cr,rn->cn", sends, block))

    past, future = fx.reach(sample_rate)
    finish = functools.partial(_finish, effects=effects, sample_rate=sample_rate, seed=seed)
    return blockwise(map(wet, blocks), finish, past=past, future=future, align=max(1, sample_rate // 1000))  # the limiter's steps
