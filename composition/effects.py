"""What happens to a mix after the players: reverb, tape, vinyl, drive, filters, width, a fade, a limiter.

Sound is [2, L] float32. What is random is drawn from a seed. From 24 kHz up, what they do below 12 kHz is the same at
every sample rate, as near as samples allow. Knows no torch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from ..audio import limit
from .convolution import Convolver, convolve

__all__ = [
    "Reverb",
    "drive",
    "fade_out",
    "high_shelf",
    "limiter",
    "low_pass",
    "reach",
    "slowly",
    "tape",
    "vinyl",
    "widen",
]

NOISE_RATE = 24000  # Hz that noise is drawn at; below half of it, it is the same at every sample rate
DARK_HZ = 1500.0  # above which a reverb's late reflections lose 6 dB an octave
ROOMS = {  # pre-delay in seconds, level, how much sooner the highs decay than the lows
    "room": (0.008, 0.9, 0.5),
    "hall": (0.025, 1.0, 0.35),
    "plate": (0.002, 0.9, 0.75),
}


@functools.lru_cache(maxsize=8)
def _impulse(kind: str, seconds: float, sample_rate: int, seed: int) -> np.ndarray:
    """Decaying noise [2, M] with darker late reflections; its `level` is the mean gain below half of NOISE_RATE.

    Below that it is the same reverb at every rate.
    """
    delay, level, brightness = ROOMS[kind]
    noise = _noise(seconds, sample_rate, seed)  # [2, bins]
    hz = np.arange(noise.shape[1]) / seconds
    count = max(1, round(seconds * sample_rate))
    time = np.arange(count) / sample_rate
    bright = np.fft.irfft(noise, count) * 10 ** (-3 * time / (seconds * brightness))  # 60 dB down after the reverb time
    dark = np.fft.irfft(noise / (1 + 1j * hz / DARK_HZ), count) * 10 ** (-3 * time / seconds) * 3.0
    early = np.minimum(1.0, time / 0.004)
    tail = (bright + dark) * early
    gains = np.square(np.abs(np.fft.rfft(tail, axis=1)[:, hz <= NOISE_RATE / 2]))
    tail *= level / np.sqrt(gains.mean(1, keepdims=True))
    return np.concatenate([np.zeros((2, round(delay * sample_rate))), tail], 1).astype(np.float32)


def _noise(seconds: float, sample_rate: int, seed: int) -> np.ndarray:
    """Spectrum of white noise that lasts so long, [2, bins] from 0 Hz to half the sample rate."""
    rng = np.random.default_rng(seed)
    low = np.fft.rfft(rng.standard_normal((2, max(1, round(seconds * NOISE_RATE)))))
    bins = max(1, round(seconds * sample_rate)) // 2 + 1
    above = rng.standard_normal((2, 2, max(0, bins - low.shape[1]))) * np.sqrt(seconds * NOISE_RATE / 2)
    return np.concatenate([low, above[0] + 1j * above[1]], 1)[:, :bins]


class Reverb:
    """Only the reverberation of a sound [2, n] that comes piece by piece, to be added to it.

    Args:
        kind: room, hall or plate.
        seconds: time in which it falls by 60 dB.

    Source: decaying noise as a room's late response, Moorer 1979, "About this reverberation business".
    """

    def __init__(self, *, sample_rate: int, kind: str, seconds: float, seed: int = 0) -> None:
        self.convolver = Convolver(_impulse(kind, float(seconds), sample_rate, seed % 64))

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        return self.convolver(sound)

    @property
    def is_silent(self) -> bool:
        """Whether nothing that was heard rings any more."""
        return not np.abs(self.convolver.ringing).max(initial=0.0) > 1e-7


def low_pass(sound: np.ndarray, *, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Linear-phase low-pass by a windowed sinc, its delay taken out; -6 dB at `cutoff_hz`, from 300 Hz up."""
    if cutoff_hz >= sample_rate / 2:
        return sound
    half = _half(sample_rate)
    kernel = np.sinc(2 * cutoff_hz / sample_rate * np.arange(-half, half + 1)) * np.hanning(2 * half + 3)[1:-1]
    kernel = (kernel / kernel.sum()).astype(np.float32)
    padded = np.pad(sound, ((0, 0), (0, half)))
    return convolve(padded, np.tile(kernel, (sound.shape[0], 1)))[:, half:]


def _half(sample_rate: int) -> int:
    """Samples that a low-pass hears on either side: 2.6 ms, so that it is as steep at every rate from 24 kHz up."""
    return max(63, round(63 * sample_rate / 24000))


def high_shelf(sound: np.ndarray, *, sample_rate: int, corner_hz: float, gain_db: float) -> np.ndarray:
    """Raise or lower what lies above `corner_hz`."""
    low = low_pass(sound, sample_rate=sample_rate, cutoff_hz=corner_hz)
    return low + (sound - low) * np.float32(10 ** (gain_db / 20))


def drive(sound: np.ndarray, *, amount: float) -> np.ndarray:
    """Saturate: `amount` 0 (off) to 1 (hard); about as loud as before."""
    if not amount:
        return sound
    gain = np.float32(1 + 5 * amount)
    return np.tanh(sound * gain) / np.tanh(gain) * np.float32(0.75 + 0.25 / gain)


