"""Train the vocoder of the spectral codec on de-quantised codes; codes and mel decoder stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..codecs.layers.mel import warped_bands
from ..codecs.layers.partials import PartialFinder
from ..errors import ConfigError
from .critic import Critic, critic_loss, decoder_loss
from .loop import autocast, pick_device, run, to_device
from .pool import Pool
from .tokens import Tokens, load_codec

__all__ = ["SpectralLoss", "VocoderStage", "train"]

RIM = 4  # frames at each end of a crop that are not compared: the mel decoder lacks context there


class SpectralLoss(nn.Module):
    """Distance of two waveforms over several window sizes: log-mel and magnitude.

    The codes know nothing of phase, so it is never compared: the best answer to an unknown phase would be silence.
    The longest window hears it all the same: a tone whose phase jumps from frame to frame spreads over its bins.

    Source: Kumar et al. 2023 (DAC), arXiv:2306.06546, section 3.4 for the log-mel over many scales.
    """

    def __init__(self, sample_rate: int, sizes: tuple[int, ...] = (4096, 2048, 1024, 512, 256)) -> None:
        super().__init__()
        self.sizes = sizes
        for size in sizes:
            bands = warped_bands(max(8, size // 16), size // 2 + 1, sample_rate, corner_hz=500.0)
            bands = bands[bands.sum(1) > 0]
            self.register_buffer(f"bands_{size}", bands.T.contiguous(), persistent=False)
            self.register_buffer(f"window_{size}", torch.hann_window(size) / (size / 4), persistent=False)

    def _spectra(self, audio: Tensor, size: int) -> Tensor:
        return torch.fft.rfft(audio.unfold(-1, size, size // 4) * getattr(self, f"window_{size}"))

    def forward(self, ours: Tensor, theirs: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Compare [B, L] with [B, L]."""
        mel_loss, magnitude_loss = ours.new_zeros(()), ours.new_zeros(())
        for size in self.sizes:
            a, b = self._spectra(ours, size), self._spectra(theirs, size)
            bands = getattr(self, f"bands_{size}")
            x, y = (a.real.square() + a.imag.square() + 1e-10).sqrt(), b.abs()
            mel_loss = mel_loss + ((x @ bands + 1e-4).log() - (y @ bands + 1e-4).log()).abs().mean()
            magnitude_loss = magnitude_loss + (x - y).abs().sum(-1).mean() / (y.sum(-1).mean() + 1e-3)
        count = len(self.sizes)
        parts = {"mel": float(mel_loss.detach()) / count, "magnitude": float(magnitude_loss.detach()) / count}
        return (mel_loss + magnitude_loss) / count, parts


