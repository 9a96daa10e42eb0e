"""What is wrong with a sound whatever it plays: too quiet, clipped, silent inside, cut off at the end. Arithmetic."""

from __future__ import annotations

import numpy as np

from ..audio import Waveform

__all__ = ["faults", "is_clean_ending"]

BLOCK = 0.05  # seconds
SILENT = -60.0  # dBFS of a block, mean square
FULL = 0.999  # samples beyond it, several in a row, are clipped
ROW = 3
CUT = -30.0  # dB of the last block against the loudest: above, the sound was cut off


def faults(waveform: Waveform) -> dict[str, float]:
    """Measure the level and the faults of a sound.

    Returns:
        loudness (LUFS, -inf for silence), clipped (samples in flat tops), silence (seconds of the longest one between
        the first and the last sound), ending (dB of the last 50 ms against the loudest 50 ms), tail (seconds of
        silence at the end).
    """
    sound = waveform.samples.astype(np.float64)
    size = max(1, round(BLOCK * waveform.sample_rate))
    whole = sound.shape[1] // size * size
    level = np.full(1, -200.0)
    if whole:
        blocks = np.square(sound[:, :whole]).reshape(len(sound), -1, size)
        level = 10 * np.log10(blocks.mean(2).max(0) + 1e-20)  # of the louder channel
    last = 10 * np.log10(float((sound[:, -size:] ** 2).mean(1).max(initial=0.0)) + 1e-20)
    heard = np.flatnonzero(level > SILENT)
    inside = level[heard[0] : heard[-1] + 1] <= SILENT if len(heard) else np.zeros(0, bool)
    return {
        "loudness": waveform.loudness(),
        "clipped": float(_flat_tops(np.abs(waveform.samples))),
        "silence": _longest(inside) * BLOCK,
        "ending": last - float(level.max()),
        "tail": float(len(level) - 1 - heard[-1] if len(heard) else len(level)) * BLOCK,
    }


def is_clean_ending(found: dict[str, float]) -> bool:
    """Whether the sound has died away when it ends, and not more than two seconds earlier."""
    return found["ending"] <= CUT and found["tail"] <= 2.0


def _flat_tops(level: np.ndarray) -> int:
    """Samples that belong to ROW or more in a row beyond FULL."""
    return sum(run for channel in level for run in _runs(channel >= FULL) if run >= ROW)


def _longest(flags: np.ndarray) -> int:
    return max(_runs(flags), default=0)


def _runs(flags: np.ndarray) -> list[int]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [int(length) for length in edges[1::2] - edges[::2]]
