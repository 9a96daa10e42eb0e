"""Write a score as a MIDI file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from .score import Score

__all__ = ["write_midi"]

TICKS = 480  # a quarter note


def write_midi(score: Score, path: str | Path) -> Path:
    """Write one track per role, with every change of tempo, meter, programs, volumes and pans.

    Raises:
        MissingExtraError: symusic is not installed.
    """
    try:
        import symusic
    except ImportError as error:
        raise MissingExtraError("writing MIDI needs symusic. Run: pip install symusic") from error
    midi: Any = symusic.Score(TICKS)  # its stubs do not know what a score holds
    for beat, tempo in score.tempo_map.changes():
        midi.tempos.append(symusic.Tempo(round(beat * TICKS), qpm=tempo))
    midi.time_signatures.append(symusic.TimeSignature(0, score.beats_per_bar, 4))
    for track in score.tracks:
        out: Any = symusic.Track(name=track.role, program=track.program, is_drum=track.is_drums)
        volume = max(1, min(127, round(100 * 10 ** (track.level_db / 40))))  # General MIDI: 40 log10(volume / 127) dB
        out.controls.append(symusic.ControlChange(0, 7, volume))
        out.controls.append(symusic.ControlChange(0, 10, max(0, min(127, round(64 + 63 * track.pan)))))
        for note in track.notes:
            start, length = round(note.start * TICKS), max(1, round(note.duration * TICKS))
            out.notes.append(symusic.Note(start, length, note.pitch, note.velocity))
        midi.tracks.append(out)
    midi.dump_midi(Path(path))
    return Path(path)
