"""What a prompt says in so many words: numbers, keys, names. Rules only; a classifier guesses the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from .instruments import find_instrument, instrument_names
from .style import load_style, style_names
from .theory import MODES, Key
from .wording import vocabulary

__all__ = ["PromptFacts", "mood_names", "parse_prompt"]

# Names of instruments that mostly mean something else in a prompt ("chill vibes", "a steady beat", "lead me on").
NOT_INSTRUMENTS = {"vibes", "voices", "sub", "tremolo", "beat", "bell", "oohs", "keyboard", "sawtooth", "chimes"}
# Aliases of styles that say too little alone ("a groove", "the soundtrack", "epic"): the classifier weighs them.
WEAK_ALIASES = {"acoustic", "club", "dance", "drone", "epic", "groove", "meditation", "shuffle", "soundtrack", "swing"}
# Names of styles that are also plain words: in a scene they mean nothing ("for a haunted house").
PLAIN_WORDS = {"arcade", "blues", "country", "drill", "folk", "funk", "house", "metal", "pop", "rock"}
SCENE = re.compile(r"(?:(?<!looking )\bfor|\b(?:at|in|from|like) (?:an?|the)\b(?! key))\b[^,.;]*$")
# Words of mood that more often describe a sound.
NOT_MOODS = {"deep", "light", "blue", "driving", "grand", "huge", "rough", "raw", "soft", "smooth", "cool", "strange"}

GAP = r"[\s_-]*"
NEGATION = r"\b(?:no|without|minus|excluding|except|sans|lacking)\s+(?:any\s+|the\s+|some\s+)?"
NUMBER = r"(\d{2,3}(?:\.\d+)?)"
MODE_WORDS = {"maj": "major", "min": "minor", "ionian": "major", "aeolian": "minor", **{mode: mode for mode in MODES}}


@dataclass(frozen=True)
class PromptFacts:
    """What was found; None or () where the prompt says nothing.

    `styles` holds every style that is named, the likeliest first: a style's own name before an alias, then by place.
    `instruments` and `without` hold names that find_instrument knows.
    """

    tempo: float | None = None  # BPM
    key: str | None = None  # as theory.Key writes it
    meter: str | None = None  # as typed, "3/4"; a waltz is 3/4
    bars: int | None = None
    duration: float | None = None  # seconds
    styles: tuple[str, ...] = ()
    moods: tuple[str, ...] = ()  # first words of the mood lines
    instruments: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    only: bool = False  # nobody plays but `instruments` ("solo piano")

    @property
    def style(self) -> str | None:
        """The likeliest style that was named."""
        return self.styles[0] if self.styles else None


def parse_prompt(text: str) -> PromptFacts:
    """Read the facts that a prompt states.

    Example:
        >>> facts = parse_prompt("slow blues waltz in F# minor, 66 bpm, piano but no drums")
        >>> facts.style, facts.meter, facts.key, facts.tempo, facts.instruments, facts.without
        ('blues', '3/4', 'F# minor', 66.0, ('piano',), ('drums',))
    """
    plain = text.replace("♯", "#").replace("♭", "b").replace("’", "'").replace("–", "-")
    lower = plain.lower()
    without, rest = _without(lower)
    styles, instruments, rest = _names(rest)
    return PromptFacts(
        tempo=_tempo(lower),
        key=_key(plain),
        meter=_meter(lower),
        bars=_bars(lower),
        duration=_duration(lower),
        styles=styles,
        moods=_moods(rest),
        instruments=instruments,
        without=without,
        only=bool(instruments) and not without and _is_only(lower),
    )


def mood_names() -> list[str]:
    """The plain word of every mood, in the order of the vocabulary."""
    return [line[0] for line in vocabulary()["moods"]]


# --- numbers ------------------------------------------------------------------------------------------------------


def _tempo(text: str) -> float | None:
    unit = r"\s*-?\s*(?:bpm\b|beats\s+(?:per|a)\s+minute)"
    span = re.search(rf"\b{NUMBER}\s*(?:-|to|and)\s*{NUMBER}{unit}", text)
    if span:  # "80-90 bpm" is kept by its middle
        return (float(span[1]) + float(span[2])) / 2
    label = r"\b(?:bpm|tempo)\s*(?:of|is|at|=|:)?\s*(?:about\s+|around\s+)?"
    match = re.search(rf"\b{NUMBER}{unit}", text) or re.search(rf"{label}{NUMBER}\b", text)
    return float(match[1]) if match else None


def _meter(text: str) -> str | None:
    match = re.search(r"(?<![\d/])(\d{1,2})\s*/\s*(2|4|8|16)(?![\d/])", text)
    if match and match[1] != "1":  # "1/16 hats" are notes, not a meter
        return f"{match[1]}/{match[2]}"
    for meter, pattern in {"3/4": r"\bwaltz(es)?\b|\bthree[\s-]four\b", "6/8": r"\bsix[\s-]eight\b"}.items():
        if re.search(pattern, text):
            return meter
    return "4/4" if re.search(r"\bfour[\s-]four\b|\bcommon time\b", text) else None


def _bars(text: str) -> int | None:
    match = re.search(r"\b(\d{1,3})[\s-]*(?:bars?|measures?)\b(?!\s+blues)", text)
    return int(match[1]) if match else None


def _duration(text: str) -> float | None:
    clock = re.search(r"\b(\d{1,2}):([0-5]\d)\b(?!\s*(?:am|pm|o'clock))", text)
    if clock and re.search(r"\b(long|length|duration|lasting|minutes?)\b", text):
        return 60.0 * int(clock[1]) + int(clock[2])
    minutes = re.search(r"\b(\d+(?:\.\d+)?)[\s-]*(?:minutes?|mins?)\b", text)
    # "90s" is a decade
    seconds = re.search(r"\b(?![5-9]0s)(\d+(?:\.\d+)?)[\s-]*(?:seconds?|secs?|s)\b", text)
    if not minutes and not seconds:
        return None
    return 60 * float(minutes[1] if minutes else 0) + float(seconds[1] if seconds else 0)


# --- keys ---------------------------------------------------------------------------------------------------------


def _key(text: str) -> str | None:
    """Find "in A minor", "F# major", "Bbm", "D dorian", "key of C"; a lone small a before a mode is an article."""
    note = r"(?<![\w#/])([A-Ga-g])((?:\s*-?\s*(?:sharp|flat)\b)|[#b](?![a-z]{2,}(?<!min)(?<!maj))|)"
    modes = "|".join(sorted(MODE_WORDS, key=len, reverse=True))
    for match in re.finditer(rf"{note}[\s-]*(?:natural\s+|harmonic\s+|melodic\s+)?({modes})\b", text, re.I):
        if not _is_article(match, text):
            return _spell(match[1], match[2], MODE_WORDS[match[3].lower()])
    short = re.search(r"(?<![\w#])([A-G])([#b]?)m\b", text)
    if short and (short[1] != "A" or short[2] or text[short.end() :].strip()[:1].lower() in set(",.;:|/+&") | {""}):
        return _spell(short[1], short[2], "minor")
    if short and re.search(r"\b(in|key|key of)\s*:?\s*$", text[: short.start()], re.I):
        return _spell(short[1], short[2], "minor")
    end = r"(?=\s*(?:$|[,.;:)|/]|(?:at|with|and|for|by|on|but|using|featuring)\b))"
    note = r"([A-Ga-g])((?:[\s-]*(?:sharp|flat)\b)|[#b]?)"
    named = re.search(rf"\bkey(?:\s+of|\s*[:=]|\s)\s*{note}{end}", text, re.I)
    named = named or re.search(rf"\b[Ii]n\s+(?=[A-G]){note}{end}", text)
    return _spell(named[1], named[2], "major") if named else None


def _is_article(match: re.Match[str], text: str) -> bool:
    """Tell "a minor setback" and "a major key" from the key of A."""
    if match[1].lower() != "a" or match[2]:
        return False
    after = text[match.end() :].strip().lower()
    noun = re.match(r"(?!at\b|with\b|and\b|for\b|by\b|on\b|but\b|using\b|featuring\b|bpm\b|in\b)[a-z]", after)
    if not noun:
        return False
    before = text[: match.start()].strip().lower()
    return match[1] == "a" or before == "" or before.endswith((".", "!", "?"))


def _spell(letter: str, accidental: str, mode: str) -> str:
    sign = "#" if "#" in accidental or "sharp" in accidental.lower() else "b" if accidental.strip() else ""
    return str(Key.parse(f"{letter.upper()}{sign} {mode}"))


# --- names --------------------------------------------------------------------------------------------------------


def _phrases(names: Iterable[str], plural: bool = False) -> str:
    """A pattern for any of the names, the longest first; blanks and hyphens in them do not matter."""
    words = sorted({name.lower() for name in names}, key=lambda name: (-len(name), name))
    body = "|".join(GAP.join(re.escape(word) for word in re.split(r"[\s_-]+", name) if word) for name in words)
    return rf"(?<![\w#])(?:{body}){'s?' if plural else ''}(?![\w#])"


def _bare(phrase: str) -> str:
    return re.sub(r"[\s_-]+", "", phrase.lower())


@cache
def _style_phrases() -> dict[str, tuple[str, bool]]:
    """Phrase -> (style, whether it is the style's own name)."""
    table = {name.replace("_", " "): (name, True) for name in style_names()}
    for name in style_names():
        for alias in load_style(name).aliases:
            table.setdefault(alias, (name, False))
    for name in style_names():
        words = vocabulary()["styles"].get(name, {"names": (), "full": ()})
        for phrase in (*words["names"], *words["full"]):
            table.setdefault(re.sub(r"^(an?|the|some) ", "", phrase), (name, False))
    return table


@cache
def _style_pattern() -> tuple[re.Pattern[str], dict[str, tuple[str, bool]]]:
    phrases = _style_phrases()
    return re.compile(_phrases(phrases)), {_bare(phrase): phrases[phrase] for phrase in reversed(phrases)}


@cache
def _instrument_table() -> dict[str, str]:
    """Bare phrase -> a name that find_instrument knows."""
    table = {_bare(name): name for name in instrument_names()}
    for line in vocabulary()["instruments"]:
        for name in line:
            if _bare(name).removesuffix("s") in table:
                table.setdefault(_bare(name), name)  # "drums" stays as it is typed
        known = [table[_bare(name)] for name in line if _bare(name) in table]
        for name in line if known else ():
            table.setdefault(_bare(name), known[0])
    return {bare: name for bare, name in table.items() if bare not in NOT_INSTRUMENTS}


@cache
def _instrument_phrases() -> str:
    words = {*instrument_names(), *(name for line in vocabulary()["instruments"] for name in line)}
    return _phrases((word for word in words if _bare(word) in _instrument_table()), plural=True)


def _instrument(phrase: str) -> str:
    bare = _bare(phrase)
    table = _instrument_table()
    return table[bare] if bare in table else table[bare.removesuffix("s")]


def _without(text: str) -> tuple[tuple[str, ...], str]:
    """Find "no drums", "without bass or drums", "drumless"; returns the names and the text without them."""
    found: list[str] = []
    one = _instrument_phrases()
    chain = re.compile(rf"{NEGATION}({one}(?:(?:\s*,\s*|\s*/\s*|\s+(?:and|or|nor)\s+)(?:(?:no|any)\s+)?{one})*)")

    def note(match: re.Match[str]) -> str:
        found.extend(_instrument(phrase) for phrase in re.findall(one, match[1]))
        return " ; "

    text = chain.sub(note, text)
    less = re.compile(r"\b(drum|beat|bass|piano|guitar)s?[\s-]?(?:less|free)\b")
    found += ["drums" if word in ("drum", "beat") else word for word in less.findall(text)]
    return _unique(found), less.sub(" ; ", text)


def _names(text: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Find styles and instruments; returns them and the text without the instruments."""
    pattern, table = _style_pattern()
    ranked: list[tuple[int, int, str]] = []
    blanked = text
    for match in pattern.finditer(text):
        style, is_own = table[_bare(match[0])]
        if match[0] in WEAK_ALIASES or re.search(
            r"\b(not|no|without|non|never)[\s-]+(?:any\s+)?$", text[: match.start()]
        ):
            continue
        if match[0] in PLAIN_WORDS and SCENE.search(text[: match.start()]):
            continue
        guitar = re.match(_instrument_phrases(), text[match.start() :])
        inside = guitar is not None and len(guitar[0]) > len(match[0])  # "jazz guitar", "acoustic guitar"
        if is_own or not inside:
            ranked.append((2 if inside else 0 if is_own else 1, match.start(), style))
        if not inside and not match[0].startswith(("piano", "string")):  # "piano sonata" names both
            blanked = blanked[: match.start()] + "~" * len(match[0]) + blanked[match.end() :]
    named = [row for row in ranked if row[0] < 2] or ranked  # "jazz guitar" says jazz only if nothing else does
    styles = [style for _, _, style in sorted(named)]
    spans = list(re.finditer(_instrument_phrases(), blanked))
    instruments = _unique([_instrument(match[0]) for match in spans])
    for match in spans:
        blanked = blanked[: match.start()] + "~" * len(match[0]) + blanked[match.end() :]
    return tuple(dict.fromkeys(styles)), instruments, blanked


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """Keep the first of several names of one instrument."""
    return tuple({find_instrument(name): name for name in reversed(list(names))}.values())[::-1]


def _is_only(text: str) -> bool:
    """Whether the prompt wants the named instruments and nothing else ("solo piano", "just piano and bass")."""
    one = _instrument_phrases()
    pair = rf"{one}(?:\s+(?:and|&)\s+{one})?"
    alone = re.search(rf"\b(?:solo|unaccompanied)\s+(?:[a-z]+\s+)?{one}|{pair}\s+(?:only|alone)\b", text)
    just = re.search(rf"\b(?:just|only)\s+(?:an?\s+|the\s+)?{pair}\s*(?:$|[,.;!])", text)
    return bool(alone or just)


@cache
def _mood_table() -> dict[str, str]:
    lines = reversed(vocabulary()["moods"])
    return {_bare(word): line[0] for line in lines for word in line if word not in NOT_MOODS}


def _moods(text: str) -> tuple[str, ...]:
    words = (word for line in vocabulary()["moods"] for word in line if word not in NOT_MOODS)
    return tuple(dict.fromkeys(_mood_table()[_bare(match[0])] for match in re.finditer(_phrases(words), text)))
