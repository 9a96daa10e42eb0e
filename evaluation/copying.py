"""Whether a model repeats what it learnt from: the longest run of codes that stands in the training stream, too."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib import resources
from random import Random
from typing import Any

import numpy as np
import torch
import yaml

from ..composition.plan import MusicalPlan
from ..training.pool import draw_plan
from .hearing import Hearing, hear_sound
from .measure import Measure
from .originals import Originals
from .takes import Take

__all__ = ["Match", "Stream", "copy_measures", "learn_stream", "training_plans"]

SHORTEST = 8  # frames of a run that counts, 0.32 s at 25 Hz
CHANGES = 4  # of the code in a run that counts: a tone that is held is the same code in any music
LONGEST_ALLOWED = 4.0  # seconds
GROUP = "copying"
EMBEDDING = "msd_musicnn"


@dataclass(frozen=True)
class Match:
    """A run of equal codes: its length and where it begins, in frames."""

    frames: int = 0
    start: int = 0  # in the query
    where: str = ""  # which sequence of the stream
    there: int = 0  # in it


@dataclass
class Stream:
    """Sequences of first-level codes that queries are searched in.

    Args:
        silent: codes that silence has; they match nothing.
    """

    silent: frozenset[int] = frozenset()
    names: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    parts: list[np.ndarray] = field(default_factory=list)
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)  # piece -> mean embedding [D]

    def add(self, name: str, codes: np.ndarray) -> None:
        """Append codes [T] under a name."""
        self.starts.append(sum(map(len, self.parts)))
        self.names.append(name)
        gap = np.full(1, -1)
        self.parts.append(np.concatenate([self._audible(codes), gap]))

    def longest(self, codes: np.ndarray) -> Match:
        """The longest run of codes [T] that stands in the stream; an empty Match for none of SHORTEST frames.

        Runs in which the code changes less than CHANGES times are left out.
        """
        ours, theirs = self._audible(codes), np.concatenate(self.parts) if self.parts else np.zeros(0, int)
        if min(len(ours), len(theirs)) < SHORTEST:
            return Match()
        i, j = _equal_windows(ours, theirs)
        if not len(i):
            return Match()
        order = np.lexsort((i, j - i))
        i, j = i[order], j[order]
        breaks = np.flatnonzero((np.diff(j - i) != 0) | (np.diff(i) != 1)) + 1  # a run goes on along one diagonal
        first = np.concatenate(([0], breaks))
        lengths = np.diff(np.concatenate((first, [len(i)])))
        changed = np.concatenate(([0], np.cumsum(np.diff(ours) != 0)))  # changes before each frame
        changes = changed[i[first] + lengths + SHORTEST - 2] - changed[i[first]]
        lengths = np.where(changes < CHANGES, 0, lengths)
        best = int(lengths.argmax())
        if not lengths[best]:
            return Match()
        place = int(j[first[best]])
        number = bisect.bisect_right(self.starts, place) - 1
        return Match(
            int(lengths[best]) + SHORTEST - 1, int(i[first[best]]), self.names[number], place - self.starts[number]
        )

    def nearest(self, embedding: np.ndarray) -> tuple[float, str]:
        """Largest cosine similarity with a piece of the stream, and that piece."""
        found = {name: _cosine(embedding, other) for name, other in self.embeddings.items()}
        name = max(found, key=lambda piece: found[piece])
        return found[name], name

    def _audible(self, codes: np.ndarray) -> np.ndarray:
        """Codes with silence replaced by -1, which equals nothing."""
        codes = np.asarray(codes, np.int64)
        return np.where(np.isin(codes, [*self.silent]), -1, codes)


def _equal_windows(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (i, j) at which SHORTEST codes in a row are equal; windows with a -1 are left out."""
    rows, columns = (np.lib.stride_tricks.sliding_window_view(codes, SHORTEST) for codes in (ours, theirs))
    mixer = np.random.default_rng(0).integers(1, 2**63, SHORTEST, dtype=np.uint64) | np.uint64(1)
    a, b = ((windows.astype(np.uint64) * mixer).sum(1) for windows in (rows, columns))
    here, there = np.flatnonzero((rows >= 0).all(1)), np.flatnonzero((columns >= 0).all(1) & np.isin(b, a))
    here = here[np.argsort(a[here], kind="stable")]
    low, high = (np.searchsorted(a[here], b[there], side) for side in ("left", "right"))
    count = high - low
    j = np.repeat(there, count)
    offsets = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    i = here[np.repeat(low, count) + offsets]
    same = (rows[i] == columns[j]).all(1)
    return i[same], j[same]


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def training_plans(count: int) -> Iterator[tuple[str, MusicalPlan]]:
    """The first pieces of every shard of the training pool, from its seeds, as today's rules compose them."""
    text = resources.files("gen_audio.configs").joinpath("train_pool.yaml").read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(text)
    shards = range(1, int(config["hours"] * 60 / config["shard_minutes"]))  # shard 0 is held out
    draws = {shard: Random(f"{config['seed']}:{shard}") for shard in shards}
    for number in range(count):
        shard = shards[number % len(shards)]
        plan = draw_plan(draws[shard], tuple(config["piece_seconds"]))
        draws[shard].random()  # the pool's draw of whether it keeps the mix
        yield f"shard {shard}, piece {number // len(shards)}", plan


