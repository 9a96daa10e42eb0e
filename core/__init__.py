"""gen-audio: words in, music out. The public names load on first use, so that `import gen_audio` stays light."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio import Waveform
    from .composition.plan import MusicalPlan
    from .composition.planner import plan_music
    from .errors import GenAudioError
    from .pipeline.generation import Generation
    from .pipeline.load import load
    from .pipeline.params import GenerationParams
    from .pipeline.pipeline import Pipeline

__version__ = "0.1.0.dev0"

_HOME = {
    "GenAudioError": ".errors",
    "Generation": ".pipeline.generation",
    "GenerationParams": ".pipeline.params",
    "MusicalPlan": ".composition.plan",
    "Pipeline": ".pipeline.pipeline",
    "Waveform": ".audio",
    "load": ".pipeline.load",
    "plan_music": ".composition.planner",
}
__all__ = [
    "GenAudioError",
    "Generation",
    "GenerationParams",
    "MusicalPlan",
    "Pipeline",
    "Waveform",
    "__version__",
    "load",
    "plan_music",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gen_audio' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
