"""Which SoundFonts play a pool: read from its configuration, drawn by the seed of a piece, kept in its folder."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..composition.renderer import Renderer, find_font
from ..composition.style import load_style, style_names
from ..errors import ConfigError

__all__ = ["RECORD", "Font", "draw_font", "lacking", "read_fonts", "settle_fonts"]

RECORD = "fonts.json"  # in the folder of the pool


@dataclass(frozen=True)
class Font:
    """A SoundFont, and how often it plays: the shares of all sum to 1."""

    path: Path
    share: float

    @property
    def name(self) -> str:
        return self.path.name

    def facts(self) -> dict[str, Any]:
        """What a pool keeps of it: name, share, and the hash of the file."""
        sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return {"name": self.name, "share": round(self.share, 6), "sha256": sha256}


def read_fonts(config: Mapping[str, Any]) -> tuple[Font, ...]:
    """The fonts of a pool's configuration.

    Args:
        config: `fonts` is a list of paths or file names, a text of them with colons between, or a mapping of them to
            their shares, of which the sum does not matter; or `font` is one path, null for the usual font.

    Raises:
        ConfigError: both are given, a share is not above 0, or a font is named twice.
        MissingExtraError: a font is not there.
    """
    several, one = config.get("fonts"), config.get("font")
    if several is None or several == []:
        return (Font(find_font(one), 1.0),)
    if one is not None:
        raise ConfigError(f"font is '{one}', and fonts is {several!r}. Give one of them.")
    if isinstance(several, str):
        several = [name for name in several.split(":") if name]
    shares = several if isinstance(several, Mapping) else dict.fromkeys(several, 1.0)
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < float("inf"):
            raise ConfigError(f"fonts: the share of {name} is {share!r}; it must be a number above 0.")
    found = {find_font(name).resolve(): share / sum(shares.values()) for name, share in shares.items()}
    if len(found) < len(several):
        raise ConfigError(f"fonts is {several!r}, which names one font twice. Give it once, with a share.")
    return tuple(Font(path, share) for path, share in found.items())


def draw_font(fonts: Sequence[Font], seed: int) -> Font:
    """The font that plays the piece of a seed."""
    return random.Random(f"{seed}:font").choices(fonts, [font.share for font in fonts])[0]


def lacking(font: Font, sample_rate: int) -> list[str]:
    """What the styles may ask for and the font does not have, such as "drum kit 25"."""
    renderer = Renderer(font.path, sample_rate)
    asked = {
        (role == "drums", program)
        for name in style_names()
        for role, t in load_style(name).roles.items()
        for program in t
    }
    return [
        f"{'drum kit' if is_drums else 'program'} {program}"
        for is_drums, program in sorted(asked)
        if not renderer.has_program(is_drums, program)
    ]


def settle_fonts(fonts: Sequence[Font], out: Path) -> None:
    """Keep in the folder of a pool by which fonts it is played, or make sure that they are those it was begun with.

    Raises:
        ConfigError: the pool was begun with other fonts, other shares, or with fonts that nobody kept.
    """
    record, wanted = out / RECORD, [font.facts() for font in fonts]
    if not record.exists():
        if len(fonts) > 1 and any(out.glob("shard-*")):
            raise ConfigError(
                f"{out} has shards from before a pool kept its fonts: all were played by one, and now there are "
                f"{len(fonts)}. Go on with one font, or choose another --out."
            )
        record.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        return
    begun = json.loads(record.read_text(encoding="utf-8"))
    if begun != wanted:
        raise ConfigError(
            f"{out} was begun with the fonts {_said(begun)}, and now they are {_said(wanted)}. Go on with those it was "
            "begun with, or choose another --out."
        )


def _said(fonts: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{font['name']} ({font['sha256'][:8]}, {100 * font['share']:.3g} %)" for font in fonts)
