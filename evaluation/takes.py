"""Play every item of a protocol and hear it: three voices of each, the model, the composed original, and its codec.

Sounds are heard one by one and dropped, so memory holds facts alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from ..audio import Waveform
from ..composition.plan import MusicalPlan
from ..pipeline.composing import make_plan
from ..pipeline.generation import Generation
from ..pipeline.params import resolve_params
from ..pipeline.pipeline import Pipeline
from .hearing import Hearing, compare_sounds, hear_long, hear_sound
from .originals import LOUDNESS, Original, Originals, opus
from .protocol import Item, Size
from .reconstruction import log_mel_distance

__all__ = ["JUDGES", "Take", "play_all"]

EVERYONE = ("librosa_timbre", "musicnn")
JUDGES = {  # kind of item -> who hears it; a long one is heard in windows
    "stated": ("librosa_beats", "basic_pitch", "outside", *EVERYONE),
    "free": EVERYONE,
    "noise": EVERYONE,
    "repeat": ("musicnn",),
}
UNANCHORED = ("noise",)  # kinds that need no original
FINE = 0.85  # of `opus`: about 45 kbit/s, at which a judge that changes its mind does so by itself
AHEAD = 6  # takes that may wait for their judges while the model plays on


@dataclass
class Take:
    """One item as it was played, and what was heard in each voice."""

    item: Item
    plan: MusicalPlan | None  # None: the model wrote none
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)  # voice -> facts
    codes: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # voice -> role -> [K, T]
    codec: dict[str, float] = field(default_factory=dict)  # scores of the original's round trip
    again: dict[str, dict[str, Any]] = field(default_factory=dict)  # facts of it: with "all" levels, as "fine" Opus


@dataclass
class _Waiting:
    """A take whose judges have not all answered."""

    take: Take
    facts: dict[str, Future[dict[str, Any]]]
    codec: dict[str, Future[float | None]]
    again: dict[str, Future[dict[str, Any]]]

    def answered(self) -> Take:
        self.take.facts = {voice: future.result() for voice, future in self.facts.items()}
        self.take.again = {coding: future.result() for coding, future in self.again.items()}
        scores = {name: future.result() for name, future in self.codec.items()}
        self.take.codec |= {name: score for name, score in scores.items() if score is not None}
        return self.take


def play_all(
    pipeline: Pipeline,
    items: Iterable[Item],
    size: Size,
    hearing: Hearing,
    originals: Originals | None,
    keep: Path | None = None,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Take]:
    """Play and hear items in order; those that the model cannot be asked are left out.

    Args:
        originals: None where no SoundFont is: then the anchors are missing.
        keep: folder for the sounds, as name-voice.wav; None keeps none.
        told: settings of `generate` for every item.
    """
    waiting: deque[_Waiting] = deque()
    coded = 0
    for item in items:
        if item.chords and not pipeline.has_stems:
            continue  # chords are given beside the words, and this model hears words alone
        made = _play(pipeline, item, told)
        now = _Waiting(Take(item, made.plan), {}, {}, {})
        now.take.codes["model"] = {role: codes.cpu().numpy() for role, codes in made.codes.items()}
        voices = {"model": made.waveform}
        original = originals.compose(_plan(item, made)) if originals and item.kind not in UNANCHORED else None
        if original is not None and originals is not None:
            voices["composed"] = original.waveform
            voices["codec"], now.take.codes["codec"] = originals.through_codec(original, told=made.params.tells_notes)
            if item.kind == "stated" and coded < size.codec:
                coded += 1
                _score_codec(now, originals, original, voices["codec"], hearing)
        for voice, waveform in voices.items():
            now.facts[voice] = _hear(hearing, now.take, waveform)
            if keep is not None:
                waveform.save(keep / f"{item.name}-{voice}.wav")
        waiting.append(now)
        if len(waiting) > AHEAD:
            yield waiting.popleft().answered()
    for rest in waiting:
        yield rest.answered()


def _play(pipeline: Pipeline, item: Item, told: Mapping[str, Any]) -> Generation:
    wishes: dict[str, Any] = {**told, "chords": item.chords} if item.chords else dict(told)
    made = pipeline.generate(item.prompt, duration=item.seconds, seed=item.seed, loudness=LOUDNESS, **wishes)
    assert isinstance(made, Generation)
    return made


def _plan(item: Item, made: Generation) -> MusicalPlan:
    """The plan that the model followed, or for one that follows none, what the rules write for the same words."""
    if made.plan is not None:
        return made.plan
    return make_plan(item.prompt, resolve_params(item.prompt, duration=item.seconds, seed=item.seed))


def _hear(hearing: Hearing, take: Take, waveform: Waveform) -> Future[dict[str, Any]]:
    if take.item.kind == "long":
        return hearing.submit(hear_long, waveform, take.plan)
    return hearing.submit(hear_sound, waveform, *JUDGES[take.item.kind])


def _score_codec(now: _Waiting, originals: Originals, original: Original, played: Waveform, hearing: Hearing) -> None:
    """Distances of the round trip, as it is played and by the codec alone, beside Opus; what is heard of it."""
    whole, _ = originals.through_codec(original, originals.pipeline.codec.n_q, told=False)
    rival, now.take.codec["opus_kbps"] = opus(original.waveform)
    for name, sound in (("played", played), ("all", whole), ("opus", rival)):
        now.take.codec[f"mel_{name}"] = _log_mel(original.waveform, sound)
        now.codec[f"visqol_{name}"] = hearing.submit(compare_sounds, "visqol", original.waveform, sound)
    fine, now.take.codec["fine_kbps"] = opus(original.waveform, FINE)
    now.again = {name: _hear(hearing, now.take, sound) for name, sound in (("all", whole), ("fine", fine))}


def _log_mel(original: Waveform, other: Waveform) -> float:
    one, two = original.mono(), other.mono().resample(original.sample_rate)
    length = min(one.samples.shape[1], two.samples.shape[1])
    before, after = (torch.from_numpy(sound.samples[0, :length].copy()) for sound in (one, two))
    return log_mel_distance(before, after, one.sample_rate)