def tape(sound: np.ndarray, *, sample_rate: int, amount: float, seed: int = 0, start: int = 0) -> np.ndarray:
    """An old cassette: wow and flutter, soft saturation, duller highs; `amount` 0 (off) to 1.

    `start` is the sample of the piece that `sound` begins with.
    """
    if not amount:
        return sound
    length = sound.shape[1]
    lag = slowly(lambda time: _lag(time, seed), sample_rate=sample_rate, start=start, length=length)
    source = np.clip(np.arange(length) - lag * (amount * sample_rate), 0, length - 1)
    whole = source.astype(np.int64)
    share = (source - whole).astype(np.float32)
    after = np.minimum(whole + 1, length - 1)
    moved = np.take(sound, whole, 1) * (1 - share) + np.take(sound, after, 1) * share
    saturated = np.tanh(moved * np.float32(1 + amount)) / np.float32(1 + 0.8 * amount)
    return high_shelf(saturated, sample_rate=sample_rate, corner_hz=5000.0, gain_db=-6.0 * amount)


def _lag(time: np.ndarray, seed: int) -> np.ndarray:
    """Seconds by which a tape that runs unevenly is late."""
    rng = np.random.default_rng([seed % 2**32, 1])
    wow = np.sin(2 * np.pi * (0.55 * time + rng.random())) * 0.0011
    flutter = np.sin(2 * np.pi * (6.3 * time + rng.random())) * 0.00006
    lag: np.ndarray = wow + flutter + 0.0012
    return lag


def slowly(curve: Callable[[np.ndarray], np.ndarray], *, sample_rate: int, start: int, length: int) -> np.ndarray:
    """What a slow curve of the time in seconds is at `length` samples from `start` on: lines between every 64th."""
    first = start // 64
    points = curve(np.arange(first, (start + length) // 64 + 2) * (64 / sample_rate))
    lines = points[:-1, None] + np.diff(points)[:, None] * (np.arange(64) / 64)
    return lines.ravel()[start - first * 64 :][:length]


def vinyl(sound: np.ndarray, *, sample_rate: int, amount: float, seed: int = 0, start: int = 0) -> np.ndarray:
    """Add the sound of a record: crackle, a little hiss and rumble; `amount` 0 (off) to 1. `start` as for `tape`."""
    length = sound.shape[1]
    if not amount or not length:
        return sound
    first, last = start // sample_rate, (start + length - 1) // sample_rate  # seconds; each draws its own crackle
    noise = [_surface(sample_rate, 14 * amount, seed, second) for second in range(first, last + 1)]
    offset = start - first * sample_rate
    surface = np.concatenate(noise)[None, offset : offset + length]
    surface = low_pass(surface, sample_rate=sample_rate, cutoff_hz=7000.0)
    rumble = slowly(
        lambda time: 0.001 * np.sin(np.pi * 33.3 * time), sample_rate=sample_rate, start=start, length=length
    )
    return sound + (surface + rumble.astype(np.float32)) * np.float32(amount)


@functools.lru_cache(maxsize=16)
def _surface(sample_rate: int, clicks_a_second: float, seed: int, second: int) -> np.ndarray:
    """Clicks and hiss of one second of a record; as loud at every rate, once they are low-passed."""
    rng = np.random.default_rng([seed % 2**32, 2, second])
    count = rng.poisson(clicks_a_second)
    surface = np.zeros(NOISE_RATE, np.float32)
    np.add.at(surface, rng.integers(0, NOISE_RATE, count), 3 * rng.laplace(0, 0.02, count).astype(np.float32))
    surface += rng.standard_normal(NOISE_RATE).astype(np.float32) * np.float32(0.0007)
    place = np.arange(NOISE_RATE) * sample_rate // NOISE_RATE  # at a higher rate, zeros come between
    spread = np.bincount(place, surface * np.float32(sample_rate / NOISE_RATE), sample_rate)
    return spread.astype(np.float32)


def widen(sound: np.ndarray, *, sample_rate: int, amount: float) -> np.ndarray:
    """Spread the sound: the side is raised and gets a filtered copy of the middle; the mono sum stays the same."""
    if not amount:
        return sound
    middle, side = (sound[0] + sound[1]) / 2, (sound[0] - sound[1]) / 2
    shift = round(0.011 * sample_rate)
    echo = np.zeros_like(middle)
    echo[shift:] = middle[: len(middle) - shift] if len(middle) > shift else 0
    bass = low_pass(echo[None], sample_rate=sample_rate, cutoff_hz=300.0)[0]
    side = side * np.float32(1 + amount) + (echo - bass) * np.float32(0.35 * amount)
    return np.stack([middle + side, middle - side]).astype(np.float32)


def reach(sample_rate: int) -> tuple[int, int]:
    """How many samples before and after a sample can change what all effects but the reverb make of it."""
    filters = 5 * (_half(sample_rate) + 1)  # low-passes, one behind the other
    return math.ceil(0.1 * sample_rate) + filters, math.ceil(0.02 * sample_rate) + filters  # mostly the limiter's


def fade_out(sound: np.ndarray, *, sample_rate: int, seconds: float, end: float, start: int = 0) -> np.ndarray:
    """Fall silent over the last `seconds` before second `end` of a piece, of which `sound` begins with sample `start`.

    Half a period of a cosine, so that neither end of the fade is heard as an edge.
    """
    begin = int(np.clip((end - seconds) * sample_rate - start, 0, sound.shape[1]))
    left = end * sample_rate - np.arange(start + begin, start + sound.shape[1])
    share = np.clip(left / (seconds * sample_rate), 0, 1)
    faded = sound[:, begin:] * (0.5 - 0.5 * np.cos(np.pi * share)).astype(np.float32)
    return np.concatenate([sound[:, :begin], faded], 1)


def limiter(sound: np.ndarray, *, sample_rate: int) -> np.ndarray:
    """Hold peaks at 0.98."""
    return limit(sound, sample_rate)
