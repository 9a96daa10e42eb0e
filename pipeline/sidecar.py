"""The JSON beside every output: enough to explain a piece and to make it again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__

if TYPE_CHECKING:
    from ..composition.plan import MusicalPlan
    from .generation import Generation
    from .params import GenerationParams

__all__ = ["SIDECAR_VERSION", "dumps", "facts", "generation_facts", "parameters", "tags", "write_json"]

SIDECAR_VERSION = 1


def facts(
    *,
    kind: str,
    prompt: str,
    seed: int,
    plan: MusicalPlan | None,
    parameters: Mapping[str, Any],
    model: Mapping[str, Any] | None,
    timings: Mapping[str, float],
    provenance: Mapping[str, Any],
    audio: Mapping[str, Any],
) -> dict[str, Any]:
    """Collect what a sidecar says.

    Args:
        kind: "generated" if a network played, "composed" if the rules alone did.
        parameters: every resolved setting.
        model: name and sha256 of the network; None if none was used.
        timings: stage -> seconds.
        provenance: stage -> what made it ("rule", "sampled", a file and its hash, ...).
        audio: file name, sample_rate, channels and duration of the sound.

    `beats` holds the second of every beat where the tempo moves; None where beat n falls at n * 60 / tempo.
    """
    return {
        "sidecar_version": SIDECAR_VERSION,
        "kind": kind,
        "prompt": prompt,
        "seed": seed,
        "version": __version__,
        "model": dict(model) if model else None,
        "audio": dict(audio),
        "parameters": dict(parameters),
        "plan": json.loads(plan.to_json()) if plan is not None else None,
        "beats": _beats(plan),
        "provenance": dict(provenance),
        "timings": {name: round(value, 4) for name, value in timings.items()},
    }


def _beats(plan: MusicalPlan | None) -> list[float] | None:
    return None if plan is None or plan.tempo_map.is_steady else [round(second, 3) for second in plan.beat_times]


def generation_facts(generation: Generation, path: Path) -> dict[str, Any]:
    """The sidecar of a generated piece that is written to `path`."""
    waveform = generation.waveform
    return facts(
        kind="generated",
        prompt=generation.prompt,
        seed=generation.seed,
        plan=generation.plan,
        parameters=parameters(generation.params, generation.seed),
        model=generation.model,
        timings=generation.timings,
        provenance=generation.provenance,
        audio=audio_facts(path, waveform),
    )


def parameters(params: GenerationParams, seed: int) -> dict[str, Any]:
    """Every setting, and the seed of this one piece, so that they make it again by themselves."""
    return {**params.to_dict(), "seed": seed, "num_samples": 1}


def audio_facts(path: Path, waveform: Any) -> dict[str, Any]:
    """What the sidecar says of a Waveform that is written to `path`."""
    return {
        "file": path.name,
        "sample_rate": waveform.sample_rate,
        "channels": waveform.channels,
        "duration": waveform.duration,
    }


def tags(sidecar: Mapping[str, Any]) -> dict[str, str]:
    """Tags for inside the file, from the facts of its sidecar."""
    model = sidecar["model"]
    player = f"{model['name']} {model['sha256'][:12]}" if model else "rules and a SoundFont, no network"
    return {
        "title": sidecar["prompt"],
        "artist": "gen-audio",
        "software": f"gen-audio {sidecar['version']}",
        "comment": f"{sidecar['kind']} by {player}, seed {sidecar['seed']}",
    }


def dumps(sidecar: Mapping[str, Any]) -> str:
    """JSON text, readable, ending in a newline."""
    return json.dumps(sidecar, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(dumps(data), encoding="utf-8")
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
