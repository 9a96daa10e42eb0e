"""Overlap-add of predicted spectra."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["InverseSTFT"]


class InverseSTFT(nn.Module):
    """Complex spectra [B, T, bins] -> audio [B, T * hop_length]; frame t is centred on its own hop.

    Source: Griffin and Lim 1984, "Signal estimation from modified short-time Fourier transform", equation 6.
    """

    window: Tensor

    def __init__(self, fft_size: int, hop_length: int) -> None:
        super().__init__()
        self.fft_size, self.hop_length = fft_size, hop_length
        self.register_buffer("window", torch.hann_window(fft_size), persistent=False)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """[B, T, fft_size] -> [B, T * hop_length]."""
        num_frames = frames.shape[1]
        length = (num_frames - 1) * self.hop_length + self.fft_size
        audio = nn.functional.fold(
            frames.transpose(1, 2), (1, length), (1, self.fft_size), stride=(1, self.hop_length)
        ).flatten(1)  # [B, length]
        left = (self.fft_size - self.hop_length) // 2
        return audio[:, left : left + num_frames * self.hop_length]

    def forward(self, spectra: Tensor) -> Tensor:
        frames = torch.fft.irfft(spectra, n=self.fft_size) * self.window
        return self._overlap_add(frames) * self._correction(frames.shape[1])

    def _correction(self, num_frames: int) -> Tensor:
        """One over the sum of the overlapping windows [1, num_frames * hop_length]; the same between the two ends."""
        rim = self.fft_size // self.hop_length + 1
        short = min(num_frames, 2 * rim)
        envelope = self._overlap_add(self.window.square().expand(1, short, -1)).clamp(min=1e-3).reciprocal()
        first, last = envelope.split((short // 2 * self.hop_length, (short - short // 2) * self.hop_length), 1)
        middle = first[:, -self.hop_length :].repeat(1, num_frames - short)
        return torch.cat((first, middle, last), 1)
