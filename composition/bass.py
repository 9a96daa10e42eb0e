"""The bass player: roots and fifths in patterns, walking lines, long notes, runs into a new section."""

from __future__ import annotations

import random

from .grid import BarView, Hands, Piece, hits
from .score import Note
from .texture import plays
from .theory import Chord
from .walking import walk

__all__ = ["place", "play_bass"]

LIFTED = 0.8  # energy from which the busier of two patterns is played


def place(pitch_class: int, low: int, near: float) -> int:
    """The pitch of a class that is at least `low` and nearest to `near`."""
    first = low + (pitch_class - low) % 12
    return min((first + 12 * octave for octave in range(3)), key=lambda pitch: (abs(pitch - near), pitch))


def play_bass(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Play under the whole piece in the style's manner."""
    player = _Bassist(piece, Hands(piece, rng, looseness=0.6), rng)
    for bar in piece.bars:
        if piece.closes(bar):
            player.hold_last(bar)
        elif plays(piece, "bass", bar):
            player.play(bar)
    if piece.rings:
        player.hold_last(piece.bars[-1])
    return player.hands.finished()


class _Bassist:
    def __init__(self, piece: Piece, hands: Hands, rng: random.Random) -> None:
        self.piece, self.hands, self.rng = piece, hands, rng
        bass = piece.style.bass
        self.kind, (self.low, self.high) = bass["style"], bass["register"]
        self.runs, self.ran = bass["runs"], {}  # type: float, dict[str, bool]
        patterns = list(bass["patterns"])
        two = sorted((rng.choice(patterns), rng.choice(patterns)), key=lambda pattern: len(hits(pattern, 4)))
        self.sparse, self.full, self.other = two[0], two[1], rng.choice(patterns)
        self.previous: float = (self.low + self.high) / 2

    def play(self, bar: BarView) -> None:
        is_still = self.piece.is_still(bar, "bass")
        if self.kind == "walking":
            self._walk(bar)
        elif self.kind == "sustain" or is_still or self.piece.winds_down(bar):
            self._hold(bar)
        else:
            pattern = self.full if bar.energy >= LIFTED or bar.section == "chorus" else self.sparse
            self._pattern(bar, self.other if bar.index % 4 == 3 else pattern)

    def hold_last(self, bar: BarView) -> None:
        """The root under the last chord, as long as it rings."""
        piece, root = self.piece, _root(bar.chords[-1])
        pitch = self.low + (root - self.low) % 12
        self.hands.play(piece.final, piece.total_beats - piece.final, pitch, _velocity(bar))

    def _anchor(self, chord: Chord) -> int:
        """The root in the lowest octave of the register, which leaves room for fifths and octaves above it."""
        return self.low + (_root(chord) - self.low) % 12

    def _hold(self, bar: BarView) -> None:
        for start, length, chord in bar.chord_spans():
            pitch = place(_root(chord), self.low, min(self.previous, self.high - 6))
            self.hands.play(bar.start + start, length * 0.95, pitch, _velocity(bar))
            self.previous = pitch

    def _pattern(self, bar: BarView, pattern: str) -> None:
        steps = hits(pattern, bar.beats)
        run = self._run(bar)
        if run:
            steps = [step for step in steps if bar.start + step[0] < run[0][0] - 1e-6]
        for beat, length, symbol in steps:
            chord = bar.chord_at(beat)
            root = self._anchor(chord)
            self.previous = root
            pitch = self._pitch(bar, beat, chord, root, symbol)
            pitch -= 12 * (pitch > self.high + 4)
            if run:
                length = min(length, run[0][0] - bar.start - beat)
            self.hands.play(bar.start + beat, length * 0.92, pitch, _velocity(bar) + (6 if beat == 0 else 0))
        for start, pitch in run:
            self.hands.play(start, 0.45, pitch, _velocity(bar))

    def _pitch(self, bar: BarView, beat: float, chord: Chord, root: int, symbol: str) -> int:
        """What a pattern's symbol means; where the bass stands, the note that it stands on, or its octave."""
        if self.piece.standing(bar, chord) is not None:
            return root + 12 * (symbol == "8")
        return self._approach(bar, beat, root) if symbol == "a" else root + _interval(chord, symbol)

    def _approach(self, bar: BarView, beat: float, root: int) -> int:
        """A semitone from the root that comes next, on the side from which the line comes."""
        number = min(int(beat / bar.beats * len(bar.chords)), len(bar.chords) - 1)
        goal = self._anchor_of_next(bar, number)
        return goal - 1 if root <= goal and goal > self.low else goal + 1

    def _anchor_of_next(self, bar: BarView, number: int) -> int:
        return self._anchor(self.piece.next_chord(bar, number))

    def _run(self, bar: BarView) -> list[tuple[float, int]]:
        """Four eighths by step to the first root of a new section, as (beat, pitch); often none.

        They come from the side on which there is more room, along the scale, and end next to their goal.
        """
        following = self.piece.next_bar(bar)
        stands = self.piece.standing(bar, bar.chords[-1]) is not None
        if not bar.is_last_of_section or following is None or bar.beats < 3 or stands:
            return []
        if not self.ran.setdefault(bar.section, self.rng.random() < self.runs):
            return []
        goal = self._anchor_of_next(bar, len(bar.chords) - 1)
        classes = set(bar.key.scale) - {goal % 12}
        classes = (classes - {(pc + side) % 12 for pc in bar.chords[-1].pitch_classes for side in (1, 11)}) | (
            set(bar.chords[-1].pitch_classes) - {goal % 12}
        )
        below = [p for p in range(self.low, goal) if p % 12 in classes][-4:]
        above = [p for p in range(goal + 1, self.high + 1) if p % 12 in classes][:4][::-1]
        steps = below if len(below) == 4 and (len(above) < 4 or goal - self.low > self.high - goal) else above
        if len(steps) < 4:
            return []
        begin = bar.start + bar.beats - 2.0
        return [(begin + 0.5 * number, pitch) for number, pitch in enumerate(steps)]

    def _walk(self, bar: BarView) -> None:
        """A note a beat; in an intro two in a bar, which leaves the walking for the tune."""
        in_two = bar.section == "intro" and bar.beats == 4
        for number, (start, width, chord) in enumerate(bar.chord_spans()):
            goal = _root(self.piece.next_chord(bar, number))
            count = max(1, round(width))
            line = walk(self.piece, chord, _root(chord), goal, count, self.previous, self.rng)
            for step, pitch in enumerate(line):
                if in_two and step % 2 and step < count - 1:
                    continue
                length = 1.9 if in_two and step % 2 == 0 and step + 2 < count else 0.95
                accent = 5 if step % 2 == 1 else 0  # on two and four, with the hi-hat
                self.hands.play(bar.start + start + step, length, pitch, _velocity(bar) + accent)
            self.previous = line[-1]


def _root(chord: Chord) -> int:
    return chord.root if chord.bass is None else chord.bass


def _velocity(bar: BarView) -> float:
    return 74 + 26 * bar.energy


def _interval(chord: Chord, symbol: str) -> int:
    """Semitones above the root that a pattern symbol means under a chord."""
    tones = [(pc - chord.root) % 12 for pc in chord.pitch_classes]
    wanted = {"1": (0,), "8": (12,), "3": (3, 4, 2, 5), "5": (7, 6, 8), "7": (10, 11, 9)}.get(symbol, (0,))
    return next((step for step in wanted if step in tones or step == 12), {"3": 12, "7": 10}.get(symbol, wanted[0]))
