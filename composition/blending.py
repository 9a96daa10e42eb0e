"""Several styles in one piece: their shares, and which of them gives which part of the music."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..errors import ConfigError, UnknownNameError
from .style import Style, load_style

__all__ = ["PARTS", "Blend", "join_styles"]

# Part of the music -> the fields of a style that make it, and the roles that play it.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "drums": (("drums", "swing"), ("drums",)),
    "bass": (("bass",), ("bass",)),
    "harmony": (("modes", "progressions", "harmony", "pedal_point"), ()),
    "chords": (("comping",), ("chords", "pad")),
    "lead": (("melody",), ("lead",)),
    "colour": (("colour",), ("colour",)),
}
BY_ROLE = ("roles", "presence", "levels_db", "reverb_send")  # fields of a style that hold an entry a role
MOST_STYLES = 4  # every style gives a part, and two of the six parts are the foundation
SLACK = 2.0  # percent by which shares may miss 100, as three thirds of 33 do
DRUMS_AT_LEAST = 0.5  # presence of drums below which somebody else's drummer plays
SHARE = r"(\d+(?:\.\d+)?)\s*(?:%|percent|per cent)"
BETWEEN = re.compile(r"\s*(?:[,;+&/|]|\band\b|\bmeets\b|\bx\b)\s*")


@dataclass(frozen=True)
class Blend:
    """Styles and their shares, which sum to 1; the largest comes first and is the foundation."""

    shares: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, shares: Iterable[tuple[str, float]]) -> Blend:
        """Blend styles by percents; of equal ones, the first that is named is the foundation.

        Raises:
            ConfigError: shares that do not sum to 100, are 0 or less, or are too many.
            UnknownNameError: no style of that name.
        """
        table: dict[str, float] = {}
        for name, percent in shares:
            style = load_style(name).name
            table[style] = table.get(style, 0.0) + percent
        told = ", ".join(f"{percent:g}% {name}" for name, percent in table.items())
        total = sum(table.values())
        if not abs(total - 100) <= SLACK or min(table.values()) <= 0:
            raise ConfigError(f"the styles are {told}, which is {total:g} % in all. Shares above 0 must sum to 100 %.")
        if len(table) > MOST_STYLES:
            raise ConfigError(f"the styles are {told}; a piece blends {MOST_STYLES} at most. Leave some out.")
        return cls(tuple(sorted(((name, p / total) for name, p in table.items()), key=lambda pair: -pair[1])))

    @classmethod
    def parse(cls, text: str) -> Blend:
        """Read "jazz", "70% jazz, 30% house", or "jazz and house", which is half of each.

        Raises:
            ConfigError, UnknownNameError: as `of`, or a share without a style.
        """
        if not re.search(SHARE, text):
            try:
                return cls.of([(text, 100.0)])
            except UnknownNameError:
                names = [name for name in BETWEEN.split(text) if name]
                if len(names) < 2:
                    raise
                return cls.of([(name, 100.0 / len(names)) for name in names])
        shares = []
        for entry in filter(None, BETWEEN.split(text.strip())):
            match = re.fullmatch(rf"{SHARE}\s*(?:of\s+)?(?P<name>.+)", entry, re.I)
            match = match or re.fullmatch(rf"(?P<name>.+?)\s*[:=]?\s*{SHARE}", entry, re.I)
            if match is None:
                raise ConfigError(f"style is '{text}', and '{entry}' has no share. Write: 70% jazz, 30% house.")
            shares.append((match["name"], float(next(group for group in match.groups() if group != match["name"]))))
        return cls.of(shares)

    def __str__(self) -> str:
        if len(self.shares) == 1:
            return self.foundation
        return ", ".join(f"{100 * share:.3g}% {name}" for name, share in self.shares)

    @property
    def foundation(self) -> str:
        """The style with the largest share."""
        return self.shares[0][0]

    @property
    def tempo(self) -> tuple[float, float, float]:
        """Lowest, highest and typical BPM: between those of the styles, by their shares and by ratio."""
        styles = [(load_style(name), share) for name, share in self.shares]
        low, high, typical = (math.prod(style.tempo[i] ** share for style, share in styles) for i in range(3))
        return low, high, typical

    def deal(self, seed: int) -> dict[str, str]:
        """Give every part of the music to a style, as many to each as its share asks for.

        The foundation keeps the bass, and the drums too unless it is a style without; the rest is dealt by the seed.

        Returns:
            Part -> style, for the parts that the foundation does not give itself.
        """
        left = dict(zip((name for name, _ in self.shares), _quotas([share for _, share in self.shares]), strict=True))
        drummers = [name for name in left if load_style(name).presence.get("drums", 0.0) >= DRUMS_AT_LEAST]
        owners = {"drums": (drummers or [self.foundation])[0], "bass": self.foundation}
        for name in owners.values():
            left[name] -= 1
        rest = [part for part in PARTS if part not in owners]
        random.Random(f"{seed}:blend").shuffle(rest)
        owners |= zip(rest, (name for name, count in left.items() for _ in range(count)), strict=True)
        return {part: owners[part] for part in PARTS if owners[part] != self.foundation}


def _quotas(shares: list[float]) -> list[int]:
    """Share out the parts by largest remainder, at least one a style and two for the first."""
    exact = [share * len(PARTS) for share in shares]
    counts = [max(1 + (place == 0), math.floor(value)) for place, value in enumerate(exact)]
    while sum(counts) < len(PARTS):
        counts[max(range(len(counts)), key=lambda i: exact[i] - counts[i])] += 1
    while sum(counts) > len(PARTS):
        counts[
            max((i for i in range(len(counts)) if counts[i] > 1 + (i == 0)), key=lambda i: counts[i] - exact[i])
        ] -= 1
    return counts


def join_styles(foundation: Style, parts: Mapping[str, str]) -> Style:
    """The style of a blend: the foundation, with the parts that other styles give.

    A role that another style gives always plays, or the blend could not be heard.

    Args:
        parts: part -> style, as `Blend.deal` returns it; empty for the foundation alone.

    Raises:
        ConfigError: a part that there is not.
        UnknownNameError: no style of that name.
    """
    changes: dict[str, Any] = {name: dict(getattr(foundation, name)) for name in BY_ROLE}
    for part, name in parts.items():
        if part not in PARTS:
            raise UnknownNameError("part of a blend", part, PARTS)
        style = load_style(name)
        own, roles = PARTS[part]
        changes |= {field: getattr(style, field) for field in own}
        for role in roles:
            for field in BY_ROLE:
                if role in getattr(style, field):
                    changes[field][role] = getattr(style, field)[role]
                else:
                    changes[field].pop(role, None)
        for role in roles:
            if role == part and role in changes["roles"]:
                changes["presence"][role] = 1.0
    assert set(changes) <= {field.name for field in fields(Style)}
    return replace(foundation, **changes)
