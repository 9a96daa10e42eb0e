"""What a run would make, how long it would take and what it would need, before anything is written."""

from __future__ import annotations

import io
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...audio import FORMATS, Waveform
from ...errors import GenAudioError
from .. import interrupt
from ..params import GenerationParams
from .items import Item
from .manifest import Manifest
from .render import Selection
from .settings import Settings
from .store import Ledger
from .watch import Watch

if TYPE_CHECKING:
    from ..pipeline import Pipeline

__all__ = ["estimate"]

PROBE = 2.0  # seconds that are played to measure speed


def estimate(
    pipeline: Pipeline, manifest: Manifest, selection: Selection, out: Path, settings: Settings
) -> dict[str, Any]:
    """Count and measure. Plays two seconds, which are thrown away.

    Returns:
        items to make, items done already, seconds of audio, seconds of work, bytes on the disk and free there, MiB of
        memory, and rows that would be refused.
    """
    count, audio, first = 0, 0.0, None
    with Watch(manifest.count()) as watch:
        for item in selection.choose(manifest.rows(), Ledger(out), watch):
            interrupt.check()
            watch.show()
            try:
                audio += _seconds(pipeline.settle(item.prompt, item.told()))
            except GenAudioError as error:
                watch.fault(item.row, item.id, str(error))
                continue
            count, first = count + 1, first or item
    watch.tell_faults()
    speed, size = _probe(pipeline, first, settings) if first else (1.0, 0.0)
    folder = out if out.exists() else out.parent
    return {
        "to_make": count,
        "already_there": watch.skipped,
        "refused": watch.faults,
        "audio_seconds": round(audio, 1),
        "work_seconds": round(audio * speed, 3),
        "disk_bytes": round(audio * size),
        "disk_free_bytes": shutil.disk_usage(folder).free,
        "memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if _is_mac() else 2**10)),
    }


def _is_mac() -> bool:
    return sys.platform == "darwin"


def _seconds(params: GenerationParams) -> float:
    """How long a piece will be; where bars decide it, as if it were in four quarters at 100 BPM unless it says more."""
    if params.duration is not None:
        return params.duration
    return (params.bars or 0) * 240.0 / (params.tempo or 100.0)


def _probe(pipeline: Pipeline, item: Item, settings: Settings) -> tuple[float, float]:
    """Seconds of work and bytes on the disk for one second of audio."""
    import soundfile

    pipeline.generate(item.prompt, duration=0.5, seed=item.given["seed"])  # what only the first piece takes
    start = time.perf_counter()
    made = pipeline.generate(item.prompt, duration=PROBE, seed=item.given["seed"])
    waveform: Waveform = made.waveform  # type: ignore[union-attr]
    waveform = waveform.resample(settings.sample_rate or waveform.sample_rate)
    seconds = time.perf_counter() - start
    container, subtype = FORMATS[settings.format]
    held = io.BytesIO()
    soundfile.write(held, waveform.samples.T, waveform.sample_rate, format=container, subtype=subtype)
    return seconds / PROBE, len(held.getvalue()) / PROBE
