"""The contract between sound and codes. A codec never sees text, and never sees the model that writes its codes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError, ShapeError

__all__ = ["Codec", "PublicWeights", "Sounding", "in_chunks", "windows"]

Sounding = Callable[[int, int], Tensor]  # first frame, count -> which of a codec's tones may sound, [B, count, N] bool


@dataclass(frozen=True)
class PublicWeights:
    """Weights that others published for a codec: where they are and whose rules hold for them."""

    licence: str
    hub_id: str = ""  # a transformers folder on the hub: config.json and safetensors
    checkpoint: str = ""  # else the file that the encodec package downloads


class Codec(nn.Module):
    """Sound to codes and back.

    A subclass sets the six facts below, writes `encode` and `decode`, and states how many frames of context on each
    side one decoded frame depends on. Everything that must be known about a codec is asked of the codec. A codec that
    wraps a network of another library holds it as `model`, names its `public` weights, and is built without any.
    """

    public: ClassVar[PublicWeights | None] = None  # None: ours

    sample_rate: int  # Hz
    hop_length: int  # samples a frame
    channels: int  # audio channels
    n_q: int  # codebooks, coarse to fine
    card: int  # entries of one codebook
    context: int  # frames on either side that can change how a frame sounds, phases that run on left aside
    tones: range = range(0)  # MIDI numbers of the N tones that it draws one by one and can be told to turn down, if any

    @property
    def device(self) -> torch.device:
        """Where audio and codes must be; a codec without tensors works on the CPU."""
        first = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if first is None else first.device

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    @property
    def special_token_id(self) -> int:
        """The id, one past the last code, that fills a slot without a frame."""
        return self.card

    def num_frames(self, num_audio_samples: int) -> int:
        """Frames that cover so many samples."""
        return -(-num_audio_samples // self.hop_length)

    def num_audio_samples(self, num_frames: int) -> int:
        """Samples that so many frames decode to; at least those that `num_frames` was asked to cover."""
        return num_frames * self.hop_length

    @property
    def bandwidths(self) -> dict[float, int]:
        """What the codec can be asked for: kbit/s of its codes -> levels."""
        per_level = math.log2(self.card) * self.frame_rate / 1000
        return {levels * per_level: levels for levels in range(1, self.n_q + 1)}

    def num_bits(self, num_frames: int, levels: int) -> float:
        """Bits of so many frames with so many levels, every code at its full log2(card) bits."""
        return num_frames * levels * math.log2(self.card)

    def encode(self, audio: Tensor, levels: int | None = None) -> Tensor:
        """Turn audio into codes.

        Args:
            audio: [B, C, L] float.
            levels: how many codebooks, coarse ones first; None for all n_q.

        Returns:
            [B, levels, T] int64, T = num_frames(L). Fewer levels are the first rows of more.
        """
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Turn codes [B, K', T], 1 <= K' <= n_q, into [B, C, num_audio_samples(T)] float audio."""
        raise NotImplementedError

    @staticmethod
    def published_name(name: str) -> str:
        """Turn the name of a tensor in published weights into its name in `model`."""
        return name

    def decode_stream(self, codes: Tensor, chunk: int = 1000) -> Iterator[Tensor]:
        """Decode a long piece in chunks of `chunk` frames; joined, they equal the whole decode.

        Each chunk is decoded with `context` frames on both sides, so memory does not grow with length. A codec that
        carries something from frame to frame without end, such as the phase of a sinusoid, overrides this.

        Args:
            codes: [B, K', T].
            chunk: frames that one piece of the result holds.

        Yields:
            [B, C, n * hop_length], n = chunk, less for the last.
        """
        yield from in_chunks(codes, self.decode, chunk=chunk, context=self.context, hop_length=self.hop_length)

    def decode_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Decode codes while they are still being written; the pieces, joined, equal the whole decode.

        A frame is heard as soon as no later code can change it, which is `context` frames after it. A codec that
        `decode_stream` cannot follow that way overrides this, if only by waiting for the last block.

        Args:
            blocks: [B, K', n] each, of any length.

        Yields:
            [B, C, m * hop_length], m from 1 upwards.
        """
        for frames, left, count in windows(blocks, self.context):
            yield self.decode(frames)[..., left * self.hop_length : (left + count) * self.hop_length]

    def decode_sounding(self, blocks: Iterable[Tensor], sounding: Sounding | None) -> Iterator[Tensor]:
        """As `decode_blocks`, with the tones turned down that may not sound; None if all may.

        A codec that has `tones` overrides this; no other is told any.
        """
        assert sounding is None, "a codec without tones has none to turn down"
        return self.decode_blocks(blocks)

    def levels_at(self, bandwidth: float) -> int:
        """Return how many levels make `bandwidth` kbit/s, met within 1 %.

        Raises:
            ConfigError: the codec has no such bandwidth; the message names those it has.
        """
        for known, levels in self.bandwidths.items():
            if abs(known - bandwidth) <= 0.01 * known:
                return levels
        known_ones = ", ".join(f"{known:.3g}" for known in self.bandwidths)
        raise ConfigError(
            f"the bandwidth is {bandwidth:g} kbit/s, but codec '{type(self).__module__.rsplit('.', 1)[-1]}' has "
            f"{known_ones}. Choose one of these."
        )

    def check_levels(self, levels: int | None) -> int:
        """Return `levels`, or n_q for None; raise ConfigError unless it is in 1..n_q."""
        if levels is None:
            return self.n_q
        if not 1 <= levels <= self.n_q:
            raise ConfigError(f"{levels} levels were asked of a codec that has {self.n_q}. Use 1 to {self.n_q}.")
        return levels

    def check_audio(self, audio: Tensor) -> None:
        """Raise ShapeError unless `audio` is [B, C, L] with this codec's channels."""
        if audio.dim() != 3 or audio.shape[1] != self.channels or audio.shape[2] == 0:
            raise ShapeError(
                f"audio has shape {list(audio.shape)}; this codec needs [B, {self.channels}, L] with L > 0. "
                "Add the batch and channel axes, or mix down first."
            )

    def check_codes(self, codes: Tensor) -> None:
        """Raise ShapeError unless `codes` is [B, K', T] of integers in 0..card-1 with K' <= n_q."""
        if codes.dim() != 3 or not 1 <= codes.shape[1] <= self.n_q or codes.is_floating_point():
            raise ShapeError(
                f"codes are {codes.dtype} of shape {list(codes.shape)}; this codec needs integers [B, K, T] "
                f"with K from 1 to {self.n_q}."
            )
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= self.card):
            raise ShapeError(
                f"codes run from {int(codes.min())} to {int(codes.max())}; this codec has entries 0 to "
                f"{self.card - 1}. Were they made by another codec?"
            )

    def pad(self, audio: Tensor) -> Tensor:
        """Zero-pad [B, C, L] at the end to a whole number of frames."""
        return torch.nn.functional.pad(audio, (0, -audio.shape[-1] % self.hop_length))


