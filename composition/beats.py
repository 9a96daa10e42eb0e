"""The beat that a piece calls its own: a groove with accents, percussion, answers and a balance of the kit.

A bar of four kicks at one of a few tempi is soon written twice. What a piece adds to its groove it keeps to the end.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from .grid import BarView, Piece
from .style import DRUM_PITCHES

__all__ = ["Beat", "Rows", "draw_beat"]

Rows = dict[str, str]  # drum -> steps of a bar

STEPS = 16  # of the bars that `beat` is written for
ACCENTED = ("closed", "shaker", "ride", "tamb")  # what a hand keeps moving on
QUIETEST, LOUDEST = 0.76, 1.06  # velocities of a drum against the kick's: 5 dB down to 1 dB up


@dataclass(frozen=True)
class Beat:
    """What the drummer of one piece plays, bar by bar, before fills and stops.

    Args:
        groove: what every bar has.
        builds: drum -> bars of a roll that leads to a louder section.
        cell: a letter a bar, over and over in each section; A has no answer.
        figures: percussion; the first is there from the middle of the intro, the second in choruses and returns.
        answers: letter -> strokes that its bars add.
        levels: drum -> factor of its velocity.
    """

    groove: Rows
    builds: dict[str, list[str]]
    cell: str = "A"
    figures: tuple[Rows, ...] = ()
    answers: dict[str, Rows] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)

    @property
    def repeats(self) -> bool:
        """Whether the beat is a cell of several bars, which nobody varies by chance."""
        return len(self.cell) > 1

    def level(self, name: str) -> float:
        """Factor of a drum's velocity in this piece; 1 for a drum that is left out of `levels`."""
        return self.levels.get(name, 1.0)

    def rows(self, bar: BarView) -> Rows:
        """The beat in a bar: the groove, the figures that have entered, and the answer of this bar of the cell."""
        rows = self.groove
        for layer in (*self.entered(bar), self.answers.get(self.cell[bar.index % len(self.cell)], {})):
            rows = _laid_over(rows, layer)
        return rows

    def entered(self, bar: BarView) -> tuple[Rows, ...]:
        """The figures that play in a bar; one more where the form grows."""
        if bar.section == "intro":
            return self.figures[: int(bar.index >= bar.length // 2)]
        return self.figures[: 2 if bar.section == "chorus" or bar.occurrence else 1]


def draw_beat(piece: Piece) -> Beat:
    """Draw the beat of a piece from what its style's drums have under `beat`; the bare groove if they have nothing.

    It has dice of its own, so that what the hands draw while they play changes no beat.
    """
    drums = piece.style.drums
    grooves = drums["grooves"]
    groove = grooves.get(piece.plan.groove) or grooves[sorted(grooves)[0]]
    own = drums.get("beat")
    if own is None or any(len(steps) != STEPS for steps in groove.values()):
        return Beat(groove, drums["build"])
    rng = random.Random(f"{piece.plan.seed}:beat")
    accents = {name: rng.choice(own["accents"]) for name in ACCENTED}
    cell = rng.choice(own["cells"])
    figures = _figures(own["figures"], groove, rng)
    answers = dict(zip("BC", rng.sample(_heard(own["answers"], (groove, *figures)), 2), strict=True))
    levels = {name: rng.uniform(QUIETEST, LOUDEST) for name in DRUM_PITCHES if name != "kick"}
    builds = rng.choice([drums["build"], *own["builds"]])
    groove = {name: _accented(steps, accents[name]) if name in accents else steps for name, steps in groove.items()}
    return Beat(groove, builds, cell, figures, answers, levels)


def _figures(known: Sequence[Rows], groove: Rows, rng: random.Random) -> tuple[Rows, Rows]:
    """Two figures, on drums that neither the groove nor the other has: each is heard as a voice of its own."""
    first = rng.choice([rows for rows in known if not {*rows} & {*groove}] or known)
    taken = {*groove, *first}
    return first, rng.choice([rows for rows in known if not {*rows} & taken] or known)


def _heard(known: Sequence[Rows], layers: Sequence[Rows]) -> list[Rows]:
    """Those that strike where nothing of the layers does, as the others would be no answer; all if one or none does."""
    played = {(name, step) for rows in layers for name, steps in rows.items() for step in _strokes(steps)}
    heard = [rows for rows in known if {(name, step) for name in rows for step in _strokes(rows[name])} - played]
    return heard if len(heard) > 1 else list(known)


def _strokes(steps: str) -> list[int]:
    return [place for place, symbol in enumerate(steps) if symbol != "."]


def _accented(steps: str, accents: str) -> str:
    """The same strokes, as loud as the accents say."""
    return "".join(accent if step != "." else "." for step, accent in zip(steps, accents, strict=True))


def _laid_over(rows: Rows, layer: Rows) -> Rows:
    """Rows with the strokes of a layer added; a stroke of the layer replaces one that is there.

    Where the hat opens, nobody strikes it closed.

    Example:
        >>> _laid_over({"closed": "xxxx"}, {"open": "..X."})
        {'closed': 'xx.x', 'open': '..X.'}
    """
    laid = dict(rows)
    for name, added in layer.items():
        before = laid.get(name, "." * len(added))
        laid[name] = "".join(new if new != "." else old for old, new in zip(before, added, strict=True))
    if "open" in layer and "closed" in laid:
        steps = zip(laid["closed"], layer["open"], strict=True)
        laid["closed"] = "".join("." if opened != "." else closed for closed, opened in steps)
    return laid
