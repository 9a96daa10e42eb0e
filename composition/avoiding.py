"""A negative prompt, read: which instruments, moods and styles its words mean, and which words mean nothing here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .casting import ROLE_WORDS
from .instruments import DRUM_LIKE, find_instrument
from .naming import (
    bare,
    forbidden_name,
    forbidden_pattern,
    mood_pattern,
    mood_words,
    style_pattern,
    styles_by_phrase,
)

__all__ = ["Avoided", "read_negative"]

BETWEEN = re.compile(r"[,;/|\n]|\b(?:and|or|nor)\b")
FILLER = {"a", "an", "any", "in", "it", "like", "music", "no", "not", "of", "sound", "sounds", "style", "the", "with"}


@dataclass(frozen=True)
class Avoided:
    """What a negative prompt asks to leave out."""

    without: tuple[str, ...] = ()  # roles, instruments and families of them, as Constraints.without takes them
    moods: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # words that mean none of these

    @property
    def is_empty(self) -> bool:
        """Whether nothing was understood."""
        return not (self.without or self.moods or self.styles)


def read_negative(text: str) -> Avoided:
    """Read a negative prompt.

    Words for drums forbid those that other roles may play, too, such as timpani.

    Example:
        >>> read_negative("drums, sad vocals and techno, low quality")
        Avoided(without=('drums', 'vocals', 'other drum'), moods=('sad',), styles=('techno',), unknown=('low quality',))
    """
    without: list[str] = []
    moods: list[str] = []
    styles: list[str] = []
    unknown: list[str] = []
    for phrase in filter(None, map(str.strip, BETWEEN.split(text.lower()))):
        rest = phrase
        if phrase in ROLE_WORDS:
            without.append(ROLE_WORDS[phrase])
            rest = ""
        elif bare(phrase) in mood_words():  # also those that need a sentence around them to be sure
            moods.append(mood_words()[bare(phrase)])
            rest = ""
        rest, found = _take(forbidden_pattern(), rest)
        without += map(forbidden_name, found)
        rest, found = _take(mood_pattern(), rest)
        moods += [mood_words()[bare(word)] for word in found]
        rest, found = _take(style_pattern(), rest)
        styles += [styles_by_phrase()[bare(word)][0] for word in found]
        left = [word for word in re.findall(r"[^\s.!?]+", rest) if word not in FILLER]
        unknown += [" ".join(left)] if left else []
    if any(_means_drums(word) for word in without):
        without.append(DRUM_LIKE)
    return Avoided(*(tuple(dict.fromkeys(words)) for words in (without, moods, styles, unknown)))


def _take(pattern: str, text: str) -> tuple[str, list[str]]:
    """What is found in a text, and the text without it."""
    return re.sub(pattern, " ", text), [match[0] for match in re.finditer(pattern, text)]


def _means_drums(word: str) -> bool:
    if word in ROLE_WORDS:
        return ROLE_WORDS[word] == "drums"
    try:
        return find_instrument(word) == ("drums", 0)  # a kit of one kind leaves the others
    except ValueError:
        return False
