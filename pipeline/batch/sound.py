"""What becomes of a piece after the network: its level, its files and its record, and kept codes made sound again."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__
from ...audio import Waveform, limit
from ...composition.plan import MusicalPlan
from ...errors import AudioError, ConfigError
from ..generation import Generation
from ..params import GenerationParams
from . import kept_codes
from .items import Item

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from .settings import Settings

__all__ = ["OWN", "Finished", "decode", "encode", "finish", "level", "record"]

# Columns that the record has of its own; a carried column of such a name is called source_<name>.
OWN = (
    *("file_name", "id", "prompt", "seed", "duration", "sample_rate", "channels", "loudness_lufs", "style", "tempo"),
    *("key", "meter", "roles", "model", "model_sha256", "precision", "executor", "licence", "address", "codes_sha256"),
    *("parameters", "plan", "audio", "codes"),
)


@dataclass(frozen=True)
class Finished:
    """A piece as it will lie in the data set: nothing is left to do but to write it.

    Args:
        audio: a whole sound file.
        record: what the data set says of it; `file_name`, `address` and `codes_sha256` are added by the store.
        codes: a whole file of kept codes, or None.
        codes_sha256: of the codes, kept or not.
        facts: what the journal alone should keep.
    """

    audio: bytes
    record: Mapping[str, Any]
    codes: bytes | None
    codes_sha256: str
    facts: Mapping[str, Any]


def finish(item: Item, made: Generation, settings: Settings) -> Finished:
    """Set the level of a piece as it was decoded and mixed, encode it, and say what it is.

    Raises:
        AudioError: it holds infinities or NaN, or cannot be encoded.
    """
    loudness = item.given.get("loudness", GenerationParams.loudness)
    sound = level(made.waveform, loudness, settings.sample_rate)
    told = record(made, sound, name=item.id, loudness=loudness, carried=item.carried)
    codes = kept_codes.dump(made.codes, _facts(made, loudness)) if settings.keep_codes else None
    facts = {"seconds": round(sum(made.timings.values()), 3)}
    return Finished(encode(sound, settings.format, told), told, codes, kept_codes.hash_codes(made.codes), facts)


def encode(sound: Waveform, format: str, record: Mapping[str, Any]) -> bytes:
    """A sound file with tags that say what the record says."""
    tags = {"title": record["prompt"], "artist": "gen-audio", "software": f"gen-audio {__version__}"}
    return sound.encode(format, {**tags, "comment": f"seed {record['seed']}"})


def _facts(made: Generation, loudness: float | str) -> dict[str, Any]:
    """What kept codes need to be heard again."""
    return {
        "prompt": made.prompt,
        "seed": made.seed,
        "model": made.model["name"],
        "model_sha256": made.model["sha256"],
        "sample_rate": made.waveform.sample_rate,
        "num_audio_samples": made.waveform.samples.shape[1],
        "loudness": loudness,
        "plan": made.plan.to_dict() if made.plan else None,
        "tells_notes": made.params.tells_notes,
        "silent": made.params.silent_roles(made.plan.instruments) if made.plan else [],
    }


def level(waveform: Waveform, loudness: float | str, sample_rate: int | None) -> Waveform:
    """Bring a piece as it was decoded and mixed to its rate and level.

    Raises:
        AudioError: it holds infinities or NaN.
    """
    if not np.isfinite(waveform.samples).all():
        raise AudioError("the samples hold infinities or NaN, which no file can hold.")
    sound = waveform.resample(sample_rate or waveform.sample_rate).normalise(loudness)
    if sound.peak > 1.0:  # by resampling, or as the codec left it
        sound = Waveform(limit(sound.samples, sound.sample_rate), sound.sample_rate)
    return sound


def record(
    generation: Generation, sound: Waveform, *, name: str, loudness: float | str, carried: Mapping[str, Any]
) -> dict[str, Any]:
    """What the data set says of a piece: flat, without times of day or of work, so that two runs say the same."""
    plan, model, measured = generation.plan, generation.model, sound.loudness()
    params = dataclasses.replace(generation.params, loudness=loudness, num_samples=1)
    return {
        "id": name,
        "prompt": generation.prompt,
        "seed": generation.seed,
        "duration": sound.duration,
        "sample_rate": sound.sample_rate,
        "channels": sound.channels,
        "loudness_lufs": round(measured, 2) if math.isfinite(measured) else None,
        "style": plan.style if plan else None,
        "tempo": float(plan.tempo) if plan else None,
        "key": plan.key if plan else None,
        "meter": plan.meter if plan else None,
        "roles": ", ".join(generation.codes),
        "model": model["name"],
        "model_sha256": model["sha256"],
        "precision": model.get("precision", ""),
        "executor": model.get("executor", ""),
        "licence": model.get("licence", ""),
        "parameters": json.dumps(params.to_dict(), ensure_ascii=False),
        "plan": json.dumps(plan.to_dict(), ensure_ascii=False) if plan else None,
        **{f"source_{key}" if key in OWN else key: value for key, value in carried.items()},
    }


def decode(
    pipeline: Pipeline, codes: Mapping[str, np.ndarray], facts: Mapping[str, Any], levels: int | None
) -> tuple[Waveform, MusicalPlan | None]:
    """Turn kept codes into sound again, before its level is set; the transformer is not asked.

    Args:
        pipeline: the model that wrote the codes.
        codes: role -> [K, T].
        facts: of the kept codes.
        levels: codebooks to use, coarse ones first; None for all.

    Raises:
        ConfigError: another model, or more levels than were kept.
    """
    import torch

    from ...composition.arranger import arrange

    if facts["model_sha256"] != pipeline.sha256:
        raise ConfigError(
            f"the codes were played by weights {str(facts['model_sha256'])[:12]}, but {pipeline.name} has "
            f"{pipeline.sha256[:12]}. Give their own --model."
        )
    sides = 1 if pipeline.has_stems else pipeline.parts.channels  # type: ignore[attr-defined]  # take turns in K
    kept = min(len(rows) for rows in codes.values()) // sides
    if levels is not None and not 1 <= levels <= kept:
        raise ConfigError(f"{levels} levels were asked of codes that have {kept}. Use 1 to {kept}.")
    rows = {role: torch.from_numpy(values[: (levels or kept) * sides]) for role, values in codes.items()}
    plan = MusicalPlan.from_dict(facts["plan"]) if facts["plan"] else None
    if pipeline.has_stems and plan is not None:
        score = arrange(plan).without(facts.get("silent", ()))  # older codes name none
        told = score if facts.get("tells_notes", True) else None
        return pipeline.mix(pipeline.decode(rows, plan.duration, told), score, plan), plan
    mixed = pipeline.decode_mix(rows["mix"][None])  # type: ignore[attr-defined]  # of MusicGen
    return Waveform(mixed[:, : facts["num_audio_samples"]], pipeline.sample_rate), plan
