"""Train the attribute heads on captions of made-up facts; the sentence encoder stays frozen and its work is kept.

Stages: draw facts and captions, embed them shard by shard into the run's folder, train the heads on the embeddings.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from ..composition.captions import describe
from ..composition.instruments import program_name
from ..composition.prompt import mood_names, parse_prompt
from ..composition.style import Style, load_style, style_names
from ..composition.theory import MODES, Key
from ..composition.wording import style_words, vocabulary
from ..conditioning.attributes import EMBEDDING, AttributeHeads
from ..conditioning.minilm import MiniLM
from ..errors import ConfigError
from .loop import run

__all__ = ["DEFAULTS", "AttributeStage", "examples", "train"]

# About four minutes on one core, most of it embedding; what validates comes on top of `examples`: one shard of
# captions like those of training, and a quarter of one of scenes that no caption of training used.
DEFAULTS: dict[str, Any] = {
    "examples": 20480,
    "shard": 2048,
    "encode_batch": 256,
    "hidden": 256,
    "style_hidden": 512,
    "phrase_noise": 0.7,  # added to embeddings of bare scenes and sayings, whose entries are near 1
    "phrase_smoothing": 0.1,  # of their style: many would do for two
    "batch_size": 256,
    "steps": 3000,
    "warmup_steps": 100,
    "decay_steps": 1000,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "betas": [0.9, 0.99],
    "clip": 1.0,
    "seed": 0,
    "log_every": 100,
    "validate_every": 500,
    "checkpoint_minutes": 5,
    "device": "cpu",  # the heads are too small for anything else
}
HELD_OUT = 10  # one scene of so many is kept from training
PLAIN_KITS = {"standard kit": "drums", "room kit": "drums"}  # nobody types these


@dataclass(frozen=True)
class Labels:
    """The label lists of the heads, in order."""

    styles: tuple[str, ...]
    moods: tuple[str, ...]
    instruments: tuple[str, ...]

    @classmethod
    def of_styles(cls) -> Labels:
        """Collect the labels of every style file; instruments are those that some style plays."""
        played = {
            instrument(role, int(program))
            for name in style_names()
            for role, programs in load_style(name).roles.items()
            for program in programs
        }
        return cls(tuple(style_names()), tuple(mood_names()), tuple(sorted(played)))


def instrument(role: str, program: int) -> str:
    """Name a program as the captions and the instrument head do."""
    name = program_name(role, program)
    return PLAIN_KITS.get(name, name)


@cache
def mood_lines() -> dict[str, str]:
    """Word of mood -> the plain word of its line."""
    return {word: line[0] for line in reversed(vocabulary()["moods"]) for word in line}


def is_held_out(scene: str) -> bool:
    """Whether no caption of training uses a scene or saying, so that validation asks for words that are new."""
    return zlib.crc32(scene.encode()) % HELD_OUT == 0


def examples(labels: Labels, rng: random.Random, new: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield captions and targets without end: those to learn from, or the `new` ones of scenes that are held out.

    A new one names no style, so that its scene alone has to tell.

    Targets: `style`, `mood` and `key` are label numbers, the number after the last label where the caption does not
    say; `tempo` is log2 of the BPM and `stated` whether the caption says it; `instruments` is a 0/1 vector of those
    that the caption names. The style is the true one even where the caption leaves it to be guessed.
    """
    lines = mood_lines()
    while True:
        facts = draw_facts(load_style(rng.choice(labels.styles)), labels, rng)
        text, said = describe(facts, rng)
        is_new = "scene" in said and is_held_out(said["scene"])
        if is_new != new or (new and parse_prompt(text).styles):
            continue
        named = set(said.get("instruments", ()))
        yield (
            text,
            {
                "style": labels.styles.index(facts["style"]),
                "mood": labels.moods.index(lines[said["mood"]]) if "mood" in said else len(labels.moods),
                "key": key_number(Key.parse(said["key"])) if "key" in said else 24,
                "tempo": float(np.log2(facts["tempo"])),
                "stated": float("tempo" in said),
                "instruments": [float(name in named) for name in labels.instruments],
            },
        )


