"""Captions a person might type for a piece: tag lists, phrases, scenes, requests, typing slips and all.

Knows facts and words only, nothing of notes or audio. A caption leaves facts out at random but never invents one,
because pairs of caption and facts teach the classifier that reads a prompt.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ConfigError, UnknownNameError
from .wording import (
    say_energy,
    say_instrument,
    say_instruments,
    say_key,
    say_meter,
    say_mood,
    say_sections,
    say_style,
    say_tempo,
    say_tempo_word,
    style_words,
    vocabulary,
)

__all__ = ["caption", "describe"]

# How often each fact is mentioned. People name the style most, then the instruments.
_MENTION = {
    "style": 0.88,
    "tempo": 0.4,
    "key": 0.28,
    "mood": 0.5,
    "instruments": 0.55,
    "energy": 0.2,
    "meter": 0.25,
    "sections": 0.06,
}
Facts = dict[str, Any]


def caption(facts: Mapping[str, Any], rng: random.Random) -> str:
    """Describe a piece the way one person might, in one line.

    Args:
        facts: any of `style` (name of a style file), `tempo` (BPM), `key` ("A minor", "Am", "D dorian"), `mood` (word),
            `instruments` (names), `energy` (0..1), `meter` ("3/4"), `sections` (names). None or empty means unknown.
        rng: the only source of chance; the same state gives the same caption.

    Raises:
        UnknownNameError: a fact of another name.
        ConfigError: no fact at all.
    """
    return describe(facts, rng)[0]


def describe(facts: Mapping[str, Any], rng: random.Random) -> tuple[str, Facts]:
    """Return a caption and those of the facts that it mentions, so that the rest can be masked in training.

    A caption that speaks of a scene or is a saying has its words as one more fact, `scene`.
    """
    mentioned = _keep(_check(facts), rng)
    form = rng.choices(list(_FORMS), list(_FORMS.values()))[0]
    text = re.sub(r"\s+", " ", form(mentioned, rng)).replace(" ,", ",").strip(" ,")
    return _roughen(_articles(text), rng), mentioned


def _check(facts: Mapping[str, Any]) -> Facts:
    for name in facts:
        if name not in _MENTION:
            raise UnknownNameError("fact", name, _MENTION)
    known = {name: facts[name] for name in _MENTION if facts.get(name) not in (None, "", [], ())}
    if not known:
        raise ConfigError(f"A caption of {dict(facts)} has nothing to say. Give at least one of {', '.join(_MENTION)}.")
    if not 0.0 <= known.get("energy", 0.0) <= 1.0:
        raise ConfigError(f"energy is {known['energy']}, but it must be 0 to 1.")
    return known


def _keep(known: Facts, rng: random.Random) -> Facts:
    """Drop facts at random, most of them now and then, but never all."""
    share = rng.choice([1.0, 1.0, 0.75, 0.6])  # a real prompt often names one or two things only
    kept = {name: value for name, value in known.items() if rng.random() < _MENTION[name] * share}
    if not kept:
        name = rng.choice(list(known))
        kept = {name: known[name]}
    if "instruments" in kept:
        names = list(kept["instruments"])
        kept["instruments"] = rng.sample(names, min(len(names), rng.choice([1, 1, 1, 2, 2, 3, 4])))
    return kept


# --- parts of a phrase --------------------------------------------------------------------------------------------


def _adjectives(rest: Facts, rng: random.Random) -> list[str]:
    """Make the words before the noun; removes from `rest` what they say."""
    words = []
    if "tempo" in rest and rng.random() < 0.45:
        words.append(say_tempo_word(rest["tempo"], rng))
        if rng.random() < 0.7:
            del rest["tempo"]
    if "energy" in rest:
        words.append(say_energy(rest.pop("energy"), rng))
    if "mood" in rest:
        words.append(say_mood(rest.pop("mood"), rng))
    rng.shuffle(words)
    return words


def _tails(rest: Facts, rng: random.Random) -> list[str]:
    """Make the words after the noun, one string a fact, in random order."""
    words = vocabulary()
    says: dict[str, Callable[[Any, random.Random], str]] = {
        "instruments": say_instruments,
        "key": say_key,
        "tempo": say_tempo,
        "sections": say_sections,
    }
    tails = [
        rng.choice(words[f"tails_{name}"]).format(x=say(rest[name], rng)) for name, say in says.items() if name in rest
    ]
    if "meter" in rest:
        tails.append(say_meter(rest["meter"], rng))
    textures = style_words(rest.get("style")).get("textures")
    if textures and rng.random() < 0.12:
        tails.append("with " + rng.choice(textures))
    rng.shuffle(tails)
    return tails


def _noun_phrase(said: Facts, rng: random.Random, article: bool = True) -> str:
    """Say `a slow lofi piano track in A minor at 80 bpm` or one of its many shorter relatives."""
    rest, words = dict(said), vocabulary()
    adjectives = _adjectives(rest, rng)
    before = ""
    if style_words(rest.get("style")) and rng.random() < 0.18:
        core = say_style(rest["style"], rng, full=True)
        core = re.sub(r"^(an?|the|some) ", "", core) if adjectives else core
    else:
        player = ""
        if "instruments" in rest and rng.random() < 0.4:
            said["instruments"] = rest.pop("instruments")[:1]
            player = say_instruments(said["instruments"], rng)
        style = say_style(rest["style"], rng) if "style" in rest else ""
        is_bare = bool(style or player) and rng.random() < 0.3  # "lofi", "lofi piano"
        is_mass = rng.random() < 0.4
        noun = "" if is_bare else rng.choice(words["mass" if is_mass else "nouns"])
        core = " ".join(filter(None, [style, player, noun]))
        before = rng.choice(["some", ""]) if is_bare or is_mass else "a"
    return " ".join(filter(None, [before if article else "", *adjectives, core, *_tails(rest, rng)]))


# --- forms of a caption: each says all of `said`, and removes from it what it leaves out ----------------------------


def _phrase(said: Facts, rng: random.Random) -> str:
    return _noun_phrase(said, rng, article=rng.random() < 0.3)


def _sentence(said: Facts, rng: random.Random) -> str:
    return str(rng.choice(vocabulary()["sentences"])).format(np=_noun_phrase(said, rng))


def _request(said: Facts, rng: random.Random) -> str:
    return str(rng.choice(vocabulary()["requests"])).format(np=_noun_phrase(said, rng))


def _tags(said: Facts, rng: random.Random) -> str:
    """Say `lofi, piano, 84 bpm`."""
    rest = dict(said)
    tags = _adjectives(rest, rng)
    if "style" in rest:
        tags.insert(0, say_style(rest["style"], rng))
        textures = style_words(rest["style"]).get("textures")
        tags += [rng.choice(textures)] if textures and rng.random() < 0.2 else []
    tags += list(dict.fromkeys(say_instrument(name, rng) for name in rest.get("instruments", ())))
    for name, say in (("tempo", say_tempo), ("key", say_key), ("meter", say_meter), ("sections", say_sections)):
        if name in rest:
            tags.append(say(rest[name], rng))
    if rng.random() < 0.5:
        rng.shuffle(tags)
    return rng.choice([", ", ", ", " ", " / ", " - ", "; ", ",", " + "]).join(tags)


def _labelled(said: Facts, rng: random.Random) -> str:
    """Say `style: lofi, mood: calm, tempo: 84 bpm`."""
    says: dict[str, Callable[[Any, random.Random], str]] = {
        "style": say_style,
        "mood": say_mood,
        "key": say_key,
        "instruments": say_instruments,
        "tempo": lambda tempo, _: f"{round(tempo)} bpm",
        "energy": say_energy,
        "meter": lambda meter, _: str(meter),
        "sections": lambda sections, _: " ".join(sections),
    }
    labels = {"style": rng.choice(["style", "genre"]), "mood": rng.choice(["mood", "feel", "vibe"])}
    joint, colon = rng.choice([", ", "; ", " | ", ". "]), rng.choice([": ", " = ", ":"])
    names = [name for name in says if name in said]
    rng.shuffle(names)
    return joint.join(f"{labels.get(name, name)}{colon}{says[name](said[name], rng)}" for name in names)


def _scene(said: Facts, rng: random.Random) -> str:
    """Say `slow lofi for a rainy sunday with coffee`. A scene speaks for its style, so it needs one."""
    scenes = style_words(said.get("style")).get("scenes")
    if scenes is None:
        return _sentence(said, rng)
    template = rng.choice(vocabulary()["scenes"])
    rest = _forget(said, 0.4, rng)
    adjectives = _adjectives(rest, rng)
    if "{adj}" not in template:  # what has no place in the sentence goes in front: "slow, music for ..."
        template = ", ".join(adjectives) + ": " + template if adjectives else template
    said["scene"] = rng.choice(scenes)
    text = template.format(
        scene=said["scene"],
        adj=" ".join(adjectives) + " " if adjectives else "",
        style=say_style(rest["style"], rng),
        noun=rng.choice(vocabulary()["nouns"]),
    )
    return " ".join([text, *_tails(rest, rng)])


def _saying(said: Facts, rng: random.Random) -> str:
    """Say `keep me company while i study`, seldom more than that. A saying speaks for its style, so it needs one."""
    sayings = style_words(said.get("style")).get("sayings")
    if sayings is None:
        return _sentence(said, rng)
    rest = _forget(said, 0.7, rng)
    if rng.random() < 0.75:
        del rest["style"]
    said["scene"] = rng.choice(sayings)
    text = str(rng.choice(vocabulary()["sayings"])).format(saying=said["scene"])
    return text + rng.choice([". ", ", ", " - "]) + _tags(rest, rng) if rest else text


def _forget(said: Facts, chance: float, rng: random.Random) -> Facts:
    """Remove facts other than the style from `said`, each with this chance; returns a copy of what is left."""
    for name in [name for name in said if name != "style" and rng.random() < chance]:
        del said[name]
    return dict(said)


_FORMS: dict[Callable[[Facts, random.Random], str], float] = {
    _phrase: 0.24,
    _tags: 0.18,
    _request: 0.12,
    _scene: 0.22,
    _saying: 0.14,
    _sentence: 0.07,
    _labelled: 0.03,
}


# --- the last touch -----------------------------------------------------------------------------------------------


def _articles(text: str) -> str:
    """Put `an` before a vowel sound; runs before casing, so that the note `A` is left alone."""
    return re.sub(r"\ba (?=[aio]|e(?!u)|u(?!k|ni)|8)", "an ", text)


def _typo(text: str, rng: random.Random) -> str:
    """Swap, drop or double one letter inside a longer word; numbers and keys stay as they are."""
    long_words = list(re.finditer(r"\b(?!sharp|minor|major)[a-z]{5,}", text))
    if not long_words:
        return text
    word = rng.choice(long_words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    left, here, rest = text[:at], text[at], text[at + 1 :]
    return rng.choice([left + rest, left + here + here + rest, left + rest[0] + here + rest[1:]])


def _roughen(text: str, rng: random.Random) -> str:
    """Type it as people do: mostly lower case, few full stops, now and then a slip."""
    if rng.random() < 0.08:
        text = _typo(text, rng)
    if rng.random() < 0.3:
        text = text.rstrip(".")
    case = rng.choices(["lower", "keep", "sentence", "title", "upper"], [0.45, 0.3, 0.2, 0.03, 0.02])[0]
    if case == "lower":
        return text.lower()
    if case == "sentence":
        return text[0].upper() + text[1:]
    if case == "title":
        return re.sub(r"(?<![\w'])[a-z]", lambda letter: letter[0].upper(), text)
    return text.upper() if case == "upper" else text
