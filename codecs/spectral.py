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

from .base import Codec, windows
from .layers.convnext import ConvNeXt
from .layers.inverse_stft import InverseSTFT
from .layers.mel import LogMel
from .layers.partials import PartialBank, Track, note_to_hz
from .layers.quantiser import ResidualQuantiser

__all__ = ["Spectral"]

PATCH = 4  # mel frames a code frame: 100 Hz inside, 25 Hz outside
MEL_MEAN, MEL_SCALE = -5.0, 2.5  # rough statistics of natural-log magnitudes of stems at -20 dBFS


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
        self.vocoder = Vocoder(
            num_bands, width, vocoder_width, vocoder_layers, sample_rate, hop_length // PATCH, num_partials
        )
        self.vocoder.listen_at(self.mel.peaks)

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
    def encode(self, audio: Tensor, levels: int | None = None) -> Tensor:
        return self.quantiser.encode(self.latent(self.log_mel(audio)), self.check_levels(levels))

    def decode(self, codes: Tensor) -> Tensor:
        self.check_codes(codes)
        return self.vocoder(*self.mel_from_latent(self.quantiser.decode(codes)))[:, None]

    def decode_stream(self, codes: Tensor, chunk: int = 1000) -> Iterator[Tensor]:
        """As every codec's; from one chunk to the next the phases of the sinusoids are carried on."""
        self.check_codes(codes)
        total = codes.shape[-1]
        track: Track | None = None
        for start in range(0, total, chunk):
            stop = min(start + chunk, total)
            first, last = max(0, start - self.context), min(total, stop + self.context)
            audio, track = self._sound(codes[..., first:last], first, start, stop, track)
            yield audio

    def decode_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """As every codec's, phases as in `decode_stream`."""
        start, track = 0, None
        for codes, left, count in windows(blocks, self.context):
            self.check_codes(codes)
            audio, track = self._sound(codes, start - left, start, start + count, track)
            yield audio
            start += count

    def _sound(self, codes: Tensor, first: int, start: int, stop: int, track: Track | None) -> tuple[Tensor, Track]:
        """Sound of the frames start .. stop - 1, out of codes from frame `first` on, and where its phases end."""
        halo, last = self.vocoder.halo, first + codes.shape[-1]
        parts = self.vocoder.parts(*self.mel_from_latent(self.quantiser.decode(codes)))
        # mel frames to draw: those that were asked for, and those whose windows reach into them
        low, high = max(0, PATCH * start - halo), min(PATCH * last, PATCH * stop + halo)
        spectrum, amplitude, detune = (part[:, low - PATCH * first : high - PATCH * first] for part in parts)
        audio, track = self.vocoder.draw(spectrum, amplitude, detune, track)
        rim = (PATCH * start - low) * self.vocoder.hop_length
        # the next frames begin to be drawn a halo before `stop`
        return audio[:, None, rim : rim + (stop - start) * self.hop_length], track.until(PATCH * stop - halo - low)


class Vocoder(nn.Module):
    """Mel and hidden state -> waveform: ConvNeXt at 100 Hz, then spectra of noise and strokes, and tuned sinusoids."""

    def __init__(
        self,
        num_bands: int,
        hidden_width: int,
        width: int,
        layers: int,
        sample_rate: int,
        hop_length: int,
        num_partials: int,
    ) -> None:
        super().__init__()
        self.from_mel = nn.Linear(num_bands, width)
        self.from_hidden = nn.Linear(hidden_width, PATCH * width)
        self.blocks = nn.Sequential(*[ConvNeXt(width, 3 * width) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        fft_size = 4 * hop_length
        self.hop_length, self.halo = hop_length, 2  # frames on either side whose windows reach into a frame
        self.to_spectrum = nn.Linear(width, fft_size + 2)
        self.to_partials = nn.Linear(width, 2 * num_partials)
        self.level_from_mel = nn.Linear(num_bands, num_partials)
        self.partials = PartialBank(num_partials, sample_rate, fft_size, hop_length)
        self.inverse_stft = InverseSTFT(fft_size, hop_length)

    @torch.no_grad()
    def listen_at(self, band_hz: Tensor) -> None:
        """Let every sinusoid start as loud as the mel is at its pitch, between two bands; the network corrects it."""
        hz = note_to_hz(self.partials.notes)
        above = torch.searchsorted(band_hz, hz).clamp(1, len(band_hz) - 1)
        share = ((hz - band_hz[above - 1]) / (band_hz[above] - band_hz[above - 1])).clamp(0, 1)
        weight = torch.zeros_like(self.level_from_mel.weight)
        rows = torch.arange(len(hz))
        weight[rows, above - 1] = MEL_SCALE * (1 - share)
        weight[rows, above] = MEL_SCALE * share
        self.level_from_mel.weight.copy_(weight)
        self.level_from_mel.bias.fill_(MEL_MEAN)

    def parts(self, mel: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Say what sounds in every frame, without phases of the sinusoids.

        Args:
            mel: normalised, [B, T * PATCH, bands].
            hidden: [B, T, hidden_width].

        Returns:
            Spectra of noise and strokes [B, T * PATCH, fft_size + 2] as log-magnitudes and phases; amplitude of every
            sinusoid [B, T * PATCH, N] and its detuning in semitones, within 0.6.
        """
        fine = self.from_hidden(hidden).unflatten(2, (PATCH, -1)).flatten(1, 2)  # [B, T * PATCH, width]
        x = self.norm(self.blocks(self.from_mel(mel) + fine))
        correction, detune = self.to_partials(x).float().chunk(2, -1)
        level = self.level_from_mel(mel).float() + correction
        return self.to_spectrum(x).float(), level.clamp(max=1.0).exp(), 0.6 * detune.tanh()

    def draw(
        self, spectrum: Tensor, amplitude: Tensor, detune: Tensor, before: Track | None = None
    ) -> tuple[Tensor, Track]:
        """Turn the parts of some frames into sound [B, frames * hop_length].

        `before` is the track of the sinusoids up to the frame before the first; theirs over these frames is returned.
        """
        log_magnitude, phase = spectrum.chunk(2, -1)
        noise = torch.polar(log_magnitude.clamp(max=6.0).exp(), phase)  # a full-scale sine reaches exp(5.5)
        track = self.partials.run(detune, before)
        return self.inverse_stft(noise + self.partials(amplitude, detune, track)), track

    def forward(self, mel: Tensor, hidden: Tensor) -> Tensor:
        """[B, T * PATCH, bands], [B, T, hidden_width] -> [B, T * PATCH * hop_length]."""
        return self.draw(*self.parts(mel, hidden))[0]
