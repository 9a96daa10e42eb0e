"""Make the sounds that the judges hear: originals by SoundFont, and what codec and network make of the same notes.

Usage: render.py originals|codec|codes|plans|rungs|styles FOLDER [--model etude] [--count N]; the originals come first.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gen_audio import load
from gen_audio.audio import Waveform
from gen_audio.composition.arranger import arrange
from gen_audio.composition.captions import caption
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.renderer import Renderer
from gen_audio.composition.style import load_style, style_names
from gen_audio.errors import AudioError
from gen_audio.pipeline.mixer import mix_plan

SECONDS = 16.0  # of codec and plans; styles take 10, the default of gen-audio
CLIPS = 16  # of every style, for the classifier
HELD_OUT = "benchmark"  # seeds of these plans; the training pool has others
FONTS = {"trained": None, "unseen": "/usr/share/sounds/sf3/FluidR3Mono_GM.sf3"}
SYLLABLES = ("zor", "bi", "vane", "kuth", "li", "mod", "sa", "prel", "ush", "net", "gra", "oum")


def draw_plan(rng: random.Random, style: str, seconds: float) -> MusicalPlan:
    """Draw a plan of a style with any key, and any tempo of the style."""
    tonic = rng.choice(["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"])
    low, high, _ = load_style(style).tempo
    mode = rng.choice(["major", "minor"])
    wishes = Constraints(duration=seconds, seed=rng.getrandbits(32), tempo=round(rng.uniform(low, high), 1))
    return plan_music(Attributes(style=style, key=f"{tonic} {mode}"), wishes)


def compose(plan: MusicalPlan, renderer: Renderer) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Play a plan by SoundFont: mono stems as the codec hears them, and the mix."""
    score = arrange(plan)
    stems = {role: sound.mean(0, keepdims=True) for role, sound in renderer.render(score).items()}
    return stems, mix_plan(plan, stems, score.tracks, sample_rate=renderer.sample_rate)


def save(samples: np.ndarray, sample_rate: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Waveform(samples, sample_rate).normalise(-16.0).save(path)


def facts(planned: MusicalPlan, **more: Any) -> dict[str, Any]:
    return {"style": planned.style, "tempo": planned.tempo, "key": planned.key, **more}


@torch.inference_mode()
def render_codec(out: Path, model: Any, count: int) -> None:
    """Round trips of held-out stems, all levels and those that the network predicts, mixed as the originals are."""
    codec, rate = model.codec, model.codec.sample_rate
    for font, path in FONTS.items():
        renderer, rng = Renderer(path, rate), random.Random(HELD_OUT + font)
        distance, truth = [], {}
        for number in range(count):
            plan = draw_plan(rng, style_names()[number % len(style_names())], SECONDS)
            try:
                stems, original = compose(plan, renderer)
            except AudioError:  # a program that this font cannot play
                continue
            name = f"{number:03d}"
            truth[name] = facts(plan)
            save(original, rate, out / "codec" / font / "original" / f"{name}.wav")
            codes = {role: codec.encode(torch.from_numpy(sound)[None]) for role, sound in stems.items()}
            for levels in (codec.n_q, model.performer.lm.n_q):
                again = {r: codec.decode(c[:, :levels])[0, :, : stems[r].shape[1]].numpy() for r, c in codes.items()}
                mixed = mix_plan(plan, again, arrange(plan).tracks, sample_rate=rate)
                save(mixed, rate, out / "codec" / font / f"levels-{levels}" / f"{name}.wav")
                for role in stems:
                    pair = [codec.log_mel(torch.from_numpy(s[role])[None]) for s in (stems, again)]
                    loud = pair[0].mean(-1) > -1.5  # frames that are not silence, whose distance is zero
                    if loud.any():
                        distance.append((levels, 2.5 * float((pair[0] - pair[1]).abs().mean(-1)[loud].mean())))
        mel = {n: round(float(np.mean([d for k, d in distance if k == n])), 4) for n in {k for k, _ in distance}}
        report = {"log_mel_l1": mel, "truth": truth}
        (out / "codec" / font / "codec.json").write_text(json.dumps(report, indent=1) + "\n")
        print(f"{font}: log-mel L1 {mel}", flush=True)


@torch.inference_mode()
def render_codes(out: Path, model: Any, count: int) -> None:
    """Which codes held-out stems need. Many clips: 16 of them hold a few instruments, and leave a quarter unused."""
    codec = model.codec
    for font, path in FONTS.items():
        renderer, rng = Renderer(path, model.codec.sample_rate), random.Random(HELD_OUT + font)
        seen = torch.zeros(codec.n_q, codec.card)
        for number in range(count):
            plan = draw_plan(rng, style_names()[number % len(style_names())], SECONDS)
            try:
                stems, _ = compose(plan, renderer)
            except AudioError:  # a program that this font cannot play
                continue
            for sound in stems.values():
                codes = codec.encode(torch.from_numpy(sound)[None])[0]
                seen += torch.stack([torch.bincount(level, minlength=codec.card) for level in codes])
        used = [round(float((row > 0).float().mean()), 4) for row in seen]
        report = {"clips": count, "frames": int(seen[0].sum()), "codes_used": used}
        folder = out / "codec" / font
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "codes.json").write_text(json.dumps(report, indent=1) + "\n")
        print(f"{font}: {report}", flush=True)


