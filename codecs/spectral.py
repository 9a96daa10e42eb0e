"""Our codec: log-mel patches -> residual codes at 25 Hz -> mel again -> inverse STFT.

The codes are learnt on log-mel patches alone, where nothing can collapse; the vocoder that turns the de-quantised
mel into sound is trained apart. So the codes stay what they are while the vocoder gets better.

The vocoder plays tones and everything else by different means. Noise and strokes are spectra that a network
draws, phases included. Tones are a bank of sinusoids that the network only tunes, since a held tone of any pitch needs
a phase that is carried on, and a network that slides over time carries nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from .base import Codec, Sounding
from .layers.convnext import ConvNeXt, Sliding
from .layers.linear import linear
from .layers.mel import LogMel
from .layers.partials import LOWEST_NOTE
from .layers.quantiser import ResidualQuantiser
from .layers.vocoder import MEL_MEAN, MEL_SCALE, PATCH, SlidingVocoder, Vocoder

__all__ = ["Spectral"]

CHUNK = 250  # frames that are decoded at a time; their spectra stay in a CPU's cache


class Spectral(Codec):
    """Mono codec of 8 residual levels at 25 Hz (2 kbit/s with all of them) that decodes from any first few.

    Source: patches and quantiser after SoundStream (arXiv:2107.03312); ConvNeXt blocks at frame rate and the
    inverse-STFT head after Vocos (arXiv:2306.00814); sinusoids beside noise after Engel et al. 2020 (DDSP),
    arXiv:2001.04643. We differ in learning the codes from mel alone, in two stages, and in a sinusoid for every
    semitone where DDSP has the harmonics of one known pitch: stems are chords.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 24000,
        hop_length: int = 960,
        n_q: int = 8,
        card: int = 1024,
        num_bands: int = 160,
        width: int = 384,
        latent_width: int = 48,
        encoder_layers: int = 4,
        decoder_layers: int = 5,
        vocoder_width: int = 256,
        vocoder_layers: int = 6,
        num_partials: int = 80,
    ) -> None:
        super().__init__()
        self.sample_rate, self.hop_length, self.channels = sample_rate, hop_length, 1
        self.n_q, self.card = n_q, card
        self.num_bands, self.tones = num_bands, range(LOWEST_NOTE, LOWEST_NOTE + num_partials)
        self.mel = LogMel(sample_rate, hop_length // PATCH, num_bands)
        self.patch_in = nn.Linear(PATCH * num_bands, width)
        self.encoder = nn.Sequential(*[ConvNeXt(width, 2 * width) for _ in range(encoder_layers)])
        self.to_latent = nn.Linear(width, latent_width)
        self.quantiser = ResidualQuantiser(n_q, card, latent_width)
        self.from_latent = nn.Linear(latent_width, width)
        self.decoder = nn.Sequential(*[ConvNeXt(width, 3 * width) for _ in range(decoder_layers)])
        self.patch_out = nn.Linear(width, PATCH * num_bands)
        self.vocoder = Vocoder(
            num_bands, width, vocoder_width, vocoder_layers, sample_rate, hop_length // PATCH, num_partials
        )
        self.vocoder.listen_at(self.mel.peaks)
        # a frame of the vocoder and its windows are PATCH times shorter than one of the decoder
        delay = PATCH * Sliding(self.decoder).delay + Sliding(self.vocoder.blocks).delay + self.vocoder.halo
        self.context = -(-delay // PATCH)

    def log_mel(self, audio: Tensor) -> Tensor:
        """[B, 1, L] -> normalised log-mel [B, T * PATCH, bands]."""
        self.check_audio(audio)
        mel = self.mel(self.pad(audio)[:, 0]).transpose(1, 2)
        return (mel - MEL_MEAN) / MEL_SCALE

    def latent(self, mel: Tensor) -> Tensor:
        """Normalised log-mel [B, T * PATCH, bands] -> latent [B, T, latent_width]."""
        patches = mel.unflatten(1, (-1, PATCH)).flatten(2)  # [B, T, PATCH * bands]
        return self.to_latent(self.encoder(self.patch_in(patches)))

    def mel_from_latent(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latent [B, T, latent_width] -> normalised log-mel [B, T * PATCH, bands] and hidden state [B, T, width]."""
        hidden = self.decoder(linear(self.from_latent, latent))
        return self._mel(hidden), hidden

    def _mel(self, hidden: Tensor) -> Tensor:
        return linear(self.patch_out, hidden).unflatten(2, (PATCH, -1)).flatten(1, 2)

    @torch.no_grad()
    def encode(self, audio: Tensor, levels: int | None = None) -> Tensor:
        return self.quantiser.encode(self.latent(self.log_mel(audio)), self.check_levels(levels))

    def decode(self, codes: Tensor) -> Tensor:
        self.check_codes(codes)
        return self.vocoder(*self.mel_from_latent(self.quantiser.decode(codes)))[:, None]

    def decode_stream(self, codes: Tensor, chunk: int = CHUNK) -> Iterator[Tensor]:
        """As every codec's; the first piece is `context` frames shorter than the others, and the last one longer."""
        yield from self.decode_blocks(codes.split(chunk, -1))

    def decode_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """As every codec's. Convolutions and sinusoids go on where they were, so no block is decoded twice."""
        yield from self.decode_sounding(blocks, None)

    @torch.no_grad()
    def decode_sounding(self, blocks: Iterable[Tensor], sounding: Sounding | None) -> Iterator[Tensor]:
        decoder, vocoder = Sliding(self.decoder), SlidingVocoder(self.vocoder, sounding)

        def play(codes: Tensor, is_last: bool = False) -> Tensor:
            hidden = decoder(linear(self.from_latent, self.quantiser.decode(codes)), is_last)
            return vocoder(self._mel(hidden), hidden, is_last)[:, None]

        codes = None
        for codes in blocks:
            self.check_codes(codes)
            audio = play(codes)
            if audio.shape[-1]:
                yield audio
        if codes is not None:
            yield play(codes[..., :0], is_last=True)
