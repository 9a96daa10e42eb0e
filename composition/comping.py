"""The accompanist: a sparser pattern under the verse than under the chorus, in the style's manner; pads that hold."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from .grid import BarView, Hands, Piece, hits
from .pulse import beat_length
from .score import Note
from .texture import plays
from .theory import Chord
from .voicing import voice

__all__ = ["play_chords", "play_pad"]

STRING_DELAY = 0.012  # seconds from one string to the next in a strum
PAD_REGISTER = (55, 76)
ALIKE = 2  # strokes by which the pattern of every fourth bar may differ
SWELL, ACCENT = 0.7, 10.0  # of a pulsing pad: share of a beat that it is held; velocity added on a downbeat
LIFTED = 0.8  # energy from which the fuller of two patterns is played


def play_chords(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Accompany the whole piece."""
    player = _Accompanist(piece, Hands(piece, rng), rng)
    for bar in piece.bars:
        if piece.closes(bar):
            player.strike_last(bar)
        elif plays(piece, "chords", bar):
            player.play(bar)
    if piece.rings:
        player.strike_last(piece.bars[-1])
    return player.hands.finished()


@dataclass(frozen=True)
class _Step:
    """One step of a pattern."""

    beat: float
    length: float
    symbol: str
    chord: Chord


class _Accompanist:
    def __init__(self, piece: Piece, hands: Hands, rng: random.Random) -> None:
        self.piece, self.hands, self.rng = piece, hands, rng
        comping = piece.style.comping
        self.kind, self.register, self.spacing = comping["style"], comping["register"], comping["voicing"]
        self.rootless = "bass" in piece.plan.instruments and comping["rootless"]
        self.push = comping["push"]
        patterns = list(comping["patterns"])
        two = sorted((rng.choice(patterns), rng.choice(patterns)), key=_density)
        self.sparse, self.full = two
        self.other = rng.choice([p for p in patterns if abs(_density(p) - _density(two[0])) <= ALIKE])
        self.pushes: dict[tuple[str, int], bool] = {}  # a section that returns pushes where it did
        self.previous: tuple[int, ...] = ()

    def play(self, bar: BarView) -> None:
        is_still = self.piece.is_still(bar, "chords")
        if self.kind == "sustain" or self.piece.winds_down(bar) or (is_still and self.kind in ("block", "strum")):
            self._stand(bar)
            self._hold(bar)
            return
        pattern = self.full if bar.energy >= LIFTED or bar.section == "chorus" else self.sparse
        pattern = self.other if bar.index % 4 == 3 and not bar.is_last_of_section else pattern
        self._stand(bar)
        for step in self._steps(bar, pattern):
            self.previous = self._voice(step.chord)
            self._strike(bar, step)

    def strike_last(self, bar: BarView) -> None:
        """The last chord, complete and rolled a little, for as long as the piece lasts."""
        piece = self.piece
        final = voice(bar.chords[-1], self.register, self.previous, False, self.spacing)
        self._roll(final, piece.final, piece.total_beats - piece.final, _velocity(bar), 0.02)

    def _voice(self, chord: Chord) -> tuple[int, ...]:
        return voice(chord, self.register, self.previous, self.rootless, self.spacing)

    def _steps(self, bar: BarView, pattern: str) -> list[_Step]:
        """The pattern's steps with their chords; the last off-beat may push: it plays the next chord early."""
        steps = [_Step(beat, length, symbol, bar.chord_at(beat)) for beat, length, symbol in hits(pattern, bar.beats)]
        place = (bar.section, bar.index)
        pushes = self.pushes.setdefault(place, self.rng.random() < self.push)
        follower = self.piece.next_bar(bar)
        if pushes and steps and follower and steps[-1].beat % 1 >= 0.5 and steps[-1].beat >= bar.beats - 1:
            last = steps[-1]
            steps[-1] = _Step(last.beat, last.length, last.symbol, follower.chords[0])
        return steps

    def _stand(self, bar: BarView) -> None:
        """The bass notes of slash chords, such as a pedal point's, where nobody else plays a bass."""
        if "bass" in self.piece.plan.instruments and plays(self.piece, "bass", bar):
            return
        low = self.register[0] - 12
        for start, length, chord in bar.chord_spans():
            note = self.piece.standing(bar, chord)
            if note is not None:
                pitch = low + (note - low) % 12
                self.hands.play(bar.start + start, length * 0.97, pitch, _velocity(bar))

    def _hold(self, bar: BarView) -> None:
        for start, length, chord in bar.chord_spans():
            self.previous = self._voice(chord)
            for pitch in self.previous:
                self.hands.play(bar.start + start, length * 0.97, pitch, _velocity(bar) * 0.9)

    def _strike(self, bar: BarView, step: _Step) -> None:
        """Play one step of a pattern: a voice of an arpeggio, a strum, a stab or a block."""
        pitches, start, velocity = self.previous, bar.start + step.beat, _velocity(bar, step.symbol)
        if self.kind == "arpeggio":
            voices = [*pitches, *(pitch + 12 for pitch in pitches)]
            number = int(step.symbol) - 1 if step.symbol.isdigit() else 0
            velocity += 5 if step.beat == 0 else 0
            self.hands.play(start, step.length * 1.2, voices[number % len(voices)], velocity)
        elif self.kind == "strum":
            self._strum(pitches, start, step, velocity)
        else:
            share = 0.45 if self.kind == "stab" and step.length <= 0.5 else 0.92
            velocity -= 6 if step.beat % 1 and step.symbol != "X" else 0
            for number, pitch in enumerate(pitches):
                top = 4 if number == len(pitches) - 1 else 0  # the ear follows the highest voice
                self.hands.play(start, step.length * share, pitch, velocity + top)

    def _strum(self, pitches: Sequence[int], start: float, step: _Step, velocity: float) -> None:
        """Down over all strings on the beat; up over the three high ones, softer, off it."""
        if int(step.beat * 2) % 2 == 0:
            self._roll(pitches, start, step.length * 0.95, velocity, STRING_DELAY)
        else:
            self._roll(pitches[-3:][::-1], start, step.length * 0.95, velocity - 10, STRING_DELAY)

    def _roll(self, pitches: Sequence[int], start: float, length: float, velocity: float, delay: float) -> None:
        """Play pitches one shortly after the other, `delay` seconds apart."""
        for number, pitch in enumerate(pitches):
            late = number * delay * self.piece.plan.tempo / 60
            self.hands.play(start, length, pitch, velocity - number, late=late)


