"""Styles and instruments by classifiers that learnt from composed clips; they hear features that are not ours."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..composition.plan import MusicalPlan
from .reference import Clip

__all__ = ["FAMILIES", "Ear", "f1", "families", "family"]

FAMILIES = {  # General MIDI programs by what a listener would say
    "keys": range(0, 8),
    "mallets": range(8, 16),
    "organ": range(16, 24),
    "guitar": range(24, 32),
    "bass": range(32, 40),
    "strings": (*range(40, 46), *range(48, 52)),
    "harp and timpani": (46, 47),
    "choir": range(52, 56),
    "brass": range(56, 64),
    "reeds": range(64, 72),
    "flutes": range(72, 80),
    "synth lead": range(80, 88),
    "synth pad": range(88, 104),
    "plucked": range(104, 112),
    "struck": range(112, 128),
}
DRUMS = "drums"
PARTS = ("timbre", "msd_musicnn")  # facts that the classifiers hear
FOLDS = 4
STRENGTH = 0.1  # inverse of the penalty on weights


def family(role: str, program: int) -> str:
    """The family of a program, or drums."""
    return DRUMS if role == "drums" else next(name for name, programs in FAMILIES.items() if program in programs)


def families(plan: MusicalPlan) -> frozenset[str]:
    """All families that a plan plays."""
    return frozenset(family(role, program) for role, program in plan.instruments.items())


def f1(heard: frozenset[str], wanted: frozenset[str]) -> float:
    """F-measure of two sets; 1 if both are empty."""
    return 2 * len(heard & wanted) / (len(heard) + len(wanted)) if heard or wanted else 1.0


@dataclass(frozen=True)
class Own:
    """How well a classifier does on composed clips that it did not learn from, of the last recording that it knows."""

    accuracy: float  # styles, first guess
    f1: float  # families, mean over clips
    count: int


class Ear:
    """Two linear classifiers: one style, any number of families. They hear `timbre` and, where it is, musicnn.

    Args:
        clips: composed; at least two of every style.
        knows_codec: it learns every clip a second time, as the model's codec returns it, so that the codec's colour no
            longer passes for a style. It then says what was played, and not how well it sounds.

    Source: logistic regression of scikit-learn on standardised features; own scores by cross-validation.
    """

    def __init__(self, clips: Sequence[Clip], knows_codec: bool = False) -> None:
        known = [[clip.facts, clip.coded] if knows_codec else [clip.facts] for clip in clips]
        self.parts = [name for name in PARTS if all(name in facts for both in known for facts in both)]
        rows = np.stack([np.concatenate([self._row(facts) for facts in both]) for both in known])  # [clips, 1 or 2, D]
        styles = np.array([clip.plan.style for clip in clips])
        played = [families(clip.plan) for clip in clips]
        self.names = sorted({name for some in played for name in some})
        table = np.array([[name in some for name in self.names] for some in played], int)
        self.constant = table.min(0) == table.max(0)  # families that all clips play, or none: nothing to learn
        self.always = table.min(0).astype(bool)
        self.style, self.family = self._models()
        self.own = self._cross_validate(rows, styles, table, played)
        self._fit(rows, styles, table)

    def name_style(self, facts: Mapping[str, Any]) -> str:
        """The likeliest style of a sound with the fact `timbre`."""
        return str(self.style.predict(self._row(facts))[0])

    def hear_families(self, facts: Mapping[str, Any]) -> frozenset[str]:
        """The families that sound."""
        return self._families(self._row(facts))[0]

    def can_hear(self, facts: Mapping[str, Any]) -> bool:
        """Whether everything that it learnt from was heard in a sound."""
        return all(name in facts for name in self.parts)

    def _row(self, facts: Mapping[str, Any]) -> np.ndarray:
        """[1, D]; of windows the mean."""
        return np.concatenate([np.atleast_2d(facts[name]).mean(0) for name in self.parts])[None]

    @staticmethod
    def _models() -> tuple[Any, Any]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        styles, kinds = (LogisticRegression(C=STRENGTH, max_iter=3000) for _ in range(2))
        return make_pipeline(StandardScaler(), styles), make_pipeline(StandardScaler(), OneVsRestClassifier(kinds))

    def _fit(self, rows: np.ndarray, styles: np.ndarray, table: np.ndarray) -> None:
        """Learn clips of which rows [M, V, D] hold V recordings each."""
        recordings = rows.shape[1]
        flat = rows.reshape(-1, rows.shape[-1])
        self.style.fit(flat, np.repeat(styles, recordings))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Label .* is present in all|Label not")
            self.family.fit(flat, np.repeat(table[:, ~self.constant], recordings, 0))

    def _families(self, rows: np.ndarray) -> list[frozenset[str]]:
        found = np.tile(self.always, (len(rows), 1))
        found[:, ~self.constant] = self.family.predict(rows).reshape(len(rows), -1).astype(bool)
        return [frozenset(name for name, plays in zip(self.names, row, strict=True) if plays) for row in found]

    def _cross_validate(
        self, rows: np.ndarray, styles: np.ndarray, table: np.ndarray, played: Sequence[frozenset[str]]
    ) -> Own:
        from sklearn.model_selection import StratifiedKFold

        smallest = int(np.unique(styles, return_counts=True)[1].min())
        folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=0)
        right, scores = [], []
        for learnt, heard in folds.split(rows, styles):
            self._fit(rows[learnt], styles[learnt], table[learnt])
            new = rows[heard, -1]
            right += list(self.style.predict(new) == styles[heard])
            scores += [f1(found, played[i]) for found, i in zip(self._families(new), heard, strict=True)]
        return Own(float(np.mean(right)), float(np.mean(scores)), len(rows))
