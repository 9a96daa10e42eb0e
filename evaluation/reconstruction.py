"""How far a sound is from its original, sample by sample and as a listener's ear would see it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import ShapeError
from .features import mel_filters

__all__ = ["SCALES", "log_mel_distance", "si_sdr"]

SCALES = {512: 40, 1024: 80, 2048: 120, 4096: 160}  # samples of a window -> mel bands
FLOOR = 1e-4  # magnitude, 80 dB below a full-scale sine


def log_mel_distance(original: Tensor, decoded: Tensor, sample_rate: int) -> float:
    """Mean absolute difference of log-mel spectra in nats, over four lengths of window; 0 for equal sounds.

    Long windows tell pitches apart, short ones hear when a drum was struck. One nat is 8.7 dB.

    Args:
        original, decoded: [L] in -1..1.

    Source: the multi-scale mel loss of Kumar et al. 2023 (DAC), arXiv:2306.06546, section 3.4; with four windows from
    512 samples, a quarter of the window as hop, natural logarithms and a floor of -80 dB.
    """
    _check(original, decoded)
    distances = []
    for size, bands in SCALES.items():
        filters = torch.from_numpy(mel_filters(bands, size, sample_rate))
        one, two = (_log_mel(sound, size, filters) for sound in (original, decoded))
        distances.append(float((one - two).abs().mean()))
    return sum(distances) / len(distances)


def _log_mel(sound: Tensor, size: int, filters: Tensor) -> Tensor:
    """[L] -> [bands, frames] log magnitudes; a full-scale sine reaches about 0."""
    window = torch.hann_window(size)
    spectrum = torch.stft(sound, size, size // 4, window=window, pad_mode="constant", return_complex=True)
    return (filters @ (spectrum.abs() / (size / 4))).clamp(min=FLOOR).log()


def si_sdr(original: Tensor, decoded: Tensor) -> float | None:
    """Scale-invariant signal-to-distortion ratio in dB, at most 100; None for a silent original or decoded sound.

    It compares waveforms, so a codec that draws its own phases scores low however it sounds.

    Args:
        original, decoded: [L].

    Source: Le Roux et al. 2019, arXiv:1811.02508, equation 2, after removal of the means.
    """
    _check(original, decoded)
    one, two = ((sound - sound.mean()).double() for sound in (original, decoded))
    if float(one.square().mean()) < 1e-12 or float(two.square().mean()) < 1e-12:
        return None
    target = (one @ two) / (one @ one) * one
    signal, noise = float(target.square().sum()), float((two - target).square().sum())
    return max(-100.0, min(100.0, 10 * math.log10(max(signal, 1e-30) / max(noise, 1e-30))))


def _check(original: Tensor, decoded: Tensor) -> None:
    if original.dim() != 1 or original.shape != decoded.shape or not original.numel():
        raise ShapeError(
            f"the sounds are {list(original.shape)} and {list(decoded.shape)}; both must be [L] of one length above 0."
        )
