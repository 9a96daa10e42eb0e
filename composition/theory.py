"""Notes, chords and keys as integers: pitch class 0 is C, 11 is B."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["MODES", "PITCH_CLASSES", "Chord", "Key", "note_name", "parse_note"]

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
# What a musician writes when no key says otherwise: Db and Ab major, but C# and G# minor.
COMMON_MAJOR = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
COMMON_MINOR = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")

# suffix -> (family, semitones above the root, stacked upwards)
QUALITIES: dict[str, tuple[str, tuple[int, ...]]] = {
    "": ("maj", (0, 4, 7)),
    "6": ("maj", (0, 4, 7, 9)),
    "69": ("maj", (0, 4, 7, 9, 14)),
    "add9": ("maj", (0, 4, 7, 14)),
    "add11": ("maj", (0, 4, 7, 17)),
    "m": ("min", (0, 3, 7)),
    "m6": ("min", (0, 3, 7, 9)),
    "m69": ("min", (0, 3, 7, 9, 14)),
    "madd9": ("min", (0, 3, 7, 14)),
    "madd11": ("min", (0, 3, 7, 17)),
    "mMaj7": ("min", (0, 3, 7, 11)),
    "mMaj9": ("min", (0, 3, 7, 11, 14)),
    "dim": ("dim", (0, 3, 6)),
    "dim7": ("dim", (0, 3, 6, 9)),
    "m7b5": ("dim", (0, 3, 6, 10)),
    "m9b5": ("dim", (0, 3, 6, 10, 14)),
    "aug": ("aug", (0, 4, 8)),
    "aug7": ("aug", (0, 4, 8, 10)),
    "maj7#5": ("aug", (0, 4, 8, 11)),
    "7": ("dom", (0, 4, 7, 10)),
    "9": ("dom", (0, 4, 7, 10, 14)),
    "11": ("dom", (0, 4, 7, 10, 14, 17)),
    "13": ("dom", (0, 4, 7, 10, 14, 21)),
    "7b5": ("dom", (0, 4, 6, 10)),
    "7b9": ("dom", (0, 4, 7, 10, 13)),
    "7#9": ("dom", (0, 4, 7, 10, 15)),
    "7#11": ("dom", (0, 4, 7, 10, 18)),
    "9#11": ("dom", (0, 4, 7, 10, 14, 18)),
    "7b13": ("dom", (0, 4, 7, 10, 20)),
    "13b9": ("dom", (0, 4, 7, 10, 13, 21)),
    "7alt": ("dom", (0, 4, 10, 15, 20)),
    "maj7": ("maj7", (0, 4, 7, 11)),
    "maj9": ("maj7", (0, 4, 7, 11, 14)),
    "maj11": ("maj7", (0, 4, 7, 11, 14, 17)),
    "maj13": ("maj7", (0, 4, 7, 11, 14, 21)),
    "maj7#11": ("maj7", (0, 4, 7, 11, 18)),
    "maj9#11": ("maj7", (0, 4, 7, 11, 14, 18)),
    "m7": ("min7", (0, 3, 7, 10)),
    "m9": ("min7", (0, 3, 7, 10, 14)),
    "m11": ("min7", (0, 3, 7, 10, 14, 17)),
    "m13": ("min7", (0, 3, 7, 10, 14, 21)),
    "m7b9": ("min7", (0, 3, 7, 10, 13)),
    # A power chord has no third either, so it counts with the suspended ones.
    "5": ("sus", (0, 7)),
    "sus2": ("sus", (0, 2, 7)),
    "sus4": ("sus", (0, 5, 7)),
    "7sus2": ("sus", (0, 2, 7, 10)),
    "7sus4": ("sus", (0, 5, 7, 10)),
    "9sus4": ("sus", (0, 5, 7, 10, 14)),
    "13sus4": ("sus", (0, 5, 7, 10, 14, 21)),
}

ALIASES = {"M": "", "maj": "", "sus": "sus4", "7sus": "7sus4", "9sus": "9sus4", "13sus": "13sus4"}
ALIASES |= {"add2": "add9", "2": "add9", "madd2": "madd9", "add4": "add11", "6/9": "69", "m6/9": "m69", "maj6": "6"}
ALIASES |= {"o": "dim", "o7": "dim7", "mb5": "dim", "ø": "m7b5", "ø7": "m7b5", "7b5m": "m7b5", "m7-5": "m7b5"}
ALIASES |= {"+": "aug", "#5": "aug", "+7": "aug7", "7#5": "aug7", "7+": "aug7", "alt": "7alt", "dom7": "7"}
ALIASES |= {"Δ": "maj7", "mmaj7": "mMaj7", "mM7": "mMaj7", "mM9": "mMaj9", "mmaj9": "mMaj9", "mmaj": "mMaj7"}
ALIASES |= {"maj7+": "maj7#5", "+maj7": "maj7#5", "augmaj7": "maj7#5", "7-9": "7b9", "power": "5"}

MODES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}
MODE_ALIASES = {"": "major", "M": "major", "m": "minor", "maj": "major", "min": "minor"}
MODE_ALIASES |= {"ionian": "major", "aeolian": "minor", "mixo": "mixolydian"}
# Semitones from the tonic up to the tonic of the major key with the same notes.
RELATIVE_MAJOR = {"major": 0, "minor": 3, "dorian": 10, "mixolydian": 5, "lydian": 7, "phrygian": 8}
NUMERALS = {"i": 0, "ii": 1, "iii": 2, "iv": 3, "v": 4, "vi": 5, "vii": 6}


def note_name(pc: int, flats: bool = False) -> str:
    """Name a pitch class: 1 is "C#", with `flats` "Db"."""
    return (FLAT_NAMES if flats else PITCH_CLASSES)[pc % 12]


def parse_note(name: str) -> int:
    """Return the pitch class of a note name such as "F#", "bb" or "E flat"; raises ConfigError."""
    text = _plain(name.strip())
    text = re.sub(r"[\s-]*sharp$", "#", re.sub(r"[\s-]*flat$", "b", text, flags=re.I), flags=re.I)
    match = re.fullmatch(r"([A-Ga-g])(#{0,2}|b{0,2})", text)
    if not match:
        raise ConfigError(f"'{name}' is not a note. Write a letter A to G with # or b, such as F# or Bb.")
    letter, accidental = match.groups()
    shift = accidental.count("#") - accidental.count("b")
    return (PITCH_CLASSES.index(letter.upper()) + shift) % 12


def _plain(text: str) -> str:
    return text.replace("♭", "b").replace("♯", "#").replace("°", "o")


def _quality(suffix: str) -> str | None:
    """Return the canonical spelling of a chord suffix, or None if nobody writes it."""
    text = re.sub(r"[(),\s]", "", suffix)
    text = re.sub(r"^(min|mi|-)", "m", text)
    text = re.sub(r"(maj|ma|Maj|M|Δ|\^|j)(?=\d)", "maj", text)
    for candidate in (text, ALIASES.get(text), ALIASES.get(suffix)):
        if candidate in QUALITIES:
            return candidate
    return None


@dataclass(frozen=True)
class Chord:
    """A chord: root and bass as pitch classes, quality as the canonical suffix ("" major, "m7", "sus4" ...).

    Example:
        >>> Chord.parse("F#m7b5").pitch_classes
        (6, 9, 0, 4)
        >>> str(Chord.parse("Cmin7/G"))
        'Cm7/G'
    """

    root: int
    quality: str
    bass: int | None = None  # None: the root

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise ConfigError(f"Chord quality '{self.quality}' is unknown. Known: {', '.join(QUALITIES)}.")
        if not 0 <= self.root < 12 or not 0 <= (self.bass or 0) < 12:
            raise ConfigError(f"Chord root {self.root} and bass {self.bass} must be pitch classes 0 to 11.")

    @classmethod
    def parse(cls, symbol: str) -> Chord:
        """Read a chord symbol such as "Am7", "C/E" or "G7sus4"; raises ConfigError."""
        match = re.fullmatch(r"([A-G](?:##?|bb?)?)(.*?)(?:/([A-G](?:##?|bb?)?))?", _plain(symbol.strip()))
        quality = _quality(match.group(2)) if match else None
        if match is None or quality is None:
            raise ConfigError(f"'{symbol}' is not a chord. Write a root and a quality, such as Am7, F#, Bbmaj7 or C/E.")
        root, bass = parse_note(match.group(1)), match.group(3)
        return cls(root, quality, parse_note(bass) if bass else None)

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The notes from the root upwards in thirds; the bass of a slash chord is not added."""
        return tuple((self.root + interval) % 12 for interval in QUALITIES[self.quality][1])

    @property
    def simple(self) -> str:
        """The family: maj, min, dim, aug, dom, maj7, min7 or sus (power chords too)."""
        return QUALITIES[self.quality][0]

    def spell(self, flats: bool) -> str:
        """Write the symbol with flats or with sharps, as a key asks for."""
        bass = "" if self.bass is None else f"/{note_name(self.bass, flats)}"
        return f"{note_name(self.root, flats)}{self.quality}{bass}"

    def __str__(self) -> str:
        root = (COMMON_MINOR if self.simple in ("min", "min7", "dim") else COMMON_MAJOR)[self.root]
        bass = "" if self.bass is None else f"/{note_name(self.bass, 'b' in root)}"
        return f"{root}{self.quality}{bass}"


