"""Our codec: log-mel patches -> residual codes at 25 Hz -> mel again -> inverse STFT.

The codes are learnt on log-mel patches alone, where nothing can collapse; the vocoder that turns the de-quantised
mel into sound is trained apart. So the codes stay what they are while the vocoder gets better.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Codec
from .layers.convnext import ConvNeXt
from .layers.inverse_stft import InverseSTFT
from .layers.mel import LogMel
from .layers.quantiser import ResidualQuantiser

__all__ = ["Spectral"]

PATCH = 4  # mel frames a code frame: 100 Hz inside, 25 Hz outside
MEL_MEAN, MEL_SCALE = -5.0, 2.5  # rough statistics of natural-log magnitudes of stems at -20 dBFS


class Spectral(Codec):
    """Mono codec of 8 residual levels at 25 Hz (2 kbit/s with all of them) that decodes from any first few.

    Source: patches and quantiser after SoundStream (arXiv:2107.03312); ConvNeXt blocks at frame rate and the
    inverse-STFT head after Vocos (arXiv:2306.00814). We differ in learning the codes from mel alone, in two stages.
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
    ) -> None:
        super().__init__()
        self.sample_rate, self.hop_length, self.channels = sample_rate, hop_length, 1
        self.n_q, self.card = n_q, card
        self.num_bands = num_bands
        # every block of kernel 7 sees 3 frames to each side; the vocoder's and the windows are PATCH times shorter
        self.context = 3 * decoder_layers + -(-3 * vocoder_layers // PATCH) + 1
        self.mel = LogMel(sample_rate, hop_length // PATCH, num_bands)
        self.patch_in = nn.Linear(PATCH * num_bands, width)
        self.encoder = nn.Sequential(*[ConvNeXt(width, 2 * width) for _ in range(encoder_layers)])
        self.to_latent = nn.Linear(width, latent_width)
        self.quantiser = ResidualQuantiser(n_q, card, latent_width)
        self.from_latent = nn.Linear(latent_width, width)
        self.decoder = nn.Sequential(*[ConvNeXt(width, 3 * width) for _ in range(decoder_layers)])
        self.patch_out = nn.Linear(width, PATCH * num_bands)
        self.vocoder = Vocoder(num_bands, width, vocoder_width, vocoder_layers, hop_length // PATCH)

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
        hidden = self.decoder(self.from_latent(latent))
        return self.patch_out(hidden).unflatten(2, (PATCH, -1)).flatten(1, 2), hidden

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        return self.quantiser.encode(self.latent(self.log_mel(audio)))

    def decode(self, codes: Tensor) -> Tensor:
        self.check_codes(codes)
        mel, hidden = self.mel_from_latent(self.quantiser.decode(codes))
        return self.vocoder(mel, hidden)[:, None]


class Vocoder(nn.Module):
    """Mel and hidden state -> waveform: ConvNeXt at 100 Hz, then magnitude and phase of an inverse STFT."""

    def __init__(self, num_bands: int, hidden_width: int, width: int, layers: int, hop_length: int) -> None:
        super().__init__()
        self.from_mel = nn.Linear(num_bands, width)
        self.from_hidden = nn.Linear(hidden_width, PATCH * width)
        self.blocks = nn.Sequential(*[ConvNeXt(width, 3 * width) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        fft_size = 4 * hop_length
        self.to_spectrum = nn.Linear(width, fft_size + 2)
        self.inverse_stft = InverseSTFT(fft_size, hop_length)

    def forward(self, mel: Tensor, hidden: Tensor) -> Tensor:
        """[B, T * PATCH, bands], [B, T, hidden_width] -> [B, T * PATCH * hop_length]."""
        fine = self.from_hidden(hidden).unflatten(2, (PATCH, -1)).flatten(1, 2)  # [B, T * PATCH, width]
        x = self.norm(self.blocks(self.from_mel(mel) + fine))
        log_magnitude, phase = self.to_spectrum(x).float().chunk(2, -1)
        magnitude = log_magnitude.clamp(max=6.0).exp()  # a full-scale sine reaches exp(5.5) under a 960-sample window
        return self.inverse_stft(torch.polar(magnitude, phase))
