"""What the codec alone costs: rows that compare originals with their round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .control import beat_f1, chord_share, no_beats
from .measure import Measure, mean
from .takes import Take

__all__ = ["codec_measures"]

GROUP = "codec"


def codec_measures(takes: Sequence[Take], panel_missing: dict[str, str], no_originals: str | None) -> list[Measure]:
    """Rows of reconstruction, on the composed originals of the stated items.

    Args:
        no_originals: why there are none.
    """
    scores = {take.item.name: take.codec for take in takes if take.codec}
    visqol = no_originals or panel_missing.get("visqol")

    def column(name: str) -> dict[str, float]:
        return {item: row[name] for item, row in scores.items() if name in row}

    kbps = mean(column("opus_kbps"))
    rival = f"Opus at its lowest, 6 kbit/s; {kbps:.1f} with container"
    ahead = {item: row["mel_all"] - row["mel_opus"] for item, row in scores.items()}
    both = [take for take in takes if "composed" in take.facts and "codec" in take.facts]
    beats, pitch = no_originals or no_beats(panel_missing), no_originals or panel_missing.get("basic_pitch")
    return [
        _row("ViSQOL, all levels", column("visqol_all"), visqol, 3.9, note=_beside(column("visqol_opus"), rival)),
        _row("ViSQOL, levels that are played", column("visqol_played"), visqol),
        _row("log-mel distance, all levels", column("mel_all"), no_originals, better=-1, unit="nats"),
        _row("log-mel distance, levels that are played", column("mel_played"), no_originals, better=-1, unit="nats"),
        _row("log-mel distance less that of Opus", ahead, no_originals, 0.0, better=-1, unit="nats", note=rival),
        _row("key as before", _same(both, _key), pitch, 0.95, is_share=True, note="the same judge on both sounds"),
        _row("chord frames as before", _same(both, _chords), pitch, 0.9, is_share=True),
        _row("beats as before, F1", _same(both, _beats), beats, 0.95),
    ]


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


def _same(takes: Sequence[Take], compare: Any) -> dict[str, float]:
    found = {take.item.name: compare(take.facts["composed"], take.facts["codec"]) for take in takes}
    return {name: float(value) for name, value in found.items() if value is not None}


def _key(original: dict[str, Any], again: dict[str, Any]) -> bool | None:
    return original["key"] == again["key"] if original.get("key") else None


def _chords(original: dict[str, Any], again: dict[str, Any]) -> float | None:
    return chord_share(again["chords"], original["chords"]) if "chords" in original else None


def _beats(original: dict[str, Any], again: dict[str, Any]) -> float | None:
    return beat_f1(again["beats"], original["beats"]) if original.get("beats") else None