class VocoderStage:
    """The vocoder alone learns; it hears the codes with as many levels as they will have in use.

    With `critic` in the configuration ({"from_step": ..., "pleased_from": ..., "samples": ..., and the settings of
    Critic}) a critic learns beside it from the one step on, and from the other the vocoder is to please it, too. It
    hears `samples` of every crop, or all.
    """

    part = "codec"

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.device = config, pick_device(config.get("device", "auto"))
        self.module = load_codec(config["codec"], config["codec_weights"])
        self.module.requires_grad_(False)
        self.module.vocoder.requires_grad_(True)
        self.pool = Pool(config["pool"])
        self.tokens = Tokens(self.pool, self.module.hop_length)
        self.stems = {part: list(self.pool.stems(part)) for part in (False, True)}
        self.distance = SpectralLoss(self.module.sample_rate).to(self.device)
        vocoder = self.module.vocoder
        self.finder = PartialFinder(len(vocoder.partials.notes), self.module.sample_rate, vocoder.hop_length)
        self.finder.to(self.device)
        settings = dict(config.get("critic") or {})
        inner = (config["crop_frames"] - 2 * RIM) * self.module.hop_length
        self.critic_from, self.critic_samples = settings.pop("from_step", 0), settings.pop("samples", inner)
        self.pleased_from = settings.pop("pleased_from", self.critic_from)
        if self.critic_samples > inner:
            raise ConfigError(
                f"critic.samples is {self.critic_samples}, but crop_frames of {config['crop_frames']} leaves {inner}. "
                "Let the critic hear less, or take longer crops."
            )
        self.critic = Critic(**settings) if config.get("critic") else None

    def batch(self, rng: np.random.Generator, held_out: bool, levels: int) -> tuple[Tensor, Tensor]:
        """Codes [B, levels, T] and their sound [B, L], L = T * hop_length; near silence is drawn again."""
        frames, hop = self.config["crop_frames"], self.module.hop_length
        codes: list[np.ndarray] = []
        sounds: list[np.ndarray] = []
        while len(codes) < self.config["batch_size"]:
            shard, _, stem = self.stems[held_out][rng.integers(len(self.stems[held_out]))]
            last = stem.audio[1] // hop - frames
            if last < 1:
                continue
            start = int(rng.integers(last))
            sound = self.pool.sound(shard, stem, start * hop, frames * hop)
            if np.abs(sound).max() < 0.01 and rng.random() < 0.9:
                continue
            codes.append(self.tokens.codes(shard, stem, start, frames)[:levels])
            sounds.append(sound)
        return to_device((torch.from_numpy(np.stack(codes)), torch.from_numpy(np.stack(sounds))), self.device)

    def parts(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Let the vocoder say what sounds: codes [B, K, T] -> as `Vocoder.parts`."""
        codec = self.module
        with autocast(self.device, self.config["bf16"]):
            with torch.no_grad():
                mel, hidden = codec.mel_from_latent(codec.quantiser.decode(codes))
            return codec.vocoder.parts(mel.float(), hidden.float())

    def loss(self, step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        levels = int(rng.choice(self.config["levels"]))
        codes, sound = self.batch(rng, False, levels)
        spectrum, amplitude, detune = self.parts(codes)
        audio, _ = self.module.vocoder.draw(spectrum, amplitude.detach(), detune.detach())
        ours, theirs = self._inner(audio, sound)
        loss, metrics = self.distance(ours, theirs)
        tuning, level = self.partial_losses(amplitude, detune, sound)
        loss = loss + self.config["tuning_weight"] * tuning + self.config["level_weight"] * level
        metrics |= {"tuning": float(tuning.detach()), "level": float(level.detach())}
        if self.critic is not None and step >= self.critic_from:
            first = int(rng.integers(ours.shape[-1] - self.critic_samples + 1))
            heard = slice(first, first + self.critic_samples)
            counts = float(step >= self.pleased_from)
            more, said = self.criticise(self.critic, ours[:, heard], theirs[:, heard], counts)
            loss, metrics = loss + more, metrics | said
        return loss, metrics

    def criticise(
        self, critic: Critic, ours: Tensor, theirs: Tensor, counts: float = 1.0
    ) -> tuple[Tensor, dict[str, float]]:
        """What the vocoder and its critic have to say about decoded and composed sound [B, L], as one loss.

        The vocoder's part, which `counts` so much, does not reach the critic's weights, nor the critic's part the
        vocoder's.
        """
        composed, decoded = critic(theirs), critic(ours.detach())
        fixed = {name: value.detach() for name, value in critic.named_parameters()}
        score, distance = decoder_loss(composed, torch.func.functional_call(critic, fixed, (ours,)))
        learns = critic_loss(composed, decoded)
        loss = counts * (self.config["score_weight"] * score + self.config["layers_weight"] * distance) + learns
        said = {"critic": learns, "score": score, "layers": distance}
        return loss, {name: float(value.detach()) for name, value in said.items()}

    def partial_losses(self, amplitude: Tensor, detune: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Compare the sinusoids with the tones of the sound; of noise they are to be silent.

        They learn from nothing else. The distance between waveforms is for the other half of the vocoder, which
        otherwise makes a tone of the right loudness and the wrong pitch long before its sinusoid has woken up.

        Returns:
            Mean error of the tuning in semitones, loud tones counting more, and of the amplitude in nats.
        """
        rim = 16  # frames of 10 ms, as in `_inner`; there the window of the finder leaves the crop, too
        tone, true_detune = (part[:, rim:-rim] for part in self.tones(sound))
        weight = (1 + tone / 1e-3).log()
        tuning = (weight * (detune[:, rim:-rim] - true_detune).abs()).sum() / weight.sum().clamp(min=1e-3)
        error = ((amplitude[:, rim:-rim] + 1e-3).log() - (tone + 1e-3).log()).abs()
        weight = weight + 0.2 * (tone < 1e-3)
        return tuning, (weight * error).sum() / weight.sum().clamp(min=1e-3)

    @torch.no_grad()
    def tones(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Amplitude and detuning of what sounds like a tone, [B, frames, N] each; noise is turned down."""
        amplitude, detune, spread = self.finder(sound)
        return amplitude * ((0.3 - spread) / 0.15).clamp(0, 1), detune

    def _inner(self, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Leave out the rim of the crop."""
        rim = RIM * self.module.hop_length
        return ours[:, rim:-rim], theirs[:, rim:-rim]

    def validate(self) -> dict[str, float]:
        report = {}
        for levels in sorted({int(k) for k in self.config["levels"]}):
            codes, sound = self.batch(np.random.default_rng(0), True, levels)
            spectrum, amplitude, detune = self.parts(codes)
            total, _ = self.distance(*self._inner(self.module.vocoder.draw(spectrum, amplitude, detune)[0], sound))
            report[f"distance_{levels}"] = float(total)
            tuning, level = self.partial_losses(amplitude, detune, sound)
            report |= {f"tuning_{levels}": float(tuning), f"level_{levels}": float(level)}
        return report


def train(config: dict[str, Any], out: Path) -> None:
    """Train the vocoder; writes `model.safetensors` of the whole codec."""
    run(VocoderStage(config), config, out)
