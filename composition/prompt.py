"""What a prompt says in so many words: numbers, keys, names. Rules only; a classifier guesses the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .blending import Blend
from .naming import (
    bare,
    forbidden_name,
    forbidden_pattern,
    instrument_of,
    instrument_pattern,
    mood_names,
    mood_pattern,
    mood_words,
    style_pattern,
    styles_by_phrase,
    unique_forbidden,
    unique_instruments,
)
from .theory import MODES, Key

__all__ = ["PromptFacts", "mood_names", "parse_prompt"]

# Aliases of styles that say too little alone ("a groove", "the soundtrack", "epic"): the classifier weighs them.
WEAK_ALIASES = {"acoustic", "club", "dance", "drone", "epic", "groove", "meditation", "shuffle", "soundtrack", "swing"}
# Names of styles that are also plain words: in a scene they mean nothing ("for a haunted house").
PLAIN_WORDS = {"arcade", "blues", "country", "drill", "folk", "funk", "house", "metal", "pop", "rock"}
SCENE = re.compile(r"(?:(?<!looking )\bfor|\b(?:at|in|from|like) (?:an?|the)\b(?! key))\b[^,.;]*$")

NEGATION = r"\b(?:no|without|minus|excluding|except|sans|lacking)\s+(?:any\s+|the\s+|some\s+)?"
NOT = r"\b(?:not|no|without|non|never)[\s-]+(?:any\s+|too\s+|so\s+|very\s+)?"
PERCENT = r"(\d{1,3}(?:\.\d+)?)\s*(?:%|percent\b|per cent\b)"
PERCENT_BEFORE = re.compile(rf"{PERCENT}\s*(?:of\s+)?$")  # "70% jazz"
PERCENT_AFTER = re.compile(
    rf"\s*[:=(]?\s*{PERCENT}(?!\s*(?:of\s+)?[a-z])"
)  # "jazz 70%", but not the 30 in "jazz, 30% house"
JOINED = re.compile(r"\s*(?:and|&|\+|x|meets|mixed with|blended with|crossed with|fused with)\s*")
RUBATO = 0.7  # of a prompt that asks for it
NUMBER = r"(\d{2,3}(?:\.\d+)?)"
MODE_WORDS = {"maj": "major", "min": "minor", "ionian": "major", "aeolian": "minor", **{mode: mode for mode in MODES}}


@dataclass(frozen=True, order=True)
class _Named:
    """A style that is named at a place of the text; the likelier it is meant, the sooner it comes."""

    rank: int  # 0 its own name, 1 an alias, 2 inside the name of an instrument
    start: int
    end: int
    style: str
    share: float | None = None  # percent, if one is said


@dataclass(frozen=True)
class PromptFacts:
    """What was found; None or () where the prompt says nothing.

    `styles` holds every style that is named, the likeliest first: a style's own name before an alias, then by place.
    `instruments` holds names that find_instrument knows, `without` those that instruments.forbidden does.
    """

    tempo: float | None = None  # BPM
    key: str | None = None  # as theory.Key writes it
    meter: str | None = None  # as typed, "3/4"; a waltz is 3/4
    bars: int | None = None
    duration: float | None = None  # seconds
    styles: tuple[str, ...] = ()
    blend: str | None = None  # as blending.Blend writes it, "70% jazz, 30% house"
    moods: tuple[str, ...] = ()  # first words of the mood lines
    instruments: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    only: bool = False  # nobody plays but `instruments` ("solo piano")
    rubato: float | None = None  # 0 for "strict tempo"
    pulse: bool | None = None  # True for a tempo in numbers, False for "no beat"
    ritardando: bool | None = None

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
    named, instruments, unnamed = _names(rest)
    return PromptFacts(
        tempo=_tempo(lower),
        key=_key(plain),
        meter=_meter(lower),
        bars=_bars(lower),
        duration=_duration(lower),
        styles=tuple(dict.fromkeys(each.style for each in named)),
        blend=_blend(named, rest),
        moods=_moods(unnamed),
        instruments=instruments,
        without=without,
        only=bool(instruments) and not without and _is_only(lower),
        rubato=_rubato(lower),
        pulse=_pulse(lower),
        ritardando=_ritardando(lower),
    )


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


def _rubato(text: str) -> float | None:
    if re.search(rf"{NOT}rubato\b|\b(?:strict|steady)\s+(?:tempo|time)\b|\bmetronomic", text):
        return 0.0
    return RUBATO if re.search(r"\brubato\b|\bexpressive\s+timing\b|\bfreely\b|\bad\s+lib(?:itum)?\b", text) else None


def _pulse(text: str) -> bool | None:
    no = r"\b(?:no|without|sans|lacking)\s+(?:any\s+|an?\s+|the\s+)?"
    beat = r"(?:beats?|pulse|rhythm)\b(?!\s+(?:per|guitar|section))"
    if re.search(rf"{no}{beat}|\bbeat[\s-]?(?:less|free)\b", text):
        return False
    return True if _tempo(text) is not None else None


def _ritardando(text: str) -> bool | None:
    word = r"(?:ritardando|rallentando|slow(?:s|ing)?\s+down\s+(?:at|towards|near|before)\s+the\s+end)\b"
    if re.search(rf"{NOT}{word}", text):
        return False
    return True if re.search(rf"\b{word}", text) else None


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


def _without(text: str) -> tuple[tuple[str, ...], str]:
    """Find "no drums", "without bass or drums", "drumless"; returns the names and the text without them."""
    found: list[str] = []
    one = forbidden_pattern()
    chain = re.compile(rf"{NEGATION}({one}(?:(?:\s*,\s*|\s*/\s*|\s+(?:and|or|nor)\s+)(?:(?:no|any)\s+)?{one})*)")

    def note(match: re.Match[str]) -> str:
        found.extend(forbidden_name(phrase) for phrase in re.findall(one, match[1]))
        return " ; "

    text = chain.sub(note, text)
    less = re.compile(r"\b(drum|beat|bass|piano|guitar)s?[\s-]?(?:less|free)\b")
    found += ["drums" if word in ("drum", "beat") else word for word in less.findall(text)]
    return unique_forbidden(found), less.sub(" ; ", text)


def _names(text: str) -> tuple[list[_Named], tuple[str, ...], str]:
    """Find styles, the likeliest first, and instruments; returns them and the text without the instruments."""
    found: list[_Named] = []
    blanked = text
    for match in re.finditer(style_pattern(), text):
        style, is_own = styles_by_phrase()[bare(match[0])]
        before = text[: match.start()]
        share = PERCENT_BEFORE.search(before) or PERCENT_AFTER.match(text[match.end() :])
        if re.search(rf"{NOT}$", before) or (not share and _is_vague(match[0], before)):
            continue
        guitar = re.match(instrument_pattern(), text[match.start() :])
        inside = guitar is not None and len(guitar[0]) > len(match[0])  # "jazz guitar", "acoustic guitar"
        if is_own or not inside:
            rank = 2 if inside else 0 if is_own else 1
            found.append(_Named(rank, match.start(), match.end(), style, float(share[1]) if share else None))
        if not inside and not match[0].startswith(("piano", "string")):  # "piano sonata" names both
            blanked = blanked[: match.start()] + "~" * len(match[0]) + blanked[match.end() :]
    named = [each for each in found if each.rank < 2] or found  # "jazz guitar" says jazz only if nothing else does
    spans = list(re.finditer(instrument_pattern(), blanked))
    instruments = unique_instruments([instrument_of(match[0]) for match in spans])
    for match in spans:
        blanked = blanked[: match.start()] + "~" * len(match[0]) + blanked[match.end() :]
    return sorted(named), instruments, blanked


def _is_vague(phrase: str, before: str) -> bool:
    """Whether a style's name says too little where it stands."""
    return phrase in WEAK_ALIASES or (phrase in PLAIN_WORDS and SCENE.search(before) is not None)


