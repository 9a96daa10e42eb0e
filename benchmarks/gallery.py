"""Fill docs/gallery: eight prompts, seed 0 of each, whatever comes out. Usage: gallery.py FOLDER [--model etude]

For every prompt the sound, the plan, and one picture: what the network plays above what the SoundFont makes of the
same plan.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from gen_audio import load
from gen_audio.audio import Waveform
from gen_audio.composition.instruments import program_name
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.renderer import Renderer
from gen_audio.composition.theory import PITCH_CLASSES
from gen_audio.evaluation.analysis import Analysis, analyse
from gen_audio.pipeline.outputs import slug
from PIL import Image
from render import compose

SEED, SECONDS = 0, 20.0
PROMPTS = (
    "lofi jazz piano",
    "walking home alone through the snow, slow and sad",
    "124 bpm deep house in A minor with a warm bass",
    "waltz in G major for strings and a flute",
    "bossa nova with nylon guitar, no drums",
    "8-bit boss fight, fast and tense",
    "70% jazz, 30% house",
    "a hero rides into the final battle",
)
HEAD = """# Gallery

Eight prompts, seed {seed} of each, {seconds:.0f} s, nothing chosen and nothing left out. Written by
`python benchmarks/gallery.py docs/gallery`; each is `gen-audio "PROMPT" --seed {seed} --duration {seconds:.0f}`. In the
pictures, above: the network; below: the composed original, which is the same plan played by the SoundFont. What was
heard is what `gen-audio inspect` finds in the sound of the network.
"""


def picture(sounds: dict[str, Analysis], title: str, path: Path) -> None:
    """Mel spectrogram and chroma of two sounds, each with its name, as a PNG of 128 colours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(4, 1, sharex=True, height_ratios=[2, 1, 2, 1])
    figure.suptitle(title, parse_math=False)
    for (mel, chroma), (who, sound) in zip(axes.reshape(2, 2), sounds.items(), strict=True):
        seconds = sound.duration
        frames = sound.features.mel_db
        mel.imshow(frames.T, origin="lower", aspect="auto", cmap="magma", vmin=-70, vmax=0,
                   extent=(0, seconds, 0, frames.shape[1]))  # fmt: skip
        mel.set(ylabel=f"{who}\nmel spectrogram", yticks=[])
        strength = sound.features.chroma / np.maximum(sound.features.chroma.max(1, keepdims=True), 1e-9)
        chroma.imshow(strength.T, origin="lower", aspect="auto", cmap="viridis", extent=(0, seconds, 0, 12))
        chroma.set_yticks(np.arange(12) + 0.5, PITCH_CLASSES, fontsize=6)
        chroma.set_ylabel(f"chroma, {sound.key or 'no key'}")
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, format="png", dpi=80)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


def entry(prompt: str, name: str, plan: MusicalPlan, heard: Analysis) -> str:
    """What the page says of one prompt."""
    sections = ", ".join(f"{section.name} ({len(section.chords)})" for section in plan.sections)
    players = ", ".join(f"{program_name(role, program)} ({role})" for role, program in plan.instruments.items())
    chords = " · ".join(" ".join(bar) for bar in plan.sections[0].chords)
    blend = ", ".join(f"{part} of {other}" for part, other in (plan.blend or {}).items())
    found = f"{heard.tempo:.1f} BPM" if heard.tempo else "no tempo"
    return f"""
## {prompt}

[sound]({name}.ogg) · [plan]({name}.plan.json)

| | |
|---|---|
| style, mood | {plan.style}{f", with {blend}" if blend else ""}; {plan.mood or "none"} |
| tempo, meter, key | {plan.tempo:g} BPM, {plan.meter}, {plan.key}; heard: {found}, {heard.key or "no key"} |
| sections (bars) | {sections}; the first: {chords} |
| players | {players} |

![{prompt}: spectrogram and chroma]({name}.png)
"""


def main(out: Path, model: Any) -> None:
    out.mkdir(parents=True, exist_ok=True)
    page, renderer = HEAD.format(seed=SEED, seconds=SECONDS), Renderer(None, model.sample_rate)
    for prompt in PROMPTS:
        made, name = model.generate(prompt, seed=SEED, duration=SECONDS), slug(prompt)
        made.waveform.save(out / f"{name}.ogg")
        (out / f"{name}.plan.json").write_text(json.dumps(json.loads(made.plan.to_json()), indent=1) + "\n")
        _, original = compose(made.plan, renderer)
        heard = analyse(made.waveform)
        composed = analyse(Waveform(original, model.sample_rate).normalise(-16.0))
        picture({model.name: heard, "SoundFont": composed}, prompt, out / f"{name}.png")
        page += entry(prompt, name, made.plan, heard)
        print(prompt, flush=True)
    (out / "README.md").write_text(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="etude")
    arguments = parser.parse_args()
    main(arguments.out, load(arguments.model))
