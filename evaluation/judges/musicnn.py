"""Tags, and embeddings by two pretrained networks, from the package musicnn."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...audio import Waveform
from ..music_taggers import BANDS, FRAMES, Musicnn, Vgg
from ..tensorflow_file import read_checkpoint
from .base import Judge

__all__ = ["MusicTaggers"]

RATE, SIZE, HOP = 16000, 512, 256
STEP = FRAMES  # frames between windows: they do not overlap
SCALE = 10000  # of the mel power, before its logarithm


class MusicTaggers(Judge):
    """Two networks that learnt to tag real music: `musicnn` on the Million Song Dataset, a VGG on MagnaTagATune.

    Their weights are read from the package's files; its code, which needs TensorFlow 1, is not imported.

    Source: Pons and Serra 2019, arXiv:1909.06654.
    """

    title, licence, needs = "musicnn 0.1 (MSD_musicnn and MTT_vgg)", "ISC", ("librosa", "musicnn")
    install = "pip install 'gen-audio[eval]' && pip install --no-deps musicnn"

    def __init__(self) -> None:
        self.check()
        import librosa

        spec = importlib.util.find_spec("musicnn")
        assert spec is not None and spec.submodule_search_locations is not None
        folder = Path(spec.submodule_search_locations[0])
        self.musicnn = Musicnn(read_checkpoint(folder / "MSD_musicnn"))
        self.vgg = Vgg(read_checkpoint(folder / "MTT_vgg"))
        self.filters = librosa.filters.mel(sr=RATE, n_fft=SIZE, n_mels=BANDS)

    def hear(self, waveform: Waveform) -> dict[str, Any]:
        """`msd_musicnn` [windows, 200], `mtt_vgg` [windows, 256], and the mean `tags` [100] of both."""
        windows = self.windows(waveform)
        ours, last = self.musicnn(windows)
        theirs, pool = self.vgg(windows)
        tags = np.concatenate([ours.mean(0).numpy(), theirs.mean(0).numpy()])
        return {"msd_musicnn": last.numpy(), "mtt_vgg": pool.numpy(), "tags": tags}

    def windows(self, waveform: Waveform) -> torch.Tensor:
        """Log-mel windows [N, FRAMES, BANDS] one after the other; a sound shorter than one is repeated."""
        sound = torch.from_numpy(waveform.mono().resample(RATE).samples[0])
        sound = sound.repeat(max(1, -(-FRAMES * HOP // len(sound))))
        spectrum = torch.stft(
            sound, SIZE, HOP, window=torch.hann_window(SIZE), pad_mode="constant", return_complex=True
        )
        power = torch.from_numpy(self.filters) @ spectrum.abs().square()
        return torch.log10(SCALE * power.T + 1).unfold(0, FRAMES, STEP).transpose(1, 2).contiguous()
