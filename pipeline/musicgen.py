"""Words to music by MusicGen's public weights, through our own loop: one mix, no stems and, but for melody, no plan."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio import Waveform
from ..composition.arranger import arrange
from ..composition.plan import MusicalPlan
from ..composition.score import MIX
from ..conditioning.base import Condition
from ..errors import AudioError, ConfigError
from . import checkpoint, sidecar
from .executors.base import Choosing, Executor
from .fuse import Fused
from .generate import play
from .generation import Clock, Generation, provenance
from .guidance import Guidance
from .long_form import LongPiece
from .musicgen_checkpoint import MusicGenParts
from .musicgen_told import Chroma, Words, fuse, read_words
from .noise import GumbelNoise
from .params import GenerationParams, resolve_params
from .patterns.delay import Delay
from .pipeline import Pipeline
from .samplers.base import SamplingParams, build_sampler
from .streaming import SoundStream, in_blocks
from .together import Begun

__all__ = ["MusicGen"]

logger = logging.getLogger(__name__)
WINDOW, STRIDE = 30.0, 18.0  # seconds that the model hears at once, and from one window's start to the next
PLAYING = (
    "negative_prompt",
    "duration",
    "seed",
    "num_samples",
    "guidance_scale",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "loudness",
)
# What a melody model can be given.
PLANNING = ("plan", "chords", "tempo", "key", "meter", "style", "sections", "bars", "rubato", "ritardando")


class MusicGen(Pipeline):
    """A loaded MusicGen: `generate` as for every pipeline.

    It hears words, and a melody if it is a melody model. What it cannot hear is refused.

    Args:
        parts: its modules.
        name: folder or hub id.
        licence: of the weights.
        executor: what runs its transformer.
        revision: of a model of the hub.
    """

    has_stems = False

    def __init__(
        self, parts: MusicGenParts, *, name: str, licence: str, executor: Executor, revision: str = ""
    ) -> None:
        self.config = {"sampling": parts.settings["sampling"], "licence": licence}
        self.codec, self.parts, self.executor = parts.codec, parts, executor
        self.name, self.revision = name, revision
        delays = [level // parts.channels for level in range(parts.lm.n_q)]
        self.pattern = Delay(n_q=parts.lm.n_q, special_token_id=parts.lm.special_token_id, delays=delays)

    def settle(self, prompt: str, params: dict[str, Any]) -> GenerationParams:
        """Check wishes; every word of the prompt is left to the model.

        Raises:
            ConfigError: one that this model cannot hear.
        """
        known = [*PLAYING, "cfg_coef", "continue_from"]
        if self.parts.melody is not None:
            known += ["melody", *PLANNING]
        for name, value in params.items():
            if value is not None and name not in known:
                raise ConfigError(
                    f"{self.name} cannot be told {name}: it hears {self._hears}. "
                    "Say it in the prompt, or use a model that plays from a plan, such as etude."
                )
        settled = resolve_params(None, **params)
        own = self.config["sampling"]
        scale = own["guidance_scale"] if settled.guidance_scale is None else settled.guidance_scale
        if settled.negative_prompt is not None and scale == 1:
            raise ConfigError(
                "guidance_scale is 1, which is off, and a negative prompt is what guidance pulls away from. Raise it, "
                "or leave the negative prompt out."
            )
        if settled.melody is not None and any(params.get(name) is not None for name in PLANNING):
            raise ConfigError("a melody was given, and a plan or chords to make one from. Give one of them.")
        rules = (settled.top_k, settled.top_p, settled.min_p)
        return dataclasses.replace(
            settled,
            guidance_scale=scale,
            top_k=own["top_k"] if rules == (None, None, None) and settled.temperature else settled.top_k,
        )

    @property
    def sample_rate(self) -> int:
        return self.codec.sample_rate

    @property
    def _hears(self) -> str:
        return "words alone" if self.parts.melody is None else "words and a melody"

    def begin(self, prompt: str, params: GenerationParams, seed: int) -> Begun:
        """Read the prompt and what else the model is told, and make ready to play; `params` are settled."""
        clock = Clock()
        words = self._told(prompt, params)
        plan = self._plan(prompt, params, seed)
        chroma, heard = self._melody(params, plan)
        duration = plan.duration if plan is not None else params.duration or 0.0
        piece = self._piece(words, chroma, self._given(params, duration), duration, params, seed)
        clock.stop("compose")

        def finish(codes: Tensor) -> Generation:  # [1, K, T]
            clock.stop("perform")
            audio = self.decode_mix(codes)[:, : round(duration * self.sample_rate)]
            clock.stop("decode")
            waveform = Waveform(audio, self.sample_rate).normalise(params.loudness)
            clock.stop("mix")
            return Generation(
                prompt=prompt,
                waveform=waveform,
                codes={MIX: codes[0]},
                stems={},
                seed=seed,
                plan=plan,
                params=params,
                timings=clock.seconds,
                model=self.facts,
                provenance=self._provenance_of(heard, plan, params),
            )

        return Begun(piece, piece.num_frames, finish)

    def _provenance_of(self, heard: str, plan: MusicalPlan | None, params: GenerationParams) -> dict[str, Any]:
        """Stage -> what made it."""
        read = {"text": "T5, every word of the prompt", "melody": heard}
        if params.negative_prompt is not None:
            read["negative_prompt"] = "T5, told to the pass that guidance pulls away from"
        return {
            "understand": read,
            "compose": "nobody" if plan is None else "gen_audio.composition, for the melody alone",
            "perform": f"{self.name}, {self.parts.lm.n_q} codebooks, windows of {WINDOW:g} s every {STRIDE:g} s",
            "decode": f"EnCodec, {self.sample_rate} Hz",
            "software": provenance(),
        }

    def _plan(self, prompt: str, params: GenerationParams, seed: int) -> MusicalPlan | None:
        """A plan if one was given or if there are wishes to write one from; its melody is what the model hears."""
        from .composing import make_plan

        asked = any(getattr(params, name) is not None for name in PLANNING)
        return make_plan(prompt, dataclasses.replace(params, seed=seed, negative_prompt=None)) if asked else None

    def _melody(self, params: GenerationParams, plan: MusicalPlan | None) -> tuple[Chroma | None, str]:
        """What gives the chroma of a window by its first second, if there is a melody, and where it came from."""
        melody = self.parts.melody
        if melody is None or (params.melody is None and plan is None):
            return None, "none"
        if plan is not None:
            whole = melody.of_score(arrange(plan))
            return lambda second: _from(whole, round(second * melody.chroma_rate), melody.chroma_length), "the plan's"
        assert params.melody is not None
        sound = _waveform(params.melody)
        samples, rate = torch.from_numpy(sound.samples), sound.sample_rate
        melody.chroma(samples, rate)  # which refuses what is silent or too short
        if rate != melody.sample_rate or len(samples) > 1:
            logger.warning(
                "the melody has %d channels at %d Hz; it is heard as 1 at %d", len(samples), rate, melody.sample_rate
            )
        length = min(round(WINDOW * rate), samples.shape[1])
        return lambda second: melody.chroma(_from(samples.T, round(second * rate), length).T, rate), str(params.melody)

    def _told(self, prompt: str, params: GenerationParams) -> Words:
        return read_words(self.parts.text, prompt, params.negative_prompt)

    def conditions(
        self, text: Condition, chroma: Chroma | None, guided: bool, start: int, negative: Condition | None = None
    ) -> Fused:
        """What the window that starts at frame `start` is told; see `musicgen_told.fuse`."""
        second = start / self.codec.frame_rate
        return fuse(text, negative, self.parts.melody, chroma, second, passes=1 + guided)

    def _piece(
        self,
        words: Words,
        chroma: Chroma | None,
        given: Tensor | None,
        duration: float,
        params: GenerationParams,
        seed: int,
    ) -> LongPiece:
        lm, rate = self.parts.lm, self.codec.frame_rate
        guidance = Guidance(params.guidance_scale if params.guidance_scale is not None else 1.0)
        sampling = SamplingParams(params.temperature, params.top_k or 0, params.top_p or 1.0, params.min_p or 0.0)
        return LongPiece(
            self.executor,
            self.pattern,
            functools.partial(self.conditions, words[0], chroma, len(guidance.passes) > 1, negative=words[1]),
            Choosing(build_sampler(sampling), guidance, GumbelNoise([seed], [0], n_q=lm.n_q, card=lm.card)),
            num_frames=self._num_frames(duration),
            window=round(WINDOW * rate),
            stride=round(STRIDE * rate),
            given=given,
        )

    def _num_frames(self, duration: float) -> int:
        return self.codec.num_frames(round(duration * self.sample_rate))

    def _given(self, params: GenerationParams, duration: float) -> Tensor | None:
        """Codes [1, K, T0] of the recording to go on from."""
        if params.continue_from is None:
            return None
        sound = _waveform(params.continue_from)
        if sound.duration >= duration:
            raise ConfigError(
                f"the recording to continue lasts {sound.duration:.2f} s, and the whole piece is to last "
                f"{duration:g} s. Ask for a longer duration, or give a shorter recording."
            )
        if sound.peak < 1e-4:
            raise AudioError("the recording to continue is silent. Give one in which something can be heard.")
        if sound.sample_rate != self.sample_rate:
            logger.warning("the recording was resampled from %d to %d Hz", sound.sample_rate, self.sample_rate)
            sound = sound.resample(self.sample_rate)
        samples = torch.from_numpy(sound.samples)
        if len(samples) != self.parts.channels:
            samples = samples.mean(0, keepdim=True).expand(self.parts.channels, -1)
        return self.encode_mix(samples)  # [1, K, T0]

    @torch.inference_mode()
    def encode_mix(self, samples: Tensor) -> Tensor:
        """[C, L] -> codes [1, K, T]; of a stereo model, the codebooks of left and right take turns."""
        codes = self.codec.encode(samples[:, None].to(self.codec.device))[:, : self.parts.lm.n_q // len(samples)]
        return codes.transpose(0, 1).reshape(1, -1, codes.shape[-1]).cpu()  # of [C, K / C, T]

    @torch.inference_mode()
    def decode_mix(self, codes: Tensor) -> np.ndarray:
        """Codes [1, K, T] -> [C, T * hop_length]; the two channels of a stereo model are decoded together."""
        return torch.cat(list(self.codec.decode_stream(self._sides(codes))), -1)[:, 0].cpu().numpy()

    def _sides(self, codes: Tensor) -> Tensor:
        """[1, K, T] -> [C, K / C, T], where the codec is."""
        return codes[0].unflatten(0, (-1, self.parts.channels)).transpose(0, 1).to(self.codec.device)

    def _stream_one(self, prompt: str, params: GenerationParams, seed: int) -> SoundStream:
        words = self._told(prompt, params)
        plan = self._plan(prompt, params, seed)
        chroma, heard = self._melody(params, plan)
        duration = plan.duration if plan is not None else params.duration or 0.0
        piece = self._piece(words, chroma, self._given(params, duration), duration, params, seed)
        blocks = (self._sides(block) for block in in_blocks(play(piece), self.codec.context))
        pieces = (piece[:, 0].cpu().numpy() for piece in self.codec.decode_blocks(blocks))
        length = round(duration * self.sample_rate)

        def facts() -> dict[str, Any]:
            said = {"prompt": prompt, "plan": plan, "parameters": sidecar.parameters(params, seed)}
            return said | {"model": self.facts, "provenance": self._provenance_of(heard, plan, params)}

        return SoundStream(pieces, self.sample_rate, self.parts.channels, length, seed, facts)

    @functools.cached_property
    def sha256(self) -> str:  # type: ignore[override]
        """Hash of the weights' file, or of the hashes of its shards; worked out when it is first asked for."""
        hashes = [checkpoint.sha256(path) for path in self.parts.files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    @property
    def facts(self) -> dict[str, str]:
        return super().facts | ({"revision": self.revision} if self.revision else {})


def _waveform(source: str | Path | Waveform) -> Waveform:
    return source if isinstance(source, Waveform) else Waveform.read(source)


def _from(rows: Tensor, start: int, count: int) -> Tensor:
    """`count` rows from `start` on; after the last comes the first again."""
    return rows[torch.arange(start, start + count) % len(rows)]