def _blend(named: list[_Named], text: str) -> str | None:
    """Read "70% jazz, 30% house", or "jazz meets house" as halves; None where one style is meant, or nobody knows.

    Raises:
        ConfigError: shares that do not sum to 100 %.
    """
    shares = [(each.style, each.share) for each in named if each.share is not None]
    if len(shares) > 1:
        return str(Blend.of(shares))
    in_order = sorted((each for each in named if each.rank < 2), key=lambda each: each.start)
    for one, two in zip(in_order, in_order[1:], strict=False):
        if one.style != two.style and JOINED.fullmatch(text[one.end : two.start]):
            return str(Blend.of([(one.style, 50.0), (two.style, 50.0)]))
    return None


def _is_only(text: str) -> bool:
    """Whether the prompt wants the named instruments and nothing else ("solo piano", "just piano and bass")."""
    one = instrument_pattern()
    pair = rf"{one}(?:\s+(?:and|&)\s+{one})?"
    alone = re.search(rf"\b(?:solo|unaccompanied)\s+(?:[a-z]+\s+)?{one}|{pair}\s+(?:only|alone)\b", text)
    just = re.search(rf"\b(?:just|only)\s+(?:an?\s+|the\s+)?{pair}\s*(?:$|[,.;!])", text)
    return bool(alone or just)


def _moods(text: str) -> tuple[str, ...]:
    found = [m for m in re.finditer(mood_pattern(), text) if not re.search(rf"{NOT}$", text[: m.start()])]
    return tuple(dict.fromkeys(mood_words()[bare(match[0])] for match in found))
