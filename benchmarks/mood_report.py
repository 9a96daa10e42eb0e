"""Tables of what `moods.py` measured: means of paired differences, how sure they are, and what was to be expected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from gen_audio.composition.moods import mood_places
from gen_audio.composition.style import load_style

__all__ = ["report"]

CUES = {  # what is measured -> heading, format of a difference, in which jobs
    "minor": ("minor", "{:+.0%}", "plan"),
    "tempo": ("tempo, BPM", "{:+.1f}", "plan"),
    "lead": ("lead, semitones", "{:+.1f}", "plan"),
    "notes": ("notes a beat", "{:+.2f}", "plan"),
    "composed": ("level as composed, dB", "{:+.1f}", "sound"),
    "level": ("level, dB", "{:+.1f}", "sound"),
    "centroid": ("centroid, Hz", "{:+.0f}", "sound"),
}
# Signs that Juslin and Laukka (2004) list, in the order of CUES; 0: none is listed.
EMOTIONS = {
    "happiness": (-1, 1, 1, 0, 1, 1, 1),
    "sadness": (1, -1, -1, 0, -1, -1, -1),
    "anger": (1, 1, 1, 0, 1, 1, 1),
    "fear": (1, 1, 1, 0, -1, -1, -1),
    "tenderness": (-1, -1, -1, 0, -1, -1, -1),
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
FOLDS = 7  # no divisor of the ten styles, which take turns
KINDS = {
    "plain": "as they are, those with drums",
    "negative": "the same prompts and seeds, `--negative-prompt drums`",
    "drumless": "other seeds, `--without drums`, which the judge learns from",
}


def expected(mood: str) -> tuple[int, ...]:
    """Signs of the cues: of one of five emotions, else of valence and arousal (Gabrielsson and Lindström 2010)."""
    place = mood_places()[mood]
    valence, arousal = (int(np.sign(place[a])) * (abs(place[a]) >= CLEAR) for a in ("valence", "arousal"))
    by_place = (-valence, arousal, 0, arousal, arousal, arousal, arousal)
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
    table = ["| mood | " + " | ".join(head for head, _, _ in CUES.values()) + " |", "|---" * (len(CUES) + 1) + "|"]
    counts: dict[str, int] = defaultdict(int)
    for mood in mood_places():
        cells = []
        for (cue, (_, form, jobs)), sign in zip(CUES.items(), expected(mood), strict=True):
            pairs = []
            for number in range(sum(name.startswith(f"{jobs}/none/") for name in rows)):
                plain, moody = (rows[f"{jobs}/{m}/{number}"][cue] for m in ("none", mood))
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
    found = {
        kind: {int(name.split("/")[2]): row for name, row in rows.items() if name.startswith(f"negative/{kind}/")}
        for kind in KINDS
    }
    found["plain"] = {number: row for number, row in found["plain"].items() if row["stem"]}
    judged = hear_drums(found)
    lines = [
        "| pieces | drums stem | other drums | percussive share, median | drums are heard |",
        "|---|---|---|---|---|",
    ]
    for kind, label in KINDS.items():
        group = found[kind].values()
        stems, others = sum(row["stem"] for row in group), sum(bool(row["others"]) for row in group)
        share, heard = np.median([row["percussive"] for row in group]), np.mean(judged[kind])
        lines.append(f"| {label}: {len(group)} | {stems} | {others} | {share:.3f} | {heard:.0%} |")
    pairs = [(found["negative"][number], row) for number, row in found["plain"].items()]  # without drums, and with
    fell = sum(less["percussive"] < more["percussive"] for less, more in pairs)
    gone, right = sum(not less["stem"] and not less["others"] for less, _ in pairs), sum(~judged["negative"])
    told = (
        f"Asked for: drums gone in 95 % of them. By the stems they are gone in {gone} of {len(pairs)}; to the judge in "
        f"{right}. The percussive share fell in {fell}."
    )
    return "\n".join([*lines, "", told])


def hear_drums(found: Mapping[str, Mapping[int, dict[str, Any]]]) -> dict[str, np.ndarray]:
    """Kind -> whether drums are heard in each piece, by a classifier that learnt from others of `plain` and `drumless`.

    A piece and its pairs are in the same fold, so nobody is judged by what was learnt from the same notes.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    heard: dict[str, dict[int, bool]] = {kind: {} for kind in found}
    for fold in range(FOLDS):
        learnt = [
            (row["timbre"], kind == "plain")
            for kind in ("plain", "drumless")
            for place, row in found[kind].items()
            if place % FOLDS != fold
        ]
        judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000))
        judge.fit(*map(np.array, zip(*learnt, strict=True)))
        for kind, group in found.items():
            asked = {place: row["timbre"] for place, row in group.items() if place % FOLDS == fold}
            heard[kind] |= dict(zip(asked, judge.predict(list(asked.values())), strict=True))
    return {kind: np.array(list(known.values()), bool) for kind, known in heard.items()}


def _blends(rows: Mapping[str, dict[str, Any]]) -> str:
    groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for name, row in rows.items():
        if name.startswith("blend/"):
            _, pair, asked, _ = name.split("/")
            groups[pair, int(asked)].append(row)
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
