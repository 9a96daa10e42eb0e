"""The walking bass: a note a beat, chord tones on strong beats, and a last note that leads to the next root."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from .grid import Piece
from .theory import Chord

__all__ = ["walk"]

REACH = 7  # semitones between two notes of a line, at most
# Semitones from the goal to the note before it, and how dear each is: chromatic neighbours, whole tones, the dominant.
APPROACHES = {-1: 0.0, 1: 0.0, -2: 1.0, 2: 1.0, 7: 1.5, -5: 1.5}


def walk(
    piece: Piece, chord: Chord, root: int, goal: int, count: int, previous: float, rng: random.Random
) -> tuple[int, ...]:
    """Choose `count` pitches that begin on the root near `previous` and lead to the goal.

    Every line within reach is weighed: small steps, one direction, no note twice; a little dice lets lines differ.

    Args:
        piece: tells key and register.
        chord: sounds over the line.
        root, goal: pitch classes of the line's first note and of the note after it.
        count: notes, one a beat.
        previous: pitch before the line.
        rng: of the bass player.
    """
    low, high = piece.style.bass["register"]
    start = _near(root, low, high, previous)
    goals = [pitch for pitch in range(low, high + 1) if pitch % 12 == goal]
    tones = [p for p in range(low, high + 1) if p % 12 in chord.pitch_classes]
    passing = [p for p in range(low, high + 1) if p % 12 in (*chord.pitch_classes, *piece.key.scale)]
    wish = rng.choice(goals)  # up and down take turns by chance, not by habit
    best: tuple[float, tuple[int, ...]] = (float("inf"), (start,) * count)
    for end in goals:
        last = [(end + step, dear) for step, dear in APPROACHES.items() if low <= end + step <= high]
        ways = last if count > 1 else [(start, 0.0)]
        for approach, dear in ways:
            middle = _middles(start, approach, count - 2, tones, passing)
            for inner in middle:
                line = (start, *inner, approach)[:count]
                cost = _cost((*line, end)) + dear + 0.15 * abs(end - wish) + 1.5 * rng.random()
                if cost < best[0]:
                    best = (cost, line)
    return best[1]


def _near(pitch_class: int, low: int, high: int, previous: float) -> int:
    return min((p for p in range(low, high + 1) if p % 12 == pitch_class), key=lambda p: (abs(p - previous), p))


def _middles(
    start: int, approach: int, count: int, tones: Sequence[int], passing: Sequence[int]
) -> list[tuple[int, ...]]:
    """What may stand between the first note and the approach: chord tones on strong beats, any step between them."""
    if count <= 0:
        return [()]
    centre, width = (start + approach) / 2, REACH if count > 1 else REACH - 1
    pools = [
        [p for p in (tones if place % 2 else passing) if abs(p - centre) <= width and p != start]
        for place in range(count)
    ]
    return list(itertools.product(*pools))


def _cost(line: Sequence[int]) -> float:
    """Leaps, repeated notes and zigzags make a line dear."""
    moves = [after - before for before, after in itertools.pairwise(line)]
    cost = sum(0.25 * max(0, abs(move) - 2) ** 1.3 for move in moves)
    cost += sum(40.0 for move in moves if abs(move) > REACH)
    cost += 3.0 * sum(move == 0 for move in moves)
    cost += 2.0 * (len(line) - len(set(line)))
    return cost + 0.8 * sum(a * b < 0 for a, b in itertools.pairwise(moves))
