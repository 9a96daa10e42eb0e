"""Turn what was rendered, judged and timed into docs/measurements.md. Usage: report.py FOLDER MARKDOWN."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gen_audio.evaluation.control import beat_f1, chord_share

NOTES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
OCTAVES = (1.0, 2.0, 0.5, 3.0, 1 / 3)
PLAYED = {
    "played": "network: text, plan and notes",
    "noise-text": "noise as text",
    "rung-plan": "text and plan, no notes",
    "rung-text": "text alone",
    "as-mix": "as one mix",
    "as-mix-plan": "as one mix, no notes",
}
FONTS = {"trained": "trained", "unseen": "half unseen"}  # folder, which is part of the seed of its plans -> what it is
Judged = dict[str, dict[str, Any]]


def read(path: Path) -> Any:
    if not path.is_file():
        sys.exit(f"report.py: {path} is missing. benchmarks/README.md has the command that writes it.")
    return json.loads(path.read_text())


def key_number(name: str) -> tuple[int, bool]:
    """Tonic 0..11 and whether the mode is minor."""
    note, mode = name.split()
    return (NOTES[note[0]] + note.count("#") - note[1:].count("b")) % 12, mode == "minor"


def tempo_is(found: float, wanted: float, octaves: Sequence[float] = (1.0,)) -> bool:
    return any(abs(found / (wanted * factor) - 1) <= 0.04 for factor in octaves)


def mean(values: Iterable[float | None]) -> float:
    known = [float(v) for v in values if v is not None]
    return sum(known) / len(known) if known else float("nan")


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def agreement(ours: Judged, originals: Judged) -> dict[str, float]:
    """How far one judge says the same of two sounds of the same notes."""
    pairs = [(ours[name], originals[name]) for name in originals]
    return {
        "key": mean(key_number(a["key"]) == key_number(b["key"]) for a, b in pairs),
        "chords": mean(chord_share(a["chords"], b["chords"]) for a, b in pairs),
        "beats": mean(beat_f1(a["beats"], b["beats"]) for a, b in pairs),
        "tempo": mean(tempo_is(a["tempo"], b["tempo"], OCTAVES) for a, b in pairs),
    }


def codec_table(folder: Path) -> list[str]:
    lines = [
        "Half unseen is FluidR3Mono_GM.sf3: 45 of the 90 programs and kits that styles use are the recordings of the "
        "trained font.",
        "",
        "| font | levels | log-mel L1, nats | key agrees | chord frames agree | beat F1 | tempo agrees |",
        "|---|---|---|---|---|---|---|",
    ]
    used = ["", "| font | share of the 1024 codes in use, level 1 to 8 | clips | frames |", "|---|---|---|---|"]
    for font, label in FONTS.items():
        facts = read(folder / font / "codec.json")
        originals = read(folder / font / "original" / "judged.json")
        for levels in sorted(facts["log_mel_l1"], key=int, reverse=True):
            same = agreement(read(folder / font / f"levels-{levels}" / "judged.json"), originals)
            lines.append(
                f"| {label} | {levels} | {facts['log_mel_l1'][levels]:.2f} | {percent(same['key'])} | "
                f"{percent(same['chords'])} | {same['beats']:.2f} | {percent(same['tempo'])} |"
            )
        codes = read(folder / font / "codes.json")
        shares = " / ".join(f"{100 * share:.0f}" for share in codes["codes_used"])
        used.append(f"| {label} | {shares} % | {codes['clips']} | {codes['frames']} |")
    return lines + used


def plan_table(folder: Path) -> list[str]:
    truth, composed = read(folder / "truth.json"), read(folder / "composed" / "judged.json")
    tests: dict[str, Callable[[dict[str, Any], dict[str, Any]], bool]] = {
        "tempo within 4 %": lambda judged, plan: tempo_is(judged["tempo"], plan["tempo"]),
        "tempo within 4 %, octaves allowed": lambda judged, plan: tempo_is(judged["tempo"], plan["tempo"], OCTAVES),
        "key": lambda judged, plan: key_number(judged["key"]) == key_number(plan["key"]),
    }
    played = {kind: read(folder / kind / "judged.json") for kind in PLAYED}
    lines = [
        "| | judge right on the original | " + " | ".join(PLAYED.values()) + " |",
        "|---|---|" + "---|" * len(PLAYED),
        f"| plans | {len(truth)} | " + " | ".join(str(len(judged)) for judged in played.values()) + " |",
    ]
    for name, test in tests.items():
        right = [n for n in truth if test(composed[n], truth[n])]
        shares = [mean(test(judged[n], truth[n]) for n in right if n in judged) for judged in played.values()]
        lines.append(f"| {name} | {len(right)} | " + " | ".join(map(percent, shares)) + " |")
    same = [agreement(judged, {n: composed[n] for n in judged}) for judged in played.values()]
    for what, label in (("chords", "chord frames as on the original"), ("beats", "beat F1 against the original")):
        lines.append(f"| {label} | | " + " | ".join(f"{row[what]:.2f}" for row in same) + " |")
    return lines


def style_table(folder: Path) -> list[str]:
    judged, truth = read(folder / "judged.json"), read(folder / "truth.json")
    chosen = mean(truth[f"prompt/{name}"]["style"] == name.rsplit("-", 1)[0] for name in judged["prompt"])
    styles = {name.rsplit("-", 1)[0] for name in judged["prompt"]}
    return [
        f"| | classifier names the style first, of {len(styles)} |",
        "|---|---|",
        f"| composed audio, {judged['num_composed']} clips, four-fold cross-validation | "
        f"{percent(judged['composed_accuracy'])} |",
        f"| network, prompt names the style ({len(judged['prompt'])} prompts) | {percent(judged['prompt_accuracy'])} |",
        f"| network, prompt of meaningless syllables | {percent(judged['noise_accuracy'])} |",
        "",
        f"The plan had the style that the prompt names in {percent(chosen)} of the prompts.",
    ]


def speed_table(path: Path) -> list[str]:
    speed = read(path)
    rows = [
        ("`gen-audio --help`", f"{speed['help_seconds']:.2f} s", "under 0.5 s"),
        ('`gen-audio "lofi jazz piano"`, 10 s of audio, cold process', f"{speed['cold_seconds']:.1f} s", "under 15 s"),
        ("peak memory of that process", f"{speed['cold_peak_mib'] / 1024:.2f} GiB", "under 1.5 GB"),
        ("generation loop, all stems of 10 s", f"{speed['loop_real_time_factor']:.1f}x real time", "5x"),
        ("decoder, all stems of 10 s", f"{speed['decode_real_time_factor']:.0f}x real time", "30x"),
        ("a stream: first sound, once the model is loaded", f"{speed['stream_first_seconds']:.2f} s", "0.3 s"),
        ("a stream of 10 s over making it whole", f"{speed['stream_over_whole']:.2f}", "under 1.1"),
        ("cost of 120 s over cost of 10 s", f"{speed['cost_120_over_10']:.1f}", "12, within 15 %"),
        ("peak memory after 120 s", f"{speed['peak_mib_with_120_s'] / 1024:.2f} GiB", ""),
    ]
    lines = ["| | measured | asked for |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    return [*lines, "", f"Medians of {speed['runs']} runs on {speed['machine']}; {speed['versions']}."]


def main(folder: Path, page: Path) -> None:
    parts = {
        "Codec": (codec_table, "codec"),
        "Plans": (plan_table, "plans"),
        "Prompts": (style_table, "styles"),
        "Speed": (speed_table, "speed.json"),
    }
    text = [
        "# Measurements",
        "",
        "Written by `benchmarks/report.py`; [benchmarks/README.md](../benchmarks/README.md) has the commands and says",
        "who the judges are. Both sides of every comparison play the same notes.",
    ]
    for title, (table, name) in parts.items():
        text += ["", f"## {title}", "", *table(folder / name)]
    page.write_text("\n".join(text) + "\n")
    print(page.read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
