"""Which tones a score lets sound: fundamentals and overtones of its notes, while they are held and while they ring.

Knows no codec and no sound: General MIDI programs and notes in, marks for semitones out.
"""

from __future__ import annotations

import numpy as np

from .score import Track
from .tempo_map import TempoMap

__all__ = ["sounding_tones"]

LEAD = 0.04  # seconds before its note that a tone may begin, because the network strikes a frame early at times
HARMONICS = np.arange(1, 97)  # the last ones lie closer than semitones, so that from the 17th on every tone may sound
# Measured on single notes of all programs in two SoundFonts: energy in semitones that no harmonic is nearest to.
# Bells, bars, drums and plucks shorter than the window that would tell semitones apart have more than a tenth of it.
INHARMONIC = frozenset((8, 9, 13, 14, 45, 47, 55, 98, 108, *range(112, 128)))
# Semitones from the written note at which further harmonic series begin: stops of organs, and synths tuned in fifths.
FURTHER = {16: (-12,), 17: (-12,), 18: (-12,), 19: (-12,), 86: (-5,), 97: (7,)}
ALONE = {16: (-24,)}  # and tones that have no harmonics
# Seconds until a note that was let go has died away by 25 dB, of the slowest zone, a little more.
RING = dict.fromkeys((10, 11, 12, 15, 62, 63), 1.0)
RING |= dict.fromkeys((46, *range(48, 55), 82, *range(88, 98), *range(99, 108)), 2.0)
DRY = 0.3  # that of all others


def sounding_tones(
    track: Track, tempo_map: TempoMap, tones: range, *, first: int, count: int, frame_rate: float, until: float = np.inf
) -> np.ndarray:
    """Mark the tones that may sound in some frames.

    Args:
        track: whose notes; of drums and of programs without harmonic overtones everything may sound.
        tempo_map: of its score.
        tones: MIDI numbers, one after the other.
        first, count: the frames; `first` may lie before the score.
        frame_rate: frames a second.
        until: second of the score from which on no further note is struck.

    Returns:
        [count, len(tones)] bool.
    """
    if track.is_drums or track.program in INHARMONIC:
        return np.ones((count, len(tones)), bool)
    notes = np.array([(n.start, n.duration, n.pitch) for n in track.notes], float).reshape(-1, 3)
    begin, end = tempo_map.seconds(notes[:, 0]), tempo_map.seconds(notes[:, 0] + notes[:, 1])
    start = np.floor((begin - LEAD) * frame_rate).astype(int) - first
    stop = np.ceil((end + RING.get(track.program, DRY)) * frame_rate).astype(int) - first
    heard = (stop > 0) & (start < count) & (begin < until)
    roots = 0, *FURTHER.get(track.program, ())
    series = np.concatenate([*(root + 12 * np.log2(HARMONICS) for root in roots), ALONE.get(track.program, ())])
    tone = np.rint(notes[heard, 2, None] + series).astype(int) - tones.start  # [n, partials]
    note, partial = ((tone >= 0) & (tone < len(tones))).nonzero()
    where = tone[note, partial]
    changes = np.zeros((count + 1, len(tones)), int)
    np.add.at(changes, (start[heard].clip(0)[note], where), 1)
    np.add.at(changes, (stop[heard].clip(max=count)[note], where), -1)
    marks: np.ndarray = changes.cumsum(0)[:count] > 0
    return marks
