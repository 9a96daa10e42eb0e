"""How far a model's music as a whole is from composed music, and how much it varies: rows of sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .measure import VOICES, Measure
from .reference import Clip
from .sets import Frechet, Kernel, jackknifed, mel_statistics, spread, statistics_distance
from .takes import Take

__all__ = ["EMBEDDINGS", "distance_measures"]

EMBEDDINGS = {
    "msd_musicnn": "last layer of musicnn, trained on the Million Song Dataset",
    "mtt_vgg": "last layer of a VGG, trained on MagnaTagATune",
}
GROUP = "sets"


def distance_measures(takes: Sequence[Take], clips: Sequence[Clip], missing: Mapping[str, str]) -> list[Measure]:
    """Rows of KAD, FAD-infinity, mel statistics and diversity.

    Args:
        clips: composed music; those with embeddings are the reference.
        missing: judge -> why it is not asked.
    """
    free = [take for take in takes if take.item.kind == "free"]
    repeats = [take for take in takes if take.item.kind == "repeat"]
    reason = None if clips else "not measured: the reference needs a SoundFont (see composed originals above)"
    rows = []
    for name, title in EMBEDDINGS.items():
        reference = [clip.facts[name] for clip in clips if name in clip.facts]
        absent = missing.get("musicnn") or reason or (None if len(reference) > 1 else "not measured: no reference")
        rows += _embedded(name, title, free, reference, absent)
        rows.append(_diversity(name, repeats, reference, absent))
    mels = [clip.facts["mel"] for clip in clips if "mel" in clip.facts]
    absent = missing.get("librosa_timbre") or reason
    return [*rows, _mel_row(free, mels, absent)]


def _embedded(
    name: str, title: str, takes: Sequence[Take], reference: Sequence[np.ndarray], missing: str | None
) -> list[Measure]:
    note = f"{title}; to {len(reference)} composed clips, {len(takes)} pieces"
    if missing:
        return [Measure(GROUP, f"{kind}, {name}", missing=missing) for kind in ("KAD", "FAD-infinity")]
    kernel, frechet = Kernel(reference), Frechet(reference)
    kad, fad = {}, {}
    for voice, sounds in _sounds(takes, name).items():
        rows = kernel.of_each([*sounds.values()])
        kad[voice] = dict(zip(sounds, map(float, rows), strict=True))
        fad[voice] = jackknifed(frechet, [*sounds.values()])
    return [
        Measure(GROUP, f"KAD, {name}", kad, better=-1, note=note),
        Measure(
            GROUP, f"FAD-infinity, {name}", whole=fad, better=-1, note="16 principal components; interval: jackknife"
        ),
    ]


def _diversity(name: str, takes: Sequence[Take], reference: Sequence[np.ndarray], missing: str | None) -> Measure:
    """Within the seeds of a prompt, as a share of what lies between prompts of the composed originals."""
    title = f"diversity within a prompt, {name}"
    if missing:
        return Measure(GROUP, title, missing=missing)
    centre = np.concatenate(reference).mean(0)
    items: dict[str, dict[str, float]] = {}
    for voice, sounds in _sounds(takes, name).items():
        prompts: dict[str, dict[str, Any]] = defaultdict(dict)
        for item, sound in sounds.items():
            prompts[item.rsplit("-", 1)[0]][item] = sound
        items[voice] = {}
        for some in prompts.values():
            if len(some) > 1:
                items[voice] |= dict(zip(some, map(float, spread([*some.values()], centre)), strict=True))
    return Measure(GROUP, title, items, note="mean cosine distance of seeds; unrelated music has about 1")


def _mel_row(takes: Sequence[Take], reference: Sequence[np.ndarray], missing: str | None) -> Measure:
    title = "mel statistics"
    if missing or not reference:
        return Measure(GROUP, title, missing=missing or "not measured: no reference")
    known = mel_statistics(reference)
    found = {
        voice: jackknifed(lambda some: statistics_distance(some, known), [*sounds.values()])
        for voice, sounds in _sounds(takes, "mel").items()
    }
    return Measure(GROUP, title, whole=found, better=-1, unit="dB", note="mean and spread of 64 bands, no network")


def _sounds(takes: Sequence[Take], fact: str) -> dict[str, dict[str, np.ndarray]]:
    """Voice -> item -> what was heard; voices without any are left out."""
    found = {
        voice: {t.item.name: t.facts[voice][fact] for t in takes if fact in t.facts.get(voice, {})} for voice in VOICES
    }
    return {voice: sounds for voice, sounds in found.items() if sounds}
