"""A bank of sinusoids, one for every semitone, whose phases run on from frame to frame.

A network that slides over time answers the same to the same input. So it gives a held tone the same phase in every
frame, and that tone comes out at a multiple of the frame rate, whatever its pitch was. A tone of any pitch needs a
phase that is summed up over time, and that is what this bank does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["LOWEST_NOTE", "PartialBank", "PartialFinder", "Track", "note_to_hz"]

LOWEST_NOTE = 24  # MIDI number of the first sinusoid, 32.7 Hz
REACH = 4  # bins on either side of a sinusoid that its main lobe is drawn to
PAD = REACH + 1  # bins below zero, where the lobes of the lowest sinusoids reach to
SILENT = 1e-3  # amplitudes from here down are not drawn, -60 dB


def note_to_hz(note: Tensor) -> Tensor:
    """MIDI number, fractions allowed, to Hz; 69 is 440 Hz."""
    return 440.0 * torch.exp2((note - 69.0) / 12.0)


class Track(NamedTuple):
    """How sinusoids ran: frequency in Hz and phase in cycles of every frame, [B, T, N] each.

    In float64: in float32 the cycles of a minute leave no digits for the phase.
    """

    hz: Tensor
    cycles: Tensor

    def until(self, frames: int) -> Track:
        """Return the first so many frames."""
        return Track(self.hz[:, :frames], self.cycles[:, :frames])


class PartialBank(nn.Module):
    """Amplitudes and detunings of sinusoids -> their part of the spectra that an inverse STFT turns into sound.

    The spectrum of a sinusoid under a Hann window is a few bins wide, so a frame of it takes nine numbers, not the
    hundreds of samples that its sine would take.

    Source: Rodet and Depalle 1992, "Spectral envelopes and inverse FFT synthesis", AES 93rd convention.
    """

    notes: Tensor
    reach: Tensor

    def __init__(self, count: int, sample_rate: int, fft_size: int, hop_length: int) -> None:
        super().__init__()
        self.register_buffer("reach", torch.arange(-REACH, REACH + 1), persistent=False)
        self.fft_size, self.seconds = fft_size, hop_length / sample_rate
        self.bins_per_hz = fft_size / sample_rate
        self.register_buffer("notes", LOWEST_NOTE + torch.arange(float(count)), persistent=False)

    def run(self, detune: Tensor, before: Track | None = None) -> Track:
        """Let the sinusoids run over some frames.

        Args:
            detune: [B, T, N] in semitones from each sinusoid's note.
            before: the track of the frames before these; None at the start of a piece.
        """
        hz = note_to_hz(self.notes.double() + detune.double())
        if before is None:  # spread, so that a chord does not begin with all its peaks at once
            last_hz, last = hz[:, :1], 0.618034 * self.notes.double() - hz[:, :1] * self.seconds
        else:
            last_hz, last = before.hz[:, -1:], before.cycles[:, -1:]
        steps = self.seconds / 2 * (torch.cat((last_hz, hz[:, :-1]), 1) + hz)
        return Track(hz, (last + steps.cumsum(1)) % 1.0)

    def forward(self, amplitude: Tensor, detune: Tensor, track: Track) -> Tensor:
        """Draw the lobes: amplitudes and detunings in semitones, [B, T, N] each -> complex [B, T, bins].

        Only the amplitudes get a gradient: what a phase does to a spectrum's magnitude is no guide to the pitch.
        """
        where = (amplitude > SILENT).nonzero(as_tuple=True)  # most are silent at any time; M are not
        bins = self.fft_size // 2 + 1
        with torch.no_grad():
            position = note_to_hz(self.notes[where[2]] + detune[where]) * self.bins_per_hz  # [M], in bins
            nearest = position.round()
            lobe = self._lobes(position - nearest) * (self.fft_size / 4)  # [M, 2 * REACH + 1]
            lobe = lobe * (1 - 2 * (nearest % 2))[:, None]  # a frame is centred on half its window
            first = (where[0] * amplitude.shape[1] + where[1]) * (PAD + bins) + PAD + nearest.long()
            place = first[:, None] + self.reach
            phase = (2 * math.pi * track.cycles[where]).to(amplitude.dtype)
        drawn = torch.polar(amplitude[where], phase)[:, None] * lobe  # [M, 2 * REACH + 1] complex
        flat = drawn.new_zeros(amplitude.shape[0] * amplitude.shape[1] * (PAD + bins))
        spectrum = flat.scatter_add(0, place.flatten(), drawn.flatten()).view(*amplitude.shape[:2], PAD + bins)
        # a real signal has the mirror image of every lobe below zero, and of the lowest ones it reaches above
        lowest = spectrum[..., PAD : 2 * PAD + 1] + spectrum[..., : PAD + 1].flip(-1).conj()
        return torch.cat((lowest, spectrum[..., 2 * PAD + 1 :]), -1)

    def _lobes(self, off: Tensor) -> Tensor:
        """Spectra of a Hann window whose centres lie `off` the nearest bin, -0.5 .. 0.5: [M] -> [M, 2 * REACH + 1].

        The peak is 1, and the sign alternates from bin to bin. sinc(x) / (1 - x ** 2), but the bins lie whole numbers
        apart, so that one sine does for all of a lobe; on a bin, where that is 0 / 0, the centre is moved by 1e-4.
        """
        off = torch.where(off.abs() < 1e-4, torch.full_like(off, 1e-4), off)[:, None]
        x = self.reach - off
        return (math.pi * off).sin() / (math.pi * x * (x.square() - 1))


class PartialFinder(nn.Module):
    """What a bank should play: amplitude and detuning of the partials of a sound, one for every semitone.

    Every bin of a long window tells the frequency that it hears, by how its phase turns; the energy of all bins that
    hear the same semitone makes its partial. Noise scatters, a tone gathers.

    Source: Auger and Flandrin 1995, "Improving the readability of time-frequency representations by the reassignment
    method", equation 12.
    """

    window: Tensor
    slope: Tensor

    def __init__(self, count: int, sample_rate: int, hop_length: int, size: int = 4096) -> None:
        super().__init__()
        self.count, self.sample_rate, self.hop_length, self.size = count, sample_rate, hop_length, size
        self.bins = math.ceil(float(note_to_hz(torch.tensor(LOWEST_NOTE + count + 1.0))) * size / sample_rate) + 4
        turn = 2 * math.pi * torch.arange(size) / size
        self.register_buffer("window", 0.5 - 0.5 * turn.cos(), persistent=False)
        self.register_buffer("slope", math.pi / size * turn.sin(), persistent=False)  # of the window, per sample

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hear audio [B, L].

        Returns:
            [B, L / hop_length, N] each: amplitude, detuning in semitones (zero without energy), and how far apart in
            semitones the bins heard what they gathered: near zero for a tone, 0.29 for noise.
        """
        left = (self.size - self.hop_length) // 2
        padded = nn.functional.pad(audio, (left, self.size - self.hop_length - left))
        frames = padded.unfold(-1, self.size, self.hop_length)  # [B, T, size]
        spectrum = torch.fft.rfft(frames * self.window)[..., 1 : self.bins]
        slope = torch.fft.rfft(frames * self.slope)[..., 1 : self.bins]
        power = spectrum.real.square() + spectrum.imag.square() + 1e-12
        turning = (slope * spectrum.conj()).imag / power  # radians a sample
        own = torch.arange(1, self.bins, device=audio.device) / self.size
        hz = ((own - turning / (2 * math.pi)) * self.sample_rate).clamp(min=10.0)
        note = 69 + 12 * torch.log2(hz / 440.0) - LOWEST_NOTE
        index = note.round()
        inside = (index >= 0) & (index < self.count)
        power = torch.where(inside, power, torch.zeros_like(power))
        index_long = index.clamp(0, self.count - 1).long()
        zeros = power.new_zeros(*power.shape[:2], self.count)
        total, first, second = (
            zeros.scatter_add(2, index_long, power * (note - index).pow(moment)) for moment in range(3)
        )
        detune, square = first / total.clamp(min=1e-9), second / total.clamp(min=1e-9)
        amplitude = (4 * total / (self.size * self.window.square().sum())).sqrt()
        return amplitude, detune, (square - detune.square()).clamp(min=0).sqrt()