def windows(blocks: Iterable[Tensor], context: int) -> Iterator[tuple[Tensor, int, int]]:
    """Cut frames that arrive block by block into windows with `context` frames on both sides.

        context = 2    block    held            yields (held, left, count)
                       0 1 2    0 1 2           0 1 2,      0, 1      frame 0 is final
                       3 4      0 1 2 3 4       0 1 2 3 4,  1, 2      frames 1 and 2
                       (end)    1 2 3 4         1 2 3 4,    2, 2      the rest

    Args:
        blocks: [B, anything, n] each.

    Yields:
        Frames held, how many of them are context on the left, and how many after those are final now.
    """
    held, left = None, 0
    for block in blocks:
        held = block if held is None else torch.cat((held, block), -1)
        count = held.shape[-1] - left - context
        if count > 0:
            yield held, left, count
            done = left + count
            left = min(done, context)
            held = held[..., done - left :]
    if held is not None and held.shape[-1] > left:
        yield held, left, held.shape[-1] - left


def in_chunks(
    frames: Tensor, decode: Callable[[Tensor], Tensor], *, chunk: int, context: int, hop_length: int
) -> Iterator[Tensor]:
    """Decode frames in chunks, each with its context on both sides, of which the sound is thrown away.

    Args:
        frames: [B, anything, T], codes or what was made of them.
        decode: turns such frames into [B, C, at least T * hop_length].
        chunk: frames that one piece of the result holds.
        context: frames on either side that `decode` needs for exact samples.
        hop_length: samples a frame.

    Yields:
        [B, C, n * hop_length], n = chunk, less for the last.
    """
    total = frames.shape[-1]
    for start in range(0, total, chunk):
        stop = min(start + chunk, total)
        first, last = max(0, start - context), min(total, stop + context)
        audio = decode(frames[..., first:last])
        yield audio[..., (start - first) * hop_length : (stop - first) * hop_length]
