"""A piece that may change while it plays: parts that begin at bar lines, and one row of codes that goes on.

frame      0 ........... 96 ............ 250
parts      lofi, 80 BPM   | faster, 96 BPM      a change at frame 70 begins a part at the next bar line
codes      ------------------------------->     the network hears all that it played
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..codecs.base import Sounding
from ..composition.arranger import arrange
from ..composition.effect_choice import read_effects
from ..composition.manner import style_of
from ..composition.plan import MusicalPlan
from ..composition.revision import Wishes, next_bar, read_wishes, revise
from ..composition.score import ROLES, Score
from ..errors import ConfigError
from .executors.base import Choosing
from .fuse import Fused
from .generate import Piece, play
from .guidance import Guidance
from .mixer import Scene
from .noise import GumbelNoise
from .params import RUNGS, GenerationParams, check_prompt
from .patterns.parallel import Parallel
from .perform import Conditions
from .sounding import sounding

if TYPE_CHECKING:
    from .pipeline import Pipeline

__all__ = ["Live", "Part"]

CHANGEABLE = tuple(field.name for field in fields(Wishes) if field.name not in ("pace", "only", "effects"))


@dataclass(frozen=True)
class Part:
    """What is played from a frame on, until another part begins."""

    first: int  # frame of the piece
    prompt: str  # what the network hears
    text: Tensor  # [1, E], its embedding
    plan: MusicalPlan  # of the rest of the piece
    score: Score
    roles: tuple[str, ...]  # who plays
    base: str  # the words in it that a change adds to
    said: str | None = None  # what was asked for, if it was said in words


class Live:
    """One piece of a pipeline while it is made. `change` may be called from another thread.

    Args:
        pipeline: who plays.
        part: what is played first.
        params, seed: as for `Pipeline.perform`; of the music in them, only the first part is made.
    """

    def __init__(self, pipeline: Pipeline, part: Part, params: GenerationParams, seed: int) -> None:
        self.pipeline, self.params, self.seed = pipeline, params, seed
        self.parts = [part]
        self.rate = pipeline.codec.frame_rate
        self.duration = part.plan.duration
        self.num_frames = pipeline.decoder.num_frames(self.duration)
        self.reached = 0  # the last frame whose part is settled
        self.lock = threading.Lock()

    def change(self, prompt: str | None = None, plan: MusicalPlan | None = None, **wishes: Any) -> float:
        """Play something else from the next bar line on.

        Args:
            prompt: what shall be different, in words ("faster, with drums"), or another style.
            plan: what to play from then on; its bars must fit into the rest.
            wishes: of tempo, key, meter, style, mood, chords, sections, instruments, without, rubato and ritardando, as
                for `generate`.

        Returns:
            The second of the piece from which it holds. What was made before it stays as it is.

        Raises:
            ConfigError: a wish that cannot be met, or no bar begins any more; then the music goes on unchanged.
        """
        wish = _wish(prompt, plan, wishes)
        if self.params.effects is not None:  # said when the stream began
            wish = replace(wish, effects=read_effects(self.params.effects))
        now = self.parts[-1]
        base = prompt if prompt is not None and wish.style else now.base
        heard = now.prompt if prompt is None else prompt if wish.style else f"{base}, {prompt}"
        text = now.text if prompt is None else self.pipeline.embed(heard)
        with self.lock:
            before, first, start = self._next_line()
            rest = self.duration - first / self.rate
            playing = replace(before.plan, instruments={role: before.plan.instruments[role] for role in before.roles})
            new = _fitted(plan, rest) if plan is not None else revise(playing, start, wish, rest)
            score = arrange(new)
            part = Part(first, heard, text, new, score, tuple(track.role for track in score.tracks), base, prompt)
            self.parts = [each for each in self.parts if each.first < first] + [part]
        return first / self.rate

    def _next_line(self) -> tuple[Part, int, float]:
        """The part to be changed, the frame at which the change begins, and which second of that part it is."""
        part = self.parts[-1]
        if part.first > self.reached:  # it was asked for and has not begun: the two changes become one
            return part, part.first, 0.0
        line = next_bar(part.plan, (self.reached + 0.5 - part.first) / self.rate)
        if line is None:
            raise ConfigError(
                f"{self.reached / self.rate:.1f} of {self.duration:.1f} s are made and no further bar begins, so "
                "nothing can change any more. Begin a new stream."
            )
        return part, part.first + round(line * self.rate), line

    def settle(self, frame: int) -> Part:
        """The part that a frame belongs to, which no change will alter from now on."""
        with self.lock:
            self.reached = frame
            return self.part_at(frame)

    def part_at(self, frame: int) -> Part:
        """The part that a frame belongs to as far as is known."""
        return next(part for part in reversed(self.parts) if part.first <= frame)

    def columns(self) -> Iterator[Tensor]:
        """Play frame by frame: codes [R, K] with a row for every role; of those that do not play, special ids."""
        player = self.pipeline.executor
        rows: list[str] = []
        past: deque[Tensor] = deque(maxlen=self.pipeline.performer.lm.window)
        frame = 0
        while frame < self.num_frames:
            wanted = {*rows, *self.settle(frame).roles}
            rows = [role for role in ROLES if role in wanted or not player.rows_apart]
            places = [ROLES.index(role) for role in rows]
            for column in self._play(rows, frame, past):
                past.append(
                    torch.full((len(ROLES), player.n_q), player.special_token_id).index_put(
                        (torch.tensor(places),), column
                    )
                )
                yield past[-1]
                frame += 1
                if frame < self.num_frames and not {*self.settle(frame).roles} <= {*rows}:
                    break

    def _play(self, rows: list[str], frame: int, past: deque[Tensor]) -> Iterator[Tensor]:
        """Play some rows from a frame on: [rows, K]. They hear what was played before; those that are new, silence."""
        player, params = self.pipeline.executor, self.params
        start, places = frame - len(past), [ROLES.index(role) for role in rows]
        scale = 1.0 if params.guidance_scale is None else params.guidance_scale
        guidance = Guidance(scale, params.plan_guidance)
        told = _Told(self, rows, guidance.passes)
        seeds = [dict(params.role_seeds).get(role, self.seed) for role in rows]
        noise = GumbelNoise(seeds, places, n_q=player.n_q, card=player.card, first_step=start)
        piece = Piece(
            player,
            Parallel(n_q=player.n_q, special_token_id=player.special_token_id),
            Fused(len(rows), len(guidance.passes), lambda step: told(step + start)),
            Choosing(self.pipeline.sampler(params), guidance, noise),
            num_frames=self.num_frames - start,
            told=torch.stack(list(past), -1)[places] if past else None,
        )
        return play(piece)

    def joined(self) -> dict[int, int]:
        """Row -> the frame in which it first plays."""
        return {ROLES.index(role): part.first for part in reversed(self.parts) for role in part.roles}

    def told(self, rows: Sequence[int], first: int) -> Sounding | None:
        """What the decoder may let rows sound that join in a frame: what the notes explain, if any are told."""
        if not self.params.tells_notes:
            return None
        roles = [ROLES[row] for row in rows]
        return sounding(self.pipeline.codec, roles, lambda: [(part.first, part.score) for part in self.parts], first)

    def scenes(self) -> list[Scene]:
        """How the rows are mixed, part after part."""
        return [self._scene(part) for part in self.parts]

    def _scene(self, part: Part) -> Scene:
        tracks = {ROLES.index(track.role): track for track in part.score.tracks if track.role in part.roles}
        effects = dict(style_of(part.plan).effects)
        if "ends_at" in effects:  # counted from where its plan begins
            effects["ends_at"] += part.first / self.rate
        return Scene(round(part.first / self.rate * self.pipeline.sample_rate), tracks, effects, part.plan.seed)

    def changes(self) -> list[dict[str, Any]]:
        """For the sidecar: from which second what was played, and why."""
        return [
            {"second": part.first / self.rate, "prompt": part.said, "plan": json.loads(part.plan.to_json())}
            for part in self.parts[1:]
        ]


class _Told:
    """Condition vectors [M, D] of a frame, of the part that it belongs to."""

    def __init__(self, live: Live, rows: list[str], passes: tuple[str, ...]) -> None:
        self.live, self.rows, self.passes = live, rows, passes
        self.part: Part | None = None

    def __call__(self, frame: int) -> Tensor:
        part = self.live.part_at(frame)
        if part is not self.part:
            self.part, live = part, self.live
            self.conditions = Conditions(
                live.pipeline.performer,
                part.score,
                part.plan,
                part.text,
                part.roles,
                self.rows,
                self.passes,
                RUNGS[live.params.rung],
                live.rate,
                begin=part.first,
                total=live.duration,
            )
        return self.conditions(frame - part.first)


def _wish(prompt: str | None, plan: MusicalPlan | None, wishes: Mapping[str, Any]) -> Wishes:
    """Check what a caller asks for; of what is said in words and by name, the name counts."""
    given = {name: value for name, value in wishes.items() if value is not None}
    for name in given:
        if name not in CHANGEABLE:
            raise ConfigError(
                f"{name} cannot change while a piece plays. What can: a prompt, plan, {', '.join(CHANGEABLE)}."
            )
    if prompt is None and plan is None and not given:
        raise ConfigError("nothing was asked for. Give a prompt, a plan, or one of " + ", ".join(CHANGEABLE) + ".")
    if plan is not None and given:
        raise ConfigError(f"a plan was given, and {', '.join(given)}, which the plan says. Give one of them.")
    GenerationParams(**given)  # which refuses names and numbers that there are not
    return replace(read_wishes(check_prompt(prompt)) if prompt is not None else Wishes(), **given)


def _fitted(plan: MusicalPlan, rest: float) -> MusicalPlan:
    """The plan, its last chord ringing until the end of the piece."""
    music = plan.second_of_bar(plan.num_bars)
    if music > rest + 1e-6:
        raise ConfigError(
            f"the plan's {plan.num_bars} bars last {music:.1f} s, but {rest:.1f} s are left from the next bar on. "
            "Take bars away."
        )
    return replace(plan, duration=rest, fade_out=min(plan.fade_out, rest))
