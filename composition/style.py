"""A style is one YAML file in styles/: tempo, harmony, instruments, grooves. This file loads and checks it."""

from __future__ import annotations

import functools
import math
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from typing import Any

import yaml

from ..errors import ConfigError, UnknownNameError
from .effect_choice import check_effects, check_ranges
from .harmony import DEVICES, KEY_CHANGE
from .pedal import PLACES
from .plan import METERS, PULSE_ROLES, SECTION_NAMES, SLOWEST_END
from .score import ROLES
from .theory import MODES
from .voicing import VOICINGS

__all__ = ["DRUM_PITCHES", "Style", "load_style", "style_names"]

DRUM_PITCHES = {  # General MIDI
    "kick": 36,
    "snare": 38,
    "rim": 37,
    "clap": 39,
    "closed": 42,
    "pedal": 44,
    "open": 46,
    "ride": 51,
    "bell": 53,
    "crash": 49,
    "tom_low": 45,
    "tom_mid": 47,
    "tom_high": 50,
    "shaker": 70,
    "tamb": 54,
    "cowbell": 56,
    "conga_low": 64,
    "conga_high": 63,
    "bongo": 60,
    "claves": 75,
}
STROKES = "xXgf."  # a stroke, a loud one, a ghost, a flam, none
BEAT = ("cells", "accents", "figures", "answers", "builds")  # of a style whose pieces have a beat each, see beats.py
COMPING = ("block", "arpeggio", "strum", "stab", "sustain")
BASS = ("walking", "pattern", "sustain")
SCALES = ("mode", "pentatonic", "blues", "chord")
PHRASE_LETTERS = set("ABaFGC.")
COLOURS = ("arpeggio", "hits", "counter", "riser", "pulse", "downbeats")


@dataclass(frozen=True)
class Style:
    """Everything the planner and the arranger know about a style; the fields are the keys of its file."""

    name: str
    description: str
    aliases: tuple[str, ...]
    tempo: tuple[float, float, float]  # lowest, highest, typical BPM
    meters: dict[str, float]  # meter -> weight
    modes: dict[str, float]
    swing: tuple[float, float]
    humanise_ms: tuple[float, float]
    moods: tuple[str, ...]
    progressions: dict[str, list[list[str]]]  # mode -> progressions of one entry of roman numerals a bar
    harmony: dict[str, float]  # device of harmony.py -> how often a bar leads to the next by it
    sections: tuple[tuple[str, int, float], ...]  # name, bars, energy
    texture: dict[str, list[str]]  # roles: order of entry in an "intro", who stays in a "break", who comes "late"
    roles: dict[str, dict[int, float]]  # role -> program -> weight
    presence: dict[str, float]  # how often a role plays at all
    levels_db: dict[str, float]
    drums: dict[str, Any]  # grooves and fills: instrument -> steps
    comping: dict[str, Any]
    bass: dict[str, Any]
    melody: dict[str, Any]
    colour: dict[str, Any]
    effects: dict[str, Any]  # of a plan that says nothing of them
    effect_ranges: dict[str, Any]  # effect -> [low, high] or value -> weight, from which the planner draws
    reverb_send: dict[str, float]
    # These may be left out of the file.
    pedal_point: dict[str, float] = field(default_factory=dict)  # place of pedal.py -> how often the bass stands there
    rubato: float = 0.0  # of a soloist; 0 steady .. 1, see tempo_map.py
    ritardando: float = 0.0  # share of the tempo that the last bar loses
    pulse: dict[str, dict[str, Any]] = field(default_factory=dict)  # role -> what its part becomes, see pulse.py
    pulse_from: float = math.inf  # energy of a section from which the beat is marked although nobody said a tempo


def style_names() -> list[str]:
    """Names of all styles, sorted; a file in styles/ is a style."""
    files = resources.files(__package__).joinpath("styles").iterdir()
    return sorted(file.name[:-5] for file in files if file.name.endswith(".yaml"))


@functools.lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    """Every other name of every style, lower case -> its name; an alias of two styles is an error."""
    table: dict[str, str] = {}
    for name in style_names():
        for alias in {name, name.replace("_", " "), name.replace("_", "-"), *_read(name).aliases}:
            if table.setdefault(alias.lower(), name) != name:
                raise ConfigError(f"styles/{name}.yaml: the alias '{alias}' belongs to style '{table[alias]}'.")
    return table