@dataclass(frozen=True)
class Key:
    """A tonic pitch class and a mode.

    Example:
        >>> str(Key.parse("Am").degree("bVII7"))
        'G7'
    """

    tonic: int
    mode: str

    def __post_init__(self) -> None:
        if self.mode not in MODES or not 0 <= self.tonic < 12:
            raise ConfigError(
                f"Key({self.tonic}, '{self.mode}') needs a tonic 0 to 11 and a mode of: {', '.join(MODES)}."
            )

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read "A minor", "Am", "Bb" or "C# dorian"; raises ConfigError."""
        plain = re.sub(r"[\s-]*(sharp|flat)\b", lambda m: {"s": "#", "f": "b"}[m.group(1)[0].lower()], text, flags=re.I)
        match = re.fullmatch(r"\s*([A-Ga-g](?:##?|bb?)?)[\s-]*([A-Za-z]*)\s*", _plain(plain))
        name = match.group(2) if match else "?"
        mode = MODE_ALIASES.get(name) or MODE_ALIASES.get(name.lower(), name.lower())
        if match is None or mode not in MODES:
            raise ConfigError(f"'{text}' is not a key. Write a note and a mode ({', '.join(MODES)}), such as A minor.")
        return cls(parse_note(match.group(1)), mode)

    @property
    def scale(self) -> tuple[int, ...]:
        """The seven pitch classes from the tonic upwards."""
        return tuple((self.tonic + step) % 12 for step in MODES[self.mode])

    @property
    def flats(self) -> bool:
        """Whether the key signature has flats."""
        relative = (self.tonic + RELATIVE_MAJOR[self.mode]) % 12
        # Six accidentals: Eb minor reads better than D# minor, F# major better than Gb major.
        return relative in (5, 10, 3, 8, 1) or (relative == 6 and self.mode in ("minor", "dorian", "phrygian"))

    def degree(self, roman: str) -> Chord:
        """Turn a roman numeral into a chord of this key: "ii7", "V7/ii", "bVII", "#ivm7b5", "iadd9".

        Case gives the triad, the suffix the rest. As in lead sheets, degrees count from the major scale on the tonic in
        every mode, so A minor writes its G as bVII, and viio7 is G#dim7.

        Raises:
            ConfigError: the text is no numeral, or its suffix no chord quality.
        """
        head, _, target = roman.partition("/")
        if target and target != "9":  # the slash of a 6/9 chord is not one
            local = self.degree(target)
            return Key(local.root, "major" if target.lstrip("b#")[0].isupper() else "minor").degree(head)
        match = re.fullmatch(r"(b*|#*)(VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)(?![IViv])(.*)", _plain(roman))
        if not match:
            raise ConfigError(f"'{roman}' is not a roman numeral. Write one such as ii7, V7/ii, bVIImaj7 or i.")
        accidental, numeral, suffix = match.groups()
        quality = _quality(suffix) if numeral.isupper() else _minor_quality(suffix)
        if quality is None:
            raise ConfigError(
                f"'{roman}' ends in '{suffix}', which is no chord quality. Known: {', '.join(QUALITIES)}."
            )
        step = MODES["major"][NUMERALS[numeral.lower()]]
        return Chord((self.tonic + step + accidental.count("#") - accidental.count("b")) % 12, quality)

    def __str__(self) -> str:
        return f"{note_name(self.tonic, self.flats)} {self.mode}"


def _minor_quality(suffix: str) -> str | None:
    """Read the suffix of a lower-case numeral: "7" means m7, but "dim7", "m7b5" or "sus4" stand as they are."""
    if re.match(r"(m(?!aj)|-|dim|o|ø|sus|5|aug|\+|\d+sus)", suffix):
        return _quality(suffix)
    return _quality(f"m{suffix}")
