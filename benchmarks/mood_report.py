"""Tables of what `moods.py` measured: means of paired differences, how sure they are, and what was to be expected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from gen_audio.composition.moods import mood_places
from gen_audio.composition.style import load_style

__all__ = ["report"]

CUES = {  # what is measured -> heading, format of a difference
    "minor": ("minor", "{:+.0%}"),
    "tempo": ("tempo, BPM", "{:+.1f}"),
    "lead": ("lead, semitones", "{:+.1f}"),
    "notes": ("notes a beat", "{:+.2f}"),
    "centroid": ("centroid, Hz", "{:+.0f}"),
    "level": ("level, dB", "{:+.1f}"),
}
# Signs that Juslin and Laukka (2004) list, in the order of CUES; 0: none is listed.
EMOTIONS = {
    "happiness": (-1, 1, 1, 0, 1, 1),
    "sadness": (1, -1, -1, 0, -1, -1),
    "anger": (1, 1, 1, 0, 1, 1),
    "fear": (1, 1, 1, 0, -1, -1),
    "tenderness": (-1, -1, -1, 0, -1, -1),
}
FELT_AS = {
    **dict.fromkeys(("happy", "playful", "uplifting"), "happiness"),
    **dict.fromkeys(("sad",), "sadness"),
    **dict.fromkeys(("aggressive",), "anger"),
    **dict.fromkeys(("tense",), "fear"),
    **dict.fromkeys(("gentle", "romantic", "warm"), "tenderness"),
}
CLEAR = 0.3  # of valence or arousal, from which the two dimensions are said to show in a cue
RESAMPLES = 10_000
KINDS = {
    "plain": "as they are, those with drums",
    "negative": "the same prompts and seeds, `--negative-prompt drums`",
    "drumless": "other seeds, `--without drums`, which the judge learns from",
}


def expected(mood: str) -> tuple[int, ...]:
    """Signs of the cues: of one of five emotions, else of valence and arousal (Gabrielsson and Lindström 2010)."""
    place = mood_places()[mood]
    valence, arousal = (int(np.sign(place[a])) * (abs(place[a]) >= CLEAR) for a in ("valence", "arousal"))
    by_place = (-valence, arousal, 0, arousal, arousal, arousal)
    if mood in FELT_AS:
        listed = EMOTIONS[FELT_AS[mood]]
        return tuple(sign or other for sign, other in zip(listed, by_place, strict=True))
    return by_place


def interval(differences: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (RESAMPLES, len(differences))).mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(differences.mean()), float(low), float(high)


def report(rows: Mapping[str, dict[str, Any]]) -> str:
    """All tables as Markdown."""
    return "\n\n".join((_moods(rows), _negatives(rows), _blends(rows)))


def _moods(rows: Mapping[str, dict[str, Any]]) -> str:
    table = ["| mood | " + " | ".join(head for head, _ in CUES.values()) + " |", "|---" * (len(CUES) + 1) + "|"]
    counts: dict[str, int] = defaultdict(int)
    for mood in mood_places():
        cells = []
        for (cue, (_, form)), sign in zip(CUES.items(), expected(mood), strict=True):
            pairs = []
            for number in range(sum(name.startswith("mood/none/") for name in rows)):
                plain, moody = (rows[f"mood/{m}/{number}"][cue] for m in ("none", mood))
                if plain is not None and moody is not None:  # a piece without a lead has no pitch of it
                    pairs.append(moody - plain)
            mean, low, high = interval(np.array(pairs))
            found = 1 if low > 0 else -1 if high < 0 else 0
            verdict = "" if not sign else " ✓" if found == sign else " ✗" if found == -sign else " ·"
            counts[verdict] += 1
            cells.append(f"{form.format(mean)} ({form.format(low)} to {form.format(high)}){verdict}")
        table.append(f"| {mood} | " + " | ".join(cells) + " |")
    total = counts[" ✓"] + counts[" ·"] + counts[" ✗"]
    told = (
        f"Of {total} cells with an expected sign, {counts[' ✓']} have it beyond chance (✓), {counts[' ·']} cannot be "
        f"told from no change (·), and {counts[' ✗']} have the other sign (✗)."
    )
    return "\n".join(table) + "\n\n" + told


def _negatives(rows: Mapping[str, dict[str, Any]]) -> str:
    found = {kind: [row for name, row in rows.items() if name.startswith(f"negative/{kind}/")] for kind in KINDS}
    drummed = [row for row in found["plain"] if row["stem"]]
    with_drums = np.array([row["percussive"] for row in drummed])
    without = np.array([row["percussive"] for row in found["drumless"]])
    edges = np.sort(np.concatenate((with_drums, without)))
    edge = edges[int(np.argmin([abs((with_drums < e).mean() - (without >= e).mean()) for e in edges]))]
    lines = [
        "| pieces | drums stem | other drums | percussive share, median | judged without drums |",
        "|---|---|---|---|---|",
    ]
    for kind, label in KINDS.items():
        group = found[kind] if kind != "plain" else drummed
        shares = np.array([row["percussive"] for row in group])
        stems, others = sum(row["stem"] for row in group), sum(bool(row["others"]) for row in group)
        lines.append(
            f"| {label}: {len(group)} | {stems} | {others} | {np.median(shares):.3f} | {(shares < edge).mean():.0%} |"
        )
    numbers = [name.split("/")[2] for name, row in rows.items() if name.startswith("negative/plain/") and row["stem"]]
    both = [(rows[f"negative/{kind}/{i}"]["percussive"] for kind in ("negative", "plain")) for i in numbers]
    fell = sum(less < more for less, more in both)
    told = (
        f"The judge says drums from a percussive share of {edge:.3f} on, where its two errors are alike. With the "
        f"negative prompt the share fell in {fell} of {len(both)} pairs."
    )
    return "\n".join([*lines, "", told])


def _blends(rows: Mapping[str, dict[str, Any]]) -> str:
    groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for name, row in rows.items():
        if name.startswith("blend/"):
            _, pair, share, _ = name.split("/")
            groups[pair, int(share)].append(row)
    lines = [
        "| first and second | asked of the second | its parts | instruments of first / both / second | BPM (typical) |",
        "|---|---|---|---|---|",
    ]
    for (pair, share), group in groups.items():
        styles = pair.split("+")
        whose = [sum(row["instruments"][key] for row in group) for key in ("one", "both", "other")]
        told = " / ".join(f"{count / sum(whose):.0%}" for count in whose)
        parts, tempo = np.mean([row["parts"] for row in group]), np.mean([row["tempo"] for row in group])
        typical = " and ".join(f"{load_style(style).tempo[2]:g}" for style in styles)
        names = " and ".join(styles).replace("_", " ")
        lines.append(f"| {names} | {100 - share} % | {parts:.0%} | {told} | {tempo:.0f} ({typical}) |")
    return "\n".join(lines)
