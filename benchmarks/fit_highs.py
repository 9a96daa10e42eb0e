"""Fit how loud the octave above a codec's band is, from what lies below it, and write it into a model's config.yaml.

Usage: python -m benchmarks.fit_highs weights/etude [--pieces 3]; needs a SoundFont, a minute. Stems of composed pieces
are rendered at twice the codec's rate. From the levels of what the codec makes of them at its own rate follow those of
the band above it, by least squares, in dB, window by window.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from gen_audio import load
from gen_audio.audio import Waveform
from gen_audio.composition.arranger import arrange
from gen_audio.composition.renderer import Renderer
from gen_audio.composition.style import style_names
from gen_audio.errors import AudioError
from gen_audio.evaluation.protocol import held_out_plan
from gen_audio.pipeline.highs import BANDS, HOP, SIZE, STEP, STEPS, TOP, band_levels, spectrum_of
from torch import Tensor

FIRST = 7100  # number of the first plan of a style; no table is measured on these
SECONDS = 10.0
AUDIBLE = -70.0  # dB of the band below the top; quieter windows tell nothing
ABOVE = [(TOP + STEP * number, TOP + STEP * (number + 1)) for number in range(STEPS)]
Pairs = dict[str, list[tuple[Tensor, Tensor]]]  # group -> levels below and above, [frames, bands] each


def listen(folder: Path, pieces: int) -> Pairs:
    """Render, encode, decode and measure."""
    model = load(str(folder))
    codec, rate = model.codec, 2 * model.codec.sample_rate
    renderer, pairs = Renderer(None, rate), defaultdict(list)
    for style in style_names():
        for number in range(pieces):
            try:
                stems = renderer.render(arrange(held_out_plan(style, FIRST + number, SECONDS)))
            except AudioError:  # a program that this font cannot play
                continue
            mono = {role: sound.mean(0, keepdims=True) for role, sound in stems.items()}
            mono["mix"] = np.sum(list(mono.values()), 0)
            for role, full in mono.items():
                low = Waveform(full, rate).resample(codec.sample_rate).samples
                codes = codec.encode(torch.from_numpy(low)[None], model.performer.lm.n_q)
                with torch.inference_mode():
                    again = codec.decode(codes)[0, :, : low.shape[1]]
                below = band_levels(spectrum_of(again), BANDS)[0]
                above = band_levels(spectrum_of(torch.from_numpy(full), 2) / 2, ABOVE)[0]
                group = role if role in ("drums", "mix") else "other"
                pairs[group].append((below, above[: len(below)]))
    return pairs


def fit(pairs: list[tuple[Tensor, Tensor]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [STEPS, bands + 1], the standard deviation of what they miss in dB, and that of the levels themselves."""
    below, above = (torch.cat(parts).double() for parts in zip(*pairs, strict=True))
    heard = below[:, -1] > AUDIBLE
    known = torch.cat((below[heard], torch.ones(int(heard.sum()), 1)), 1)
    weights = torch.linalg.lstsq(known, above[heard]).solution
    missed = above[heard] - known @ weights
    return weights.T.numpy(), missed.std(0).numpy(), above[heard].std(0).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the model")
    parser.add_argument("--pieces", type=int, default=3, help="of every style")
    options = parser.parse_args()
    lines = [
        "highs:  # weights of four bands below the codec's top in dB, and a constant: python -m benchmarks.fit_highs"
    ]
    for group, pairs in sorted(listen(options.folder, options.pieces).items()):
        weights, missed, spread = fit(pairs)
        print(f"{group}: misses {missed.round(1)} of {spread.round(1)} dB, in windows of {SIZE} samples, {HOP} apart")
        lines += [f"  {group}:", *(f"  - [{', '.join(f'{value:.3f}' for value in row)}]" for row in weights)]
    path = options.folder / "config.yaml"
    rest = re.sub(r"^highs:.*\n(?:  .*\n)*", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    path.write_text(rest + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
