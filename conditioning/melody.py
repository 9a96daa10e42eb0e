"""Chroma of a melody, one pitch class a frame, as MusicGen-melody hears it: from a recording or a composed score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..composition.score import Note, Score
from ..errors import AudioError
from .base import Condition

__all__ = ["Melody"]

SILENT = 1e-4  # peak under which a melody says nothing
TUNE = ("lead", "colour", "bass", "chords", "pad")  # who carries it, and who does while that one rests


class Melody(nn.Module):
    """Chroma [B, F, 12], a one in every frame, -> Condition [B, chroma_length, D].

    Args:
        width: D of the model that listens.
        num_chroma: pitch classes, from C upwards.
        chroma_length: frames that the model hears; fewer are repeated.
        sample_rate: Hz, of the audio that `chroma` reads.
        n_fft, hop_length: window and step of the spectrogram, in samples.

    Source: Copet et al. 2023, arXiv:2306.05284, section 3.2, there after taking drums and bass out with a source
    separator. We read the sound as it is, which is what transformers does, too.
    """

    def __init__(
        self,
        *,
        width: int,
        num_chroma: int = 12,
        chroma_length: int = 235,
        sample_rate: int = 32000,
        n_fft: int = 16384,
        hop_length: int = 4096,
    ) -> None:
        super().__init__()
        self.num_chroma, self.chroma_length = num_chroma, chroma_length
        self.sample_rate, self.n_fft, self.hop_length = sample_rate, n_fft, hop_length
        self.project = nn.Linear(num_chroma, width) if num_chroma != width else None

    @property
    def chroma_rate(self) -> float:
        """Frames of chroma a second."""
        return self.sample_rate / self.hop_length

    def chroma(self, samples: Tensor, sample_rate: int) -> Tensor:
        """The loudest pitch class of every frame of [C, L], as ones in [F, num_chroma]; F = L / hop_length + 1.

        Raises:
            AudioError: the sound is silent, or shorter than one step of the spectrogram.
        """
        from torchaudio.functional import resample
        from torchaudio.transforms import Spectrogram
        from transformers.audio_utils import chroma_filter_bank

        if samples.numel() == 0 or float(samples.abs().max()) < SILENT:
            raise AudioError("the melody is silent. Give a recording in which one can be heard.")
        sound = samples.float().mean(0)
        if sample_rate != self.sample_rate:
            sound = resample(sound, sample_rate, self.sample_rate, rolloff=0.945, lowpass_filter_width=24)
        if len(sound) < self.hop_length:
            raise AudioError(
                f"the melody lasts {len(sound) / self.sample_rate:.3f} s; "
                f"it needs {self.hop_length / self.sample_rate:.3f} s or more."
            )
        short = max(0, self.n_fft - len(sound))
        sound = F.pad(sound, (short // 2, short - short // 2))
        spectrum = Spectrogram(self.n_fft, hop_length=self.hop_length, power=2, normalized=True)(sound)
        filters = chroma_filter_bank(
            sampling_rate=self.sample_rate, num_frequency_bins=self.n_fft, tuning=0, num_chroma=self.num_chroma
        )
        energy = torch.from_numpy(filters).float() @ spectrum  # [num_chroma, F]
        return self.one_hot(F.normalize(energy, p=float("inf"), dim=0, eps=1e-6).argmax(0).tolist())

    def of_score(self, score: Score) -> Tensor:
        """The tune of a composed piece: in every frame the lead's note, or that of the next role that sounds."""
        count = max(1, math.ceil(score.duration * self.chroma_rate))
        heard = np.full((len(TUNE), count), -1)
        for track in score.tracks:
            if track.role in TUNE:
                row = heard[TUNE.index(track.role)]
                for note in sorted(track.notes, key=lambda note: note.pitch):  # the highest of a chord stays
                    first, last = (round(score.tempo_map.seconds(beat) * self.chroma_rate) for beat in _span(note))
                    row[first : max(last, first + 1)] = note.pitch % 12
        tune = np.full(count, -1)
        for row in heard:
            tune = np.where(tune < 0, row, tune)
        held = np.maximum.accumulate(np.where(tune < 0, 0, np.arange(count)))  # rests hold the note before
        return self.one_hot(np.maximum(tune[held], 0).tolist())

    def one_hot(self, classes: Sequence[int]) -> Tensor:
        """Pitch classes, one a frame, as ones in [F, num_chroma]."""
        return F.one_hot(torch.tensor(classes), self.num_chroma).float()

    def silence(self, frames: int) -> Tensor:
        """What stands for no melody: the first pitch class throughout, [frames, num_chroma]."""
        return self.one_hot([0] * frames)

    @torch.no_grad()
    def forward(self, chroma: Tensor) -> Condition:
        """Turn chroma [B, F, num_chroma] into a Condition; repeated or cut to chroma_length frames."""
        heard = chroma if self.project is None else self.project(chroma.type_as(self.project.weight))
        times = -(-self.chroma_length // heard.shape[1])
        return Condition.full(heard.repeat(1, times, 1)[:, : self.chroma_length])


def _span(note: Note) -> tuple[float, float]:
    """First and last beat of a note."""
    return note.start, note.start + note.duration
