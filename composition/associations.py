"""Which styles the words of a prompt are at home in, where it names none: naive Bayes over `scenes/`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection
from functools import cache

from .style import style_names
from .wording import style_words

__all__ = ["likeliest_style", "style_odds", "telling_words"]

SMOOTHING = 0.1  # count that every style has of every word
LISTED = 4  # what a listed word counts; one of a scene or saying, of which most words are small talk, counts 1
SHORTEST = 3  # letters
ENDINGS = ("ing", "es", "ed", "s")


def style_odds(prompt: str) -> dict[str, float]:
    """How much likelier each style is than an average one, in nats, by the words of a prompt.

    Words that stand nowhere in `scenes/` say nothing, and nothing is said of a style that has no words.

    Source: naive Bayes with additive smoothing and equal priors; each word counts once.
    """
    odds = dict.fromkeys(style_names(), 0.0)
    for of_word in _associations(prompt).values():
        for style, value in of_word.items():
            odds[style] += value
    return odds


def likeliest_style(prompt: str, avoid: Collection[str] = ()) -> str | None:
    """The style that the words of a prompt speak for, but for those to avoid; None where no word tells of it."""
    odds = {style: value for style, value in style_odds(prompt).items() if style not in avoid}
    best = max(odds, key=lambda style: odds[style], default="")
    return best if telling_words(prompt, best) else None


def telling_words(prompt: str, style: str, most: int = 3) -> tuple[str, ...]:
    """Words of a prompt that speak for a style by a factor of two or more, the most telling first."""
    found = {word: odds.get(style, 0.0) for word, odds in _associations(prompt).items()}
    order = sorted(found, key=lambda word: -found[word])
    return tuple(word for word in order if found[word] >= math.log(2))[:most]


def _associations(prompt: str) -> dict[str, dict[str, float]]:
    """Known words of a prompt, each once -> style -> nats."""
    spoken: dict[str, str] = {}
    for word in _words(prompt):
        spoken.setdefault(_stem(word), word)
    known = {word: {style: count[stem] for style, count in _counts().items()} for stem, word in spoken.items()}
    return {word: _weigh(counts) for word, counts in known.items() if any(counts.values())}


def _weigh(counts: dict[str, int]) -> dict[str, float]:
    average = sum(counts.values()) / len(counts) + SMOOTHING
    return {style: math.log((count + SMOOTHING) / average) for style, count in counts.items()}


@cache
def _counts() -> dict[str, Counter[str]]:
    return {style: _count(style) for style in style_names() if style_words(style)}


def _count(style: str) -> Counter[str]:
    """In how many phrases of a style each stem stands, and LISTED for listed words."""
    words = style_words(style)
    phrases = [*words.get("scenes", ()), *words.get("sayings", ())]
    count = Counter(stem for phrase in phrases for stem in set(map(_stem, _words(phrase))))
    count.update(dict.fromkeys(map(_stem, _words(" ".join(words.get("words", ())))), LISTED))
    return count


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z]+", text.lower()) if len(word) >= SHORTEST]


def _stem(word: str) -> str:
    """The word without an ending, where four letters stay; enough for `dances` and `dancing`, and no grammar."""
    return next((word.removesuffix(end) for end in ENDINGS if word.endswith(end) and len(word) - len(end) >= 4), word)
