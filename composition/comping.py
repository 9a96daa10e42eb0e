"""The accompanist: voicings that move as little as possible, played in the style's manner; pads that hold them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .grid import BarView, Hands, Piece, hits
from .score import Note
from .theory import Chord

__all__ = ["play_chords", "play_pad", "voice"]

STRING_DELAY = 0.012  # seconds from one string to the next in a strum


def voice(chord: Chord, register: Sequence[int], previous: Sequence[int], rootless: bool = False) -> tuple[int, ...]:
    """Choose the close voicing in `register` that moves least from `previous`; ascending pitches.

    Args:
        chord: what to voice.
        register: lowest and highest pitch.
        previous: the voicing before, or empty.
        rootless: leave the root to the bass where the chord has four tones or more.
    """
    classes = list(dict.fromkeys(chord.pitch_classes))
    if rootless and len(classes) >= 4:
        classes.remove(chord.root)
    classes = classes[:4] if len(classes) <= 4 else [*classes[:3], classes[-1]]
    low, high = register
    middle = (low + high) / 2
    best: tuple[float, tuple[int, ...]] | None = None
    for turn in range(len(classes)):
        order = classes[turn:] + classes[:turn]
        for first in range(low, high):
            if first % 12 != order[0]:
                continue
            pitches = [first]
            for pc in order[1:]:
                pitches.append(pitches[-1] + (pc - pitches[-1]) % 12)
            if len(pitches) == 2:  # a power chord is doubled at the octave
                pitches.append(pitches[0] + 12)
            cost = _distance(pitches, previous) if previous else 0.0
            cost += 0.3 * abs(sum(pitches) / len(pitches) - middle) + 2.0 * max(0, pitches[-1] - high)
            if best is None or cost < best[0]:
                best = (cost, tuple(pitches))
    assert best is not None, "a register spans an octave or more"
    return best[1]


def _distance(pitches: Sequence[int], previous: Sequence[int]) -> float:
    """Semitones that the voices move, each from the nearest voice before."""
    return float(sum(min(abs(pitch - other) for other in previous) for pitch in pitches))


def _velocity(bar: BarView, symbol: str = "x") -> float:
    return (60 + 28 * bar.energy) * (1.15 if symbol == "X" else 1.0)


def play_chords(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Accompany the whole piece."""
    hands = Hands(piece, rng)
    comping = piece.style.comping
    register = comping["register"]
    rootless = "bass" in piece.plan.instruments and piece.plan.style in ("jazz", "lofi", "bossa_nova", "funk")
    main, other, lifted = (rng.choice(list(comping["patterns"])) for _ in range(3))
    kind, previous = comping["style"], ()  # type: tuple[str, tuple[int, ...]]
    for bar in piece.bars:
        pattern = other if bar.index % 4 == 3 else lifted if bar.section == "chorus" else main
        quiet = bar.section in ("intro", "break") and len(piece.bars) > 4 and kind in ("block", "sustain")
        if kind == "sustain" or quiet:
            previous = _sustain(piece, bar, hands, register, previous, rootless)
            continue
        for beat, length, symbol in hits(pattern, bar.beats):
            chord = bar.chord_at(beat)
            previous = voice(chord, register, previous, rootless)
            _strike(piece, bar, hands, previous, beat, length, symbol, kind)
    if piece.rings:
        final = voice(piece.bars[-1].chords[-1], register, previous, False)
        _roll(piece, hands, final, piece.end, piece.total_beats - piece.end, _velocity(piece.bars[-1]), 0.02)
    return hands.finished()


def _sustain(
    piece: Piece, bar: BarView, hands: Hands, register: Sequence[int], previous: tuple[int, ...], rootless: bool
) -> tuple[int, ...]:
    for start, length, chord in bar.chord_spans():
        previous = voice(chord, register, previous, rootless)
        for pitch in previous:
            hands.play(bar.start + start, length * 0.97, pitch, _velocity(bar) * 0.9)
    return previous


def _strike(
    piece: Piece,
    bar: BarView,
    hands: Hands,
    pitches: tuple[int, ...],
    beat: float,
    length: float,
    symbol: str,
    kind: str,
) -> None:
    """Play one step of a pattern: a voice of an arpeggio, a strum, a stab or a block."""
    start, velocity = bar.start + beat, _velocity(bar, symbol)
    if kind == "arpeggio":
        voices = [*pitches, *(pitch + 12 for pitch in pitches)]
        number = int(symbol) - 1 if symbol.isdigit() else 0
        hands.play(start, length * 1.2, voices[number % len(voices)], velocity)
    elif kind == "strum":
        down = int(beat * 2) % 2 == 0
        _roll(piece, hands, pitches if down else pitches[::-1], start, length * 0.95, velocity, STRING_DELAY)
    else:
        share = 0.45 if kind == "stab" and length <= 0.5 else 0.92
        for pitch in pitches:
            hands.play(start, length * share, pitch, velocity)


def _roll(
    piece: Piece, hands: Hands, pitches: Sequence[int], start: float, length: float, velocity: float, delay: float
) -> None:
    """Play pitches one shortly after the other, `delay` seconds apart."""
    for number, pitch in enumerate(pitches):
        hands.play(start, length, pitch, velocity - number, late=number * delay * piece.plan.tempo / 60)


def play_pad(piece: Piece, rng: random.Random) -> tuple[Note, ...]:
    """Hold each harmony as long as it lasts, an octave or so above the accompaniment's lowest notes."""
    hands = Hands(piece, rng, looseness=0.5)
    register, previous = (55, 76), ()  # type: tuple[tuple[int, int], tuple[int, ...]]
    spans: list[tuple[float, float, Chord, BarView]] = []
    for bar in piece.bars:
        for start, length, chord in bar.chord_spans():
            held = spans and spans[-1][2] == chord and spans[-1][3].section == bar.section and bar.index % 2
            if held:
                first, so_far, _, view = spans[-1]
                spans[-1] = (first, so_far + length, chord, view)
            else:
                spans.append((bar.start + start, length, chord, bar))
    if piece.rings:
        spans.append((piece.end, piece.total_beats - piece.end, piece.bars[-1].chords[-1], piece.bars[-1]))
    for start, length, chord, bar in spans:
        previous = voice(chord, register, previous)
        for pitch in previous:
            hands.play(start, length * 0.99, pitch, 52 + 26 * bar.energy)
    return hands.finished()
