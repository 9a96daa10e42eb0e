"""Who decides how a piece keeps time: rubato within its phrases, a ritardando at its end, a beat that is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .arranger import arrange
from .casting import ROLE_WORDS
from .constraints import Attributes, Constraints, need
from .plan import MusicalPlan, Section
from .pulse import beat_length, roles_for
from .style import Style
from .tempo_map import breathe
from .timing import SHORT_RING, Timing

__all__ = ["choose_pulse", "choose_ritardando", "choose_rubato", "says_beat"]

FEW = 4  # instruments that can breathe together without a conductor
TOGETHER = 0.5  # share of a soloist's rubato that several players take
USUAL, SLIGHT = 0.18, 0.15  # shares of the tempo that a ritardando takes away
STEADY = 0.8  # share of the beats that a role strikes which marks the beat
ON_THE_BEAT = 0.15  # quarter notes by which a stroke may miss it: players are human
FEWEST = 4  # bars of a piece that slows down without being asked


def choose_rubato(heard: Attributes, hard: Constraints, style: Style, programs: Mapping[str, int]) -> tuple[float, str]:
    """Decide on 0..1, and say why; unless somebody asks, only few players without drums move the tempo."""
    for who, wished in (("user", hard.rubato), ("prompt", heard.rubato)):
        if wished is not None:
            return float(wished), f"{who}: {wished:g}"
    if not style.rubato:
        return 0.0, f"rule: none, {style.name} keeps time"
    if not _is_intimate(programs):
        return 0.0, f"rule: none, which is for up to {FEW} players without drums"
    if _count(programs) == 1:
        return style.rubato, f"rule: {style.name}, one player"
    return round(style.rubato * TOGETHER, 3), f"rule: {style.name}, several players"


def choose_ritardando(
    heard: Attributes,
    hard: Constraints,
    style: Style,
    programs: Mapping[str, int],
    timing: Timing,
    beats: int,
    sections: Sequence[Section],
    rubato: float,
) -> tuple[float, str]:
    """Decide which share of its tempo the last bar loses, and say why.

    The time comes from the ring of the last chord, so that the piece stays as long as it is.

    Raises:
        ConfigError: the user wants one, and too little time is left after the last bar.
    """
    who, wished = ("user", hard.ritardando) if hard.ritardando is not None else ("prompt", heard.ritardando)
    if wished is False:
        return 0.0, f"{who}: none"
    if wished is None:
        reason = _against(hard, style, programs, timing)
        if reason:
            return 0.0, f"rule: none, {reason}"
    lengths = [section.num_bars for section in sections]
    for depth in (style.ritardando or USUAL, SLIGHT):
        slowed = breathe(timing.tempo, beats, lengths, rubato=rubato, ritardando=depth)
        end = slowed.seconds(float(timing.num_bars * beats))
        if timing.duration - end >= SHORT_RING:
            told = f"{100 * depth:.0f} % in the last bar"
            return depth, f"{who}: {told}" if wished else f"rule: {told}, as {style.name} ends"
    need(
        hard.ritardando is None,
        f"ritardando: the last bar would end at {end:.2f} s, and the duration of {timing.duration:g} s leaves the last "
        f"chord less than {SHORT_RING:g} s. Lengthen the duration, ask for fewer bars, or leave the ritardando out.",
    )
    return 0.0, "rule: none, too little time is left after the last bar"


def choose_pulse(heard: Attributes, hard: Constraints, style: Style, plan: MusicalPlan) -> tuple[tuple[str, ...], str]:
    """Decide which roles mark the beat, and say why; a tempo that was said wants to be felt.

    Args:
        style: that of the plan, blended.
        plan: all but its pulse.
    """
    if heard.pulse is False:
        return (), "prompt: no beat"
    wished = says_beat(heard, hard)
    loudest = max(section.energy for section in plan.sections)
    if not wished and loudest < style.pulse_from:
        return (), "rule: none, nobody said a tempo in numbers"
    if "drums" in plan.instruments:
        return (), "rule: none, the drums mark the beat"
    if not style.pulse and "drums" in {ROLE_WORDS.get(word.lower()) for word in hard.without}:
        return (), "rule: none, drums are taken away and the others play as they would beside them"
    steady = [] if style.pulse else _steady(plan)  # a style with a manner of its own for it always takes that
    if steady:
        return (), f"rule: none, the beats are struck anyway, by {' and '.join(steady)}"
    roles = roles_for(plan.instruments, style)
    if not roles:
        return (), "rule: none, the lead plays alone"
    why = f"the {wished} said a tempo" if wished else f"{style.name} with a section of energy {loudest:g} is driven"
    return roles, f"rule: by {', '.join(roles)}, as nobody drums and {why}"


def says_beat(heard: Attributes, hard: Constraints) -> str:
    """Who said a tempo that shall be felt, "user" or "prompt"; empty if nobody did."""
    if heard.pulse is False:
        return ""
    return "user" if hard.tempo is not None else "prompt" if heard.pulse else ""


def _steady(plan: MusicalPlan) -> list[str]:
    """The roles that strike nearly every beat of a plan, as it is; a colour is too soft to count."""
    step = beat_length(plan.meter)
    last = plan.num_bars * plan.beats_per_bar - step / 2
    found = []
    for track in arrange(plan).tracks:
        beats = [(note.start, round(note.start / step)) for note in track.notes if note.start < last]
        struck = {number for start, number in beats if abs(start - number * step) <= ON_THE_BEAT}
        if track.role in ("chords", "pad", "bass") and len(struck) * step >= STEADY * (last + step / 2):
            found.append(track.role)
    return found


def _against(hard: Constraints, style: Style, programs: Mapping[str, int], timing: Timing) -> str:
    """Why a piece does not slow down unless somebody asks; empty if it does."""
    if hard.bars is not None and hard.duration is None:
        return "so that the bars can be played in a loop"
    if not style.ritardando:
        return f"{style.name} keeps time"
    if not _is_intimate(programs):
        return f"which is for up to {FEW} players without drums"
    return f"a piece of less than {FEWEST} bars is too short" if timing.num_bars < FEWEST else ""


def _is_intimate(programs: Mapping[str, int]) -> bool:
    return "drums" not in programs and _count(programs) <= FEW


def _count(programs: Mapping[str, int]) -> int:
    """How many instruments play: the two hands of a pianist are two roles and one instrument."""
    return len(set(programs.values()))
