"""What people call an instrument -> the role it plays and its General MIDI program."""

from __future__ import annotations

import re

from ..errors import UnknownNameError

__all__ = [
    "DRUM_LIKE",
    "FORBIDDEN",
    "find_instrument",
    "forbidden",
    "instrument_family",
    "instrument_names",
    "program_name",
]

# The 128 programs of General MIDI 1 in order. The last 32 have names that nobody writes by
# chance: a prompt may say rain or echoes and mean no instrument.
# Source: MIDI Manufacturers Association, General MIDI System Level 1, instrument patch map.
PROGRAM_NAMES = tuple(
    name.strip()
    for name in """
    grand piano, bright piano, electric grand piano, honky-tonk piano, electric piano, fm piano, harpsichord, clavinet,
    celesta, glockenspiel, music box, vibraphone, marimba, xylophone, tubular bells, dulcimer,
    drawbar organ, percussive organ, rock organ, church organ, reed organ, accordion, harmonica, bandoneon,
    nylon guitar, steel guitar, jazz guitar, clean guitar, muted guitar, overdriven guitar, distortion guitar,
    guitar harmonics,
    upright bass, fingered bass, picked bass, fretless bass, slap bass, pop bass, synth bass, rubber bass,
    violin, viola, cello, contrabass, tremolo strings, pizzicato strings, harp, timpani,
    string ensemble, slow strings, synth strings, warm synth strings, choir, voice oohs, synth voice, orchestra hit,
    trumpet, trombone, tuba, muted trumpet, french horn, brass section, synth brass, soft synth brass,
    soprano sax, alto sax, tenor sax, baritone sax, oboe, english horn, bassoon, clarinet,
    piccolo, flute, recorder, pan flute, blown bottle, shakuhachi, whistle, ocarina,
    square lead, saw lead, calliope, chiff lead, charang, voice lead, fifths lead, bass lead,
    new age pad, warm pad, polysynth, choir pad, bowed pad, metallic pad, halo pad, sweep pad,
    ice rain synth, soundtrack pad, crystal synth, atmosphere synth, bright synth, goblin synth, echo synth,
    sci-fi synth,
    sitar, banjo, shamisen, koto, kalimba, bagpipes, fiddle, shanai,
    tinkle bell, agogo, steel drums, woodblock, taiko, melodic tom, synth drum, reverse cymbal,
    fret noise, breath noise, seashore effect, bird effect, telephone effect, helicopter effect, applause effect,
    gunshot effect
    """.split(",")
)
# Kit numbers of the GS drum map, which most SoundFonts follow.
KIT_NAMES = {0: "standard kit", 8: "room kit", 16: "power kit", 24: "electronic kit"}
KIT_NAMES |= {25: "808 kit", 32: "jazz kit", 40: "brush kit", 48: "orchestral kit"}

# (first program, role) of runs that usually play one role.
ROLE_RUNS = (
    *((0, "chords"), (8, "colour"), (11, "lead"), (12, "colour"), (16, "chords"), (22, "lead"), (24, "chords")),
    *((29, "lead"), (30, "chords"), (31, "colour"), (32, "bass"), (40, "lead"), (43, "bass"), (44, "pad")),
    *((45, "colour"), (48, "pad"), (55, "colour"), (56, "lead"), (58, "bass"), (59, "lead"), (61, "colour")),
    *((62, "pad"), (64, "lead"), (87, "bass"), (88, "pad"), (96, "colour"), (104, "lead"), (105, "chords")),
    *((106, "lead"), (107, "colour"), (109, "lead"), (112, "colour")),
)

