"""What a decoder that draws tones one by one is told of the score: which of them may sound.

A codec of few levels blurs neighbouring semitones into each other. The network was told the notes, so the decoder may
be told them, too: a tone that no note explains is turned down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..codecs.base import Codec, Sounding
from ..composition.overtones import sounding_tones
from ..composition.score import ROLES, Score

__all__ = ["Passages", "sounding"]

Passages = Callable[[], Sequence[tuple[int, Score]]]  # the frame from which each score is played, in order


def sounding(codec: Codec, roles: Sequence[str], passages: Passages, begin: int = 0) -> Sounding | None:
    """Say which tones the rows of some roles may sound; None for a codec without tones of its own.

    Args:
        roles: one for each row; of a mix, everything may sound.
        passages: is asked for every block of frames, so that the score may change while a piece plays.
        begin: frame of the piece at which the rows' first frame is.
    """
    if not codec.tones:
        return None

    def tell(first: int, count: int) -> Tensor:
        known = list(passages())
        marks = [_marks(codec, role, known, begin + first, count) for role in roles]
        return torch.from_numpy(np.stack(marks))

    return tell


def _marks(codec: Codec, role: str, passages: Sequence[tuple[int, Score]], first: int, count: int) -> np.ndarray:
    """[count, tones] bool; what one score let sound rings on into the next."""
    if role not in ROLES:
        return np.ones((count, len(codec.tones)), bool)
    marks = np.zeros((count, len(codec.tones)), bool)
    for number, (start, score) in enumerate(passages):
        skip = max(0, start - first)  # no note of a score sounds before it begins
        track = next((track for track in score.tracks if track.role == role), None)
        if track is None or skip >= count:
            continue
        following = passages[number + 1][0] - start if number + 1 < len(passages) else None
        marks[skip:] |= sounding_tones(
            track,
            score.tempo_map,
            codec.tones,
            first=first + skip - start,
            count=count - skip,
            frame_rate=codec.frame_rate,
            until=np.inf if following is None else following / codec.frame_rate,
        )
    return marks
