"""The form of a piece: sections scaled to the bars there are, and a chord progression for each."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from ..errors import ConfigError
from .harmony import KEY_CHANGE, Bars, enrich, raise_end
from .pedal import hold_pedals
from .plan import Section
from .theory import Chord, Key

__all__ = ["build_sections", "infer_key", "progressions_of"]

Part = tuple[str, int, float]  # name, bars, energy

USUAL_ENERGY = {"intro": 0.4, "verse": 0.6, "chorus": 0.85, "bridge": 0.65, "break": 0.4, "ending": 0.4}
USUAL_BARS = {"intro": 4, "break": 4, "ending": 4}  # the others 8
SHORT = 8  # bars that hold one thought and no more

# For a mode that the user asks for and the style does not have.
COMMON_PROGRESSIONS = {
    "major": (("I", "V", "vi", "IV"), ("I", "vi", "IV", "V"), ("IV", "I", "V", "vi")),
    "minor": (("i", "bVI", "bIII", "bVII"), ("i", "iv", "bVI", "V"), ("bVI", "bVII", "i", "i")),
    "dorian": (("i", "IV", "i", "bVII"), ("i", "bIII", "IV", "i"), ("i", "ii", "bIII", "IV")),
    "mixolydian": (("I", "bVII", "IV", "I"), ("I", "I", "bVII", "IV"), ("I", "v", "bVII", "IV")),
    "lydian": (("I", "II", "I", "II"), ("I", "vii", "II", "I"), ("I", "II", "iii", "II")),
    "phrygian": (("i", "bII", "i", "bvii"), ("i", "i", "bII", "bIII"), ("i", "bVI", "bII", "i")),
}
LOWERED = (1, 3, 8, 10)  # semitones above the tonic of bII, bIII, bVI and bVII
CADENCES = {"mixolydian": "bVII", "dorian": "bVII", "phrygian": "bII"}  # the others V


def progressions_of(progressions: Mapping[str, Sequence[Sequence[str]]], mode: str) -> list[tuple[str, ...]]:
    """Return a style's progressions in a mode as bars of roman numerals, or common ones if it has none."""
    return [tuple(bars) for bars in progressions.get(mode) or COMMON_PROGRESSIONS[mode]]


def infer_key(chords: Sequence[Chord]) -> Key:
    """Find the major or minor key that holds most notes of the chords; the first and last chord weigh as its tonic."""

    def fit(key: Key) -> float:
        inside = sum(sum(pc in key.scale for pc in c.pitch_classes) / len(c.pitch_classes) for c in chords)
        home = "min" if key.mode == "minor" else "maj"
        at_home = [c.root == key.tonic and c.simple.startswith(home) for c in (chords[0], chords[-1])]
        return inside + at_home[0] + 0.75 * at_home[1]

    return max((Key(tonic, mode) for mode in ("major", "minor") for tonic in range(12)), key=fit)


def build_sections(
    form: Sequence[Part],
    progressions: Sequence[tuple[str, ...]],
    key: Key,
    num_bars: int,
    rng: random.Random,
    *,
    chords: Sequence[str] = (),
    names: Sequence[str] = (),
    harmony: Mapping[str, float] | None = None,
    pedals: Mapping[str, float] | None = None,
) -> tuple[tuple[Section, ...], dict[str, str]]:
    """Lay out `num_bars` bars and write their chords.

    Args:
        form: the style's full form.
        progressions: what the style plays in this mode; the sections of a name share one.
        chords: one entry a bar, cycling; it replaces the progressions and the cadence.
        names: section names to use in this order instead of the form.
        harmony: device -> chance that a bar leads to the next by it, see `harmony.py`.
        pedals: place -> chance that the bass stands still there, see `pedal.py`.

    Returns:
        The sections, and the sentences for `sections` and `chords`.
    """
    chosen = _choose_progressions(progressions, num_bars, rng)
    parts = _named(form, names, num_bars) if names else _lay_out(form, num_bars, len(chosen["verse"]))
    parts = _crown(parts)
    listed = ", ".join(f"{name} {bars}" for name, bars, _ in parts)
    who = "user: these names" if names else "rule: the style's form"
    reasons = {"sections": f"{who}, scaled to {num_bars} bars ({listed})"}
    if chords:
        cycle = [tuple(entry.split()) for entry in chords]
        flat = [cycle[index % len(cycle)] for index in range(num_bars)]
        reasons["chords"] = f"user: {' | '.join(chords)}, one entry a bar, cycling; no cadence is added"
    else:
        dice = random.Random(f"{rng.random()}:harmony")
        flat, done = _harmonise(parts, chosen, key, harmony or {}, pedals or {}, dice)
        told = f"sampled equally from {len(progressions)} progressions: {_tell(chosen, parts)}"
        reasons["chords"] = "; ".join([told, *done, "rule: the end is a cadence"])
    sections, start = [], 0
    for name, bars, energy in parts:
        sections.append(Section(name, energy, tuple(flat[start : start + bars])))
        start += bars
    return tuple(sections), reasons