def render_originals(out: Path, _: Any, count: int) -> None:
    """Compose what the network will be compared with: `count` plans, and clips of every style for a classifier."""
    renderer, rng, truth = Renderer(None), random.Random(HELD_OUT + "plans"), {}
    for number in range(count):
        plan = draw_plan(rng, style_names()[number % len(style_names())], SECONDS)
        text = caption({"style": plan.style, "tempo": plan.tempo, "key": plan.key}, rng)
        truth[f"{number:03d}"] = facts(plan, prompt=text, noise=nonsense(rng), plan=json.loads(plan.to_json()))
        save(compose(plan, renderer)[1], renderer.sample_rate, out / "plans" / "composed" / f"{number:03d}.wav")
    (out / "plans" / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    rng = random.Random(HELD_OUT + "styles")
    for style in style_names():
        for number in range(CLIPS):
            plan = plan_music(Attributes(style=style), Constraints(duration=10.0, seed=rng.getrandbits(32)))
            path = out / "styles" / "composed" / f"{style}-{number:03d}.wav"
            save(compose(plan, renderer)[1], renderer.sample_rate, path)
        print(f"{style} composed", flush=True)


def render_plans(out: Path, model: Any, count: int) -> None:
    """The composed plans again, played by the network, with their text and with noise in its place."""
    told = {"rung": "notes"}
    play_plans(out, model, count, {"played": ("prompt", told), "noise-text": ("noise", told)})


def render_rungs(out: Path, model: Any, count: int) -> None:
    """The composed plans by a network that is not told the notes, or neither notes nor plan, or plays all as one."""
    ways = {"rung-plan": {"rung": "plan"}, "rung-text": {"rung": "text"}}
    ways |= {"as-mix": {"as_mix": True}, "as-mix-plan": {"as_mix": True, "rung": "plan"}}
    play_plans(out, model, count, {kind: ("prompt", told) for kind, told in ways.items()})


def play_plans(out: Path, model: Any, count: int, kinds: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """Play the first `count` plans in several ways: folder -> (which text, settings of `generate`)."""
    truth = json.loads((out / "plans" / "truth.json").read_text())
    for name, known in list(truth.items())[:count]:
        plan = MusicalPlan.from_json(json.dumps(known["plan"]))
        for kind, (text, told) in kinds.items():
            path = out / "plans" / kind / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            model.generate(known[text], plan=plan, seed=int(name), **told).waveform.save(path)
        print(f"plan {name}: {known['prompt']}", flush=True)


def render_styles(out: Path, model: Any, count: int) -> None:
    """Prompts that name a style and nothing else, and prompts that name nothing, from text to sound."""
    rng, truth = random.Random(HELD_OUT + "prompts"), {}
    for number in range(count):
        style = style_names()[number % len(style_names())]
        prompts = {"prompt": caption({"style": style}, rng), "noise": nonsense(rng)}
        for kind, prompt in prompts.items():
            path = out / "styles" / kind / f"{style}-{number:03d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            made = model.generate(prompt, duration=10.0, seed=number)
            made.waveform.save(path)
            truth[f"{kind}/{path.stem}"] = {"prompt": prompt, "style": made.plan.style}
        print(f"prompt {number + 1} of {count}: {prompts['prompt']}", flush=True)
    (out / "styles" / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def nonsense(rng: random.Random) -> str:
    """Words that mean nothing, as many as a caption has."""
    return " ".join("".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))) for _ in range(rng.randint(3, 7)))


RENDERS = {
    "originals": render_originals,
    "codec": render_codec,
    "codes": render_codes,
    "plans": render_plans,
    "rungs": render_rungs,
    "styles": render_styles,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=list(RENDERS))
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="etude")
    parser.add_argument("--count", type=int, default=64)
    asked = parser.parse_args()
    torch.set_grad_enabled(False)
    RENDERS[asked.what](asked.out, None if asked.what == "originals" else load(asked.model), asked.count)