def load_style(name: str) -> Style:
    """Return a style by its name or one of its aliases, in any case.

    Raises:
        UnknownNameError: no style is called that.
    """
    plain = " ".join(name.lower().split())
    if plain not in style_names() and plain not in _aliases():
        raise UnknownNameError("style", name, style_names())
    return _read(plain if plain in style_names() else _aliases()[plain])


@functools.lru_cache(maxsize=64)
def _read(name: str) -> Style:
    text = resources.files(__package__).joinpath("styles", f"{name}.yaml").read_text(encoding="utf-8")
    return check_style(name, yaml.safe_load(text))


def check_style(name: str, data: Any) -> Style:
    """Turn the content of a style file into a Style.

    Raises:
        ConfigError: something is missing, unknown or out of range; the message names file and field.
    """
    wanted = {each.name: each for each in fields(Style) if each.name != "name"}
    _need(name, "file", isinstance(data, dict), "must be a mapping")
    for key in data:
        _need(name, key, key in wanted, f"is no field of a style. Known: {', '.join(wanted)}")
    for key, each in wanted.items():
        is_optional = each.default is not MISSING or each.default_factory is not MISSING
        _need(name, key, is_optional or key in data, "is missing")
    tuples = {key: tuple(data[key]) for key in ("aliases", "tempo", "swing", "humanise_ms", "moods")}
    sections = tuple((str(n), int(bars), float(energy)) for n, bars, energy in data["sections"])
    style = Style(name=name, **{**data, **tuples, "sections": sections})
    _check_time(style)
    _check_parts(style)
    return style


def _check_time(style: Style) -> None:
    low, high, typical = style.tempo
    _need(style.name, "tempo", 30 <= low <= typical <= high <= 300, "must be [low, high, typical] within 30..300")
    _need(style.name, "swing", 0 <= style.swing[0] <= style.swing[1] <= 1, "must be [low, high] within 0..1")
    for key, known in (("meters", METERS), ("modes", MODES)):
        for entry in getattr(style, key):
            _need(style.name, key, entry in known, f"has '{entry}'; known: {', '.join(known)}")
    for mode in style.modes:
        _need(style.name, "progressions", bool(style.progressions.get(mode)), f"has none for the mode {mode}")
    for device, chance in style.harmony.items():
        right = device in (*DEVICES, KEY_CHANGE) and 0 <= chance <= 1
        _need(
            style.name, "harmony", right, f"has {device}: {chance}; known: {', '.join((*DEVICES, KEY_CHANGE))}, 0 to 1"
        )
    for place, chance in style.pedal_point.items():
        right = place in PLACES and 0 <= chance <= 1
        _need(style.name, "pedal_point", right, f"has {place}: {chance}; known: {', '.join(PLACES)}, 0 to 1")
    _need(style.name, "rubato", 0 <= style.rubato <= 1, "must be 0 to 1")
    _need(style.name, "ritardando", 0 <= style.ritardando <= SLOWEST_END, f"must be 0 to {SLOWEST_END:g}")
    for section, bars, energy in style.sections:
        right = section in SECTION_NAMES and bars > 0 and 0 <= energy <= 1
        _need(style.name, "sections", right, f"has [{section}, {bars}, {energy}]; need a known name, bars, energy 0..1")


