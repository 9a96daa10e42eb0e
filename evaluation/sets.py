"""How far one set of sounds is from another, and how unlike each other the sounds of a set are.

Sounds come as arrays of embeddings, one row a window, so everything here is arithmetic. Windows of one sound are not
independent: resampling takes whole sounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .statistics import Z

__all__ = ["Frechet", "Kernel", "Statistics", "jackknifed", "mel_statistics", "spread", "statistics_distance"]

COMPONENTS = 16  # of the Frechet distance: a covariance of 200 dimensions cannot be told from 100 windows
KAD_SCALE = 100.0
STEPS = 10  # sizes that FAD is measured at before it is extrapolated
PARTS = 10
Sounds = Sequence[np.ndarray]  # of each sound [windows, D]


class Kernel:
    """Kernel audio distance to a reference: squared MMD times 100, without bias; it can be slightly negative.

    Gaussian kernel, its width the median distance between windows of the reference. The kernel of two sounds is the
    mean over their windows, and a sound is never compared with itself.

    Source: Chung et al. 2025, arXiv:2502.15602, section 3.2. We differ in pairs of sounds instead of windows.
    """

    def __init__(self, reference: Sounds) -> None:
        every = np.concatenate(reference).astype(np.float64)
        distances = np.sqrt(_squares(every, every))[np.triu_indices(len(every), 1)]
        self.width, self.reference = float(np.median(distances)) or 1.0, reference
        inside = self._gram(reference, reference)
        self.inside = _off_diagonal(inside)

    def of_each(self, sounds: Sounds) -> np.ndarray:
        """The distance as every sound sees it: [N] numbers, of which it is the mean, and which vary as it does.

        They are the linear part of the statistic, so that their mean has its interval and two sets can be compared
        sound by sound.
        """
        own, across = self._gram(sounds, sounds), self._gram(sounds, self.reference).mean(1)
        near = (own.sum(1) - np.diag(own)) / max(1, len(sounds) - 1)
        value = near.mean() - 2 * across.mean() + self.inside
        influence = 2 * (near - across)
        return KAD_SCALE * (value + influence - influence.mean())

    def _gram(self, some: Sounds, others: Sounds) -> np.ndarray:
        """[some, others] mean kernels."""
        rows = np.exp(-_squares(np.concatenate(some), np.concatenate(others)) / (2 * self.width**2))
        return _means(_means(rows, some).T, others).T


class Frechet:
    """Frechet audio distance for endlessly many sounds: extrapolated along 1 / N, where its bias vanishes.

    On the first principal components of the reference.

    Source: Gui et al. 2024, arXiv:2311.01616, section 3.1, after Chong and Forsyth 2020, arXiv:1911.07023.
    """

    def __init__(self, reference: Sounds) -> None:
        every = np.concatenate(reference).astype(np.float64)
        self.mean = every.mean(0)
        _, _, axes = np.linalg.svd(every - self.mean, full_matrices=False)
        self.axes = axes[:COMPONENTS]
        self.reference = _moments(self._project(every))

    def __call__(self, sounds: Sounds, seed: int = 0) -> float:
        """The distance extrapolated to endlessly many; NaN for fewer than 8 sounds."""
        if len(sounds) < 8:
            return float("nan")
        rng, projected = np.random.default_rng(seed), [self._project(sound) for sound in sounds]
        sizes = np.unique(np.linspace(max(4, len(sounds) // 3), len(sounds), STEPS).astype(int))
        found = []
        for size in sizes:
            chosen = np.concatenate([projected[i] for i in rng.permutation(len(sounds))[:size]])
            found.append((1 / len(chosen), _frechet(_moments(chosen), self.reference)))
        inverse, distance = np.array(found).T
        return float(np.polyfit(inverse, distance, 1)[1])

    def _project(self, windows: np.ndarray) -> np.ndarray:
        return (windows - self.mean) @ self.axes.T


def jackknifed(distance: Callable[[Sounds], float], sounds: Sounds, seed: int = 0) -> tuple[float, float, float]:
    """(value, low, high): a distance and its 95 % interval by leaving out a tenth of the sounds at a time.

    Drawing sounds twice, as a bootstrap does, would bias distances whose bias depends on how many sounds there are.
    """
    value, parts = distance(sounds), np.array_split(np.random.default_rng(seed).permutation(len(sounds)), PARTS)
    if len(sounds) < 2 * PARTS:
        return value, float("nan"), float("nan")
    left = np.array([distance([sounds[i] for i in range(len(sounds)) if i not in set(part)]) for part in parts])
    error = Z * float(np.sqrt((PARTS - 1) / PARTS * np.square(left - left.mean()).sum()))
    return value, value - error, value + error


@dataclass(frozen=True)
class Statistics:
    """Mean and spread of each mel band over a set."""

    mean: np.ndarray  # [bands] decibels
    spread: np.ndarray


def mel_statistics(mels: Sounds) -> Statistics:
    """Of mel spectrograms [frames, bands] in decibels."""
    every = np.concatenate(mels)
    return Statistics(every.mean(0), every.std(0))


def statistics_distance(mels: Sounds, reference: Statistics) -> float:
    """Mean difference over the bands, of mean and of spread, in decibels: what an equaliser and a compressor change."""
    ours = mel_statistics(mels)
    return float(np.abs(ours.mean - reference.mean).mean() + np.abs(ours.spread - reference.spread).mean()) / 2


def spread(sounds: Sounds, centre: np.ndarray) -> np.ndarray:
    """How unlike the others each sound of one prompt is: [N] mean cosine distances, 0 for equal sounds, 1 unrelated.

    Args:
        centre: [D], mean embedding of a reference, without which all music looks alike; zeros without one.
    """
    rows = np.stack([sound.mean(0) - centre for sound in sounds])
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    distance = 1 - rows @ rows.T
    return (distance.sum(1) - np.diag(distance)) / max(1, len(rows) - 1)


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances [A, B]."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0.0)


def _means(rows: np.ndarray, sounds: Sounds) -> np.ndarray:
    """Mean over the windows of each sound: [windows of all, X] -> [sounds, X]."""
    starts = np.cumsum([0, *(len(sound) for sound in sounds)])[:-1]
    lengths = np.array([len(sound) for sound in sounds])
    return np.asarray(np.add.reduceat(rows, starts, 0) / lengths[:, None])


def _off_diagonal(gram: np.ndarray) -> float:
    return float((gram.sum() - np.trace(gram)) / max(1, len(gram) * (len(gram) - 1)))


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.mean(0), np.cov(rows, rowvar=False)


def _frechet(one: tuple[np.ndarray, np.ndarray], two: tuple[np.ndarray, np.ndarray]) -> float:
    """Squared Frechet distance of two Gaussians, by symmetric square roots, which stay real."""
    values, vectors = np.linalg.eigh(one[1])
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    middle = np.linalg.eigvalsh(root @ two[1] @ root)
    between = np.sqrt(np.maximum(middle, 0)).sum()
    return float(np.square(one[0] - two[0]).sum() + np.trace(one[1]) + np.trace(two[1]) - 2 * between)