ALIASES: dict[str, int] = {
    **dict.fromkeys(("piano", "acoustic piano", "pianoforte", "keys", "keyboard"), 0),
    **dict.fromkeys(("upright piano", "felt piano"), 0),
    **dict.fromkeys(("rhodes", "e piano", "epiano", "wurlitzer", "wurli", "fender rhodes"), 4),
    **dict.fromkeys(("dx7", "digital piano"), 5),
    **{"honky tonk": 3, "ragtime piano": 3, "saloon piano": 3, "cembalo": 6, "clavi": 7, "clav": 7, "celeste": 8},
    **{"glock": 9, "vibes": 11, "bells": 9, "chimes": 14, "church bells": 14, "hammered dulcimer": 15, "santur": 15},
    **dict.fromkeys(("organ", "hammond", "hammond organ", "electric organ"), 16),
    **{"pipe organ": 19, "harmonium": 20, "concertina": 23, "tango accordion": 23, "mouth harp": 22, "blues harp": 22},
    **dict.fromkeys(("classical guitar", "spanish guitar", "gut guitar"), 24),
    **dict.fromkeys(("guitar", "acoustic guitar", "folk guitar", "ukulele", "mandolin", "steel string guitar"), 25),
    **dict.fromkeys(("electric guitar", "rhythm guitar", "clean electric guitar"), 27),
    **{"palm muted guitar": 28, "funk guitar": 28, "overdrive guitar": 29, "crunch guitar": 29, "lead guitar": 29},
    **{"distorted guitar": 30, "heavy guitar": 30, "metal guitar": 30},
    **dict.fromkeys(("double bass", "acoustic bass", "standup bass", "walking bass"), 32),
    **dict.fromkeys(("bass", "bass guitar", "electric bass", "finger bass", "bassline"), 33),
    **{
        "pick bass": 34,
        "808 bass": 38,
        "sub bass": 38,
        "acid bass": 38,
        "synth bass 2": 39,
        "moog bass": 38,
    },
    **{"violoncello": 42, "tremolo": 44, "pizzicato": 45, "plucked strings": 45, "timpani drums": 47},
    **dict.fromkeys(("string", "string section", "orchestra", "orchestral strings", "violins"), 48),
    **{"synthesized strings": 50, "choral": 52, "choir aahs": 52, "voices": 53, "oohs": 53},
    **{"horn": 60, "horn section": 61, "brass": 61, "brass ensemble": 61},
    **dict.fromkeys(("sax", "saxophone", "alto saxophone"), 65),
    **{"soprano saxophone": 64, "tenor saxophone": 66, "baritone saxophone": 67, "bari sax": 67, "cor anglais": 69},
    **{"panflute": 75, "panpipes": 75, "tin whistle": 78, "whistling": 78, "bamboo flute": 77},
    **dict.fromkeys(("synth", "synth lead", "synthesizer", "synthesiser", "lead synth", "supersaw"), 81),
    **{"chip lead": 80, "square wave": 80, "pulse wave": 80, "8 bit synth": 80},
    **dict.fromkeys(("pad", "synth pad", "analog pad", "warm synth"), 89),
    **{"arpeggiator": 98, "arp": 98, "crystal bells": 98, "mbira": 108, "thumb piano": 108, "bagpipe": 109},
    **{
        "b3 organ": 16,
        "squeezebox": 21,
        "uke": 25,
        "nylon string guitar": 24,
        "archtop guitar": 26,
        "crunchy guitar": 29,
    },
    **{
        "stand up bass": 32,
        "bass line": 33,
        "slapped bass": 36,
        "bass synth": 38,
        "orchestral harp": 46,
        "kettle drums": 47,
    },
    **{
        "solo violin": 40,
        "string machine": 50,
        "synth choir": 54,
        "synth horns": 62,
        "sawtooth lead": 81,
        "soft pad": 89,
    },
    **{"steel drum": 114, "steelpan": 114, "steel pan": 114, "taiko drums": 116},
}

KITS: dict[str, int] = {
    **dict.fromkeys(("drum", "drum kit", "drum set", "acoustic drums", "percussion", "drummer", "live drums"), 0),
    **{"power drums": 16, "rock drums": 16, "electronic drums": 24, "electro drums": 24},
    **dict.fromkeys(("808", "808 drums", "tr 808", "drum machine", "programmed drums"), 25),
    **{
        "jazz drums": 32,
        "jazz drum kit": 32,
        "brushes": 40,
        "brushed drums": 40,
        "brush drums": 40,
        "orchestral percussion": 48,
    },
}

