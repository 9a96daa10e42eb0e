"""Log-mel spectrogram with a long window for the low bands, where pitch lives, and a short one for the rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LogMel", "warped_bands"]


def warped_bands(num_bands: int, num_bins: int, sample_rate: int, corner_hz: float) -> Tensor:
    """Triangular filters [num_bands, num_bins], spaced evenly below `corner_hz` and logarithmically above.

    A corner lower than the usual mel scale's 700 Hz spends bands where neighbouring semitones must be told apart.
    Each filter has unit peak.
    """
    top = math.log1p(sample_rate / 2 / corner_hz)
    centres = corner_hz * torch.expm1(torch.linspace(0, top, num_bands + 2, dtype=torch.float64))
    bins = torch.linspace(0, sample_rate / 2, num_bins, dtype=torch.float64)
    low, mid, high = centres[:-2, None], centres[1:-1, None], centres[2:, None]
    rise, fall = (bins - low) / (mid - low), (high - bins) / (high - mid)
    return torch.minimum(rise, fall).clamp(min=0).float()


class LogMel(nn.Module):
    """[B, L] audio -> [B, num_bands, L / hop_length] natural-log magnitudes, floored at -9.2 (-80 dB).

    Bands centred below `split_hz` are taken from a window of 2048 samples (23 Hz wide at 24 kHz: a semitone above
    about 400 Hz), the others from 1024 samples, which keeps drums sharp.
    """

    floor = 1e-4
    low: Tensor  # [low_bins, num_low]
    high: Tensor  # [bins from first_bin on, other bands]
    long: Tensor
    short: Tensor

    def __init__(self, sample_rate: int, hop_length: int, num_bands: int = 160, split_hz: float = 1000.0) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.fft_size = 4096  # zero-padded: the lowest bands are narrower than the bins of the window
        bands = warped_bands(num_bands, self.fft_size // 2 + 1, sample_rate, corner_hz=300.0)
        peaks = self.peaks = bands.argmax(1) * sample_rate / self.fft_size  # Hz
        self.num_low = int((peaks < split_hz).sum())
        # Each window needs the bins of its own bands only; the rest of a spectrum is never looked at.
        self.low_bins = int(bands[: self.num_low].sum(0).nonzero().max()) + 1
        self.first_bin = int(bands[self.num_low :].sum(0).nonzero().min())
        self.register_buffer("low", bands[: self.num_low, : self.low_bins].T.contiguous(), persistent=False)
        self.register_buffer("high", bands[self.num_low :, self.first_bin :].T.contiguous(), persistent=False)
        for name, size in (("long", 2048), ("short", 1024)):
            self.register_buffer(name, torch.hann_window(size) / (size / 2), persistent=False)

    def _magnitudes(self, audio: Tensor, window: Tensor, bins: slice) -> Tensor:
        """[B, L] -> [B, T, bins], frame t centred on sample t * hop_length + hop_length / 2."""
        size = window.shape[0]
        left = (size - self.hop_length) // 2
        padded = nn.functional.pad(audio, (left, size - self.hop_length - left))
        frames = padded.unfold(-1, size, self.hop_length) * window
        spectra = torch.fft.rfft(frames, n=self.fft_size)[..., bins]
        return (spectra.real.square() + spectra.imag.square()).sqrt()  # abs() of complex numbers takes twice as long

    def forward(self, audio: Tensor) -> Tensor:
        low = self._magnitudes(audio, self.long, slice(self.low_bins)) @ self.low
        high = self._magnitudes(audio, self.short, slice(self.first_bin, None)) @ self.high
        return torch.cat([low, high], -1).clamp(min=self.floor).log().transpose(1, 2)
