"""The drummer: a beat that varies, fills before a new section, a crash when it arrives, build-ups, a clean stop."""

from __future__ import annotations

import random

from .beats import Beat, Rows, draw_beat
from .grid import BarView, Hands, Piece, hits
from .score import Note
from .style import DRUM_PITCHES
from .texture import plays

__all__ = ["play_drums"]

VELOCITIES = {"X": 112.0, "x": 92.0, "g": 50.0, "f": 92.0}
FLAM, GRACE = 0.07, 0.5  # a stroke "f" has a softer one before it: beats, and its share of the velocity
TIMEKEEPERS = ("closed", "pedal", "ride", "shaker", "tamb", "rim", "claves")  # what is left of the kit in an intro
LIFTED = 0.85  # energy from which the hand moves to the louder cymbal
STEEP = 0.3  # rise of energy that a build-up leads to
QUIET = 0.4  # energy up to which nobody fills


def play_drums(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Play the piece's beat, made of the plan's groove, through its form."""
    hands = Hands(piece, rng, looseness=0.5)
    beat = draw_beat(piece)
    for bar in piece.bars:
        if piece.closes(bar):
            continue
        rows = _build(piece, bar, beat) or (_bar(piece, bar, beat, rng) if plays(piece, "drums", bar) else {})
        _play_bar(hands, bar, rows, beat, rng)
        if _arrives(piece, bar) and "kick" in beat.groove:
            hands.play(bar.start, 1.0, DRUM_PITCHES["crash"], (88 + 20 * bar.energy) * beat.level("crash"))
    for name, velocity in (("kick", 100), ("crash", 92)):
        loud = velocity * (0.7 + 0.3 * piece.bars[-1].energy) * beat.level(name)
        hands.play(piece.final, 1.0, DRUM_PITCHES[name], loud)
    return hands.finished()


def _bar(piece: Piece, bar: BarView, beat: Beat, rng: random.Random) -> Rows:
    """The beat as this bar of the form asks for it."""
    rows = beat.rows(bar)
    is_last = bar.number + 1 == len(piece.bars)
    if bar.section == "intro" or (bar.section == "break" and not bar.is_last_of_section):
        busy = len(piece.bars) > 4
        light = {*TIMEKEEPERS, *(name for figure in beat.entered(bar) for name in figure)}
        rows = {name: steps for name, steps in rows.items() if name in light and busy} or rows
    elif bar.section in piece.style.drums["half_time"]:
        rows = _half_time(rows)
    elif bar.energy >= LIFTED or (bar.section == "chorus" and bar.energy >= 0.7):
        rows = _move(rows, piece.style.drums["lift"])
    else:
        rows = _move(rows, piece.style.drums["settle"])
    if is_last:
        return _stop(rows, 2 if piece.winds_down(bar) else 2 * bar.beats + 2)
    if bar.is_last_of_section and bar.energy > QUIET:
        return _fill(piece, bar, rows, rng, whole=_is_climb(piece, bar))
    if bar.index % 4 == 3 and bar.energy > 0.5 and not beat.repeats:
        return _turn(rows, rng)
    return rows


def _is_climb(piece: Piece, bar: BarView) -> bool:
    """Whether what follows is louder, so that the fill takes the whole bar and not its second half."""
    following = piece.next_bar(bar)
    return following is not None and (following.energy > bar.energy or bar.length >= 8)


def _arrives(piece: Piece, bar: BarView) -> bool:
    """Whether a section begins here that deserves a crash: a loud one, after another one."""
    loud = bar.energy > 0.6 and bar.section not in ("break", "intro") and plays(piece, "drums", bar)
    return loud and bar.index == 0 and bar.number > 0


def _fill(piece: Piece, bar: BarView, rows: Rows, rng: random.Random, whole: bool) -> Rows:
    """Lay a fill over the groove, over the whole bar or its second half; none if no fill fits the meter."""
    steps = 4 * bar.beats
    fitting = [f for f in piece.style.drums["fills"] if all(len(s) == steps for s in f.values())]
    fitting = fitting or [f for f in piece.style.drums["fills"] if all(len(s) == 16 for s in f.values())]
    if not fitting:
        return rows
    fill = dict(rng.choice(fitting))
    first = 0 if whole else 2 * bar.beats  # steps of the groove that stay
    return {name: _spliced(rows.get(name), fill.get(name), first, steps) for name in sorted({*rows, *fill})}


def _spliced(groove: str | None, fill: str | None, first: int, steps: int) -> str:
    """The groove's row up to a step, the fill's from there; a row that the fill does not know goes on."""
    before = (groove or "." * steps)[:steps]
    return before if fill is None else before[:first] + fill[:steps][first:]


def _turn(rows: Rows, rng: random.Random) -> Rows:
    """Every fourth bar differs a little: a late kick, an early snare, or an open hat that the kit has."""
    rows = dict(rows)
    kind = rng.choice(("kick", "snare", "open"))
    if kind == "open" and {"open", "closed"} <= set(rows):
        rows["open"] = _struck(rows["open"], len(rows["open"]) - 2, "x")
    elif kind == "snare" and "snare" in rows:
        rows["snare"] = _struck(rows["snare"], len(rows["snare"]) - 1, "g")
    elif "kick" in rows:
        rows["kick"] = _struck(rows["kick"], len(rows["kick"]) - 2, "x")
    return rows


def _struck(steps: str, place: int, symbol: str) -> str:
    return steps if steps[place] != "." else steps[:place] + symbol + steps[place + 1 :]


def _half_time(rows: Rows) -> Rows:
    """The backbeat on three alone, and a kick on one: the same tempo feels half as fast."""
    half = dict(rows)
    for name in ("snare", "clap", "rim"):
        if rows.get(name, "").upper().count("X") >= 2:
            half[name] = _only(8, len(rows[name]))
    if "kick" in rows:
        half["kick"] = _struck(_only(0, len(rows["kick"])), len(rows["kick"]) * 5 // 8, "x")
    return half


def _only(place: int, steps: int) -> str:
    return "".join("X" if number == place else "." for number in range(steps))


def _move(rows: Rows, moves: dict[str, str]) -> Rows:
    """The hand goes to another cymbal: a louder one for a chorus, a drier one for a verse."""
    free = {name: target for name, target in moves.items() if name in rows and target not in rows}
    return {free.get(name, name): steps for name, steps in rows.items()}


def _build(piece: Piece, bar: BarView, beat: Beat) -> Rows | None:
    """A roll that doubles its speed in the last bars before a much louder section; the kick stays out of the last.

    None if the style does not build up, or not here.
    """
    rolls = beat.builds
    ahead = bar.length - 1 - bar.index
    after = bar.number + ahead + 1
    if not rolls or bar.beats != 4 or after >= len(piece.bars) or bar.length < 4:
        return None
    count = len(next(iter(rolls.values())))
    if ahead >= count or piece.bars[after].energy - bar.energy < STEEP:
        return None
    kick = {"kick": beat.groove["kick"]} if ahead and "kick" in beat.groove and plays(piece, "drums", bar) else {}
    return {**kick, **{name: steps[count - 1 - ahead] for name, steps in rolls.items()}}


def _stop(rows: Rows, keep: int) -> Rows:
    """The last bar: the groove for `keep` steps, then a breath before the last stroke."""
    return {name: steps[:keep] + "." * (len(steps) - keep) for name, steps in rows.items()}


def _play_bar(hands: Hands, bar: BarView, rows: Rows, beat: Beat, rng: random.Random) -> None:
    scale = 0.72 + 0.3 * bar.energy
    for name in sorted(rows):
        for place, length, symbol in hits(rows[name].replace("-", "."), bar.beats):
            velocity = VELOCITIES[symbol] * scale * beat.level(name)
            if name in ("closed", "shaker", "ride") and place % 1:
                velocity *= 0.85  # the hand falls on the beat
            if symbol == "f":
                hands.play(bar.start + place - FLAM, FLAM, DRUM_PITCHES[name], velocity * GRACE)
            hands.play(bar.start + place, max(length, 0.25), DRUM_PITCHES[name], velocity)
    quiet = "snare" in rows and not beat.repeats and bar.energy > 0.5 and rng.random() < 0.25
    if quiet:  # a ghost note that was not written
        hands.play(bar.start + rng.choice((1.75, 2.25, 3.75)) % bar.beats, 0.25, DRUM_PITCHES["snare"], 38)