def _tell(chosen: dict[str, tuple[str, ...]], parts: Sequence[Part]) -> str:
    used = dict.fromkeys(name for name, _, _ in parts)
    return "; ".join(f"{name} {' '.join(f'[{bar}]' for bar in chosen[name])}" for name in used)


def _choose_progressions(
    progressions: Sequence[tuple[str, ...]], num_bars: int, rng: random.Random
) -> dict[str, tuple[str, ...]]:
    """Give each section name a progression; verse, chorus and bridge differ as far as there are enough."""
    dice = [rng.random() for _ in range(3)]
    # A piece of a few bars should hear its progression whole.
    fitting = [p for p in progressions if len(p) <= max(num_bars, 2)] or list(progressions)
    verse = fitting[int(dice[0] * len(fitting))]
    others = [p for p in dict.fromkeys(progressions) if p != verse] or [
        verse[len(verse) // 2 :] + verse[: len(verse) // 2]
    ]
    chorus = others[int(dice[1] * len(others))]
    rest = [p for p in others if p != chorus] or [verse]
    bridge = rest[int(dice[2] * len(rest))]
    return {"intro": verse, "verse": verse, "chorus": chorus, "bridge": bridge, "break": bridge, "ending": verse}


def _lay_out(form: Sequence[Part], num_bars: int, phrase: int) -> list[Part]:
    """Scale a form to a number of bars."""
    head = [form[0]] if form[0][0] == "intro" else []
    tail = form[-1] if form[-1][0] == "ending" else ("ending", 4, USUAL_ENERGY["ending"])
    body = [part for part in form if part[0] not in ("intro", "ending")] or [("verse", 8, USUAL_ENERGY["verse"])]
    first = body[0]
    others = [part for part in body if part[0] != first[0]]
    second = next((part for part in others if part[0] == "chorus"), others[0] if others else None)
    if num_bars == 1:
        return [(first[0], 1, first[2])]
    # Twelve-bar forms are one thought too, and are not to be cut in the middle.
    if num_bars <= (phrase + 3 if phrase > SHORT else SHORT):
        bars = phrase if phrase < num_bars and phrase > SHORT else num_bars - 1
        return [(first[0], bars, first[2]), (tail[0], num_bars - bars, tail[2])]
    small = [*head, first, *([second] if second else []), tail]
    if phrase > SHORT and num_bars >= sum(p[1] for p in (*head, first, tail)) or num_bars >= sum(p[1] for p in small):
        return _repeat(head, body, tail, num_bars)
    return _share(small if num_bars >= 12 else small[len(head) :], num_bars)


def _repeat(head: list[Part], body: list[Part], tail: Part, num_bars: int) -> list[Part]:
    """Walk through the body at its own lengths as often as fits; every second time a bridge breaks the circle."""
    ending, intro = tail[1], sum(part[1] for part in head)
    # The ending takes the bars that make no group of four.
    spare = (num_bars - intro - ending) % 4
    ending += spare - 4 if spare >= 2 and ending > 4 - spare else spare
    has_contrast = any(part[0] in ("bridge", "break") for part in body)
    cycle = [*body, *body, *([] if has_contrast else [("bridge", 8, USUAL_ENERGY["bridge"])])]
    parts, left = list(head), num_bars - intro - ending
    while left > 0:
        name, bars, energy = cycle[(len(parts) - len(head)) % len(cycle)]
        bars = left if bars > left or left - bars < 4 else bars
        parts.append((name, bars, energy))
        left -= bars
    chorus = next((part for part in body if part[0] == "chorus"), None)
    if chorus and len(parts) - len(head) > 2:
        parts[-1] = ("chorus", parts[-1][1], chorus[2])  # whatever comes last before the ending, it is the chorus
    return [*parts, (tail[0], ending, tail[2])]


def _share(parts: Sequence[Part], num_bars: int) -> list[Part]:
    """Stretch or shrink the parts in proportion, in groups of 4, 2 or 1 bars; the last part takes what is over."""
    unit = next((size for size in (4, 2) if num_bars // size >= len(parts)), 1)
    wanted = [bars * (num_bars // unit) / sum(part[1] for part in parts) for _, bars, _ in parts]
    lengths = [1] * len(parts)
    for _ in range(num_bars // unit - len(parts)):
        neediest = max(range(len(parts)), key=lambda index: wanted[index] - lengths[index])
        lengths[neediest] += 1
    bars = [length * unit for length in lengths]
    bars[-1] += num_bars % unit
    return [(name, length, energy) for (name, _, energy), length in zip(parts, bars, strict=True)]


def _named(form: Sequence[Part], names: Sequence[str], num_bars: int) -> list[Part]:
    """Use exactly these sections in this order, with lengths and energies of the style where it has them."""
    if len(names) > num_bars:
        raise ConfigError(f"sections has {len(names)} names, but there are {num_bars} bars. Give one bar a section.")
    known = {name: (bars, energy) for name, bars, energy in reversed(form)}
    parts = [(name, *known.get(name, (USUAL_BARS.get(name, 8), USUAL_ENERGY[name]))) for name in names]
    return _share(parts, num_bars)


def _crown(parts: Sequence[Part]) -> list[Part]:
    """Give the last chorus the most energy that a chorus of the piece has."""
    energies = [energy for name, _, energy in parts if name == "chorus"]
    last = max((number for number, part in enumerate(parts) if part[0] == "chorus"), default=-1)
    return [(name, bars, max(energies) if number == last else e) for number, (name, bars, e) in enumerate(parts)]


def _harmonise(
    parts: Sequence[Part],
    chosen: dict[str, tuple[str, ...]],
    key: Key,
    chances: Mapping[str, float],
    pedals: Mapping[str, float],
    rng: random.Random,
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Write the chords of all bars; the last bar is the tonic, and the one before it leads there.

    Also returns what was done to the progressions, as sentences.
    """
    written, done = _write_sections(parts, chosen, key, chances, rng)
    flat: Bars = [chords for name, bars, _ in parts for chords in written[name][:bars]]
    tonic = _tonic(chosen[parts[-1][0]], key)
    flat[-1] = (tonic,)
    # A section that comes back keeps its chords, so only bars that are heard once may change.
    owner = [name for name, bars, _ in parts for _ in range(bars)][-2:]
    is_free = sum(name == owner[0] for name, _, _ in parts) == 1
    if len(flat) > 1 and is_free and flat[-2][-1].root == key.tonic:
        suffix = {"5": "5", "dom": "7", "maj7": "7", "min7": "7"}
        numeral = CADENCES.get(key.mode, "V")
        tension = suffix.get(tonic.quality, suffix.get(tonic.simple, "") if numeral == "V" else "")
        flat[-2] = (flat[-2][0], key.degree(numeral + tension))
    keys = [key] * len(flat)
    if rng.random() < chances.get(KEY_CHANGE, 0.0):
        raised, step = raise_end([part[0] for part in parts], [part[1] for part in parts], flat, rng)
        done += [f"sampled: from the last chorus on {step} semitones higher"] if step else []
        keys[raised:] = [Key((key.tonic + step) % 12, key.mode)] * (len(flat) - raised)
    done += hold_pedals([part[0] for part in parts], [part[1] for part in parts], flat, keys, pedals, rng)
    return [_spelled(chords, local) for chords, local in zip(flat, keys, strict=True)], done


def _write_sections(
    parts: Sequence[Part],
    chosen: dict[str, tuple[str, ...]],
    key: Key,
    chances: Mapping[str, float],
    rng: random.Random,
) -> tuple[dict[str, Bars], list[str]]:
    """Write each section name once, as long as its longest occurrence, so that it returns with the same chords."""
    written: dict[str, Bars] = {}
    done = []
    for name in dict.fromkeys(part[0] for part in parts):
        lengths = [bars for other, bars, _ in parts if other == name]
        cycle = [tuple(key.degree(numeral) for numeral in bar.split()) for bar in chosen[name]]
        written[name] = [cycle[index % len(cycle)] for index in range(max(lengths))]
        done += [f"sampled: {name}, {what}" for what in enrich(written[name], min(lengths), key, chances, rng)]
    return written, done


def _spelled(chords: Sequence[Chord], key: Key) -> tuple[str, ...]:
    """Write chords as the key asks for; a lowered degree is written with a flat, so bII of G is Ab, not G#."""

    def is_lowered(chord: Chord) -> bool:
        degree = (chord.root - key.tonic) % 12
        return chord.root not in key.scale and degree in LOWERED and chord.simple != "dim"

    return tuple(chord.spell(key.flats or is_lowered(chord)) for chord in chords)


def _tonic(progression: Sequence[str], key: Key) -> Chord:
    """Return the tonic chord as this progression colours it: Am9 in one, Am in another."""
    for bar in progression:
        for numeral in bar.split():
            chord = key.degree(numeral)
            if chord.root == key.tonic and chord.simple not in ("dim", "aug"):
                return chord
    return key.degree("i" if key.mode in ("minor", "dorian", "phrygian") else "I")
