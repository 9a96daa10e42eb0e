"""Fit whole bars, and the ring of the last chord, into a duration; tempos prefer whole codec frames a beat."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["TimeWish", "Timing", "fit_time", "grid_tempos", "snap_tempo"]

FRAMES_PER_MINUTE = 1500  # 25 codec frames a second: at 1500 / k BPM a beat lasts exactly k frames
SLOWEST, FASTEST = 30.0, 300.0  # BPM
SHORT_RING, USUAL_RING, LONG_RING = 0.6, 1.6, 3.0  # seconds after the last bar
DEFAULT_DURATION = 20.0  # seconds, when neither bars nor a duration is asked for
SNAP = 0.04  # "faster" and "slower" are moved by 4 % at most: less than people notice
FRAME = 0.04  # seconds


@dataclass(frozen=True)
class Timing:
    """How long the piece is and how fast."""

    tempo: float
    num_bars: int
    duration: float


@dataclass(frozen=True)
class TimeWish:
    """What is asked of the time; None is free."""

    beats: int  # in a bar
    tempos: tuple[float, ...]  # the ones allowed
    wish: float  # BPM, the one to stay close to
    is_fixed: bool  # the tempo is the user's own
    bars: int | None = None
    duration: float | None = None
    min_bars: int = 1
    min_reason: str = "bars"  # what needs min_bars: "chords" or "sections"
    phrase: int = 4  # bars; multiples of it are preferred

    def ring(self, tempo: float, bars: int, duration: float) -> float:
        return duration - bars * self.bar_seconds(tempo)

    def bar_seconds(self, tempo: float) -> float:
        return 60.0 * self.beats / tempo


def grid_tempos(low: float, high: float) -> tuple[float, ...]:
    """List the tempos 1500 / k within low..high BPM, slow first."""
    return tuple(
        FRAMES_PER_MINUTE / k
        for k in range(math.floor(FRAMES_PER_MINUTE / low), math.ceil(FRAMES_PER_MINUTE / high) - 1, -1)
    )


def snap_tempo(tempo: float) -> float:
    """Return the nearest 1500 / k BPM if it lies within 4 %, else the tempo itself."""
    near = FRAMES_PER_MINUTE / max(1, round(FRAMES_PER_MINUTE / tempo))
    return near if abs(near / tempo - 1) <= SNAP else tempo


def fit_time(wish: TimeWish) -> Timing:
    """Choose tempo, number of bars and duration; raises ConfigError when the wishes contradict."""
    if wish.bars is not None and wish.bars < wish.min_bars:
        raise ConfigError(
            f"{wish.min_reason} needs {wish.min_bars} bars, but bars is {wish.bars}. "
            f"Set bars to {wish.min_bars} or more, or give fewer {wish.min_reason}."
        )
    if wish.bars is not None and wish.duration is not None:
        return _fit_both(wish, wish.bars, wish.duration)
    if wish.bars is not None:
        return _ring_out(wish, wish.bars)
    found = _search(wish, DEFAULT_DURATION if wish.duration is None else wish.duration)
    if found is not None:
        return found
    if wish.duration is None:
        return _ring_out(wish, wish.min_bars)
    return _squeeze(wish, wish.duration)


def _nearest(wish: TimeWish) -> float:
    return min(wish.tempos, key=lambda tempo: abs(math.log(tempo / wish.wish)))


def _ring_out(wish: TimeWish, bars: int) -> Timing:
    tempo = _nearest(wish)
    bar = wish.bar_seconds(tempo)
    return Timing(tempo, bars, round((bars * bar + min(max(bar, 1.0), 2.4)) / FRAME) * FRAME)


def _search(wish: TimeWish, duration: float) -> Timing | None:
    """Weigh every allowed tempo and bar count whose ring is neither clipped nor long; None: min_bars does not fit."""
    found: list[tuple[float, Timing]] = []
    for tempo in wish.tempos:
        bar = wish.bar_seconds(tempo)
        first, last = math.ceil((duration - LONG_RING) / bar), math.floor((duration - SHORT_RING) / bar)
        for bars in range(max(wish.min_bars, first, 1), last + 1):
            cost = 3.0 * abs(math.log2(tempo / wish.wish)) + _phrase_cost(bars, wish.phrase)
            cost += 0.15 * abs(wish.ring(tempo, bars, duration) - USUAL_RING)
            found.append((cost, Timing(tempo, bars, duration)))
    if found:
        return min(found, key=lambda pair: pair[0])[1]
    tempo = _nearest(wish)
    # Slow bars leave a longer ring; a piece shorter than one bar is cut inside it.
    bars = max(1, math.floor((duration - SHORT_RING) / wish.bar_seconds(tempo)))
    return Timing(tempo, bars, duration) if bars >= wish.min_bars else None


def _phrase_cost(bars: int, phrase: int) -> float:
    if bars % phrase == 0:
        return 0.0
    return 0.25 if bars % 2 == 0 or bars < phrase else 0.6


def _fit_both(wish: TimeWish, bars: int, duration: float) -> Timing:
    tempo = _nearest(wish)
    ring, bar = wish.ring(tempo, bars, duration), wish.bar_seconds(tempo)
    if wish.is_fixed:
        longest = max(2 * bar, 2 * LONG_RING)
        if not -FRAME / 2 <= ring <= longest:
            raise ConfigError(
                f"bars is {bars}, which lasts {bars * bar:.1f} s at {tempo:g} BPM, but duration is {duration:g} s. "
                f"Ask for {bars * bar:.1f} to {bars * bar + longest:.1f} s, change bars, or leave the tempo free."
            )
        return Timing(tempo, bars, duration)
    if len(wish.tempos) == 1 and SHORT_RING <= ring <= LONG_RING:
        return Timing(tempo, bars, duration)
    return _solve(wish, bars, duration)


def _solve(wish: TimeWish, bars: int, duration: float) -> Timing:
    """Find the tempo at which `bars` fill `duration`, on the frame grid if one of its tempos does."""
    on_grid = [t for t in grid_tempos(SLOWEST, FASTEST) if SHORT_RING <= wish.ring(t, bars, duration) <= LONG_RING]
    if on_grid:
        return Timing(min(on_grid, key=lambda t: abs(math.log(t / wish.wish))), bars, duration)
    tempo = 60.0 * wish.beats * bars / (duration - min(USUAL_RING, 0.2 * duration))
    if not SLOWEST <= tempo <= FASTEST:
        reason = "bars" if wish.bars is not None else wish.min_reason
        raise ConfigError(
            f"{reason} asks for {bars} bars and duration is {duration:g} s, which needs {tempo:.0f} BPM. "
            f"Tempos go from {SLOWEST:g} to {FASTEST:g}: change {reason} or duration."
        )
    return Timing(round(tempo, 3), bars, duration)


def _squeeze(wish: TimeWish, duration: float) -> Timing:
    """Fit exactly min_bars: a fixed tempo refuses, a free one gets faster."""
    tempo = _nearest(wish)
    needed = wish.min_bars * wish.bar_seconds(tempo)
    if wish.is_fixed and needed > duration:
        raise ConfigError(
            f"{wish.min_reason} needs {wish.min_bars} bars, {needed:.1f} s at {tempo:g} BPM, but duration is "
            f"{duration:g} s. Lengthen the duration, raise the tempo, or give fewer {wish.min_reason}."
        )
    return Timing(tempo, wish.min_bars, duration) if needed <= duration else _solve(wish, wish.min_bars, duration)
