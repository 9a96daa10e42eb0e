"""The contract between sound and codes. A codec never sees text, and never sees the model that writes its codes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..errors import ShapeError

__all__ = ["Codec"]


class Codec(nn.Module):
    """Sound to codes and back.

    A subclass sets the six facts below, writes `encode` and `decode`, and states how many frames of context on each
    side one decoded frame depends on. Everything that must be known about a codec is asked of the codec.
    """

    sample_rate: int  # Hz
    hop_length: int  # samples a frame
    channels: int  # audio channels
    n_q: int  # codebooks, coarse to fine
    card: int  # entries of one codebook
    context: int  # frames on either side that can change how a frame sounds, phases that run on left aside

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def special_token_id(self) -> int:
        """The id, one past the last code, that fills a slot without a frame."""
        return self.card

    def num_frames(self, num_audio_samples: int) -> int:
        """Frames that cover so many samples."""
        return -(-num_audio_samples // self.hop_length)

    def encode(self, audio: Tensor) -> Tensor:
        """Turn [B, C, L] float audio into codes [B, K, T], T = ceil(L / hop_length)."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Turn codes [B, K', T], 1 <= K' <= n_q, into [B, C, T * hop_length] float audio."""
        raise NotImplementedError

    def decode_stream(self, codes: Tensor, chunk: int = 1000) -> Iterator[Tensor]:
        """Decode a long piece in chunks of `chunk` frames; joined, they equal the whole decode.

        Each chunk is decoded with `context` frames on both sides, so memory does not grow with length. A codec that
        carries something from frame to frame without end, such as the phase of a sinusoid, overrides this.

        Args:
            codes: [B, K', T].
            chunk: frames that one piece of the result holds.

        Yields:
            [B, C, n * hop_length], n = chunk, less for the last.
        """
        total = codes.shape[-1]
        for start in range(0, total, chunk):
            stop = min(start + chunk, total)
            first, last = max(0, start - self.context), min(total, stop + self.context)
            audio = self.decode(codes[..., first:last])
            yield audio[..., (start - first) * self.hop_length : (stop - first) * self.hop_length]

    def check_audio(self, audio: Tensor) -> None:
        """Raise ShapeError unless `audio` is [B, C, L] with this codec's channels."""
        if audio.dim() != 3 or audio.shape[1] != self.channels or audio.shape[2] == 0:
            raise ShapeError(
                f"audio has shape {list(audio.shape)}; this codec needs [B, {self.channels}, L] with L > 0. "
                "Add the batch and channel axes, or mix down first."
            )

    def check_codes(self, codes: Tensor) -> None:
        """Raise ShapeError unless `codes` is [B, K', T] of integers in 0..card-1 with K' <= n_q."""
        if codes.dim() != 3 or not 1 <= codes.shape[1] <= self.n_q or codes.is_floating_point():
            raise ShapeError(
                f"codes are {codes.dtype} of shape {list(codes.shape)}; this codec needs integers [B, K, T] "
                f"with K from 1 to {self.n_q}."
            )
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= self.card):
            raise ShapeError(
                f"codes run from {int(codes.min())} to {int(codes.max())}; this codec has entries 0 to "
                f"{self.card - 1}. Were they made by another codec?"
            )

    def pad(self, audio: Tensor) -> Tensor:
        """Zero-pad [B, C, L] at the end to a whole number of frames."""
        return torch.nn.functional.pad(audio, (0, -audio.shape[-1] % self.hop_length))
