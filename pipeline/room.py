"""What the roles' sends come back as: a reverb, echoes in time with the beat, the chorus of some roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..composition.echoes import Chorus, Delay
from ..composition.effect_choice import USUAL
from ..composition.effects import Reverb
from ..composition.score import Track

__all__ = ["Room"]

CHORUS_ROLES = ("chords", "pad")


class Room:
    """What is added to a mix that comes piece by piece.

    Args:
        effects: as `style_of` gives them; a value that is missing or 0 means off. With `delay` go `delay_seconds` and
            `delay_feedback`.
        sample_rate: Hz.
        seed: of the reverb's tail.
        start: sample of the piece that the first piece of sound begins with.
    """

    def __init__(self, effects: Mapping[str, Any], *, sample_rate: int, seed: int, start: int = 0) -> None:
        self.reverb = self.delay = self.chorus = None
        told = {**USUAL, **effects}
        if told["reverb"] != "none":
            seconds = float(told["reverb_seconds"])
            self.reverb = Reverb(sample_rate=sample_rate, kind=told["reverb"], seconds=seconds, seed=seed)
        if told.get("delay"):
            every, feedback = told["delay_seconds"], told["delay_feedback"]
            self.delay = Delay(sample_rate=sample_rate, seconds=every, feedback=feedback)
        if told.get("chorus"):
            self.chorus = Chorus(sample_rate=sample_rate, start=start)
        self.amounts = {name: np.float32(told.get(name, 0.0)) for name in ("reverb_amount", "delay", "chorus")}

    @property
    def buses(self) -> list[Callable[[Track], float]]:
        """How much of a track each argument of a call holds."""
        buses: list[Callable[[Track], float]] = [lambda track: track.reverb_send]
        return buses if self.chorus is None else [*buses, lambda track: float(track.role in CHORUS_ROLES)]

    def __call__(self, sends: np.ndarray, doubled: np.ndarray | None = None) -> np.ndarray:
        """What comes back of [2, n] sent to reverb and echoes, and of [2, n] sent to the chorus if there is one.

        Echoes have reverb, as what makes them has.
        """
        added = np.zeros_like(sends)
        if self.delay is not None:
            added += self.delay(sends) * self.amounts["delay"]
        if self.reverb is not None:
            added += self.reverb((sends + added) * self.amounts["reverb_amount"])
        if self.chorus is not None and doubled is not None:
            added += self.chorus(doubled) * self.amounts["chorus"]
        return added

    @property
    def is_empty(self) -> bool:
        """Whether nothing is ever added."""
        return all(part is None for part in (self.reverb, self.delay, self.chorus))

    @property
    def is_silent(self) -> bool:
        """Whether nothing that was heard rings any more."""
        return all(part is None or part.is_silent for part in (self.reverb, self.delay, self.chorus))
