"""Mel and hidden state -> waveform: ConvNeXt at 100 Hz, then spectra of noise and strokes, and tuned sinusoids."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .convnext import ConvNeXt, Sliding
from .inverse_stft import InverseSTFT
from .linear import linear
from .partials import PartialBank, Track, note_to_hz

__all__ = ["MEL_MEAN", "MEL_SCALE", "PATCH", "SlidingVocoder", "Vocoder"]

PATCH = 4  # mel frames a code frame: 100 Hz inside, 25 Hz outside
STRAY = 0.2  # what is left of a tone that may not sound; of 0.3, 0.1, 0.03 and 0 none was better for all roles
MEL_MEAN, MEL_SCALE = -5.0, 2.5  # rough statistics of natural-log magnitudes of stems at -20 dBFS


class Vocoder(nn.Module):
    """Mel and hidden state -> waveform. `SlidingVocoder` does the same piece by piece."""

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
        return self.say(self.blocks(self.hear(mel, hidden)), linear(self.level_from_mel, mel))

    def hear(self, mel: Tensor, hidden: Tensor) -> Tensor:
        """What goes into the blocks: [B, T * PATCH, width]."""
        fine = linear(self.from_hidden, hidden).unflatten(2, (PATCH, -1)).flatten(1, 2)  # [B, T * PATCH, width]
        return linear(self.from_mel, mel) + fine

    def say(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turn what comes out of the blocks, and the level of every sinusoid [B, T * PATCH, N], into `parts`."""
        x = self.norm(x)
        correction, detune = linear(self.to_partials, x).float().chunk(2, -1)
        loudness = (level.float() + correction).clamp(max=1.0)
        return linear(self.to_spectrum, x).float(), loudness.exp(), 0.6 * detune.tanh()

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


class SlidingVocoder:
    """A vocoder that hears a sound piece by piece; joined, what it plays is the sound of the whole.

    Blocks and sinusoids go on where they were. Only the `halo` frames at either end of a piece, whose windows overlap
    with the next, are drawn twice.

    Args:
        sounding: which sinusoids may sound in so many frames of codes from one on, [B, n, N] bool; None: all.
    """

    def __init__(self, vocoder: Vocoder, sounding: Callable[[int, int], Tensor] | None = None) -> None:
        self.vocoder, self.blocks = vocoder, Sliding(vocoder.blocks)
        self.sounding, self.said = sounding, 0  # how many frames have been said
        self.levels: Tensor | None = None  # of frames that the blocks have not answered for
        self.parts: tuple[Tensor, ...] | None = None  # of frames whose windows are still needed
        self.played = 0  # how many of those have been heard
        self.track: Track | None = None  # of the sinusoids, up to the first of those

    def __call__(self, mel: Tensor, hidden: Tensor, is_last: bool = False) -> Tensor:
        """Hear the next frames, as `Vocoder.parts` takes them; return the sound [B, n] that is final by now."""
        level = linear(self.vocoder.level_from_mel, mel)
        self.levels = level if self.levels is None else torch.cat((self.levels, level), 1)
        x = self.blocks(self.vocoder.hear(mel, hidden), is_last)
        level, self.levels = self.levels[:, : x.shape[1]], self.levels[:, x.shape[1] :]
        spectrum, amplitude, detune = self.vocoder.say(x, level)
        parts = spectrum, self._turned_down(amplitude), detune
        if self.parts is not None:
            parts = tuple(torch.cat(pair, 1) for pair in zip(self.parts, parts, strict=True))  # type: ignore[assignment]
        return self._draw(parts, is_last)

    def _turned_down(self, amplitude: Tensor) -> Tensor:
        """The next amplitudes [B, n, N], those that may not sound turned down."""
        first, count = self.said, amplitude.shape[1]
        self.said += count
        if self.sounding is None or not count:
            return amplitude
        frame = first // PATCH
        may = self.sounding(frame, -(-(first + count) // PATCH) - frame).to(amplitude.device)
        may = may.repeat_interleave(PATCH, 1)[:, first - PATCH * frame :][:, :count]
        return torch.where(may, amplitude, STRAY * amplitude)

    def _draw(self, parts: tuple[Tensor, Tensor, Tensor], is_last: bool) -> Tensor:
        halo, hop = self.vocoder.halo, self.vocoder.hop_length
        held, start = parts[0].shape[1], self.played
        stop = held if is_last else held - halo
        if stop <= start:
            self.parts = parts
            return parts[0].new_zeros(parts[0].shape[0], 0)
        audio, track = self.vocoder.draw(*parts, self.track)
        drop = max(0, stop - halo)  # frames that no later window overlaps with
        self.track = track.until(drop) if drop else self.track
        self.parts, self.played = tuple(part[:, drop:] for part in parts), stop - drop
        return audio[:, start * hop : stop * hop]