def draw_facts(style: Style, labels: Labels, rng: random.Random) -> dict[str, Any]:
    """Draw facts of one piece: mostly what the style would do, sometimes what it would not."""
    low, high, typical = style.tempo
    usual = rng.random() < 0.8
    tempo = rng.triangular(low, high, typical) if usual else rng.uniform(50, 190)
    mode = _weighted(style.modes, rng)
    moods = [mood for mood in style.moods if mood in mood_lines()] or labels.moods  # a new word is no label yet
    instruments = [
        instrument(role, int(_weighted(style.roles[role], rng)))
        for role, presence in style.presence.items()
        if role in style.roles and rng.random() < presence
    ]
    if rng.random() < 0.35:  # "metal with flute" must not read as folk
        instruments.append(rng.choice(labels.instruments))
    return {
        "style": style.name,
        "tempo": float(round(tempo)),
        "key": str(Key(rng.randrange(12), mode)),
        "mood": rng.choice(moods) if rng.random() < 0.8 else rng.choice(labels.moods),
        "instruments": list(dict.fromkeys(instruments)),
        "energy": rng.random(),
        "meter": str(_weighted(style.meters, rng)),
        "sections": [str(section[0]) for section in style.sections],
    }


def key_number(key: Key) -> int:
    """Number a key for the key head; a mode counts as major or minor by its third."""
    return key.tonic + (12 if MODES[key.mode][2] == 3 else 0)


def _weighted(weights: Mapping[Any, float], rng: random.Random) -> Any:
    return rng.choices(list(weights), [float(weight) for weight in weights.values()])[0]


