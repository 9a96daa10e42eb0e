"""What the codec alone costs: rows that compare originals with their round trip."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .control import OCTAVES, beat_f1, chord_share, chord_track, is_tempo, key_score, no_beats
from .judges.basic_pitch import NONE
from .measure import Measure, mean
from .takes import Take

__all__ = ["codec_measures"]

GROUP = "codec"
PLAYED = "as the model decodes: with its levels, and told the notes if they are"
Facts = Mapping[str, Any]
Comparison = Callable[[Take, Facts], float | bool | None]  # of a take's original with what was heard of its round trip


def codec_measures(takes: Sequence[Take], panel_missing: dict[str, str], no_originals: str | None) -> list[Measure]:
    """Rows of reconstruction, on the composed originals of the stated items.

    Args:
        no_originals: why there are none.
    """
    scores = {take.item.name: take.codec for take in takes if take.codec}
    visqol = no_originals or panel_missing.get("visqol")

    def column(name: str) -> dict[str, float]:
        return {item: row[name] for item, row in scores.items() if name in row}

    rival = f"Opus at its lowest, 6 kbit/s; {mean(column('opus_kbps')):.1f} with container"
    ahead = {item: row["mel_all"] - row["mel_opus"] for item, row in scores.items()}
    beats, pitch = no_originals or no_beats(panel_missing), no_originals or panel_missing.get("basic_pitch")
    fine = f"through Opus at {mean(column('fine_kbps')):.0f} kbit/s: "
    return [
        _row("ViSQOL, all levels", column("visqol_all"), visqol, 3.9, note=_beside(column("visqol_opus"), rival)),
        _row("ViSQOL, as it is played", column("visqol_played"), visqol, note=PLAYED),
        _row("log-mel distance, all levels", column("mel_all"), no_originals, better=-1, unit="nats"),
        _row(
            "log-mel distance, as it is played", column("mel_played"), no_originals, better=-1, unit="nats", note=PLAYED
        ),
        _row("log-mel distance less that of Opus", ahead, no_originals, 0.0, better=-1, unit="nats", note=rival),
        *_kept(takes, "key as before", _key, pitch, 0.95, fine, is_share=True, sure=_sure_key),
        *_kept(takes, "chord frames as before", _chords, pitch, 0.9, fine, is_share=True, sure=_sure_chords),
        *_kept(takes, "beats as before, F1", _beats, beats, 0.95, fine, sure=_sure_beats),
    ]


def _kept(
    takes: Sequence[Take],
    name: str,
    compare: Comparison,
    missing: str | None,
    target: float,
    fine: str,
    *,
    is_share: bool = False,
    sure: Comparison | None = None,
) -> Iterator[Measure]:
    """Rows of what one judge hears alike in an original and its round trip; `sure` compares where it hears right."""

    def column(judge: Comparison, coding: str) -> dict[str, float]:
        found = {}
        for take in takes:
            again = take.facts.get("codec") if coding == "played" else take.again.get(coding)
            value = judge(take, again) if again and "composed" in take.facts else None
            if value is not None:
                found[take.item.name] = float(value)
        return found

    def said(judge: Comparison) -> str:
        value = mean(column(judge, "fine"))
        return "" if missing or math.isnan(value) else fine + (f"{value:.0%}" if is_share else f"{value:.2f}")

    yield _row(f"{name}, all levels", column(compare, "all"), missing, target, is_share=is_share, note=said(compare))
    yield _row(f"{name}, as it is played", column(compare, "played"), missing, is_share=is_share, note=PLAYED)
    if sure is not None:
        title = f"{name}, all levels, where the judge is sure"
        yield _row(title, column(sure, "all"), missing, target, is_share=is_share, note=said(sure))


def _row(
    name: str,
    items: dict[str, float],
    missing: str | None,
    target: float | None = None,
    *,
    better: int = 1,
    unit: str = "",
    note: str = "",
    is_share: bool = False,
) -> Measure:
    return Measure(
        GROUP,
        name,
        {"model": items},
        better=better,
        target=target,
        is_share=is_share,
        unit=unit,
        note=note,
        missing=missing,
    )


def _beside(values: dict[str, float], rival: str) -> str:
    return f"{rival}: {mean(values):.2f}" if values else ""


# --- one original and its round trip ------------------------------------------------------------------------------


def _key(take: Take, again: Facts) -> bool | None:
    original = take.facts["composed"]
    return original["key"] == again["key"] if original.get("key") else None


def _sure_key(take: Take, again: Facts) -> bool | None:
    """Of originals whose key is heard as planned."""
    heard = take.facts["composed"].get("key")
    return _key(take, again) if take.plan is not None and key_score(heard, take.plan.key) == 1 else None


def _chords(take: Take, again: Facts) -> float | None:
    original = take.facts["composed"]
    return chord_share(again["chords"], original["chords"]) if "chords" in original else None


def _sure_chords(take: Take, again: Facts) -> float | None:
    """In the frames in which the original is heard as planned."""
    original = take.facts["composed"]
    if take.plan is None or "chords" not in original:
        return None
    right = [a if a == b else NONE for a, b in zip(original["chords"], chord_track(take.plan), strict=False)]
    return chord_share(again["chords"], right)


def _beats(take: Take, again: Facts) -> float | None:
    original = take.facts["composed"]
    return beat_f1(again["beats"], original["beats"]) if original.get("beats") else None


def _sure_beats(take: Take, again: Facts) -> float | None:
    """Of originals whose tempo is heard as planned, octaves allowed."""
    heard = take.facts["composed"].get("tempo")
    return _beats(take, again) if take.plan is not None and is_tempo(heard, take.plan.tempo, OCTAVES) else None
