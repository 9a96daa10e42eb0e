"""Whether a model does what it was told: tempo, key, chords, beats, instruments, asked for against heard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..composition.plan import MusicalPlan
from ..composition.theory import Chord, Key
from .judges.basic_pitch import CHORD_RATE, NONE
from .measure import VOICES, Measure, mean
from .statistics import interval
from .takes import Take

__all__ = [
    "OCTAVES",
    "beat_f1",
    "chord_share",
    "chord_track",
    "control_measures",
    "is_tempo",
    "key_score",
    "no_beats",
    "values",
]

OCTAVES = (1.0, 2.0, 0.5, 3.0, 1 / 3)
TOLERANCE = 0.04  # of a tempo
NEAR = 0.07  # seconds by which a beat may be off; Davies et al. 2009
Score = Callable[[Take, Mapping[str, Any]], float | None]  # of the facts of one voice


def values(takes: Sequence[Take], score: Score) -> dict[str, dict[str, float]]:
    """Score every voice of every take: voice -> item -> value, without those that have none."""
    found: dict[str, dict[str, float]] = {voice: {} for voice in VOICES}
    for take in takes:
        for voice, facts in take.facts.items():
            value = score(take, facts)
            if value is not None:
                found[voice][take.item.name] = float(value)
    return found


def control_measures(takes: Sequence[Take], missing: Mapping[str, str]) -> list[Measure]:
    """All rows of tempo, key, chords and beats.

    Args:
        missing: judge -> why it is not asked.
    """
    stated = [take for take in takes if take.item.kind == "stated"]
    tempo = values(stated, _tempo(OCTAVES))
    key = values(stated, _key(exact=True))
    chords = values(stated, _chords)
    beats, pitch = no_beats(missing), missing.get("basic_pitch")
    who = "librosa" if "outside" in missing else "the program of GEN_AUDIO_JUDGE"
    half = f"octaves allowed; judge of tempo and beats: {who}"
    whose = "basic-pitch" if "outside" in missing else f"{who} if it tells any, else basic-pitch"
    sure = "items whose composed original the judge hears right"
    return [
        _row("tempo within 4 %", tempo, beats, 0.95, half),
        _row("tempo within 4 %, where the judge is sure", _where_sure(tempo), beats, 0.95, sure),
        _row("tempo within 4 %, no octaves", values(stated, _tempo((1.0,))), beats),
        _row("key", key, pitch, 0.85, "tonic and mode"),
        _row("key, where the judge is sure", _where_sure(key), pitch, 0.85, sure),
        _row("key, near ones count in part", values(stated, _key(exact=False)), pitch, note="MIREX weights"),
        _row("chord frames as planned", chords, pitch, note=f"triads, four a second; judge: {whose}"),
        _of_codec(chords, pitch),
        _row("beats as planned, F1", values(stated, _beats), beats, is_share=False, note="within 70 ms"),
    ]


def no_beats(missing: Mapping[str, str]) -> str | None:
    """Why nobody hears tempo and beats; None if somebody does."""
    return missing.get("librosa_beats") if "outside" in missing else None


def _row(
    name: str,
    items: Mapping[str, Mapping[str, float]],
    missing: str | None,
    target: float | None = None,
    note: str = "",
    is_share: bool = True,
) -> Measure:
    return Measure("control", name, items, target=target, note=note, is_share=is_share, missing=missing)


def _where_sure(found: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Only items whose composed original is heard right."""
    sure = {name for name, value in found["composed"].items() if value == 1}
    return {voice: {name: value for name, value in rows.items() if name in sure} for voice, rows in found.items()}


def _of_codec(found: Mapping[str, Mapping[str, float]], missing: str | None) -> Measure:
    """Chord frames over the codec's, which no model that plays through it can be asked to pass.

    The codec's share differs between models, so items cannot be compared between them; the row above can.
    """
    ceiling = mean(found["codec"])
    whole = {}
    for voice, items in found.items():
        if items and ceiling > 0:
            low, high = interval([*items.values()])
            whole[voice] = (mean(items) / ceiling, low / ceiling, high / ceiling)
    name, note = "chord frames, share of the codec's", "of the pieces together"
    return Measure("control", name, whole=whole, target=0.8, note=note, is_share=True, missing=missing)


