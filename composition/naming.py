"""What people call styles, instruments and moods in running text: patterns that find the names, tables behind them.

Knows single names only; what a whole prompt wants with them is `prompt.py`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from .instruments import FORBIDDEN, find_instrument, forbidden, instrument_names
from .style import load_style, style_names
from .wording import vocabulary

__all__ = [
    "bare",
    "forbidden_name",
    "forbidden_pattern",
    "instrument_of",
    "instrument_pattern",
    "mood_names",
    "mood_pattern",
    "mood_words",
    "style_pattern",
    "styles_by_phrase",
    "unique_forbidden",
    "unique_instruments",
]

# Names of instruments that mostly mean something else in a prompt ("chill vibes", "a steady beat", "lead me on").
NOT_INSTRUMENTS = {"vibes", "voices", "sub", "tremolo", "beat", "bell", "oohs", "keyboard", "sawtooth", "chimes"}
# Words of mood that more often describe a sound.
NOT_MOODS = {"deep", "light", "blue", "driving", "grand", "huge", "rough", "raw", "soft", "smooth", "cool", "strange"}
GAP = r"[\s_-]*"


def bare(phrase: str) -> str:
    """A phrase as the tables hold it: small letters without blanks and hyphens."""
    return re.sub(r"[\s_-]+", "", phrase.lower())


def _phrases(names: Iterable[str], plural: bool = False) -> str:
    """A pattern for any of the names, the longest first; blanks and hyphens in them do not matter."""
    words = sorted({name.lower() for name in names}, key=lambda name: (-len(name), name))
    body = "|".join(GAP.join(re.escape(word) for word in re.split(r"[\s_-]+", name) if word) for name in words)
    return rf"(?<![\w#])(?:{body}){'s?' if plural else ''}(?![\w#])"


# --- styles -------------------------------------------------------------------------------------------------------


@cache
def _style_phrases() -> dict[str, tuple[str, bool]]:
    table = {name.replace("_", " "): (name, True) for name in style_names()}
    for name in style_names():
        for alias in load_style(name).aliases:
            table.setdefault(alias, (name, False))
    for name in style_names():
        words = vocabulary()["styles"].get(name, {"names": (), "full": ()})
        for phrase in (*words["names"], *words["full"]):
            table.setdefault(re.sub(r"^(an?|the|some) ", "", phrase), (name, False))
    return table


@cache
def style_pattern() -> str:
    """A pattern for any name of any style."""
    return _phrases(_style_phrases())


@cache
def styles_by_phrase() -> dict[str, tuple[str, bool]]:
    """Bare phrase -> (style, whether it is the style's own name)."""
    phrases = _style_phrases()
    return {bare(phrase): phrases[phrase] for phrase in reversed(phrases)}


# --- instruments --------------------------------------------------------------------------------------------------


@cache
def _instrument_table() -> dict[str, str]:
    """Bare phrase -> a name that find_instrument knows."""
    table = {bare(name): name for name in instrument_names()}
    for line in vocabulary()["instruments"]:
        for name in line:
            if bare(name).removesuffix("s") in table:
                table.setdefault(bare(name), name)  # "drums" stays as it is typed
        known = [table[bare(name)] for name in line if bare(name) in table]
        for name in line if known else ():
            table.setdefault(bare(name), known[0])
    return {phrase: name for phrase, name in table.items() if phrase not in NOT_INSTRUMENTS}


@cache
def instrument_pattern() -> str:
    """A pattern for any name of any instrument, plurals too."""
    words = {*instrument_names(), *(name for line in vocabulary()["instruments"] for name in line)}
    return _phrases((word for word in words if bare(word) in _instrument_table()), plural=True)


def instrument_of(phrase: str) -> str:
    """The name that find_instrument knows of what `instrument_pattern` found."""
    table, key = _instrument_table(), bare(phrase)
    return table[key] if key in table else table[key.removesuffix("s")]


@cache
def forbidden_pattern() -> str:
    """A pattern for any name of an instrument or a family, of what shall not play."""
    words = {*instrument_names(), *FORBIDDEN, *(name for line in vocabulary()["instruments"] for name in line)}
    known = {*_instrument_table(), *map(bare, FORBIDDEN)}
    return _phrases((word for word in words if bare(word) in known), plural=True)


def forbidden_name(phrase: str) -> str:
    """The name that instruments.forbidden knows of what `forbidden_pattern` found."""
    return phrase if bare(phrase).removesuffix("s") in map(bare, FORBIDDEN) else instrument_of(phrase)


def unique_forbidden(names: Iterable[str]) -> tuple[str, ...]:
    """Keep the first of several names that forbid the same."""
    return tuple({forbidden(name): name for name in reversed(list(names))}.values())[::-1]


def unique_instruments(names: Iterable[str]) -> tuple[str, ...]:
    """Keep the first of several names of one instrument."""
    return tuple({find_instrument(name): name for name in reversed(list(names))}.values())[::-1]


# --- moods --------------------------------------------------------------------------------------------------------


def mood_names() -> list[str]:
    """The plain word of every mood, in the order of the vocabulary."""
    return [line[0] for line in vocabulary()["moods"]]


@cache
def mood_words() -> dict[str, str]:
    """Bare word -> plain word of its mood; a word of two moods belongs to the first."""
    return {bare(word): line[0] for line in reversed(vocabulary()["moods"]) for word in line}


@cache
def mood_pattern() -> str:
    """A pattern for the words that surely mean a mood in running text."""
    return _phrases(word for line in vocabulary()["moods"] for word in line if word not in NOT_MOODS)
