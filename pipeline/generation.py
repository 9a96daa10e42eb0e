"""What comes out of a generation: the sound, what it was made of, how long that took, and files of it."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..composition.plan import MusicalPlan
from .params import GenerationParams

if TYPE_CHECKING:
    from torch import Tensor

    from ..audio import Waveform

__all__ = ["Clock", "Generation", "provenance"]


@dataclass(frozen=True)
class Generation:
    """One finished piece and everything that made it."""

    prompt: str
    waveform: Waveform  # the mix, [2, L]
    codes: dict[str, Tensor]  # role -> [K, T] int64
    stems: dict[str, Waveform]  # role -> [2, L], at its level and place; they sum to the mix before effects
    seed: int
    plan: MusicalPlan | None  # None: nobody wrote one
    params: GenerationParams
    timings: dict[str, float]  # stage -> seconds
    model: dict[str, str]  # name and sha256
    provenance: dict[str, Any] = field(default_factory=dict)  # stage -> what made it

    def save(self, path: str | Path, format: str | None = None, *, overwrite: bool = True) -> Path:
        """Write the sound and, beside it, the sidecar JSON; either both or, on any error, neither.

        Args:
            path: file to write; its suffix names the format unless `format` does.
            format: wav, flac, ogg, mp3 or opus.
            overwrite: replace files that exist.

        Returns:
            The path of the sound.
        """
        from .outputs import Target, write_generation

        return write_generation(self, Target.of(path, format, overwrite=overwrite))

    def save_stems(self, folder: str | Path, format: str = "wav", *, overwrite: bool = True) -> list[Path]:
        """Write one file per role into `folder`, which is made if its parent exists."""
        from .outputs import stem_paths, write_stems

        paths = stem_paths(folder, self.stems, format, overwrite=overwrite)
        write_stems(self.stems, paths)
        return list(paths.values())


def provenance() -> str:
    """The software that makes the sound."""
    import torch

    return f"gen-audio {__version__}, torch {torch.__version__}, Python {platform.python_version()}"


class Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self.last = now - self.last, now
