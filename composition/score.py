"""Notes ready to be played: what the arranger writes, the renderer plays and the network is conditioned on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from .tempo_map import TempoMap

__all__ = ["MIX", "PITCHED_ROLES", "ROLES", "Note", "Score", "Track"]

ROLES = ("drums", "bass", "chords", "lead", "pad", "colour")
PITCHED_ROLES = ROLES[1:]
MIX = "mix"  # no role of a score: all of them at once, played as one


@dataclass(frozen=True)
class Note:
    """One note; time in beats from the start of the piece, already swung and humanised."""

    start: float
    duration: float
    pitch: int  # MIDI 0..127; on drums the General MIDI drum map
    velocity: int  # 1..127


@dataclass(frozen=True)
class Track:
    """One instrument role with its program, notes and place in the mix."""

    role: str  # one of ROLES
    program: int  # General MIDI program 0..127; on drums the kit number (0 standard, 8 room, 25 TR-808, 40 brush...)
    notes: tuple[Note, ...]
    level_db: float = 0.0
    pan: float = 0.0  # -1 left .. 1 right
    reverb_send: float = 0.2  # 0 dry .. 1

    @property
    def is_drums(self) -> bool:
        return self.role == "drums"


@dataclass(frozen=True)
class Score:
    """A whole arranged piece."""

    tempo_map: TempoMap  # the second of every beat
    beats_per_bar: int
    duration: float  # seconds, the ring of the last chord included
    tracks: tuple[Track, ...]

    def without(self, roles: Collection[str]) -> Score:
        """The same piece with some roles silent; what the others play does not change."""
        return replace(self, tracks=tuple(track for track in self.tracks if track.role not in roles))
