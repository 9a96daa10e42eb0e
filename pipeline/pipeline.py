"""Text to music, the whole story: understand, compose, perform, decode, mix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..audio import Waveform
from ..codecs.base import Codec
from ..composition.arranger import arrange
from ..composition.plan import MusicalPlan
from ..composition.planner import plan_music
from ..composition.score import MIX, Score, Track
from ..conditioning.attributes import AttributeHeads
from ..errors import ConfigError
from . import sidecar, streaming
from .agreement import heed_negative
from .decoder import Decoder
from .executors.base import Executor
from .generation import Clock, Generation, provenance
from .guidance import Guidance
from .highs import Highs
from .live import Live, Part
from .mixer import HEADROOM, mix_plan, mix_stream, place, whole_band
from .params import RUNGS, GenerationParams, check_prompt, resolve_params
from .perform import Performance, begin
from .performer import Performer
from .samplers.base import Sampler, SamplingParams, build_sampler
from .streaming import SoundStream
from .threads import at_most
from .together import Begun, Request, play_requests, report_of
from .understand import understand

__all__ = ["Pipeline", "Progress"]

Progress = Callable[[int, int], Any]  # frames done, frames in all


class Pipeline:
    """A loaded model: words in, music out.

    Args:
        config: the model's resolved configuration.
        codec, performer, heads: its parts, in eval mode.
        name: which weights these are.
        executor: what runs the performer's language model.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        codec: Codec,
        performer: Performer,
        heads: AttributeHeads,
        *,
        name: str,
        executor: Executor,
    ) -> None:
        self.config, self.codec, self.performer, self.heads = config, codec, performer, heads
        self.name, self.sha256, self.executor = name, str(config.get("sha256", "")), executor
        self.decoder = Decoder(codec, Highs(config["highs"]) if "highs" in config else None)

    has_stems = True  # whether it plays role by role

    @property
    def precision(self) -> str:
        """Of the transformer's matrices: fp32, bf16, int8 or int4."""
        return self.executor.precision

    @property
    def sample_rate(self) -> int:
        """Hz of everything this model makes."""
        return self.decoder.sample_rate

    def generate(
        self, prompt: str | Sequence[str], *, progress: Progress | None = None, **params: Any
    ) -> Generation | list[Generation]:
        """Make music for one prompt or several.

        Args:
            prompt: what to play, in words.
            progress: called with (frames done, frames in all).
            params: fields of GenerationParams, such as duration=10, seed=7, tempo=84, key="A minor".

        Returns:
            One Generation for one prompt and num_samples=1; else a list, prompt after prompt.

        Raises:
            ConfigError: an empty prompt, an unknown name, a value out of range, or wishes that contradict each other.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if not prompts:
            raise ConfigError("the list of prompts is empty. Give at least one.")
        requests: list[Request] = []
        for text in map(check_prompt, prompts):
            settled = self.settle(text, params)
            requests += [Request(text, settled, seed, len(requests) + i) for i, seed in enumerate(settled.seeds)]
        done: dict[int, Generation] = {}
        report = report_of(progress, len(requests)) if progress else None
        for request, made in play_requests(self, requests, self.executor.slots, report):
            if isinstance(made, Exception):
                raise made
            done[request.tag] = made
        return done[0] if isinstance(prompt, str) and len(done) == 1 else [done[i] for i in range(len(done))]

    def settle(self, prompt: str, params: dict[str, Any]) -> GenerationParams:
        """Check wishes and settle them against what the prompt says.

        Raises:
            ConfigError: wishes that are out of range, contradict each other, or that this model cannot obey.
        """
        for name in ("melody", "continue_from"):
            if params.get(name) is not None:
                raise ConfigError(
                    f"{self.name} cannot be told {name}: it plays from words and a plan. Use a MusicGen model."
                )
        settled = resolve_params(prompt, **params)
        if settled.as_mix and not self.config.get("roles", {}).get("mix"):
            raise ConfigError(f"{self.name} never learnt to play a whole mix, only stems. Leave as_mix out.")
        heed_negative(settled)
        own = float(self.config.get("sampling", {}).get("guidance_scale", 1.0))
        scale = own if settled.guidance_scale is None else settled.guidance_scale
        return replace(settled, guidance_scale=scale)

    def begin(self, prompt: str, params: GenerationParams, seed: int) -> Begun:
        """Understand and compose a piece, and make ready to play it; `params` are settled."""
        clock = Clock()
        text = self.embed(prompt)
        plan, heard = self.compose(prompt, text, params, seed)
        score = arrange(plan)
        piece = self.perform(score, plan, text, params, seed)
        played = score.without(params.silent_roles(plan.instruments))
        clock.stop("compose")

        def finish(codes: Tensor) -> Generation:
            clock.stop("perform")
            rows = dict(zip([MIX] if params.as_mix else self.roles(score, params), codes, strict=True))
            stems = self.decode(rows, plan.duration, score if params.tells_notes else None)
            clock.stop("decode")
            waveform = self.mix(stems, played, plan).normalise(params.loudness)
            placed = {t.role: self.place(stems.pop(t.role), t) for t in self._tracks(stems, played)}
            clock.stop("mix")
            return Generation(
                prompt=prompt,
                waveform=waveform,
                codes=rows,
                stems=placed,
                seed=seed,
                plan=plan,
                params=params,
                timings=clock.seconds,
                model=self.facts,
                provenance=self._provenance(params, heard),
            )

        return Begun(piece, piece.num_frames, finish)

    @property
    def facts(self) -> dict[str, str]:
        """Which weights these are, for the sidecar."""
        licence = str(self.config.get("licence", ""))
        played = {"precision": self.precision, "executor": self.executor.name, "device": str(self.executor.device)}
        return {"name": self.name, "sha256": self.sha256, **played, "licence": licence}

    def _provenance(self, params: GenerationParams, heard: dict[str, Any]) -> dict[str, Any]:
        """Stage -> what made it."""
        tuned = ", tones that no note explains turned down" if params.tells_notes and self.codec.tones else ""
        told = [name for name in self.performer.conditioners if name not in RUNGS[params.rung]]
        return {
            "understand": heard,
            "compose": "gen_audio.composition, rules and dice; see plan.decisions",
            "perform": f"{self.name}, {self.performer.lm.n_q} of {self.codec.n_q} levels, conditions: "
            + ", ".join(told),
            "decode": f"{self.name} codec, {self.codec.sample_rate} Hz{tuned}",
            **({"highs": f"copied from below, to {self.sample_rate} Hz"} if self.decoder.highs else {}),
            "software": provenance(),
        }

    def embed(self, prompt: str) -> Tensor:
        """Embed a prompt as [1, E]; on one thread, so that a seed plays the same codes on any number of them."""
        with at_most(1):
            embedding: Tensor = self.performer.conditioners["minilm"].encode([prompt])
        return embedding

    def compose(
        self, prompt: str, text: Tensor, params: GenerationParams, seed: int
    ) -> tuple[MusicalPlan, dict[str, Any]]:
        """Write the plan that a prompt and the user's wishes ask for, and say how the prompt was understood."""
        if params.plan is not None:
            return params.plan, {"plan": "given by the user"}
        attributes, constraints, heard = understand(prompt, text, self.heads, params, seed)
        return plan_music(attributes, constraints), heard

    def roles(self, score: Score, params: GenerationParams) -> list[str]:
        """The roles of a score that are wanted.

        Raises:
            ConfigError: none is left.
        """
        roles = [track.role for track in score.tracks if not params.is_silent(track.role, track.program)]
        if not roles:
            raise ConfigError("no role is left to play. Take one role out of `without`, or change the plan.")
        return roles

    def perform(
        self, score: Score, plan: MusicalPlan, text: Tensor, params: GenerationParams, seed: int
    ) -> Performance:
        """Make ready to let the network play a score, a row for each of `roles`."""
        roles = self.roles(score, params)
        return begin(
            self.executor,
            self.performer,
            score,
            plan,
            text,
            roles=roles,
            seeds={role: dict(params.role_seeds).get(role, seed) for role in (*roles, MIX)},
            sampler=self.sampler(params),
            guidance=Guidance(1.0 if params.guidance_scale is None else params.guidance_scale, params.plan_guidance),
            num_frames=self.decoder.num_frames(plan.duration),
            frame_rate=self.codec.frame_rate,
            untold=RUNGS[params.rung],
            as_mix=params.as_mix,
        )

    def stream(self, prompt: str, **params: Any) -> SoundStream:
        """Make one piece and hand it out while it is made.

        Args:
            prompt, params: as for `generate`; loudness must be "none", which it is if nothing is said.

        Returns:
            What to iterate over: Waveforms that join into what `generate` makes with loudness="none".

        Raises:
            ConfigError: as `generate`, or a setting that needs the whole piece.
        """
        settled = self.settle(check_prompt(prompt), streaming.check(params))
        return self._stream_one(prompt.strip(), settled, settled.seeds[0])

    def _stream_one(self, prompt: str, params: GenerationParams, seed: int) -> SoundStream:
        text = self.embed(prompt)
        plan, heard = self.compose(prompt, text, params, seed)
        score = arrange(plan)
        live = Live(self, Part(0, prompt, text, plan, score, tuple(self.roles(score, params)), prompt), params, seed)
        length = round(plan.duration * self.sample_rate)
        blocks = streaming.in_blocks(live.columns(), self.codec.context)
        rows = streaming.cut(self.decoder.stream(blocks, live.joined, live.told), length)
        sound = mix_stream(rows, live.scenes, sample_rate=self.sample_rate)

        def facts() -> dict[str, Any]:
            said = {"prompt": prompt, "plan": plan, "parameters": sidecar.parameters(params, seed)}
            provenance = self._provenance(params, heard)
            changes = {"changes": live.changes()} if live.changes() else {}
            return said | {"model": self.facts, "provenance": provenance | changes}

        return SoundStream(sound, self.sample_rate, 2, length, seed, facts, live.change)

    def sampler(self, params: GenerationParams) -> Sampler:
        """Combine the model's own temperature of each level with what the user asked for."""
        own = self.config.get("sampling", {})
        levels = tuple(params.temperature * t for t in own.get("level_temperature", [1.0]))
        greedy = params.temperature == 0
        rules = (params.top_k, params.top_p, params.min_p)
        default_top_p = own.get("top_p", 1.0) if rules == (None, None, None) and not greedy else 1.0
        return build_sampler(
            SamplingParams(
                temperature=levels,
                top_k=params.top_k or 0,
                top_p=params.top_p or default_top_p,
                min_p=params.min_p or 0.0,
            )
        )

    def decode(self, codes: Mapping[str, Tensor], duration: float, score: Score | None = None) -> dict[str, Waveform]:
        """Turn codes into stems of round(duration * sample_rate) samples; `score`: the notes that were told, if any."""
        return self.decoder.decode(codes, duration, score)

    def _tracks(self, stems: Mapping[str, Waveform], score: Score) -> list[Track]:
        return [whole_band(score.tracks)] if MIX in stems else [t for t in score.tracks if t.role in stems]

    def place(self, stem: Waveform, track: Track) -> Waveform:
        """Put a stem where it stands in the mix; all stems so placed sum to the mix before effects and loudness."""
        return Waveform(place(stem.samples, track) * HEADROOM, self.sample_rate)

    def mix(self, stems: Mapping[str, Waveform], score: Score, plan: MusicalPlan) -> Waveform:
        """Mix stems, or one row that played all tracks of the score, to stereo with the plan's effects."""
        sounds, tracks = {role: stem.samples for role, stem in stems.items()}, self._tracks(stems, score)
        return Waveform(mix_plan(plan, sounds, tracks, sample_rate=self.sample_rate), self.sample_rate)
