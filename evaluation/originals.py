"""What a model's music is compared with: its plan played by the SoundFont, and that through the model's codec."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..audio import Waveform
from ..codecs.base import Sounding
from ..composition.arranger import arrange
from ..composition.plan import MusicalPlan
from ..composition.renderer import Renderer
from ..errors import GenAudioError
from ..pipeline.codec_commands import fit
from ..pipeline.decoder import BLOCK
from ..pipeline.mixer import mix_plan
from ..pipeline.pipeline import Pipeline
from ..pipeline.sounding import sounding

__all__ = ["LOUDNESS", "Original", "Originals", "opus"]

LOUDNESS = -16.0  # LUFS of everything that is judged
OPUS_RATE = 24000


@dataclass(frozen=True)
class Original:
    """A plan as the SoundFont plays it: mono stems [1, L] by role, as the codec hears them, and their mix."""

    plan: MusicalPlan
    stems: Mapping[str, np.ndarray]
    waveform: Waveform


class Originals:
    """Composes originals and takes them through a model's codec.

    Args:
        renderer: what plays the notes; None for the SoundFont that is found.

    Raises:
        MissingExtraError: tinysoundfont or the SoundFont is not installed.
    """

    def __init__(self, pipeline: Pipeline, renderer: Renderer | None = None) -> None:
        self.pipeline = pipeline
        self.renderer = renderer or Renderer(None, pipeline.codec.sample_rate)

    @property
    def played_levels(self) -> int:
        """Levels of the codec that the model predicts."""
        codec = self.pipeline.codec
        return self.pipeline.performer.lm.n_q if self.pipeline.has_stems else codec.n_q

    def compose(self, plan: MusicalPlan) -> Original | None:
        """Play a plan; None if the synthesizer cannot play one of its programs."""
        try:
            played = self.renderer.render(arrange(plan))
        except GenAudioError:
            return None
        stems = {role: sound.mean(0, keepdims=True) for role, sound in played.items()}
        return Original(plan, stems, self._mixed(stems, plan))

    def through_codec(
        self, original: Original, levels: int | None = None, *, told: bool = True
    ) -> tuple[Waveform, dict[str, np.ndarray]]:
        """The original encoded and decoded, and its codes [K, T] by role: stem by stem if the model plays stems.

        Args:
            levels: of the codec; None for those that the model predicts.
            told: whether the decoder hears of the notes, as it does when the model plays what it was told.
        """
        count = levels or self.played_levels
        if not self.pipeline.has_stems:
            again, codes = self._round_trip(original.waveform, count)
            return again.normalise(LOUDNESS), {"mix": codes}
        rate, stems, every = self.pipeline.codec.sample_rate, {}, {}
        score = arrange(original.plan)
        for role, sound in original.stems.items():
            notes = sounding(self.pipeline.codec, [role], lambda: [(0, score)]) if told else None
            again, every[role] = self._round_trip(Waveform(sound, rate), count, notes)
            stems[role] = again.samples
        return self._mixed(stems, original.plan), every

    @torch.inference_mode()
    def encode(self, original: Original) -> dict[str, np.ndarray]:
        """Codes [1, T] of the first level by role."""
        codec = self.pipeline.codec
        sounds = {role: Waveform(sound, self.pipeline.codec.sample_rate) for role, sound in original.stems.items()}
        fitted = {role: fit(sound, codec, role)[0] for role, sound in sounds.items()}
        return {
            role: codec.encode(torch.from_numpy(sound.samples)[None].to(codec.device), 1)[0].cpu().numpy()
            for role, sound in fitted.items()
        }

    @torch.inference_mode()
    def _round_trip(self, sound: Waveform, levels: int, notes: Sounding | None = None) -> tuple[Waveform, np.ndarray]:
        codec = self.pipeline.codec
        fitted, _ = fit(sound, codec, "the original")
        codes = codec.encode(torch.from_numpy(fitted.samples)[None].to(codec.device), levels)
        pieces = codec.decode_sounding(codes.split(BLOCK, -1), notes)
        decoded = torch.cat(list(pieces), -1)[0, :, : fitted.samples.shape[1]]
        return Waveform(decoded.cpu().numpy(), codec.sample_rate), codes[0].cpu().numpy()

    def _mixed(self, stems: Mapping[str, np.ndarray], plan: MusicalPlan) -> Waveform:
        rate = self.pipeline.codec.sample_rate
        return Waveform(mix_plan(plan, stems, arrange(plan).tracks, sample_rate=rate), rate).normalise(LOUDNESS)


def opus(waveform: Waveform, coarseness: float = 1.0) -> tuple[Waveform, float]:
    """A sound through Opus, and the kbit/s that it took, headers included.

    Args:
        coarseness: libsndfile's compression level, 0 to 1; 1 is 6 kbit/s, the lowest rate of Opus.
    """
    import soundfile

    mono = waveform.mono().resample(OPUS_RATE)
    held = io.BytesIO()
    form = {"samplerate": OPUS_RATE, "channels": 1, "format": "OGG", "subtype": "OPUS"}
    with soundfile.SoundFile(held, "w", **form, compression_level=coarseness) as file:
        file.write(mono.samples[0])
    kbps = len(held.getvalue()) * 8 / mono.duration / 1000
    held.seek(0)
    samples, rate = soundfile.read(held, dtype="float32", always_2d=True)
    return Waveform(samples.T[:, : mono.samples.shape[1]], rate), kbps
