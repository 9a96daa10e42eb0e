"""The work behind `gen-audio compose`: the rule-based composer alone, heard through a SoundFont. No network."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..audio import Waveform
from ..composition.arranger import arrange
from ..composition.associations import likeliest_style
from ..composition.midi import write_midi
from ..composition.plan import MusicalPlan
from ..composition.planner import Attributes, plan_music
from ..composition.prompt import parse_prompt
from ..composition.renderer import Renderer
from ..composition.score import Score
from ..errors import ConfigError
from . import sidecar
from .agreement import heed_negative
from .commands import read_params, read_plan, report
from .mixer import HEADROOM, mix_plan, place
from .outputs import Target, check_writable, plan_targets, stem_extras, stem_paths, write_sound
from .params import GenerationParams, check_prompt

__all__ = ["compose", "make_plan"]

SAMPLE_RATE = 48000  # Hz that a SoundFont is played at


def compose(options: Mapping[str, Any]) -> None:
    """Compose a prompt and write sound, sidecar and whatever else was asked for."""
    prompt = check_prompt(options["prompt"])
    source = options["from_plan"]
    params = read_params(prompt, options, read_plan(source))
    heed_negative(params)
    if params.num_samples != 1 or params.seed is None:
        raise ConfigError("compose makes one piece. Leave --num-samples out.")
    inputs = [source] if source else []
    (target,) = plan_targets(
        prompt, [params.seed], options["output"], options["format"], overwrite=options["overwrite"], inputs=inputs
    )
    others = [path for path in (options["midi"], options["plan"]) if path]
    _check_others(others, target, inputs, overwrite=options["overwrite"])
    stem_files = stem_paths(options["stems"], overwrite=options["overwrite"]) if options["stems"] else {}
    renderer = Renderer(options["soundfont"], SAMPLE_RATE)

    clock = time.perf_counter()
    plan = make_plan(prompt, params)
    score = arrange(plan)
    if params.plan:
        score = _audible(score, params)
    timings = {"compose": time.perf_counter() - clock}
    clock = time.perf_counter()
    stems = renderer.render(score)
    rate = renderer.sample_rate
    waveform = Waveform(mix_plan(plan, stems, score.tracks, sample_rate=rate), rate).normalise(params.loudness)
    timings["render"] = time.perf_counter() - clock

    placed = {t.role: Waveform(place(stems[t.role], t) * HEADROOM, rate) for t in score.tracks}
    extras = stem_extras(placed, stem_files)
    if options["midi"]:
        extras.append((options["midi"], lambda part: write_midi(score, part)))
    if options["plan"]:
        extras.append((options["plan"], lambda part: part.write_text(plan.to_json(), encoding="utf-8")))
    facts = _facts(prompt, params, plan, renderer, waveform, target, timings)
    report([facts], [write_sound(waveform, facts, target, extras)], options["as_json"])


def make_plan(prompt: str, params: GenerationParams) -> MusicalPlan:
    """Return the given plan, or write one from the words of the prompt under the user's constraints."""
    if params.plan is not None:
        return params.plan
    facts = parse_prompt(prompt)
    said = Attributes(
        style=facts.blend or facts.style or likeliest_style(prompt, params.avoided.styles),
        tempo=facts.tempo,
        key=facts.key,
        mood=", ".join(facts.moods) or None,
        instruments=facts.instruments,
        only=facts.only,
        rubato=facts.rubato,
        pulse=facts.pulse,
        ritardando=facts.ritardando,
    )
    return plan_music(said, params.constraints)


def _audible(score: Score, params: GenerationParams) -> Score:
    """Leave out what --without names; a plan that was read may still hold it."""
    audible = score.without(params.silent_roles({track.role: track.program for track in score.tracks}))
    if not audible.tracks:
        raise ConfigError("The plan has no role left to play. Take one role out of --without.")
    return audible


def _check_others(others: list[Path], target: Target, inputs: list[Path], *, overwrite: bool) -> None:
    check_writable(others, overwrite=overwrite)
    taken = [path.resolve() for path in (target.path, target.sidecar, *inputs)]
    for path in others:
        if path.resolve() in taken:
            raise ConfigError(f"'{path}' is named twice, as the sound, its sidecar or the input. Choose another name.")
        taken.append(path.resolve())


def _facts(
    prompt: str,
    params: GenerationParams,
    plan: MusicalPlan,
    renderer: Renderer,
    waveform: Waveform,
    target: Target,
    timings: dict[str, float],
) -> dict[str, Any]:
    return sidecar.facts(
        kind="composed",
        prompt=prompt,
        seed=params.seed or 0,
        plan=plan,
        parameters=params.to_dict(),
        model=None,
        timings=timings,
        provenance={
            "attributes": "words of the prompt",
            "plan": "given by --from-plan" if params.plan else "rules",
            "notes": "rules",
            "sound": f"SoundFont {renderer.font.name}, sha256 {renderer.font_sha256}",
        },
        audio=sidecar.audio_facts(target.path, waveform),
    )
