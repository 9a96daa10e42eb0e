"""EnCodec at 48 kHz, stereo, through the encodec package: segments of a second, each with its loudness in the codes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from .base import Codec, PublicWeights

__all__ = ["Encodec48khz"]

LOUDNESS_ROWS = 3  # digits to base 1024 that hold a 32-bit float
QUIETEST = 1e-8  # what the package adds to every loudness


class Encodec48khz(Codec):
    """Stereo, 16 levels of sound at 150 Hz (3, 6, 12 or 24 kbit/s) below 3 levels that say how loud it is.

    The package cuts sound into segments of 1 s that overlap by 10 ms, divides each by its loudness and codes it alone.
    Two things follow for the codes here. Their frames are those of the segments, one segment after the other: 150 for
    each, fewer for the last, so T is about 1 % more than L / hop_length, and `num_frames` and `num_audio_samples` tell.
    And a segment's loudness stands in the first 3 rows, the same digits in each of its frames, coarse digit first:

        rows 0-2   a a a ... a  b b b ... b  c c     the 32-bit float, less that of 1e-8, in digits to base `card`
        rows 3-18  codes of the sound                bandwidth / 1.5 of them

    These digits are all of the float's bits, so nothing is lost. Where they differ within a segment (a model wrote
    them), its first frame counts; the rows alone, without sound, are silence. `num_bits` counts them once a segment.

    Segments know nothing of each other, so streaming by segments is exact: `decode_stream` yields one at a time,
    whatever `chunk` says.

    Args:
        bandwidth: kbit/s of the sound that n_q is set for; None for all that the weights have, 24.

    Raises:
        ConfigError: a bandwidth that the model does not have.

    Source: Défossez et al. 2022, arXiv:2210.13438, section 3.1 and 3.4; architecture of the encodec package,
    unchanged. The package decodes no sound whose last segment fits into one frame behind a whole one; this does.
    """

    public = PublicWeights(licence="CC-BY-NC 4.0", checkpoint="encodec_48khz-7e698e3e.th")

    def __init__(self, *, bandwidth: float | None = None) -> None:
        super().__init__()
        from encodec import EncodecModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.model = EncodecModel.encodec_model_48khz(pretrained=False)
        self.sample_rate, self.channels = self.model.sample_rate, self.model.channels
        self.hop_length, self.card = int(self.model.encoder.hop_length), self.model.quantizer.bins
        self.length, self.stride = self.model.segment_length, self.model.segment_stride
        self.segment = self.length // self.hop_length  # frames
        self.context = self.segment
        self.n_q = LOUDNESS_ROWS + self.model.quantizer.n_q
        self.n_q = self.n_q if bandwidth is None else self.levels_at(bandwidth)

    @property
    def bandwidths(self) -> dict[float, int]:
        per_level = self.model.quantizer.get_bandwidth_per_quantizer(self.model.frame_rate)
        levels = {kbps: LOUDNESS_ROWS + int(kbps / per_level) for kbps in self.model.target_bandwidths}
        return {kbps: count for kbps, count in levels.items() if count <= self.n_q}

    def num_bits(self, num_frames: int, levels: int) -> float:
        """As every codec's, but the loudness once a segment."""
        loudness = min(levels, LOUDNESS_ROWS) * len(self.segments(num_frames))
        return super().num_bits(num_frames, max(0, levels - LOUDNESS_ROWS)) + super().num_bits(loudness, 1)

    def num_frames(self, num_audio_samples: int) -> int:
        starts = range(0, num_audio_samples, self.stride)
        lengths = [min(self.length, num_audio_samples - start) for start in starts]
        return sum(-(-length // self.hop_length) for length in lengths)

    def num_audio_samples(self, num_frames: int) -> int:
        frames = self.segments(num_frames)
        return max(index * self.stride + count * self.hop_length for index, count in enumerate(frames))

    def segments(self, num_frames: int) -> list[int]:
        """Frames of each segment of a sound that has so many in all.

        All but the last have 150, with one exception: if only the overlap is left for the last one, the one before may
        be a frame short. Then it has 149 and the last has 1, and this is the only way to have a multiple of 150.
        """
        whole, rest = divmod(num_frames, self.segment)
        if rest:
            return [self.segment] * whole + [rest]
        return [self.segment] * (whole - 1) + [self.segment - 1, 1]

    @torch.no_grad()
    def encode(self, audio: Tensor, levels: int | None = None) -> Tensor:
        self.check_audio(audio)
        levels = self.check_levels(levels)
        starts = range(0, audio.shape[-1], self.stride)
        return torch.cat([self._encode(audio[..., start : start + self.length], levels) for start in starts], -1)

    def decode(self, codes: Tensor) -> Tensor:
        return torch.cat(list(self.decode_stream(codes)), -1)

    def decode_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """As every codec's, but nothing is heard before the last block is there."""
        yield from self.decode_stream(torch.cat(list(blocks), -1))

    def decode_stream(self, codes: Tensor, chunk: int = 1000) -> Iterator[Tensor]:
        """Decode segment after segment; joined, they equal the whole decode.

        Yields:
            [B, C, n], n = 47520 samples, other for the last.
        """
        self.check_codes(codes)
        frames = self.segments(codes.shape[-1])
        fade = _triangle(frames[0] * self.hop_length, codes.device)
        left = _Overlap.none(codes.shape[0], self.channels, codes.device)  # what reaches beyond the segments so far
        for index, segment in enumerate(codes.split(frames, -1)):
            sound = self._decode(segment)
            here = left.add(_Overlap(sound * fade[: sound.shape[-1]], fade[: sound.shape[-1]]))
            cut = self.stride if index < len(frames) - 1 else here.weight.shape[-1]
            yield here.sound[..., :cut] / here.weight[:cut]
            left = _Overlap(here.sound[..., cut:], here.weight[cut:])

    def _encode(self, audio: Tensor, levels: int) -> Tensor:
        """One segment [B, 2, L] -> [B, levels, T]."""
        scale = QUIETEST + audio.mean(1, keepdim=True).square().mean(2, keepdim=True).sqrt()  # [B, 1, 1]
        latent = self.model.encoder(audio / scale)  # [B, D, T]
        rows = self._digits(scale[:, :, 0]).expand(-1, -1, latent.shape[-1])  # [B, 3, T]
        if levels > LOUDNESS_ROWS:
            sound = self.model.quantizer.vq.encode(latent, n_q=levels - LOUDNESS_ROWS)  # [K, B, T]
            rows = torch.cat([rows, sound.transpose(0, 1)], 1)
        return rows[:, :levels]

    def _decode(self, codes: Tensor) -> Tensor:
        """One segment [B, K', T] -> [B, 2, T * hop_length]."""
        if codes.shape[1] <= LOUDNESS_ROWS:
            return torch.zeros(codes.shape[0], self.channels, codes.shape[2] * self.hop_length, device=codes.device)
        scale = self._from_digits(codes[:, :LOUDNESS_ROWS, 0])
        latent = self.model.quantizer.decode(codes[:, LOUDNESS_ROWS:].transpose(0, 1))
        return self.model.decoder(latent) * scale[:, None, None]

    def _digits(self, scale: Tensor) -> Tensor:
        """[B, 1] loudness, at least QUIETEST -> [B, 3, 1] digits, coarse first."""
        bits = scale.float().view(torch.int32).long() - _float_bits(QUIETEST)
        return torch.stack([bits // self.card**power % self.card for power in (2, 1, 0)], 1)

    def _from_digits(self, digits: Tensor) -> Tensor:
        """[B, 3] digits -> [B] loudness."""
        bits = (digits[:, 0] * self.card + digits[:, 1]) * self.card + digits[:, 2] + _float_bits(QUIETEST)
        return bits.int().view(torch.float32)


class _Overlap:
    """Faded sound [B, C, n] that others may still be added to, and how much of its weight [n] is there."""

    def __init__(self, sound: Tensor, weight: Tensor) -> None:
        self.sound, self.weight = sound, weight

    @classmethod
    def none(cls, batch: int, channels: int, device: torch.device) -> _Overlap:
        return cls(torch.zeros(batch, channels, 0, device=device), torch.zeros(0, device=device))

    def add(self, other: _Overlap) -> _Overlap:
        """Sum two that begin at the same sample."""
        length = max(len(self.weight), len(other.weight))
        sound = torch.zeros(*other.sound.shape[:2], length, device=other.sound.device)
        weight = torch.zeros(length, device=other.sound.device)
        for part in (self, other):
            sound[..., : len(part.weight)] += part.sound
            weight[: len(part.weight)] += part.weight
        return _Overlap(sound, weight)


def _triangle(length: int, device: torch.device) -> Tensor:
    """Weights of a segment's samples: 0 just outside, highest in the middle."""
    return 0.5 - (torch.linspace(0, 1, length + 2, device=device)[1:-1] - 0.5).abs()


def _float_bits(value: float) -> int:
    """The bits of a 32-bit float; of positive floats, the greater has the greater."""
    return int(torch.tensor(value, dtype=torch.float32).view(torch.int32))