# General words: a style that already owns one of these programs in the role keeps its own choice.
FAMILIES: dict[str, frozenset[int]] = {
    "piano": frozenset({0, 1, 3}),
    "keys": frozenset(range(0, 8)),
    "organ": frozenset(range(16, 21)),
    "guitar": frozenset(range(24, 31)),
    "electric guitar": frozenset(range(26, 31)),
    "bass": frozenset({*range(32, 40), 43, 58, 80, 87, 89}),
    "string": frozenset(range(48, 52)),
    "sax": frozenset(range(64, 68)),
    "synth": frozenset(range(80, 88)),
    "pad": frozenset({*range(48, 53), *range(88, 96)}),
    "drum": frozenset(range(128)),
}
FAMILIES |= {"keyboard": FAMILIES["keys"], "saxophone": FAMILIES["sax"], "bassline": FAMILIES["bass"]}
FAMILIES |= dict.fromkeys(("drum kit", "drum set", "percussion", "drummer"), FAMILIES["drum"])

# Words that forbid more than they ask for: who wants brass gets a brass section, and who wants none hears no trumpet.
DRUM_LIKE = "other drum"
_STRINGS, _BRASS, _WINDS = frozenset({*range(40, 46), *range(48, 52), 110}), range(56, 64), range(64, 80)
_VOICES = frozenset({52, 53, 54, 85, 91})
FORBIDDEN: dict[str, frozenset[int]] = {
    **dict.fromkeys(("vocal", "voice", "singing", "singer", "vocalist", "choir", "choral"), _VOICES),
    **{"string": _STRINGS, "orchestra": _STRINGS | {*_BRASS, *_WINDS, 46, 47}, "brass": frozenset(_BRASS)},
    **dict.fromkeys(("woodwind", "wind", "wind instrument"), frozenset(_WINDS)),
    **dict.fromkeys(("synth", "synthesizer", "synthesiser"), frozenset({38, 39, 50, 51, 54, 62, 63, *range(80, 104)})),
    DRUM_LIKE: frozenset({47, *range(115, 120)}),  # timpani, woodblock, taiko, toms, synth drum, cymbal
}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip().lower())


NAMED = {_plain(name): program for program, name in enumerate(PROGRAM_NAMES)} | ALIASES
KITS |= {name: kit for kit, name in KIT_NAMES.items()}


def _forms(name: str) -> tuple[str, str]:
    plain = _plain(name)
    return plain, plain.removesuffix("s")


def _role_of(program: int) -> str:
    return [role for first, role in ROLE_RUNS if first <= program][-1]


def find_instrument(name: str) -> tuple[str, int]:
    """Return (role, program) of a spoken name; case, plurals, hyphens and underscores do not matter.

    Raises:
        UnknownNameError: nothing is called like that.

    Example:
        >>> find_instrument("Electric-Piano"), find_instrument("drums")
        (('chords', 4), ('drums', 0))
    """
    for form in _forms(name):
        if form in KITS:
            return "drums", KITS[form]
        if form in NAMED:
            return _role_of(NAMED[form]), NAMED[form]
    raise UnknownNameError("instrument", name, instrument_names())


def instrument_family(name: str) -> frozenset[int]:
    """Return the programs a general word such as "guitar" may mean; only its own program for an exact name."""
    for form in _forms(name):
        if form in FAMILIES:
            return FAMILIES[form]
    return frozenset({find_instrument(name)[1]})


def forbidden(name: str) -> tuple[bool, frozenset[int]]:
    """What a word forbids: whether it means drum kits, and the programs; wider than what it asks for.

    Raises:
        UnknownNameError: nothing is called like that.

    Example:
        >>> forbidden("woodwinds")[1] == frozenset(range(64, 80)), forbidden("flute")
        (True, (False, frozenset({73})))
    """
    for form in _forms(name):
        if form in FORBIDDEN:
            return False, FORBIDDEN[form]
    return find_instrument(name)[0] == "drums", instrument_family(name)


def instrument_names() -> list[str]:
    """List every name that find_instrument knows, sorted."""
    return sorted({*NAMED, *KITS})


def program_name(role: str, program: int) -> str:
    """Name a program as a person would: ("drums", 25) -> "808 kit", ("lead", 73) -> "flute"."""
    if role == "drums":
        # Kit numbers come in families of eight; a font plays the family's first for the ones it lacks.
        return KIT_NAMES.get(program) or KIT_NAMES.get(program // 8 * 8, KIT_NAMES[0])
    return PROGRAM_NAMES[program]
