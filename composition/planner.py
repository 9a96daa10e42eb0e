"""Write a MusicalPlan: hard wishes are obeyed or refused, a prompt's attributes are followed, the rest is sampled."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from .blending import Blend, join_styles
from .casting import Cast, pick
from .constraints import Attributes, Constraints, check_number, need
from .effect_choice import draw_effects
from .form import build_sections, infer_key, progressions_of
from .harmony import KEY_CHANGE
from .moods import Cues, busier, cues_of, lean, read_moods, span, weigh_modes
from .pacing import choose_pulse, choose_ritardando, choose_rubato, says_beat
from .plan import METERS, MusicalPlan, Section
from .score import ROLES
from .style import Style, load_style, style_names
from .theory import MODES, Chord, Key, note_name
from .timing import FASTEST, SLOWEST, TimeWish, Timing, fit_time, grid_tempos

__all__ = ["Attributes", "Constraints", "plan_music"]

FADE_OUT = 0.5  # seconds


def plan_music(attributes: Attributes | None = None, constraints: Constraints | None = None) -> MusicalPlan:
    """Write the plan of one piece; the same wishes and seed give the same plan.

    Every choice draws a fixed count of random numbers, so fixing the tempo, say, leaves instruments and chords alone;
    only where nobody drums may somebody join or take over the colour who marks the beat, see `pulse`.

    Raises:
        ConfigError: two wishes contradict, or one cannot be met; the message names both sides.
        UnknownNameError: no style or instrument of that name.
    """
    heard, hard = attributes or Attributes(), constraints or Constraints()
    rng = random.Random(f"{hard.seed}:planner")
    style, blend, decisions = _choose_style(heard, hard, rng.random())
    mood, cues, decisions["mood"] = _choose_mood(heard, hard)
    rng.random()  # a mood was drawn with it; the choices that follow keep their dice
    meter, decisions["meter"] = _choose_meter(hard, style, rng.random())
    key, decisions["key"] = _choose_key(heard, hard, style, cues, (rng.random(), rng.random()))
    timing, told = _choose_time(heard, hard, style, cues, METERS[meter], rng)
    decisions |= told
    programs, decisions["instruments"] = _choose_cast(heard, hard, style, rng)
    groove, decisions["groove"] = _choose_groove(style, meter, "drums" in programs, cues, rng.random())
    swing, decisions["swing"] = _choose_swing(style, meter, rng.random())
    devices = _devices(heard, hard, style)
    pedals = style.pedal_point if {"bass", "chords"} & {*programs} else {}  # somebody who plays the bass note
    sections, told = _write_sections(hard, style, cues, key, timing.num_bars, rng, devices, pedals)
    decisions |= told
    rubato, decisions["rubato"] = choose_rubato(heard, hard, style, programs)
    ritardando, decisions["ritardando"] = choose_ritardando(
        heard, hard, style, programs, timing, METERS[meter], sections, rubato
    )
    effects, decisions["effects"] = draw_effects(style.effect_ranges, hard.seed, hard.effects)
    fade_out, decisions["fade_out"] = _choose_fade(hard, timing.duration)
    decisions["expression"] = "rule: as the mood leans" if cues.expression else "rule: the style's own"
    decisions["seed"] = f"user: {hard.seed}" if hard.seed else "rule: 0 unless another is asked for"
    plan = MusicalPlan(
        style=style.name,
        tempo=timing.tempo,
        meter=meter,
        key=str(key),
        sections=sections,
        instruments=programs,
        duration=timing.duration,
        groove=groove,
        swing=swing,
        mood=mood,
        blend=blend,
        expression=cues.expression,
        effects=effects,
        fade_out=fade_out,
        rubato=rubato,
        ritardando=ritardando,
        seed=hard.seed,
        decisions=decisions,
    )
    pulse, decisions["pulse"] = choose_pulse(heard, hard, style, plan)
    return replace(plan, pulse=pulse)


def _choose_style(heard: Attributes, hard: Constraints, dice: float) -> tuple[Style, dict[str, str], dict[str, str]]:
    """Decide on a style, or on a foundation and the parts that other styles give to it."""
    wished = hard.style if hard.style is not None else heard.style
    names = [name for name in style_names() if name not in hard.avoid_styles]
    need(bool(names), "avoid_styles: all styles shall be avoided. Leave one.")
    if wished is None:
        name, source = names[int(dice * len(names))], f"sampled equally from {len(names)} styles"
        return load_style(name), {}, {"style": source, "blend": "rule: one style alone"}
    source = f"{'prompt' if hard.style is None else 'user'}: {wished}"
    blend = Blend.parse(wished)
    for name, _ in blend.shares:
        need(name in names, f"style: the prompt asks for '{name}', which shall be avoided. Take one of them away.")
    parts = blend.deal(hard.seed) if len(blend.shares) > 1 else dict(hard.blend or {})
    given = ", ".join(f"{part} by {name}" for part, name in parts.items())
    told = f"{source}; dealt by the seed: {given}, the rest by {blend.foundation}" if parts else "rule: one style alone"
    style = replace(join_styles(load_style(blend.foundation), parts), tempo=blend.tempo)
    return style, parts, {"style": source, "blend": told}


def _choose_mood(heard: Attributes, hard: Constraints) -> tuple[str, Cues, str]:
    """Take the mood that is asked for; if none is, the style is played as it is."""
    wished = hard.mood if hard.mood is not None else heard.mood
    moods = read_moods(wished) if wished else ()
    for name in moods:
        need(name not in hard.avoid_moods, f"mood: the prompt asks for '{name}', which shall be avoided. Drop one.")
    mood, source = ", ".join(moods), "prompt" if hard.mood is None else "user"
    told = [f"{source}: {mood}" if moods else "rule: nobody asked for one"]
    if hard.avoid_moods:
        told.append(f"user: not {', '.join(hard.avoid_moods)}")
    return mood, cues_of(moods, hard.avoid_moods), "; ".join(told)


def _choose_meter(hard: Constraints, style: Style, dice: float) -> tuple[str, str]:
    if hard.meter is not None:
        return hard.meter, f"user: {hard.meter}"
    return pick(dice, style.meters), f"sampled from {_weights(style.meters)}"


def _choose_key(
    heard: Attributes, hard: Constraints, style: Style, cues: Cues, dice: tuple[float, float]
) -> tuple[Key, str]:
    if hard.key is not None:
        return Key.parse(hard.key), f"user: {hard.key}"
    weights = weigh_modes(style.modes, cues.mode)
    mode, why = (
        pick(dice[0], weights),
        f"mode sampled from {_weights(weights)}{', as the mood leans' * bool(cues.mode)}",
    )
    if heard.key in MODES:
        mode, why = heard.key or mode, f"prompt: {heard.key}"
    elif heard.key:
        return Key.parse(heard.key), f"prompt: {heard.key}"
    if hard.chords:
        chords = [Chord.parse(symbol) for entry in hard.chords for symbol in entry.split()]
        return infer_key(chords), "rule: the key that holds most notes of the user's chords"
    tonic = int(dice[1] * 12)
    return Key(tonic, mode), f"{why}; tonic {note_name(tonic)} sampled equally from the twelve notes"


def _choose_time(
    heard: Attributes, hard: Constraints, style: Style, cues: Cues, beats: int, rng: random.Random
) -> tuple[Timing, dict[str, str]]:
    low, high, typical = style.tempo
    sampled = rng.triangular(low, high, typical)
    wish = lean(sampled, low, high, cues.tempo * span("tempo"))
    source = f"sampled near {sampled:.0f} from {low:.3g} to {high:.3g} BPM, mostly {typical:.3g}"
    source += f"; the mood asks for {wish:.0f}" if cues.tempo else ""
    tempos = grid_tempos(low, high) or (float(sampled),)
    if hard.tempo is not None:
        wish, source, tempos = float(hard.tempo), f"user: {hard.tempo:g} BPM", (float(hard.tempo),)
    elif heard.tempo is not None:
        check_number("tempo", heard.tempo, SLOWEST, FASTEST)
        wish, source, tempos = float(heard.tempo), f"prompt: {heard.tempo:g} BPM", (float(heard.tempo),)
    needs = {"chords": len(hard.chords), "sections": len(hard.sections), "bars": 1}
    reason = max(needs, key=lambda name: needs[name])
    timing = fit_time(
        TimeWish(
            beats=beats,
            tempos=tempos,
            wish=wish,
            is_fixed=hard.tempo is not None,
            bars=hard.bars,
            duration=hard.duration,
            min_bars=needs[reason],
            min_reason=reason,
            phrase=len(hard.chords) or 4,
        )
    )
    if abs(timing.tempo - wish) > 1e-6:
        on_grid = math.isclose(1500 / timing.tempo, round(1500 / timing.tempo), rel_tol=1e-9)
        source += f"; rule: {timing.tempo:.2f} fits the bars{' and whole codec frames a beat' if on_grid else ''}"
    ring = timing.duration - timing.num_bars * 60.0 * beats / timing.tempo
    fitted = f"rule: {timing.num_bars} bars and a ring of {ring:.2f} s" if ring > 0 else "rule: cut inside the only bar"
    return timing, {
        "tempo": source,
        "bars": f"user: {hard.bars}" if hard.bars is not None else f"{fitted} fill the duration",
        "duration": f"user: {hard.duration:g} s" if hard.duration is not None else fitted,
    }


def _choose_cast(heard: Attributes, hard: Constraints, style: Style, rng: random.Random) -> tuple[dict[str, int], str]:
    cast = Cast(style.roles, hard.without, rng)
    cast.seat(hard.instruments, "user")
    if not hard.only:
        cast.seat(tuple(heard.instruments or ()), "prompt")
    if hard.only or (heard.only and heard.instruments and cast.programs):
        cast.play_alone()
    else:
        cast.fill(style.presence, style.pulse.get("colour", {}).get("strikers") if says_beat(heard, hard) else None)
    need(
        bool(cast.programs),
        f"without is {', '.join(hard.without)}, which leaves style {style.name} with nobody. Leave one role in.",
    )
    return {role: cast.programs[role] for role in ROLES if role in cast.programs}, "; ".join(cast.reasons)


def _choose_groove(style: Style, meter: str, has_drums: bool, cues: Cues, dice: float) -> tuple[str, str]:
    if not has_drums:
        return "", "rule: no drums play"
    steps = 4 * METERS[meter]
    grooves = style.drums["grooves"]
    fitting = [name for name, voices in grooves.items() if all(len(row) == steps for row in voices.values())]
    names = fitting or list(grooves)
    hits = {name: sum(len(row) - row.count(".") for row in grooves[name].values()) for name in names}
    why = f"sampled equally from {', '.join(names)}"
    if cues.density:
        names = busier(names, lambda name: hits[name], cues.density * span("density"))
        why += f"; as the mood leans, one with {'more' if cues.density > 0 else 'fewer'} strokes"
    return names[int(dice * len(names))], why if fitting else f"{why}; none of them is written for {meter}"


def _choose_swing(style: Style, meter: str, dice: float) -> tuple[float, str]:
    if meter == "6/8":
        return 0.0, "rule: 6/8 has its triplets already"
    low, high = style.swing
    return round(low + dice * (high - low), 2), f"sampled from {low:g} to {high:g}"


def _write_sections(
    hard: Constraints,
    style: Style,
    cues: Cues,
    key: Key,
    num_bars: int,
    rng: random.Random,
    devices: dict[str, float],
    pedals: dict[str, float],
) -> tuple[tuple[Section, ...], dict[str, str]]:
    """Write form and chords; a strong mood plays all sections fuller, and a faint one stiller."""
    known = progressions_of(style.progressions, key.mode)
    wished = {"chords": hard.chords, "names": hard.sections}
    sections, told = build_sections(style.sections, known, key, num_bars, rng, harmony=devices, pedals=pedals, **wished)
    amount = cues.loudness * span("energy")
    if amount:
        sections = tuple(replace(each, energy=round(lean(each.energy, 0.0, 1.0, amount), 3)) for each in sections)
        told["sections"] += "; rule: energies as the mood leans"
    return sections, told


def _devices(heard: Attributes, hard: Constraints, style: Style) -> dict[str, float]:
    """The style's devices of harmony; a key that somebody named is kept to the end."""
    is_named = hard.key is not None or (heard.key is not None and heard.key not in MODES)
    return {name: chance for name, chance in style.harmony.items() if name != KEY_CHANGE or not is_named}


def _choose_fade(hard: Constraints, duration: float) -> tuple[float, str]:
    """A piece falls silent at its end; so many bars and no seconds are a loop, which must not."""
    if hard.bars is not None and hard.duration is None:
        return 0.0, "rule: none, so that the bars can be played in a loop"
    return min(FADE_OUT, duration / 4), "rule: short, so that nothing is cut off while it sounds"


def _weights(weights: dict[str, float]) -> str:
    return ", ".join(f"{name} {weight:.3g}" for name, weight in weights.items())
