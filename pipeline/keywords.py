"""Read what a prompt says outright: style, instruments, mood, tempo and key by their names. No network."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..composition.instruments import find_instrument, instrument_names
from ..composition.planner import Attributes
from ..composition.style import load_style, style_names
from ..composition.theory import MODES, Key

__all__ = ["read_keywords"]

TEMPO = re.compile(r"\b(\d{2,3}(?:\.\d+)?)\s*-?\s*bpm\b", re.IGNORECASE)
# The note is a capital, so that "in a minor way" is no key.
KEY = re.compile(rf"\b([A-G](?:#|b|[ -](?:sharp|flat))?)[ -]?(m(?:aj|in)?|{'|'.join(MODES)})\b")


def read_keywords(prompt: str) -> Attributes:
    """Return the attributes that a prompt names; what it does not name is None.

    The first style wins ("lofi jazz piano" is lofi); each role takes the first instrument named for it.
    """
    words = _plain(prompt)
    styles = {}
    moods = set()
    for name in style_names():
        style = load_style(name)
        styles.update(dict.fromkeys([_plain(name), *map(_plain, style.aliases)], name))
        moods.update(style.moods)
    found_styles = _spot(words, styles)
    rest = words
    for phrase in found_styles:
        rest = rest.replace(phrase, "|", 1)  # the "house" of a style is no longer there to be anything else
    instruments: dict[str, str] = {}
    for phrase in _spot(rest, {_plain(name): name for name in instrument_names()}):
        instruments.setdefault(find_instrument(phrase)[0], phrase)
    found_moods = _spot(words, moods)
    tempo, key = TEMPO.search(prompt), KEY.search(prompt)
    return Attributes(
        style=styles[found_styles[0]] if found_styles else None,
        tempo=float(tempo.group(1)) if tempo and 30 <= float(tempo.group(1)) <= 300 else None,
        key=str(Key.parse(f"{key.group(1)} {key.group(2)}")) if key else None,
        mood=found_moods[0] if found_moods else None,
        instruments=tuple(instruments.values()) or None,
    )


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text.lower()).strip()


def _spot(words: str, names: Iterable[str]) -> list[str]:
    """Names that occur as whole words (a plural s may follow), in their order, longer ones first at one place."""
    choices = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return [match.group(1) for match in re.finditer(rf"(?<!\w)({choices})s?(?!\w)", words)]
