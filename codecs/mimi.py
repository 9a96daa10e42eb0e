"""Mimi, Moshi's codec, mono at 12.5 Hz, through transformers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .base import Codec, PublicWeights, in_chunks
from .layers.library_config import read_config
from .layers.seanet import upsampling_reach

__all__ = ["Mimi"]

# published name -> name in the model, of the library's halves
PARTS = {
    "encoder.layers.": "encoder.encoder_seanet.layers.",
    "encoder_transformer.": "encoder.encoder_transformer.",
    "downsample.": "encoder.downsample.",
    "upsample.": "decoder.upsample.",
    "decoder_transformer.": "decoder.decoder_transformer.",
    "decoder.layers.": "decoder.decoder_seanet.layers.",
}


class Mimi(Codec):
    """Mono, causal, 24 kHz, 32 levels of 2048 entries at 12.5 Hz: 0.14 kbit/s a level, the first of meaning.

    The decoder begins with a transformer whose 8 layers each look 10 s back, so a frame depends on 80 s before it.
    `decode_stream` therefore runs the transformer over all frames, chunk by chunk with its cache (50 KB of state a
    second stay), and only the convolutions behind it with `context` frames. Joined, the pieces are exact.

    Args:
        config: of a MimiModel, as its `config.json` has it; None for the public one.
        n_q: levels in use; None for all that the model has. Moshi uses 8.

    Raises:
        ConfigError: a config of another architecture, or more levels than it has.

    Source: Défossez et al. 2024 (Moshi), arXiv:2410.00037, section 3.3; architecture of transformers, unchanged.
    """

    public = PublicWeights(licence="CC-BY 4.0", hub_id="kyutai/mimi")

    def __init__(self, *, config: Mapping[str, Any] | None = None, n_q: int | None = None) -> None:
        super().__init__()
        from transformers import MimiConfig, MimiModel

        settings = read_config(MimiConfig, config or {})
        self.model: Any = MimiModel(settings)
        self.sample_rate, self.channels = settings.sampling_rate, settings.audio_channels
        self.positions = settings.latent_stride  # of the transformer a frame
        self.hop_length = math.prod(settings.upsampling_ratios) * self.positions
        self.card, self.n_q = settings.codebook_size, settings.num_quantizers
        self.n_q = self.check_levels(n_q)
        dilations = [settings.dilation_growth_rate**layer for layer in range(settings.num_residual_layers)]
        reach = (
            settings.kernel_size
            - 1
            + upsampling_reach(
                settings.upsampling_ratios,
                residual=(settings.residual_kernel_size - 1) * sum(dilations),
                last=settings.last_kernel_size - 1,
            )
        )
        self.context = -(-reach // self.positions)

    @staticmethod
    def published_name(name: str) -> str:
        for published, ours in PARTS.items():
            if name.startswith(published):
                return ours + name[len(published) :]
        return name

    @torch.no_grad()
    def encode(self, audio: Tensor, levels: int | None = None) -> Tensor:
        self.check_audio(audio)
        return self.model.encode(audio, num_quantizers=self.check_levels(levels)).audio_codes

    def decode(self, codes: Tensor) -> Tensor:
        self.check_codes(codes)
        return self.model.decode(codes).audio_values

    def decode_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """As every codec's, but nothing is heard before the last block is there."""
        yield from self.decode_stream(torch.cat(list(blocks), -1))

    def decode_stream(self, codes: Tensor, chunk: int = 1000) -> Iterator[Tensor]:
        """As every codec's, save that the state of the transformer for all frames is held."""
        self.check_codes(codes)
        yield from in_chunks(
            self._to_hidden(codes, chunk),
            self.model.decoder.decoder_seanet,
            chunk=chunk * self.positions,
            context=self.context * self.positions,
            hop_length=self.hop_length // self.positions,
        )

    def _to_hidden(self, codes: Tensor, chunk: int) -> Tensor:
        """[B, K', T] -> [B, D, T * positions], all that passes from frame to frame over a long time."""
        from transformers import DynamicCache

        half, pieces = self.model.decoder, []
        cache = DynamicCache(config=half.config)
        for start in range(0, codes.shape[-1], chunk):
            first = max(0, start - 1)  # a position depends on its frame and the one before
            latent = half.upsample(self.model.quantizer.decode(codes[..., first : start + chunk]))
            latent = latent[..., (start - first) * self.positions :]
            piece = half.decoder_transformer(latent.transpose(1, 2), cache=cache, use_cache=True)
            pieces.append(piece.last_hidden_state.transpose(1, 2))
        return torch.cat(pieces, -1)
