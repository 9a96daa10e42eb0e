"""EnCodec at 24 kHz, mono, through the encodec package."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from .base import Codec, PublicWeights, in_chunks
from .layers.seanet import upsampling_reach

__all__ = ["Encodec24khz"]

UP_TO_LSTM = 2  # layers of the decoder that run at frame rate: a convolution and the LSTM


class Encodec24khz(Codec):
    """Mono, causal, 32 levels at 75 Hz: 1.5, 3, 6, 12 or 24 kbit/s.

    The LSTM of the decoder carries a state from the first frame on, so no number of frames of context makes a chunk
    exact. `decode_stream` therefore runs the LSTM over all frames, which is cheap at their rate (150 KB of state a
    second), and only what comes behind it in chunks; `context` counts what that needs. Joined, the pieces are exact.

    Args:
        bandwidth: kbit/s that n_q is set for; None for all that the weights have, 24.

    Raises:
        ConfigError: a bandwidth that the model does not have.

    Source: Défossez et al. 2022, arXiv:2210.13438; architecture of the encodec package, unchanged.
    """

    public = PublicWeights(licence="CC-BY-NC 4.0", checkpoint="encodec_24khz-d7cc33bc.th")

    def __init__(self, *, bandwidth: float | None = None) -> None:
        super().__init__()
        from encodec import EncodecModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it calls the older of PyTorch's two weight norms
            self.model = EncodecModel.encodec_model_24khz(pretrained=False)
        self.sample_rate, self.channels = self.model.sample_rate, self.model.channels
        self.hop_length, self.card = int(self.model.encoder.hop_length), self.model.quantizer.bins
        self.n_q = self.model.quantizer.n_q
        self.context = upsampling_reach(self.model.decoder.ratios, residual=2, last=6)
        self.n_q = self.n_q if bandwidth is None else self.levels_at(bandwidth)

    @property
    def bandwidths(self) -> dict[float, int]:
        per_level = self.model.quantizer.get_bandwidth_per_quantizer(self.model.frame_rate)
        levels = {kbps: int(kbps / per_level) for kbps in self.model.target_bandwidths}
        return {kbps: count for kbps, count in levels.items() if count <= self.n_q}

    @torch.no_grad()
    def encode(self, audio: Tensor, levels: int | None = None) -> Tensor:
        self.check_audio(audio)
        latent = self.model.encoder(audio)  # [B, D, T]
        return self.model.quantizer.vq.encode(latent, n_q=self.check_levels(levels)).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        return self._to_sound(self._to_hidden(codes))

    def decode_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """As every codec's, but nothing is heard before the last block is there."""
        yield from self.decode_stream(torch.cat(list(blocks), -1))

    def decode_stream(self, codes: Tensor, chunk: int = 1000) -> Iterator[Tensor]:
        """As every codec's, save that the state of the LSTM for all frames is held."""
        hidden = self._to_hidden(codes)
        yield from in_chunks(hidden, self._to_sound, chunk=chunk, context=self.context, hop_length=self.hop_length)

    def _to_hidden(self, codes: Tensor) -> Tensor:
        """[B, K', T] -> [B, D, T], all that passes from frame to frame without end."""
        self.check_codes(codes)
        return self.model.decoder.model[:UP_TO_LSTM](self.model.quantizer.decode(codes.transpose(0, 1)))

    def _to_sound(self, hidden: Tensor) -> Tensor:
        """[B, D, T] -> [B, 1, T * hop_length]."""
        return self.model.decoder.model[UP_TO_LSTM:](hidden)
