"""Words for one fact at a time: a mood, an instrument, a tempo, a key. The tables are in `vocabulary.yaml`.

What people say who name no style, its scenes and sayings, is one file a style in `scenes/`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "say_energy",
    "say_instrument",
    "say_instruments",
    "say_key",
    "say_meter",
    "say_mood",
    "say_sections",
    "say_style",
    "say_tempo",
    "say_tempo_word",
    "style_words",
    "vocabulary",
]

_ENHARMONIC = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb"}
_ENHARMONIC |= {flat: sharp for sharp, flat in _ENHARMONIC.items()}


@cache
def vocabulary() -> dict[str, Any]:
    """Read the word tables, with the scenes and sayings under their styles; cached, so do not modify them."""
    folder = Path(__file__).parent
    tables: dict[str, Any] = yaml.safe_load((folder / "vocabulary.yaml").read_text(encoding="utf-8"))
    for path in sorted((folder / "scenes").glob("*.yaml")):
        tables["styles"][path.stem] |= yaml.safe_load(path.read_text(encoding="utf-8"))
    return tables


@cache
def _lines(table: str) -> dict[str, list[str]]:
    """Word -> its synonyms; a word of two lines belongs to the first."""
    found: dict[str, list[str]] = {}
    for line in vocabulary()[table]:
        for word in line:
            found.setdefault(word, line)
    return found


def _banded(table: str, value: float, rng: random.Random) -> str:
    return str(rng.choice([word for low, high, line in vocabulary()[table] if low <= value <= high for word in line]))


def style_words(style: str | None) -> dict[str, list[str]]:
    """Return the words of a style; nothing for a style that somebody added without words."""
    words: dict[str, list[str]] = vocabulary()["styles"].get(style, {})
    return words


def say_style(style: str, rng: random.Random, full: bool = False) -> str:
    """Name a style: `lofi hip hop` before a noun, or with `full` by a phrase that needs none, such as `chill beats`."""
    return rng.choice(style_words(style).get("full" if full else "names", [style.replace("_", " ")]))


def say_mood(mood: str, rng: random.Random) -> str:
    """Name a mood, now and then by two words that mean the same."""
    line = _lines("moods").get(mood.lower(), [mood])
    if rng.random() < 0.4:
        return mood
    return " and ".join(rng.sample(line, 2)) if len(line) > 2 and rng.random() < 0.15 else rng.choice(line)


def say_instrument(name: str, rng: random.Random) -> str:
    """Name an instrument by a synonym or by its family: `upright bass`, `double bass`, `bass`."""
    line = _lines("instruments").get(name.lower(), [name])
    families = [word for head, word in vocabulary()["families"].items() if head in name.lower().split()]
    if families and rng.random() < 0.35:
        return str(rng.choice(families))
    return line[0] if rng.random() < 0.4 else rng.choice(line)


def say_instruments(names: Sequence[str], rng: random.Random) -> str:
    """List instruments: `piano`, `bass & drums`, `flute, bass and drums`."""
    words = list(dict.fromkeys(say_instrument(name, rng) for name in names))
    if len(words) == 1:
        return words[0]
    return ", ".join(words[:-1]) + rng.choice([" and ", " and ", " & ", ", "]) + words[-1]


def say_tempo(tempo: float, rng: random.Random) -> str:
    """Give the tempo as a number, rounded to whole BPM."""
    return str(rng.choice(vocabulary()["tempo_numbers"])).format(n=round(tempo))


def say_tempo_word(tempo: float, rng: random.Random) -> str:
    """Give the tempo as an adjective: `slow`, `mid-tempo`, `fast`."""
    return _banded("tempo_words", tempo, rng)


def say_energy(energy: float, rng: random.Random) -> str:
    """Give the energy (0..1) as an adjective."""
    return _banded("energy_words", energy, rng)


def say_key(key: str, rng: random.Random) -> str:
    """Spell a key one of the ways people do: `A# minor`, `Bb minor`, `A#m`, `B flat minor`, `A# min`."""
    match = re.fullmatch(r"([A-Ga-g][#b]?)\s*(.*)", key.strip())
    if match is None:
        return key
    tonic, mode = match[1][0].upper() + match[1][1:], {"": "major", "m": "minor"}.get(match[2], match[2])
    if rng.random() < 0.4:
        tonic = _ENHARMONIC.get(tonic, tonic)
    if rng.random() < 0.2:
        tonic = tonic.replace("#", rng.choice([" sharp", "-sharp"])).replace("b", rng.choice([" flat", "-flat"]))
    short = [] if len(tonic) > 2 else ["m"]  # nobody writes "B flatm"
    endings = {"minor": [" minor", " minor", " min", *short], "major": [" major", " major", " maj"]}
    return tonic + rng.choice(endings.get(mode, [f" {mode}", f" {mode}", f" {mode} mode"]))


def say_meter(meter: str, rng: random.Random) -> str:
    """Name a meter: `in 3/4`, `as a waltz`."""
    return str(rng.choice(vocabulary()["meters"].get(meter, [f"in {meter}"])))


def say_sections(sections: Iterable[str], rng: random.Random) -> str:
    """Name one section of the form."""
    name = rng.choice(list(dict.fromkeys(sections)))
    return rng.choice([f"a {name}", f"a {name} section", f"a clear {name}"])
