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
    """Put a stem [1 or 2, L] at the level and place of its track: [2, L]; constant power over the panorama."""
    gain = 10 ** (track.level_db / 20)
    angle = (track.pan + 1) * np.pi / 4
    sides = np.array([[np.cos(angle)], [np.sin(angle)]], np.float32) * np.float32(gain * np.sqrt(2))
    return np.broadcast_to(stem, (2, stem.shape[1])) * sides


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
    start: int = 0,
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
        start: the sample of the piece that the stems begin with, if they are an excerpt.

    Returns:
        [2, L] float32 with a peak of at most 0.98.
    """
    sound = dry_mix(stems, tracks) * HEADROOM
    kind = effects.get("reverb", "none")
    if kind != "none":
        sends = (place(stems[t.role], t) * (HEADROOM * np.float32(t.reverb_send)) for t in tracks)
        send = functools.reduce(np.add, sends)
        seconds = float(effects.get("reverb_seconds", 1.0))
        sound = sound + fx.reverb(send, sample_rate=sample_rate, kind=kind, seconds=seconds, seed=seed)
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

    Args:
        blocks: [R, n] each, the stems of `tracks` in their order.

    Yields:
        [2, n] float32, as soon as no later block can change it.
    """

    def process(held: np.ndarray, start: int) -> np.ndarray:
        stems = {track.role: held[i : i + 1] for i, track in enumerate(tracks)}
        return mix(stems, tracks, effects, sample_rate=sample_rate, seed=seed, start=start)

    past, future = fx.reach(effects, sample_rate)
    return blockwise(blocks, process, past=past, future=future, align=sample_rate)  # the limiter works in milliseconds
