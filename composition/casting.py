"""Who plays: names of instruments and a style -> one program a role."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ..errors import ConfigError, UnknownNameError
from .instruments import FORBIDDEN, find_instrument, forbidden, instrument_family, instrument_names, program_name
from .score import ROLES

__all__ = ["Cast", "check_names", "pick"]

T = TypeVar("T", str, int)

# Where a second instrument of one role goes, the best place first.
MOVES = {
    "drums": (),
    "bass": ("colour", "lead", "pad", "chords"),
    "chords": ("lead", "pad", "colour"),
    "lead": ("colour", "pad", "chords"),
    "pad": ("colour", "chords", "lead"),
    "colour": ("lead", "pad", "chords"),
}
ROLE_WORDS = {"drum": "drums", "percussion": "drums", "beat": "drums", "bassline": "bass", "harmony": "chords"}
ROLE_WORDS |= {"chord": "chords", "melody": "lead", "solo": "lead", "pads": "pad", "color": "colour"}
ROLE_WORDS |= {role: role for role in ROLES}


def pick(dice: float, weights: Mapping[T, float]) -> T:
    """Choose a key by its weight with one number in 0..1, so that one choice never shifts the next one."""
    total = sum(weights.values())
    if total <= 0:
        weights, total = dict.fromkeys(weights, 1.0), float(len(weights))
    for name, weight in weights.items():
        dice -= weight / total
        if dice < 0:
            return name
    return list(weights)[-1]


class Cast:
    """The roles of one piece while they are filled; every step writes a sentence into `reasons`.

    Args:
        roles: role -> {program: weight}, of the style.
        without: roles or instruments that must stay silent.
        rng: two numbers a role are drawn at once, so that naming one instrument changes no other.
    """

    def __init__(self, roles: Mapping[str, Mapping[int, float]], without: Sequence[str], rng: random.Random) -> None:
        self.programs: dict[str, int] = {}
        self.reasons: list[str] = []
        self.roles = roles
        self.dice = {role: (rng.random(), rng.random()) for role in ROLES}
        self.silent = {ROLE_WORDS[word.lower()]: word for word in without if word.lower() in ROLE_WORDS}
        self.banned = {
            (is_drums, program): word
            for word in without
            if word.lower() not in ROLE_WORDS
            for is_drums, programs in [forbidden(word)]
            for program in programs
        }

    def seat(self, names: Sequence[str], asker: str) -> None:
        """Give each named instrument a role; what a "user" cannot have is a ConfigError, for a "prompt" a sentence."""
        moved: list[tuple[str, str, int]] = []
        for name in names:
            role, program = self._find(name)
            refusal = self._refusal(name, role, program)
            if refusal:
                self._refuse(asker, refusal)
            elif self.programs.get(role) == program:
                continue
            elif role in self.programs or role in self.silent:
                moved.append((name, role, program))
            else:
                self._take(role, program, f"{asker}: {name}")
        for name, role, program in moved:
            free = [place for place in MOVES[role] if place not in self.programs and place not in self.silent]
            if free:
                self._take(free[0], program, f"{asker}: {name}, moved because the role {role} is not free")
            else:
                taken = program_name(role, self.programs[role]) if role in self.programs else "nothing"
                self._refuse(asker, f"instruments has '{name}', but {role} already has {taken} and no role is free")

    def fill(self, presence: Mapping[str, float], strikers: Mapping[int, float] | None = None) -> None:
        """Let the style's other roles join by their probability; there is always some harmony if there can be.

        Args:
            presence: role -> probability.
            strikers: program -> weight of colours that mark the beat; if nobody drums, one of them joins.
        """
        for role in ROLES:
            weights = self._allowed(role)
            if not weights or role in self.programs:
                continue
            chance = presence.get(role, 0.0)
            clear = {p: weight for p, weight in (strikers or {}).items() if (False, p) not in self.banned}
            if role == "colour" and clear and "drums" not in self.programs:
                self._sample(role, clear, "rule: somebody marks the beat")
            elif self.dice[role][0] < chance:
                self._sample(role, weights, f"chance {chance:g}")
        if not {"chords", "pad"} & set(self.programs):
            for role in ("chords", "pad"):
                if self._allowed(role):
                    self._sample(role, self._allowed(role), "rule: someone plays the harmony")
                    break

    def keep(self, role: str, program: int) -> None:
        """Let who played go on, unless somebody took the role over or it must be silent."""
        if role not in self.programs and role not in self.silent and (role == "drums", program) not in self.banned:
            self._take(role, program, "rule: as before")

    def play_alone(self) -> None:
        """A soloist who plays the harmony plays the melody too."""
        if set(self.programs) == {"chords"} and "lead" not in self.silent:
            self._take("lead", self.programs["chords"], "rule: a lone player has both hands")

    def _find(self, name: str) -> tuple[str, int]:
        """Resolve a name; of a general word ("guitar") the style may choose the kind."""
        if name.lower() in ("lead", "melody", "chords", "colour") and name.lower() not in instrument_names():
            role = ROLE_WORDS[name.lower()]
            weights = self.roles.get(role) or {81: 1.0}
        else:
            role, program = find_instrument(name)
            own = self.roles.get(role, {})
            weights = {p: own[p] for p in own if p in instrument_family(name)} or {program: 1.0}
        return role, pick(self.dice[role][1], weights)

    def _refusal(self, name: str, role: str, program: int) -> str:
        """Say why an instrument may not play at all; empty if it may."""
        word = self.banned.get((role == "drums", program))
        if role in self.silent and (role in ("drums", "bass") or ROLE_WORDS.get(name.lower()) == role):
            word = self.silent[role]
        return f"instruments has '{name}', but without has '{word}'" if word else ""

    def _refuse(self, asker: str, sentence: str) -> None:
        if asker == "user":
            raise ConfigError(f"{sentence}. Take one of them away.")
        self.reasons.append(f"{asker}: not obeyed, {sentence}")

    def _allowed(self, role: str) -> dict[int, float]:
        if role in self.silent:
            return {}
        own = self.roles.get(role, {})
        return {p: weight for p, weight in own.items() if (role == "drums", p) not in self.banned}

    def _sample(self, role: str, weights: dict[int, float], why: str) -> None:
        listed = ", ".join(f"{program_name(role, p)} {weight:g}" for p, weight in weights.items())
        self._take(role, pick(self.dice[role][1], weights), f"sampled from {listed}; {why}")

    def _take(self, role: str, program: int, why: str) -> None:
        self.programs[role] = program
        self.reasons.append(f"{role} {program_name(role, program)} ({why})")


def check_names(names: Sequence[str]) -> None:
    """Raise UnknownNameError for a word that is no role, instrument or family of them."""
    for name in names:
        if name.lower() not in ROLE_WORDS:
            try:
                forbidden(name)
            except UnknownNameError:
                known = [*ROLES, *FORBIDDEN, *instrument_names()]
                raise UnknownNameError("role or instrument", name, known) from None