def _density(pattern: str) -> int:
    """How often something is struck in a bar."""
    return sum(symbol not in "-." for symbol in pattern)


def _velocity(bar: BarView, symbol: str = "x") -> float:
    return (60 + 28 * bar.energy) * (1.15 if symbol == "X" else 1.0)


def play_pad(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Hold each harmony as long as it lasts, above the accompaniment's lowest notes.

    Close voicings: with wide ones etude lost 15 % of the chord frames in ambient and techno.
    """
    hands = Hands(piece, rng, looseness=0.5)
    previous: tuple[int, ...] = ()
    spans: list[tuple[float, float, Chord, BarView]] = []
    for bar in piece.bars:
        if not plays(piece, "pad", bar) or piece.closes(bar):
            continue
        for start, length, chord in bar.chord_spans():
            at = bar.start + start
            held = spans and spans[-1][2] == chord and spans[-1][3].section == bar.section and bar.index % 2
            if held and spans[-1][0] + spans[-1][1] == at:
                first, so_far, _, view = spans[-1]
                spans[-1] = (first, so_far + length, chord, view)
            else:
                spans.append((at, length, chord, bar))
    spans.append((piece.final, piece.total_beats - piece.final, piece.bars[-1].chords[-1], piece.bars[-1]))
    for start, length, chord, bar in spans:
        previous = voice(chord, PAD_REGISTER, previous)
        is_pulse = "pad" in piece.plan.pulse and start < piece.final
        for beat, long, accent in _swells(piece, start, length) if is_pulse else [(start, length * 0.99, 0.0)]:
            for pitch in previous:
                hands.play(beat, long, pitch, 52 + 26 * bar.energy + accent)
    return hands.finished()


def _swells(piece: Piece, start: float, length: float) -> list[tuple[float, float, float]]:
    """A held chord as (beat, length, accent) of its repeats: on every beat, the first of the bar the loudest."""
    step, stop = beat_length(piece.plan.meter), start + length
    downbeats = {bar.start for bar in piece.bars}
    found = []
    while start < stop - 1e-6:
        end = min((math.floor(start / step + 1e-6) + 1) * step, stop)
        found.append((start, (end - start) * SWELL, ACCENT if start in downbeats else 0.0))
        start = end
    return found
