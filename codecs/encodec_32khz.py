"""EnCodec at 32 kHz, MusicGen's codec, through transformers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from .base import Codec, PublicWeights, in_chunks, windows
from .layers.library_config import read_config
from .layers.seanet import upsampling_reach

__all__ = ["Encodec32khz"]

UP_TO_LSTM = 2  # layers of the decoder that run at frame rate: a convolution and the LSTM
MUSICGEN = {
    "sampling_rate": 32000,
    "target_bandwidths": [2.2],
    "num_filters": 64,
    "upsampling_ratios": [8, 5, 4, 4],
    "use_causal_conv": False,
    "use_conv_shortcut": False,
    "codebook_size": 2048,
}


class Encodec32khz(Codec):
    """Mono, 4 levels of 2048 entries at 50 Hz: 2.2 kbit/s.

    `model` is the EncodecModel of transformers, so its state has the names that a MusicGen checkpoint has behind
    `audio_encoder.`.

    The LSTM of the decoder carries a state from the first frame on, so no number of frames of context makes a chunk
    exact. `decode_stream` therefore runs the LSTM over all frames, which is cheap at their rate (200 KB of state a
    second), and only what comes behind it in chunks; `context` counts what that needs. Joined, the pieces are exact.

    Args:
        config: of an EncodecModel, as the `audio_encoder` of a MusicGen `config.json` has it; keys that it lacks take
            the defaults of transformers, which are those of a 24 kHz model. None for MusicGen's.

    Raises:
        ConfigError: a config of another architecture, or of one that stores loudness beside its codes.

    Source: Défossez et al. 2022, arXiv:2210.13438, and Copet et al. 2023, arXiv:2306.05284, section 3.1;
    architecture of transformers, unchanged.
    """

    public = PublicWeights(licence="CC-BY-NC 4.0", hub_id="facebook/encodec_32khz")

    def __init__(self, *, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        from transformers import EncodecConfig, EncodecModel

        settings = read_config(EncodecConfig, MUSICGEN if config is None else config)
        if settings.normalize or settings.chunk_length_s is not None:
            raise ConfigError(
                "the config asks for normalised segments, whose loudness this codec cannot store. "
                "Use encodec_48khz, or a config without normalize and chunk_length_s."
            )
        self.model = EncodecModel(settings)
        self.sample_rate, self.channels = settings.sampling_rate, settings.audio_channels
        self.hop_length, self.card = settings.hop_length, settings.codebook_size
        self.n_q = settings.num_quantizers
        dilations = [settings.dilation_growth_rate**layer for layer in range(settings.num_residual_layers)]
        self.context = upsampling_reach(
            settings.upsampling_ratios,
            residual=(settings.residual_kernel_size - 1) * sum(dilations),
            last=settings.last_kernel_size - 1,
        )

    @property
    def bandwidths(self) -> dict[float, int]:
        count = self.model.quantizer.get_num_quantizers_for_bandwidth
        return {kbps: min(count(kbps), self.n_q) for kbps in self.model.config.target_bandwidths}

    @torch.no_grad()
    def encode(self, audio: Tensor, levels: int | None = None) -> Tensor:
        self.check_audio(audio)
        levels = self.check_levels(levels)
        codes = self.model.quantizer.encode(self.model.encoder(audio))  # [K, B, T]
        return codes[:levels].transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        return self._to_sound(self._to_hidden(codes))

    def decode_stream(self, codes: Tensor, chunk: int = 1000) -> Iterator[Tensor]:
        """As every codec's, save that the state of the LSTM for all frames is held."""
        hidden = self._to_hidden(codes)
        yield from in_chunks(hidden, self._to_sound, chunk=chunk, context=self.context, hop_length=self.hop_length)

    def decode_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """As every codec's; the state of the LSTM is carried on."""
        for hidden, left, count in windows(self._hidden_blocks(blocks), self.context):
            yield self._to_sound(hidden)[..., left * self.hop_length : (left + count) * self.hop_length]

    def _hidden_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """As `_to_hidden`, block by block: codes [B, K', n] in, [B, D, m] out."""
        convolution: Any = self.model.decoder.layers[0]
        recurrent: Any = self.model.decoder.layers[1]
        reach, state = self.model.config.kernel_size - 1, None
        for codes, left, count in windows(blocks, reach):
            self.check_codes(codes)
            latent = self.model.quantizer.decode(codes.transpose(0, 1))
            x = convolution(latent)[..., left : left + count].permute(2, 0, 1)
            y, state = recurrent.lstm(x, state)
            yield (x + y).permute(1, 2, 0)

    def _to_hidden(self, codes: Tensor) -> Tensor:
        """[B, K', T] -> [B, D, T], all that passes from frame to frame without end."""
        self.check_codes(codes)
        hidden = self.model.quantizer.decode(codes.transpose(0, 1))
        for layer in self.model.decoder.layers[:UP_TO_LSTM]:
            hidden = layer(hidden)
        return hidden

    def _to_sound(self, hidden: Tensor) -> Tensor:
        """[B, D, T] -> [B, C, T * hop_length]."""
        for layer in self.model.decoder.layers[UP_TO_LSTM:]:
            hidden = layer(hidden)
        return hidden
