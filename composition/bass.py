"""The bass player: roots and fifths in patterns, walking lines that aim at the next chord, long notes."""

from __future__ import annotations

import random

from .grid import BarView, Hands, Piece, hits
from .score import Note
from .theory import Chord

__all__ = ["play_bass", "place"]


def place(pitch_class: int, low: int, near: float) -> int:
    """The pitch of a class that is at least `low` and nearest to `near`."""
    first = low + (pitch_class - low) % 12
    return min((first + 12 * octave for octave in range(3)), key=lambda pitch: (abs(pitch - near), pitch))


def play_bass(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Play under the whole piece in the style's manner."""
    hands = Hands(piece, rng, looseness=0.6)
    kind = piece.style.bass["style"]
    patterns = list(piece.style.bass["patterns"])
    main, other = rng.choice(patterns), rng.choice(patterns)
    previous = sum(piece.style.bass["register"]) / 2
    for bar in piece.bars:
        if kind == "walking":
            previous = _walk(piece, bar, hands, previous, rng)
        elif kind == "sustain" or (bar.section in ("intro", "break") and len(piece.bars) > 4):
            _hold(piece, bar, hands)
        else:
            _pattern(piece, bar, hands, other if bar.index % 4 == 3 else main)
    if piece.rings:
        low = piece.style.bass["register"][0]
        root = _root(piece.bars[-1].chords[-1])
        hands.play(piece.end, piece.total_beats - piece.end, low + (root - low) % 12, _velocity(piece.bars[-1]))
    return hands.finished()


def _root(chord: Chord) -> int:
    return chord.root if chord.bass is None else chord.bass


def _velocity(bar: BarView) -> float:
    return 74 + 26 * bar.energy


def _hold(piece: Piece, bar: BarView, hands: Hands) -> None:
    low = piece.style.bass["register"][0]
    for start, length, chord in bar.chord_spans():
        hands.play(bar.start + start, length * 0.95, low + (_root(chord) - low) % 12, _velocity(bar))


def _pattern(piece: Piece, bar: BarView, hands: Hands, pattern: str) -> None:
    low, high = piece.style.bass["register"]
    for beat, length, symbol in hits(pattern, bar.beats):
        chord = bar.chord_at(beat)
        root = low + (_root(chord) - low) % 12
        pitch = root + _interval(piece, bar, beat, chord, symbol)
        pitch -= 12 * (pitch > high + 4)
        accent = 6 if beat == 0 else 0
        hands.play(bar.start + beat, length * 0.92, pitch, _velocity(bar) + accent)


def _interval(piece: Piece, bar: BarView, beat: float, chord: Chord, symbol: str) -> int:
    """Semitones above the root that a pattern symbol means under a chord."""
    tones = [(pc - chord.root) % 12 for pc in chord.pitch_classes]
    if symbol == "a":  # a semitone below or above the root that comes next
        number = min(int(beat / bar.beats * len(bar.chords)), len(bar.chords) - 1)
        distance = (_root(piece.next_chord(bar, number)) - _root(chord) + 6) % 12 - 6
        return distance - 1 if distance >= 0 else distance + 1
    wanted = {"1": (0,), "8": (12,), "3": (3, 4, 2, 5), "5": (7, 6, 8), "7": (10, 11, 9)}.get(symbol, (0,))
    return next((step for step in wanted if step in tones or step == 12), {"3": 12, "7": 10}.get(symbol, wanted[0]))


def _walk(piece: Piece, bar: BarView, hands: Hands, previous: float, rng: random.Random) -> float:
    """One quarter a beat: the root first, then chord and scale tones on the way, a neighbour of the goal last."""
    low, high = piece.style.bass["register"]
    for number, (start, width, chord) in enumerate(bar.chord_spans()):
        goal = place(_root(piece.next_chord(bar, number)), low, previous)
        count = max(1, round(width))
        pitch = place(_root(chord), low, previous if low <= previous <= high else (low + high) / 2)
        for step in range(count):
            if step == count - 1 and count > 1:
                pitch = goal + rng.choice((-1, 1, -1, 2 if goal + 2 not in (pitch,) else 1))
            elif step > 0:
                pitch = _step_towards(piece, chord, pitch, goal, step, rng)
            if pitch > high:
                pitch -= 12
            if pitch < low:
                pitch += 12
            hands.play(bar.start + start + step, 0.9, pitch, _velocity(bar) + (5 if step % 2 == 0 else 0))
            previous = pitch
    return previous


def _step_towards(piece: Piece, chord: Chord, pitch: int, goal: int, step: int, rng: random.Random) -> int:
    """A chord tone on strong beats, a scale tone on weak ones, within a fourth and on the side of the goal."""
    tones = set(chord.pitch_classes) | (set(piece.key.scale) if step % 2 else set())
    near = [p for p in range(pitch - 5, pitch + 6) if p % 12 in tones and p != pitch]
    forward = [p for p in near if (p - pitch) * (goal - pitch) > 0] or near or [pitch]
    return rng.choice(sorted(forward, key=lambda p: abs(p - pitch))[:3])
