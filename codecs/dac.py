"""Descript Audio Codec, mono, through transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, UnknownNameError
from .base import Codec, PublicWeights
from .layers.library_config import read_config
from .layers.seanet import upsampling_reach

__all__ = ["Dac"]

MODELS = {
    "16khz": {"sampling_rate": 16000, "downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 12},
    "24khz": {"sampling_rate": 24000, "downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 32},
    "44khz": {"sampling_rate": 44100, "downsampling_ratios": [2, 4, 8, 8], "n_codebooks": 9},
}
RESIDUAL = 3 + 9 + 27  # samples to one side that convolutions of kernel 7 and dilation 1, 3 and 9 see


class Dac(Codec):
    """Mono, 10 bits a level: 9 levels at 86 Hz (44khz, 7.8 kbit/s), 32 at 75 Hz (24khz) or 12 at 50 Hz (16khz).

    Only convolutions, so streaming is exact with `context` frames on both sides. Where a ratio is odd (24khz, 16khz),
    the library's decoder ends a few samples before its last frame does; zeros fill them.

    Args:
        model: one of the public models; None for 44khz, unless `config` is given.
        config: of a DacModel instead, as its `config.json` has it.
        n_q: levels in use; None for all that the model has.

    Raises:
        ConfigError: model and config together, a config of another architecture, or more levels than it has.
        UnknownNameError: no such model.

    Source: Kumar et al. 2023, arXiv:2306.06546; architecture of transformers, unchanged. Sound is padded to whole
    frames, as the library's feature extractor does.
    """

    public = PublicWeights(licence="MIT", hub_id="descript/dac_44khz")

    def __init__(
        self, *, model: str | None = None, config: Mapping[str, Any] | None = None, n_q: int | None = None
    ) -> None:
        super().__init__()
        from transformers import DacConfig, DacModel

        if model is not None and config is not None:
            raise ConfigError(f"model is '{model}' and a config is given as well. Give one of them.")
        if config is None and (model or "44khz") not in MODELS:
            raise UnknownNameError("DAC model", model or "", MODELS)
        settings = read_config(DacConfig, MODELS[model or "44khz"] if config is None else config)
        self.model = DacModel(settings)
        self.sample_rate, self.channels = settings.sampling_rate, 1
        self.hop_length, self.card = settings.hop_length, settings.codebook_size
        self.n_q = settings.n_codebooks
        self.n_q = self.check_levels(n_q)
        self.context = 3 + upsampling_reach(settings.upsampling_ratios, residual=RESIDUAL, last=3)

    @torch.no_grad()
    def encode(self, audio: Tensor, levels: int | None = None) -> Tensor:
        self.check_audio(audio)
        return self.model.encode(self.pad(audio), n_quantizers=self.check_levels(levels)).audio_codes

    def decode(self, codes: Tensor) -> Tensor:
        self.check_codes(codes)
        latent = self.model.quantizer.from_codes(codes)[0]
        audio = self.model.decoder(latent)
        return torch.nn.functional.pad(audio, (0, codes.shape[-1] * self.hop_length - audio.shape[-1]))