class AttributeStage:
    """Loss and validation of the heads on embedded shards, for the common training loop."""

    part, critic = "attributes", None

    def __init__(self, config: Mapping[str, Any], out: Path) -> None:
        self.config = config
        self.labels = Labels.of_styles()
        torch.manual_seed(config["seed"])
        widths = {name: config[name] for name in ("hidden", "style_hidden")}
        self.module = AttributeHeads(**vars(self.labels), **widths)
        count = -(-config["examples"] // config["shard"])
        shards = [self._shard(out, f"{number:03d}") for number in range(count + 1)]
        self.held_out, self.new = shards[0], self._shard(out, "new")
        self.data = {name: torch.cat([shard[name] for shard in shards[1:]]) for name in shards[0]}
        self.phrases, self.phrase_styles = self._phrases(out)

    def _phrases(self, out: Path) -> tuple[Tensor, Tensor]:
        """Embeddings [N, 384] of the bare scenes and sayings that are not held out, and their styles [N]."""
        pairs = [
            (phrase, number)
            for number, style in enumerate(self.labels.styles)
            for phrase in (*style_words(style).get("scenes", ()), *style_words(style).get("sayings", ()))
            if not is_held_out(phrase)
        ]
        path = out / "phrases.safetensors"
        recipe = f"{zlib.crc32(json.dumps(pairs).encode()):08x}"
        stored = load_file(path) if path.exists() else {}
        if recipe not in stored:
            stored = {recipe: MiniLM(width=1).encode([text for text, _ in pairs], self.config["encode_batch"])}
            save_file(stored, path)
        return stored[recipe], torch.tensor([number for _, number in pairs])

    def _shard(self, out: Path, name: str) -> dict[str, Tensor]:
        """Load a shard of embedded captions, or make it; shards 000 and new are held out."""
        path = out / f"captions-{name}.npz"
        recipe = json.dumps([vars(self.labels), self.config["shard"], self.config["seed"]])
        if not path.exists():
            rng = random.Random(f"{self.config['seed']}:attributes:{name}")
            count = -(-self.config["shard"] // 4) if name == "new" else self.config["shard"]
            pairs = list(islice(examples(self.labels, rng, new=name == "new"), count))
            embedding = MiniLM(width=1).encode([text for text, _ in pairs], self.config["encode_batch"])
            columns: dict[str, Any] = {name: np.array([target[name] for _, target in pairs]) for name in pairs[0][1]}
            part = path.with_suffix(".part.npz")
            np.savez(part, embedding=embedding.numpy().astype(np.float16), recipe=np.array(recipe), **columns)
            part.replace(path)  # a run that is killed leaves no half shard
            print(f"embedded {path.name}", flush=True)
        with np.load(path) as stored:
            if str(stored["recipe"]) != recipe:
                raise ConfigError(f"'{path}' was made with other labels or settings. Delete it, or use another folder.")
            tensors = {name: torch.from_numpy(stored[name]) for name in stored.files if name != "recipe"}
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}

    def loss(self, step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        rows = torch.from_numpy(rng.integers(0, len(self.data["style"]), self.config["batch_size"]))
        batch = {name: tensor[rows] for name, tensor in self.data.items()}
        losses = head_losses(self.module(batch["embedding"]), batch)
        rows = torch.from_numpy(rng.integers(0, len(self.phrases), self.config["batch_size"]))
        phrases = self.phrases[rows]
        noise = torch.from_numpy(rng.standard_normal(phrases.shape, np.float32)) * EMBEDDING**-0.5
        losses["phrases"] = functional.cross_entropy(
            self.module(phrases + self.config["phrase_noise"] * noise)["style"],
            self.phrase_styles[rows],
            label_smoothing=self.config["phrase_smoothing"],
        )
        return torch.stack(list(losses.values())).sum(), {name: float(loss.detach()) for name, loss in losses.items()}

    def validate(self) -> dict[str, float]:
        """Accuracies on held-out captions; of mood, key and tempo where the caption says them.

        `style_accuracy_new_scenes` is what a prompt of free words may expect: no style is named, and the scene is new.
        """
        truth, logits = self.held_out, self.module(self.held_out["embedding"])
        report = {"style_accuracy": _share(logits["style"].argmax(1) == truth["style"])}
        guess = self.module(self.new["embedding"])["style"].argmax(1)
        report["style_accuracy_new_scenes"] = _share(guess == self.new["style"])
        for name in ("mood", "key"):
            said, best = truth[name] < logits[name].shape[1] - 1, logits[name].argmax(1)
            report[f"{name}_accuracy"] = _share(best[said] == truth[name][said])
            report[f"{name}_invented"] = _share(best[~said] < logits[name].shape[1] - 1)
        stated = truth["stated"] > 0
        report["tempo_stated_accuracy"] = _share((logits["tempo"][:, 2] > 0) == stated)
        error = (logits["tempo"][:, 0] - truth["tempo"]).abs()[stated]
        report["tempo_error_percent"] = 100 * (2 ** float(error.median()) - 1) if len(error) else float("nan")
        played, named = logits["instruments"] > 0, truth["instruments"] > 0
        report["instruments_f1"] = float(2 * (played & named).sum() / (played.sum() + named.sum()).clamp_min(1))
        return report


def _share(hits: Tensor) -> float:
    return float(hits.float().mean()) if len(hits) else float("nan")


def head_losses(logits: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Negative log-likelihood of each head, averaged over rows.

    The tempo is a Laplace distribution over log2 BPM whose spread is learnt too: wide where only the style hints at
    it, narrow where a number is said (Kendall and Gal 2017, arXiv:1703.04977).
    """
    losses = {name: functional.cross_entropy(logits[name], truth[name]) for name in ("style", "mood", "key")}
    mean, log_spread, stated = logits["tempo"].unbind(1)
    log_spread = log_spread.clamp(-5, 2)
    losses["tempo"] = ((mean - truth["tempo"]).abs() * torch.exp(-log_spread) + log_spread).mean()
    losses["stated"] = functional.binary_cross_entropy_with_logits(stated, truth["stated"])
    chances = functional.binary_cross_entropy_with_logits(logits["instruments"], truth["instruments"], reduction="none")
    losses["instruments"] = chances.sum(1).mean()
    return losses


def train(config: dict[str, Any], out: Path) -> None:
    """Train the heads in folder `out`, going on where an earlier run stopped.

    Writes what `loop.run` writes, the embedded captions, and at the end `attributes.safetensors`, which
    AttributeHeads.load reads.

    Raises:
        ConfigError: `config` has a key that is not in DEFAULTS.
    """
    unknown = sorted(set(config) - set(DEFAULTS))
    if unknown:
        raise ConfigError(f"attribute training has no setting '{unknown[0]}'. Known: {', '.join(DEFAULTS)}.")
    settings = {**DEFAULTS, **config}
    out.mkdir(parents=True, exist_ok=True)
    stage = AttributeStage(settings, out)
    run(stage, settings, out)
    stage.module.save(out / "attributes.safetensors")
