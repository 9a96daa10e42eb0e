"""Stems to a stereo mix: level and pan, a shared reverb, the style's effects, a limiter. Knows no network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..composition import effects as fx
from ..composition.manner import style_of
from ..composition.plan import MusicalPlan
from ..composition.score import MIX, Track
from .blockwise import blockwise
from .room import Room

__all__ = ["FADE", "HEADROOM", "Scene", "dry_mix", "mix", "mix_plan", "mix_stream", "place", "whole_band"]

FADE = 0.05  # seconds from one scene to the next
BLOCK = 10.0  # seconds of a long piece that are finished at a time, which a CPU's cache holds; 120 s take a third less
TREBLE_HZ = 2000.0  # above which an expression's treble is raised or lowered
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


def whole_band(tracks: Sequence[Track]) -> Track:
    """The track of a mix that was played as one: levels and places are in it, its reverb is the mean of theirs.

    `tracks` are those that play; one that is silenced must not make the others wetter or drier.
    """
    send = sum(track.reverb_send for track in tracks) / max(1, len(tracks))
    return Track(MIX, 0, (), reverb_send=send)


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
        effects: as `style_of` gives them; a value that is missing or 0 means off.
        sample_rate: Hz.
        seed: of the reverb's tail and the vinyl's crackle.

    Returns:
        [2, L] float32 with a peak of at most 0.98.
    """
    sound = _wet(stems, tracks, effects, sample_rate, seed)

    def finish(excerpt: np.ndarray, start: int) -> np.ndarray:
        return _finish(excerpt, start, effects, sample_rate, seed)

    block = round(BLOCK * sample_rate)
    if sound.shape[1] <= 2 * block:
        return finish(sound, 0)
    past, future = fx.reach(sample_rate)
    blocks = (sound[:, start : start + block] for start in range(0, sound.shape[1], block))
    pieces = blockwise(blocks, finish, past=past, future=future, align=max(1, sample_rate // 1000))
    return np.concatenate(list(pieces), 1)


def mix_plan(
    plan: MusicalPlan, stems: Mapping[str, np.ndarray], tracks: Sequence[Track], *, sample_rate: int
) -> np.ndarray:
    """Mix the stems of a plan as `mix` does, with its effects and what mood, blend and fade-out make of them.

    Whatever is compared with a model's sound must come through here, as that sound does.
    """
    return mix(stems, tracks, style_of(plan).effects, sample_rate=sample_rate, seed=plan.seed)


def _wet(
    stems: Mapping[str, np.ndarray], tracks: Sequence[Track], effects: Mapping[str, Any], sample_rate: int, seed: int
) -> np.ndarray:
    """Sum the placed stems and what reverb, echoes and chorus make of them: [2, L]."""
    sound = dry_mix(stems, tracks)
    sound *= HEADROOM
    room = Room(effects, sample_rate=sample_rate, seed=seed)
    if not room.is_empty:
        sound += room(*(_sent(stems, tracks, [bus(track) for track in tracks]) for bus in room.buses))
    return sound


def _sent(stems: Mapping[str, np.ndarray], tracks: Sequence[Track], amounts: Sequence[float]) -> np.ndarray:
    """Sum so much of each placed stem: [2, L]."""
    shares = (HEADROOM * np.float32(amount) for amount in amounts)
    return functools.reduce(np.add, (place(stems[t.role], t) * share for t, share in zip(tracks, shares, strict=True)))


def _finish(sound: np.ndarray, start: int, effects: Mapping[str, Any], sample_rate: int, seed: int) -> np.ndarray:
    """What happens to the whole mix [2, L], which begins with sample `start` of the piece."""
    if effects.get("drive"):
        sound = fx.drive(sound, amount=effects["drive"])
    if effects.get("tape"):
        sound = fx.tape(sound, sample_rate=sample_rate, amount=effects["tape"], seed=seed, start=start)
    if effects.get("lowpass_hz"):
        sound = fx.low_pass(sound, sample_rate=sample_rate, cutoff_hz=effects["lowpass_hz"])
    if effects.get("treble_db"):
        sound = fx.high_shelf(sound, sample_rate=sample_rate, corner_hz=TREBLE_HZ, gain_db=effects["treble_db"])
    if effects.get("vinyl"):
        sound = fx.vinyl(sound, sample_rate=sample_rate, amount=effects["vinyl"], seed=seed, start=start)
    if effects.get("width"):
        sound = fx.widen(sound, sample_rate=sample_rate, amount=effects["width"])
    if effects.get("fade_out"):
        seconds, end = effects["fade_out"], effects["ends_at"]
        sound = fx.fade_out(sound, sample_rate=sample_rate, seconds=seconds, end=end, start=start)
    return fx.limiter(sound, sample_rate=sample_rate)


@dataclass(frozen=True)
class Scene:
    """How the stems are mixed from a sample on: which row plays as which track, and through what."""

    start: int  # sample of the piece
    tracks: Mapping[int, Track]  # row of the stems -> its track; other rows are silent
    effects: Mapping[str, Any]
    seed: int


def mix_stream(
    blocks: Iterable[np.ndarray], scenes: Callable[[], Sequence[Scene]], *, sample_rate: int
) -> Iterator[np.ndarray]:
    """Mix stems that arrive block by block; what one scene plays, joined, equals `mix` of its whole stems.

    The reverb rings on from block to block, also that of a scene that is over; what follows it hears little more than a
    tenth of a second and is given that again. Where a scene begins, it fades in over `FADE` and the one before fades
    out.

    Args:
        blocks: [R, n] each.
        scenes: gives them in the order of their starts; it is asked for every block, and those that begin in later
            ones may still change.

    Yields:
        [2, n] float32, as soon as no later block can change it.
    """
    fade = round(FADE * sample_rate)
    sends: list[_Send] = []
    past, future = fx.reach(sample_rate)

    def begun(stop: int) -> list[Scene]:
        return [scene for scene in scenes() if scene.start < stop]

    def wet(block: np.ndarray, start: int) -> np.ndarray:
        known = begun(start + block.shape[1])
        sends.extend(_Send(scene, sample_rate, start) for scene in known[len(sends) :])
        weights = _weights(known, start, block.shape[1], fade)
        parts = [send(block, weight) for send, weight in zip(sends, weights, strict=True)]
        return functools.reduce(np.add, [part for part in parts if part is not None])

    def finish(sound: np.ndarray, start: int) -> np.ndarray:
        out = np.zeros_like(sound)
        known = begun(start + sound.shape[1])
        for scene, weight in zip(known, _weights(known, start, sound.shape[1], fade), strict=True):
            if weight is not None:
                out += _finish(sound, start, scene.effects, sample_rate, scene.seed) * weight
        return out

    placed = (wet(block, start) for block, start in _numbered(blocks))
    return blockwise(placed, finish, past=past, future=future, align=max(1, sample_rate // 1000))  # the limiter's steps


class _Send:
    """Level, place, reverb, echoes and chorus of one scene, which hears the piece from sample `start` on."""

    def __init__(self, scene: Scene, sample_rate: int, start: int) -> None:
        tracks = scene.tracks.values()
        self.rows = list(scene.tracks)
        self.sides = np.concatenate([_sides(track) for track in tracks], 1) * HEADROOM  # [2, R]
        self.room = Room(scene.effects, sample_rate=sample_rate, seed=scene.seed, start=start)
        self.amounts = [self.sides * np.array([bus(t) for t in tracks], np.float32) for bus in self.room.buses]

    def __call__(self, block: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        """Place a block [rows, n] that counts with `weight` [n], None for not at all; None if nothing rings either."""
        if weight is None and self.room.is_silent:
            return None
        stems = np.zeros((len(self.rows), block.shape[1]), np.float32) if weight is None else block[self.rows] * weight
        dry = np.einsum("cr,rn->cn", self.sides, stems)  # a product would wake BLAS's threads for nothing
        if self.room.is_empty:
            return dry
        return dry + self.room(*(np.einsum("cr,rn->cn", amounts, stems) for amounts in self.amounts))


def _numbered(blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """Each block with the sample that it begins with."""
    start = 0
    for block in blocks:
        yield block, start
        start += block.shape[1]


def _weights(scenes: Sequence[Scene], start: int, count: int, fade: int) -> list[np.ndarray | None]:
    """How much each scene counts in the samples start .. start + count - 1.

    Returns:
        For each scene [count], [1] for all alike, or None for not at all.
    """
    last = len(scenes) - 1
    edges = [scene.start for scene in scenes] + [start + count]
    weights: list[np.ndarray | None] = []
    for number, (begin, end) in enumerate(zip(edges, edges[1:], strict=False)):
        if start + count <= begin or (number < last and start >= end + fade):
            weights.append(None)
        elif (number == 0 or start >= begin + fade) and (number == last or start + count <= end):
            weights.append(np.ones(1, np.float32))
        else:
            at = np.arange(start, start + count)
            rise = np.clip((at - begin) / fade, 0, 1) if number else np.ones(count)
            fall = np.clip((end - at) / fade + 1, 0, 1) if number < last else np.ones(count)
            weights.append(np.minimum(rise, fall).astype(np.float32))
    return weights