# --- scores of one sound ------------------------------------------------------------------------------------------


def _tempo(octaves: Sequence[float]) -> Score:
    def score(take: Take, facts: Mapping[str, Any]) -> float | None:
        if take.item.tempo is None or "tempo" not in facts:
            return None
        return float(is_tempo(facts["tempo"], take.item.tempo, octaves))

    return score


def is_tempo(heard: float | None, wanted: float, octaves: Sequence[float] = (1.0,)) -> bool:
    """Whether a tempo is within 4 % of the wanted one, or of a multiple in `octaves`."""
    return heard is not None and any(abs(heard / (wanted * factor) - 1) <= TOLERANCE for factor in octaves)


def _key(exact: bool) -> Score:
    def score(take: Take, facts: Mapping[str, Any]) -> float | None:
        if take.item.key is None or "key" not in facts:
            return None
        found = key_score(facts["key"], take.item.key)
        return float(found == 1) if exact else found

    return score


def key_score(heard: str | None, wanted: str) -> float:
    """1 for the key, 0.5 a fifth off, 0.3 the relative, 0.2 the parallel one.

    Source: the weights of MIREX, audio key detection; a fifth counts in both directions.
    """
    if heard is None:
        return 0.0
    a, b = Key.parse(heard), Key.parse(wanted)
    modes = ["minor" if (key.tonic + 3) % 12 in key.scale else "major" for key in (a, b)]
    up = (a.tonic - b.tonic) % 12
    if modes[0] == modes[1]:
        return {0: 1.0, 5: 0.5, 7: 0.5}.get(up, 0.0)
    relative = 3 if modes[0] == "major" else 9
    return 0.3 if up == relative else 0.2 if up == 0 else 0.0


def _chords(take: Take, facts: Mapping[str, Any]) -> float | None:
    if take.plan is None or "chords" not in facts:
        return None
    return chord_share(facts["chords"], chord_track(take.plan))


def chord_track(plan: MusicalPlan) -> list[int]:
    """The triad of every quarter second of a plan: 0..11 major, 12..23 minor, NONE for what is neither."""
    bars, found = plan.bars, []
    for cell in range(int(plan.duration * CHORD_RATE)):
        place = plan.bar_at((cell + 0.5) / CHORD_RATE)
        number = min(int(place), len(bars) - 1)  # the last chord rings on
        chords = bars[number].chords
        found.append(_triad(chords[min(int((place - number) * len(chords)), len(chords) - 1)]))
    return found


def _triad(chord: Chord) -> int:
    notes = chord.pitch_classes
    if (chord.root + 4) % 12 in notes:
        return chord.root
    return 12 + chord.root if (chord.root + 3) % 12 in notes else NONE


def chord_share(heard: Sequence[int], wanted: Sequence[int]) -> float | None:
    """Share of the frames with the wanted triad, where one is wanted; None if none is."""
    pairs = [(a, b) for a, b in zip(heard, wanted, strict=False) if b != NONE]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def _beats(take: Take, facts: Mapping[str, Any]) -> float | None:
    if take.plan is None or "beats" not in facts:
        return None
    return beat_f1(facts["beats"], take.plan.beat_times)


def beat_f1(heard: Sequence[float], wanted: Sequence[float]) -> float:
    """F-measure of beats within NEAR seconds, each matched once."""
    rest, hits = list(heard), 0
    for beat in wanted:
        near = min(rest, key=lambda other: abs(other - beat), default=None)
        if near is not None and abs(near - beat) <= NEAR:
            rest.remove(near)
            hits += 1
    return 2 * hits / (len(heard) + len(wanted)) if len(heard) + len(wanted) else 0.0
