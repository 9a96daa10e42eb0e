"""Guess a prompt's style, tempo, key, mood and instruments from its embedding, and let the prompt's own words win.

Knows no encoder and no style: embeddings come in, labels are given at construction.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, ShapeError

__all__ = ["AttributeHeads", "Finding", "key_names", "merge", "weigh"]

EMBEDDING = 384
NONE = ""  # the label of "not said"
TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
CENTRE = 6.7  # log2 of about 104 BPM, so that the tempo's mean starts in the middle
FIELDS = ("style", "tempo", "key", "mood", "instruments")


@dataclass(frozen=True)
class Finding:
    """One attribute of a prompt: its value (None or () where nothing is said), how sure, and who says so."""

    value: Any
    confidence: float  # 0..1; 1 for words
    source: str  # "rule" or "classifier"
    scores: Mapping[str, float] = field(default_factory=dict, compare=False)  # of every label, where there are labels


def key_names() -> tuple[str, ...]:
    """Labels of the key head: twelve major keys, twelve minor keys from C upwards, then "not said"."""
    return (*(f"{tonic} major" for tonic in TONICS), *(f"{tonic} minor" for tonic in TONICS), NONE)


class AttributeHeads(nn.Module):
    """Two layers from a sentence embedding to all attributes at once, and two of its own for the style.

    A style is guessed from whole sentences about anything, the rest from words that are said. Trained together in one
    layer, each loses by the other.

    Args:
        styles: labels of the style head; one always wins.
        moods: labels of the mood head, which may also say nothing.
        instruments: labels of the instrument head; any number may apply.
        hidden: width of the layer between.
        style_hidden: width of the style's own layer; 0 lets it share the other, as the first two releases do.

    Raises:
        ConfigError: a list of labels is empty or holds a label twice.

    Source: linear probes and small heads on frozen sentence embeddings, Reimers and Gurevych 2019, arXiv:1908.10084.
    """

    def __init__(
        self,
        *,
        styles: Sequence[str],
        moods: Sequence[str],
        instruments: Sequence[str],
        hidden: int = 256,
        style_hidden: int = 0,
    ) -> None:
        super().__init__()
        for kind, labels in (("styles", styles), ("moods", moods), ("instruments", instruments)):
            if not labels or len(set(labels)) != len(labels):
                raise ConfigError(f"{kind} are {list(labels)}; need at least one label, and none twice.")
        self.styles, self.moods, self.instruments = tuple(styles), tuple(moods), tuple(instruments)
        self.hidden, self.style_hidden = hidden, style_hidden
        self.trunk = nn.Sequential(nn.Linear(EMBEDDING, hidden), nn.GELU(), nn.Dropout(0.1))
        if style_hidden:
            self.style_trunk = nn.Sequential(nn.Linear(EMBEDDING, style_hidden), nn.GELU(), nn.Dropout(0.5))
        sizes = {"style": len(styles), "mood": len(moods) + 1, "key": len(key_names())}
        sizes |= {"instruments": len(instruments), "tempo": 3}
        widths = {"style": style_hidden or hidden}
        self.heads = nn.ModuleDict({name: nn.Linear(widths.get(name, hidden), size) for name, size in sizes.items()})

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Turn embeddings [B, 384] into logits.

        Returns:
            `style` [B, styles], `mood` [B, moods + 1] and `key` [B, 25], the last entry of both "not said";
            `instruments` [B, instruments], each on its own; `tempo` [B, 3]: log2 of the BPM, log of its spread in
            octaves, and the logit of "a tempo is said, in numbers or in words".
        """
        if embedding.dim() != 2 or embedding.shape[1] != EMBEDDING:
            raise ShapeError(f"embedding has shape {list(embedding.shape)}; need [B, {EMBEDDING}], as MiniLM gives.")
        # A unit vector of 384 numbers has entries near 0.05; scaled to about 1, the layers learn at their usual pace.
        scaled = embedding * EMBEDDING**0.5
        hidden = self.trunk(scaled)
        own = {"style": self.style_trunk(scaled)} if self.style_hidden else {}
        logits = {name: head(own.get(name, hidden)) for name, head in self.heads.items()}
        logits["tempo"] = logits["tempo"] + logits["tempo"].new_tensor([CENTRE, -1.0, 0.0])
        return logits

    @torch.no_grad()
    def predict(self, embedding: Tensor) -> list[dict[str, Finding]]:
        """Turn embeddings [B, 384] into one Finding for each field of each row, without dropout."""
        was_training = self.training
        self.eval()
        logits = self(embedding)
        self.train(was_training)
        return [self._read({name: value[i] for name, value in logits.items()}) for i in range(len(embedding))]

    def save(self, path: Path) -> None:
        """Write weights and labels into one safetensors file."""
        labels = {"styles": self.styles, "moods": self.moods, "instruments": self.instruments, "hidden": self.hidden}
        labels["style_hidden"] = self.style_hidden
        tensors = {name: value.detach().contiguous() for name, value in self.state_dict().items()}
        save_file(tensors, path, metadata={"attributes": json.dumps(labels)})

    @classmethod
    def load(cls, path: Path) -> AttributeHeads:
        """Read what `save` wrote; raises CheckpointError when it is missing or something else."""
        try:
            with safe_open(path, "pt") as file:
                settings = json.loads(file.metadata()["attributes"])
            heads = cls(**settings)
            heads.load_state_dict(load_file(path))
        except Exception as error:  # safetensors, JSON and state dicts each raise their own
            raise CheckpointError(f"'{path}' holds no attribute heads ({error}). Train them again.") from error
        return heads.eval()

    def _read(self, logits: dict[str, Tensor]) -> dict[str, Finding]:
        found = {
            "style": _best(logits["style"], self.styles),
            "mood": _best(logits["mood"], (*self.moods, NONE)),
            "key": _best(logits["key"], key_names()),
        }
        octaves, _, stated = logits["tempo"].tolist()
        chance = torch.sigmoid(torch.tensor(stated)).item()
        tempo = round(2.0**octaves, 1) if chance >= 0.5 else None
        found["tempo"] = Finding(tempo, max(chance, 1 - chance), "classifier")
        scores = dict(zip(self.instruments, logits["instruments"].sigmoid().tolist(), strict=True))
        played = tuple(name for name, score in scores.items() if score >= 0.5)
        sure = min(scores[name] for name in played) if played else 1 - max(scores.values())
        found["instruments"] = Finding(played, sure, "classifier", scores)
        return found


