"""Whether moods, blends and negative prompts do what they say: played, measured, and compared with what is known.

Usage: python -m benchmarks.moods play OUT, which takes a quarter of an hour on one core and goes on where it was
stopped; then python -m benchmarks.moods report OUT > table.md. Needs a SoundFont, and librosa and scikit-learn, which
are in gen-audio[eval].
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from gen_audio import load
from gen_audio.composition.arranger import arrange
from gen_audio.composition.blending import PARTS
from gen_audio.composition.instruments import forbidden
from gen_audio.composition.moods import mood_places
from gen_audio.composition.planner import Constraints, plan_music
from gen_audio.composition.renderer import Renderer
from gen_audio.composition.style import load_style, style_names
from gen_audio.evaluation.judges.librosa_timbre import LibrosaTimbre
from gen_audio.pipeline.mixer import mix_plan

from benchmarks.mood_report import report

SECONDS = 10.0
PLANS = 240  # prompts, each with a seed of its own; the same for every mood
PIECES = 24  # of them that are played, too
MINOR = ("minor", "dorian", "phrygian")
WITH_DRUMS = ("rock", "metal", "house", "techno", "hip hop", "funk", "pop", "chiptune", "lofi", "blues")
SCENES = ("a busy street", "a long drive", "a game at night", "an advert", "the gym")
NEGATIVES = 100
SHORT = 6.0  # seconds of the pieces of which only the drums count
BLENDS = (("jazz", "house"), ("lofi", "techno"), ("funk", "classical"), ("rock", "bossa_nova"))
SHARES, BLEND_SEEDS = (90, 70, 50), 24
Job = tuple[str, Callable[[], Any]]  # name, what gives its facts


def percussive_share(samples: np.ndarray) -> float:
    """Energy of what is vertical in the spectrogram, as a share of all; drums are, and so are hard attacks."""
    spectrum = librosa.stft(samples.mean(0))
    harmonic, percussive = librosa.decompose.hpss(spectrum, margin=1.0)
    energies = [float(np.square(np.abs(part)).sum()) for part in (harmonic, percussive)]
    return energies[1] / sum(energies)


def of_score(plan: Any) -> dict[str, float | None]:
    """What the plan and its notes say."""
    tracks = arrange(plan).tracks
    lead = [note.pitch for track in tracks if track.role == "lead" for note in track.notes]
    notes = sum(len(track.notes) for track in tracks)
    return {
        "minor": float(plan.key.split()[1] in MINOR),
        "tempo": plan.tempo,
        "lead": float(np.mean(lead)) if lead else None,
        "notes": notes / (plan.duration * plan.tempo / 60),
    }


def of_sound(waveform: Any) -> dict[str, float]:
    """What is heard before the level is set: treble and level."""
    mono = waveform.samples.mean(0)
    centroid = librosa.feature.spectral_centroid(y=mono, sr=waveform.sample_rate)
    return {"centroid": float(centroid.mean()), "level": level(waveform.samples)}


def level(samples: np.ndarray) -> float:
    """RMS of the middle in dBFS."""
    return 20 * float(np.log10(np.sqrt(np.square(samples.mean(0)).mean())))


def wish(mood: str, number: int) -> tuple[str, dict[str, Any]]:
    """Prompt and settings of a piece; the same for every mood but for the mood. "" is none."""
    style = style_names()[number % len(style_names())]
    told = {"style": style, "seed": number, "duration": SECONDS, "mood": mood or None, "loudness": "none"}
    return style.replace("_", " "), told


def plans(model: Any) -> Iterator[Job]:
    """Jobs: the same prompts and seeds in every mood, and in none, as they are planned and arranged."""
    for mood in ("", *mood_places()):
        for number in range(PLANS):

            def compose(mood: str = mood, number: int = number) -> Any:
                prompt, told = wish(mood, number)
                plan, _ = model.compose(prompt, model.embed(prompt), model.settle(prompt, told), number)
                assert plan.mood == mood
                return of_score(plan)

            yield f"plan/{mood or 'none'}/{number}", compose


def moods(model: Any) -> Iterator[Job]:
    """Jobs: the first of those pieces as etude plays them, and as the SoundFont does."""
    renderer = Renderer(None, model.sample_rate)
    for mood in ("", *mood_places()):
        for number in range(PIECES):

            def play(mood: str = mood, number: int = number) -> Any:
                prompt, told = wish(mood, number)
                made = model.generate(prompt, **told)
                score = arrange(made.plan)
                stems = {role: sound.mean(0, keepdims=True) for role, sound in renderer.render(score).items()}
                composed = mix_plan(made.plan, stems, score.tracks, sample_rate=renderer.sample_rate)
                return {**of_sound(made.waveform), "composed": level(composed)}

            yield f"sound/{mood or 'none'}/{number}", play


def negatives(model: Any) -> Iterator[Job]:
    """Jobs: prompts that name a style with drums, as they are and with a negative prompt; and other pieces without."""
    settings: dict[str, dict[str, Any]] = {
        "plain": {},
        "negative": {"negative_prompt": "drums"},
        "drumless": {"without": ["drums"]},
    }
    judge = LibrosaTimbre()
    for kind, given in settings.items():
        for number in range(NEGATIVES):
            prompt = f"{WITH_DRUMS[number % len(WITH_DRUMS)]} for {SCENES[number // 10 % len(SCENES)]}"

            def play(kind: str = kind, given: Any = given, number: int = number, prompt: str = prompt) -> Any:
                seed = number + 10_000 * (kind == "drumless")  # other pieces, for a judge to know what none sounds like
                made = model.generate(prompt, seed=seed, duration=SHORT, **given)
                struck = forbidden("other drum")[1] & set(made.plan.instruments.values())
                return {
                    "prompt": prompt,
                    "stem": "drums" in made.stems,
                    "others": sorted(struck),
                    "percussive": percussive_share(made.waveform.samples),
                    "timbre": judge.hear(made.waveform)["timbre"].round(4).tolist(),
                }

            yield f"negative/{kind}/{number}", play


def blends(model: Any) -> Iterator[Job]:
    """Jobs: pairs of styles in several shares. The plan is enough."""
    for one, other in BLENDS:
        for share in SHARES:
            for seed in range(BLEND_SEEDS):

                def play(one: str = one, other: str = other, share: int = share, seed: int = seed) -> Any:
                    wish = f"{share}% {one}, {100 - share}% {other}"
                    plan = plan_music(None, Constraints(style=wish, seed=seed, duration=SECONDS))
                    first, second = load_style(one), load_style(other)
                    whose = {"one": 0, "other": 0, "both": 0}
                    for role, program in plan.instruments.items():
                        known = [program in style.roles.get(role, {}) for style in (first, second)]
                        whose["both" if all(known) else "one" if known[0] else "other"] += 1
                    return {
                        "parts": list(plan.blend.values()).count(other) / len(PARTS),
                        "instruments": whose,
                        "tempo": plan.tempo,
                    }

                yield f"blend/{one}+{other}/{share}/{seed}", play


def play_all(out: Path) -> None:
    """Do what is not done, a line of JSON each."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "moods.jsonl"
    done = {json.loads(line)["job"] for line in file.read_text().splitlines()} if file.exists() else set()
    model = load("etude")
    with file.open("a") as lines:
        for jobs in (blends, negatives, plans, moods):
            for name, play in jobs(model):
                if name not in done:
                    lines.write(json.dumps({"job": name, **play()}) + "\n")
                    lines.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("play", "report"))
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    if given.action == "play":
        play_all(given.out)
    else:
        rows = [json.loads(line) for line in (given.out / "moods.jsonl").read_text().splitlines()]
        print(report({row.pop("job"): row for row in rows}))


if __name__ == "__main__":
    main()
