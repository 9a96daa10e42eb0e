"""What a codec of a wider band would cost, what there is to gain, and how much of that copied highs give back.

Usage: python -m benchmarks.wider_band cost, on an idle machine, a minute; or gain [--pieces 4], which needs a SoundFont
and ViSQOL (gen-audio[eval]), ten minutes. Both print a Markdown table.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gen_audio import load
from gen_audio.audio import Waveform
from gen_audio.codecs.layers.vocoder import PATCH
from gen_audio.codecs.spectral import Spectral
from gen_audio.composition.arranger import arrange
from gen_audio.composition.renderer import Renderer
from gen_audio.composition.style import style_names
from gen_audio.errors import AudioError
from gen_audio.evaluation.judges.visqol import Visqol
from gen_audio.evaluation.originals import LOUDNESS
from gen_audio.evaluation.protocol import held_out_plan
from gen_audio.evaluation.reconstruction import log_mel_distance
from gen_audio.pipeline.checkpoint import pack
from gen_audio.pipeline.decoder import Decoder
from gen_audio.pipeline.mixer import mix_plan
from torch import Tensor

OURS, WIDE = 24000, 48000  # Hz
RATES = (OURS, 32000, 44100, WIDE)
NARROW = RATES[:2]  # what originals are cut to
FRAME = 0.04  # seconds of a code frame, whatever the rate
CORNER = 300.0  # Hz, above which the bands of the mel are spaced logarithmically
SECONDS, PROMPT = 10.0, "lofi jazz piano"


def codec_at(rate: int, embedded: Spectral, **sizes: int) -> Spectral:
    """The embedded codec at another rate: same frames, bands as close as they are, and zeros for weights that are new.

    Its weights matter for speed: a sinusoid that is silent takes no time. `sizes` are those that are not the default.
    """
    bands = round(embedded.num_bands * math.log1p(rate / 2 / CORNER) / math.log1p(OURS / 2 / CORNER))
    codec = Spectral(sample_rate=rate, hop_length=round(FRAME * rate), num_bands=bands, **sizes).eval()
    for (name, new), old in zip(codec.state_dict().items(), embedded.state_dict().values(), strict=True):
        if name.startswith("patch_out"):  # rows are bands, patch by patch
            new, old = new.unflatten(0, (PATCH, -1)), old.unflatten(0, (PATCH, -1))
        new.zero_()[tuple(map(slice, old.shape))] = old
    return codec


def mebibytes(codec: Spectral, int8: Sequence[str]) -> float:
    """What its weights take in the types that a release stores."""
    tensors = {"codec." + name: value for name, value in codec.state_dict().items()}
    return sum(t.numel() * t.element_size() for t in pack(tensors, tuple(int8)).values()) / 2**20


@torch.inference_mode()
def decode(codec: Spectral, stems: Sequence[Tensor]) -> float:
    """Seconds to decode a piece, stem by stem, as the pipeline does."""
    start = time.perf_counter()
    for codes in stems:
        for _piece in codec.decode_stream(codes[None]):
            pass
    return time.perf_counter() - start


def cost(runs: int) -> Iterator[str]:
    """Size and speed at every rate; the speed in turns, so that a busy moment hits all alike."""
    model: Any = load("etude")
    codecs = {rate: codec_at(rate, model.codec) for rate in RATES}
    stems = list(model.generate(PROMPT, duration=SECONDS, seed=7).codes.values())
    for codec in codecs.values():
        decode(codec, stems)  # warm-up, not counted
    times = [{rate: decode(codec, stems) for rate, codec in codecs.items()} for _ in range(runs)]
    sizes = {rate: mebibytes(codec, model.config["int8"]) for rate, codec in codecs.items()}
    folder = Path(str(resources.files("gen_audio.weights").joinpath("etude")))
    rest = sum(path.stat().st_size for path in folder.iterdir()) / 2**20 - sizes[OURS]
    yield from heading(
        "rate", "bands", "codec, MiB", "release, MiB", "decoder, times real time", "its time", "codes a second"
    )
    for rate, codec in codecs.items():
        speed = SECONDS / statistics.median(run[rate] for run in times)
        ratio = statistics.median(run[rate] / run[OURS] for run in times)
        told = (
            f"{rate / 1000:g} kHz",
            codec.num_bands,
            f"{sizes[rate]:.2f}",
            f"{rest + sizes[rate]:.1f}",
            f"{speed:.0f}",
        )
        yield "| " + " | ".join(map(str, told)) + f" | {ratio:.2f} | {round(1 / FRAME) * codec.n_q} |"


class Gain:
    """Composed originals of the full band, and how far from them a narrow band and the embedded codec are."""

    def __init__(self) -> None:
        self.renderer, self.judge = Renderer(None, WIDE), Visqol()
        model = load("etude")
        self.decoder: Decoder = model.decoder
        self.codec, self.levels = model.codec, model.performer.lm.n_q

    def of_piece(self, style: str, number: int) -> list[float]:
        """Energy above 12 and above 16 kHz as shares; ViSQOL and log-mel distance of pairs, see the table's heading.

        Raises:
            AudioError: the SoundFont cannot play one of its programs.
        """
        plan = held_out_plan(style, number, SECONDS)
        score = arrange(plan)

        def mixed(stems: Mapping[str, np.ndarray]) -> Waveform:
            return Waveform(mix_plan(plan, stems, score.tracks, sample_rate=WIDE), WIDE).normalise(LOUDNESS)

        stems = {role: sound.mean(0, keepdims=True) for role, sound in self.renderer.render(score).items()}
        original = mixed(stems)
        narrow, wider = (cut(original, rate) for rate in NARROW)
        codes = {role: self.encode(sound) for role, sound in stems.items()}
        sounds = {role: self.decode(rows)[:, : stems[role].shape[1]] for role, rows in codes.items()}
        coded = cut(mixed(sounds), OURS)
        played = mixed({role: sound.samples for role, sound in self.decoder.decode(codes, SECONDS, score).items()})
        pairs = [(original, narrow), (original, wider), (original, coded), (narrow, coded), (original, played)]
        return [
            *(share_above(original, rate / 2) for rate in NARROW),
            *(value for pair in pairs for value in self.compare(*pair)),
        ]

    @torch.inference_mode()
    def encode(self, stem: np.ndarray) -> Tensor:
        """A stem [1, L] of the full band as codes [K, T] at the codec's own rate, with the levels that are played."""
        return self.codec.encode(torch.from_numpy(Waveform(stem, WIDE).resample(OURS).samples)[None], self.levels)[0]

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> np.ndarray:
        """What the codec alone makes of them."""
        return Waveform(self.codec.decode(codes[None])[0].numpy(), OURS).resample(WIDE).samples

    def compare(self, one: Waveform, other: Waveform) -> tuple[float, float]:
        """ViSQOL and log-mel distance in nats."""
        before, after = (torch.from_numpy(sound.mono().samples[0].copy()) for sound in (one, other))
        return self.judge.compare(one, other), log_mel_distance(before, after, WIDE)