def _best(logits: Tensor, labels: Sequence[str]) -> Finding:
    scores = dict(zip(labels, logits.softmax(0).tolist(), strict=True))
    label = max(scores, key=lambda name: scores[name])
    return Finding(label or None, scores[label], "classifier", scores)


def weigh(guess: Finding, odds: Mapping[str, float], trust: float = 0.5) -> Finding:
    """Correct a guess among labels by other evidence for them.

    Args:
        guess: with the scores of its labels.
        odds: label -> nats by which it is likelier than the others; a label without any has 0.
        trust: factor of the odds; below 1, since both say in part the same.
    """
    logits = {label: math.log(max(p, 1e-9)) + trust * odds.get(label, 0.0) for label, p in guess.scores.items()}
    best = max(logits, key=lambda label: logits[label])
    raised = {label: math.exp(value - logits[best]) for label, value in logits.items()}
    scores = {label: value / sum(raised.values()) for label, value in raised.items()}
    return Finding(best or None, scores[best], guess.source, scores)


def merge(facts: Any, predicted: Mapping[str, Finding] | None = None, threshold: float = 0.5) -> dict[str, Finding]:
    """Join what a prompt says in words with what the classifier makes of it; words win.

    Args:
        facts: as composition.prompt.parse_prompt returns them.
        predicted: one row of AttributeHeads.predict; None where there is no classifier.
        threshold: a guess less sure than this is dropped, save the style, which something has to decide.

    Returns:
        A Finding for style, tempo, key, mood and instruments. Of several styles named, the classifier picks one unless
        they are to be blended. An instrument that the prompt forbids is never guessed.
    """
    guess = dict(predicted or {})
    found = {name: _trusted(guess.get(name), threshold) for name in FIELDS}
    found["style"] = guess.get("style", Finding(None, 0.0, "rule"))
    if facts.styles:
        scores = guess["style"].scores if "style" in guess else {}
        best = max(facts.styles, key=lambda name: scores.get(name, 0.0))  # the first one named without a classifier
        found["style"] = Finding(best, 1.0, "rule", scores)
    found["instruments"] = _allowed(found["instruments"], facts.without)
    if facts.blend:
        found["style"] = Finding(facts.blend, 1.0, "rule", found["style"].scores)
    said = {"tempo": facts.tempo, "key": facts.key, "mood": ", ".join(facts.moods) or None}
    said["instruments"] = facts.instruments or None
    return found | {name: Finding(value, 1.0, "rule") for name, value in said.items() if value is not None}


def _trusted(finding: Finding | None, threshold: float) -> Finding:
    if finding is None or finding.confidence < threshold:
        return Finding(None, finding.confidence if finding else 0.0, "classifier" if finding else "rule")
    return finding


def _allowed(finding: Finding, without: Sequence[str]) -> Finding:
    """Drop guessed instruments that the prompt forbids: "no guitar" rules out the jazz guitar, "no drums" every kit."""
    forbidden = {name.removesuffix("s") for name in without}
    if "drum" in forbidden:
        forbidden.add("kit")
    kept = tuple(n for n in finding.value or () if not forbidden & {word.removesuffix("s") for word in n.split()})
    return Finding(kept, finding.confidence, finding.source, finding.scores)
