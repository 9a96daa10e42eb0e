"""Whether time that breathes is heard where it was written: solo piano, steady and free, by SoundFont and by etude.

Usage: python -m benchmarks.pacing OUT
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import matplotlib.pyplot as plt
from gen_audio import load
from gen_audio.audio import Waveform
from gen_audio.composition.arranger import arrange
from gen_audio.composition.plan import MusicalPlan
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.renderer import Renderer
from gen_audio.conditioning.notes import note_array
from gen_audio.evaluation.control import beat_f1, is_tempo
from PIL import Image

from .render import compose

TEMPOS = (58.0, 66.0, 72.0, 84.0, 92.0, 104.0, 112.0, 120.0)  # BPM, a piece each
SECONDS, PROMPT = 40.0, "solo piano, romantic"
NEAR = 0.05  # seconds by which an onset may be off
RATE, HOP = 22050, 256  # of the onset detector


def main() -> None:
    """Play, listen, print one row a sound and the table of them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    model, renderer, rows = load("etude"), Renderer(), []
    for number, tempo in enumerate(TEMPOS):
        for name, plan in variants(number, tempo).items():
            sounds = {
                "composed": Waveform(compose(plan, renderer)[1], renderer.sample_rate),
                "etude": model.generate(PROMPT, plan=plan, seed=number).waveform,
            }
            for voice, sound in sounds.items():
                sound.normalise(-16.0).save(out / f"{number}-{name}-{voice}.wav")
                rows.append({"tempo": tempo, "plan": name, "by": voice, **measure(sound, plan)})
                print(json.dumps(rows[-1]), flush=True)
            plan.save(out / f"{number}-{name}.json")
    draw(out, out / "pacing.png")
    (out / "pacing.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


def draw(out: Path, path: Path) -> None:
    """The tempo of the first piece as its style breathes, and etude's spectrogram of it with the planned bar lines."""
    plan, sound = MusicalPlan.load(out / "0-default.json"), Waveform.read(out / "0-default-etude.wav")
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 4.2), sharex=True, height_ratios=(1, 2))
    beats, tempos = zip(*plan.tempo_map.changes(), strict=True)
    above.step([plan.tempo_map.seconds(beat) for beat in beats], tempos, where="post")
    above.axhline(plan.tempo, color="gray", linewidth=0.5)
    above.set_ylabel("BPM")
    mel = librosa.feature.melspectrogram(y=sound.mono().samples[0], sr=sound.sample_rate, n_mels=80, fmax=4000)
    extent = (0, sound.duration, 0, len(mel))
    below.imshow(librosa.power_to_db(mel, ref=mel.max(), top_db=60), origin="lower", aspect="auto", extent=extent)
    below.set(ylabel="mel bands to 4 kHz", xlabel="seconds", yticks=[])
    for bar in range(plan.num_bars + 1):
        below.axvline(plan.second_of_bar(bar), color="white", linewidth=0.6)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(32).save(path, optimize=True)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means over the pieces as Markdown; of how many the mean tempo is within 4 %."""
    lines = [
        "| plan | played by | onsets as planned, F1 | as if steady | beats as planned, F1 | as if steady | tempo |",
        "|---|---|---|---|---|---|---|",
    ]
    for plan, voice in dict.fromkeys((row["plan"], row["by"]) for row in rows):
        found = [row for row in rows if (row["plan"], row["by"]) == (plan, voice)]
        sure = [is_tempo(row["mean_tempo"], row["tempo"]) for row in found]
        names = ("onsets_f1", "onsets_f1_if_steady", "beats_f1", "beats_f1_if_steady")
        means = " | ".join(f"{statistics.mean(row[name] for row in found):.2f}" for name in names)
        lines.append(f"| {plan} | {voice} | {means} | {sum(sure)} of {len(sure)} |")
    return "\n".join(lines)


def variants(number: int, tempo: float) -> dict[str, MusicalPlan]:
    """The same piece at a steady tempo, as its style breathes, and as freely as can be."""
    heard = Attributes(style="classical", instruments=("piano",), only=True)
    plan = plan_music(heard, Constraints(tempo=tempo, duration=SECONDS, seed=number))
    return {
        "steady": replace(plan, rubato=0.0, ritardando=0.0),
        "default": plan,
        "free": replace(plan, rubato=1.0),
    }


def measure(sound: Waveform, plan: MusicalPlan) -> dict[str, Any]:
    """Mean tempo of the beats heard before the last bar; beats and onsets as planned, and as if all were steady."""
    samples = sound.mono().resample(RATE).samples[0]
    _, beats = librosa.beat.beat_track(y=samples, sr=RATE, units="time", start_bpm=plan.tempo)
    onsets = librosa.onset.onset_detect(y=samples, sr=RATE, hop_length=HOP, units="time")
    steady = replace(plan, rubato=0.0, ritardando=0.0)
    body = beats[beats < plan.second_of_bar(plan.num_bars - 1)]
    return {
        "mean_tempo": round(60 * (len(body) - 1) / float(body[-1] - body[0]), 2),
        "beats_f1": round(beat_f1(beats, plan.beat_times), 3),
        "beats_f1_if_steady": round(beat_f1(beats, steady.beat_times), 3),
        "onsets_f1": round(onset_f1(onsets, planned(plan)), 3),
        "onsets_f1_if_steady": round(onset_f1(onsets, planned(steady)), 3),
    }


def planned(plan: MusicalPlan) -> list[float]:
    """Seconds at which something is struck; what comes within 30 ms is one onset to an ear."""
    score = arrange(plan)
    starts = sorted(start for track in score.tracks for start in note_array(track.notes, score.tempo_map)[:, 0])
    return [float(s) for i, s in enumerate(starts) if i == 0 or s - starts[i - 1] > 0.03]


def onset_f1(heard: Sequence[float], wanted: Sequence[float]) -> float:
    """F-measure of onsets within NEAR seconds, each matched once, in order of time."""
    hits, places = 0, list(wanted)
    for onset in heard:
        while places and places[0] < onset - NEAR:
            places.pop(0)
        if places and places[0] <= onset + NEAR:
            places.pop(0)
            hits += 1
    return 2 * hits / (len(heard) + len(wanted)) if len(heard) + len(wanted) else 0.0


if __name__ == "__main__":
    main()