def learn_stream(originals: Originals, count: int, hearing: Hearing, progress: Callable[[int, int], object]) -> Stream:
    """Compose and encode `count` pieces of the training pool."""
    codec = originals.pipeline.codec
    with torch.inference_mode():
        silence = codec.encode(torch.zeros(1, codec.channels, codec.sample_rate, device=codec.device), 1)
    stream = Stream(frozenset(silence.unique().tolist()))
    heard: dict[str, Future[dict[str, Any]]] = {}
    for number, (name, plan) in enumerate(training_plans(count)):
        original = originals.compose(plan)
        if original is None:
            continue
        for role, codes in originals.encode(original).items():
            stream.add(f"{name}, {role}", codes[0])
        heard[name] = hearing.submit(hear_sound, original.waveform, "musicnn")
        progress(number + 1, count)
    found = {name: future.result().get(EMBEDDING) for name, future in heard.items()}
    stream.embeddings = {name: windows.mean(0) for name, windows in found.items() if windows is not None}
    return stream


def copy_measures(
    takes: Sequence[Take], stream: Stream | None, frame_rate: float, missing: str | None
) -> list[Measure]:
    """Rows of copies; the voice `codec` has the codes of the composed originals, which copy nothing either."""
    if stream is None:
        return [Measure(GROUP, "longest run that stands in training", missing=missing)]
    runs: dict[str, dict[str, float]] = {}
    longest = Match()
    for take in takes:
        for voice, roles in take.codes.items():
            best = max((stream.longest(codes[0]) for codes in roles.values()), key=lambda match: match.frames)
            runs.setdefault(voice, {})[take.item.name] = best.frames / frame_rate
            if voice == "model" and best.frames > longest.frames:
                longest, name = best, take.item.name
    said = _say(longest, name, frame_rate) if longest.frames else "no run of 8 codes"
    over = {v: {n: float(s > LONGEST_ALLOWED) for n, s in rows.items()} for v, rows in runs.items()}
    heard = f"{len(stream.names)} stems of training; level 1, silence and held tones left out"
    return [
        Measure(GROUP, "longest run that stands in training", runs, better=-1, unit="s", note=heard),
        Measure(GROUP, "pieces with a run above 4 s", over, better=-1, target=0.0, is_share=True, note=said),
        _nearest(takes, stream),
    ]


def _say(match: Match, name: str, rate: float) -> str:
    return (
        f"longest: {match.frames / rate:.2f} s of {name} from {match.start / rate:.1f} s, "
        f"as {match.where} from {match.there / rate:.1f} s"
    )


def _nearest(takes: Sequence[Take], stream: Stream) -> Measure:
    title = "likeness to the nearest training piece"
    if not stream.embeddings:
        return Measure(GROUP, title, missing="not measured: nothing embeds sounds here")
    items: dict[str, dict[str, float]] = {}
    for take in takes:
        for voice, facts in take.facts.items():
            if EMBEDDING in facts:
                items.setdefault(voice, {})[take.item.name] = stream.nearest(facts[EMBEDDING].mean(0))[0]
    return Measure(GROUP, title, items, better=-1, note=f"cosine of {EMBEDDING}, {len(stream.embeddings)} pieces")