def _check_parts(style: Style) -> None:
    for key in ("roles", "presence", "levels_db", "reverb_send"):
        for role in getattr(style, key):
            _need(style.name, key, role in ROLES, f"has role '{role}'; known: {', '.join(ROLES)}")
    for role in style.roles:
        for key in ("presence", "levels_db", "reverb_send"):
            _need(style.name, key, role in getattr(style, key), f"lacks the role {role}")
    for part, known in (("comping", COMPING), ("bass", BASS)):
        kind = getattr(style, part)["style"]
        _need(style.name, part, kind in known, f"has style '{kind}'; known: {', '.join(known)}")
    for key in ("intro", "break", "late"):
        right = set(style.texture.get(key, ["nobody"])) <= set(ROLES)
        _need(style.name, "texture", right, f"needs '{key}', a list of {', '.join(ROLES)}")
    _check_drums(style)
    _check_pulse(style)
    for phrase in style.melody["phrases"]:
        right = len(phrase) == 4 and phrase[0] == "A" and set(phrase) <= PHRASE_LETTERS
        _need(style.name, "melody", right, f"has the phrase '{phrase}'; need four of A B a F G C . that begin with A")
    _need(style.name, "comping", style.comping["voicing"] in VOICINGS, f"voicing must be one of {', '.join(VOICINGS)}")
    for part, name in (("melody", "pickup"), ("melody", "grace"), ("comping", "push"), ("bass", "runs")):
        _need(style.name, part, 0 <= getattr(style, part)[name] <= 1, f"{name} must be 0 to 1")
    _need(style.name, "melody", style.melody["scale"] in SCALES, f"scale must be one of {', '.join(SCALES)}")
    _need(style.name, "colour", style.colour["kind"] in COLOURS, f"kind must be one of {', '.join(COLOURS)}")
    try:
        check_effects(style.effects)
        check_ranges(style.effect_ranges, style.effects)
    except ConfigError as error:
        raise ConfigError(f"styles/{style.name}.yaml: effects: {error}") from None


def _check_pulse(style: Style) -> None:
    kinds = {"chords": COMPING, "bass": BASS}
    for role, part in style.pulse.items():
        _need(style.name, "pulse", role in PULSE_ROLES, f"has role '{role}'; known: {', '.join(PULSE_ROLES)}")
        known = kinds.get(role)
        right = known is None or (part.get("style") in known and bool(part.get("patterns")))
        _need(style.name, "pulse", right, f"{role} needs patterns, and a style of {', '.join(known or ())}")
    for program in style.pulse.get("colour", {}).get("strikers", {}):
        _need(style.name, "pulse", 0 <= program < 128, f"has the striker {program}, and needs a program 0 to 127")


def _check_drums(style: Style) -> None:
    beat = style.drums.get("beat")
    if beat is not None:
        _check_beat(style.name, beat)
    bars = [*style.drums["grooves"].values(), *style.drums["fills"]]
    bars += [*beat["figures"], *beat["answers"]] if beat else []
    for instrument, steps in [row for bar in bars for row in bar.items()]:
        right = instrument in DRUM_PITCHES and len(steps) in (12, 16) and set(steps) <= set(STROKES)
        need = f"a known drum and 12 or 16 of {' '.join(STROKES)}"
        _need(style.name, "drums", right, f"has {instrument}: '{steps}'; need {need}")
    builds = [style.drums["build"], *(beat["builds"] if beat else [])]
    for instrument in [
        *(name for build in builds for name in build),
        *(n for key in ("lift", "settle") for pair in style.drums[key].items() for n in pair),
    ]:
        _need(style.name, "drums", instrument in DRUM_PITCHES, f"has '{instrument}', which is no drum")
    for rolls in [rolls for build in builds for rolls in build.values()]:
        right = all(len(steps) == 16 and set(steps) <= set(STROKES) for steps in rolls)
        _need(style.name, "drums", right, f"has the build {rolls}; need bars of 16 steps of {' '.join(STROKES)}")
    for section in style.drums["half_time"]:
        _need(style.name, "drums", section in SECTION_NAMES, f"has half_time in '{section}', which is no section")


def _check_beat(name: str, beat: Any) -> None:
    told = isinstance(beat, dict) and set(beat) == set(BEAT) and all(beat.values())
    _need(name, "drums", told, f"needs all of {', '.join(BEAT)} under beat and nothing else, none of them empty")
    for cell in beat["cells"]:
        right = len(cell) in (2, 4) and cell[0] == "A" and set(cell) <= set("ABC")
        _need(name, "drums", right, f"has the cell '{cell}'; need two or four of A B C that begin with A")
    for steps in beat["accents"]:
        right = len(steps) == 16 and set(steps) <= set("xXg")
        _need(name, "drums", right, f"has the accents '{steps}'; need 16 of x X g")
    for part in ("figures", "answers"):
        right = len(beat[part]) > 1 and all(len(steps) == 16 for rows in beat[part] for steps in rows.values())
        _need(name, "drums", right, f"needs two or more {part} under beat, of 16 steps each")


def _need(name: str, field: str, is_met: bool, what: str) -> None:
    if not is_met:
        raise ConfigError(f"styles/{name}.yaml: {field} {what}.")