def cut(sound: Waveform, rate: int) -> Waveform:
    """What is left of a sound at a lower rate."""
    return Waveform(sound.resample(rate).resample(WIDE).samples[:, : sound.samples.shape[1]], WIDE)


def share_above(sound: Waveform, edge: float) -> float:
    """Energy above so many Hz as a share of all."""
    energy = np.square(np.abs(np.fft.rfft(sound.samples, axis=1))).sum(0)
    return float(energy[np.fft.rfftfreq(sound.samples.shape[1], 1 / WIDE) > edge].sum() / energy.sum())


def gain(pieces: int) -> Iterator[str]:
    """Means by style: what the band costs, what the codec costs in its band, and both."""
    yield from heading(
        "style",
        "energy above 12 / 16 kHz, dB",
        "ViSQOL of the original cut at 12 kHz / at 16 kHz / of the codec / of the codec against the first / as played",
        "log-mel distance, nats, likewise",
    )
    ours, every = Gain(), []
    for style in style_names():
        rows = []
        for number in range(pieces):
            try:
                rows.append(ours.of_piece(style, number))
            except AudioError:  # a program that this font cannot play
                continue
        every += rows
        yield line(style.replace("_", " "), rows)
    yield line(f"all {len(every)}", every)


def heading(*columns: str) -> tuple[str, str]:
    return "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"


def line(name: str, rows: Sequence[Sequence[float]]) -> str:
    """A line of the table."""
    *shares, means = np.split(np.mean(rows, 0), (1, 2))
    energies = " / ".join(f"{10 * math.log10(float(share[0]) + 1e-12):.0f}" for share in shares)
    visqol, distance = (" / ".join(f"{value:.2f}" for value in means[first::2]) for first in (0, 1))
    return f"| {name} | {energies} | {visqol} | {distance} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cost", "gain"))
    parser.add_argument("--pieces", type=int, default=4, help="originals of every style")
    parser.add_argument("--runs", type=int, default=15, help="of every decoder")
    given = parser.parse_args()
    for row in cost(given.runs) if given.what == "cost" else gain(given.pieces):
        print(row, flush=True)


if __name__ == "__main__":
    main()
