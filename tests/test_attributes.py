"""What a prompt says in words, what the classifier guesses, and how the two are joined."""

from __future__ import annotations

import json
import math
import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from gen_audio.composition.associations import likeliest_style, style_odds, telling_words
from gen_audio.composition.captions import describe
from gen_audio.composition.instruments import find_instrument
from gen_audio.composition.prompt import PromptFacts, mood_names, parse_prompt
from gen_audio.composition.style import load_style, style_names
from gen_audio.composition.theory import Key
from gen_audio.composition.wording import vocabulary
from gen_audio.conditioning.attributes import AttributeHeads, Finding, key_names, merge, weigh
from gen_audio.conditioning.minilm import MiniLM
from gen_audio.errors import CheckpointError, ConfigError, ShapeError
from gen_audio.training import attributes as training

LABELS = {"styles": ("ambient", "rock"), "moods": ("calm", "sad"), "instruments": ("drums", "flute", "jazz guitar")}

CASES: list[tuple[str, dict[str, Any]]] = [
    # numbers
    ("rock at 84 bpm", {"tempo": 84.0, "styles": ("rock",)}),
    ("120BPM techno", {"tempo": 120.0}),
    ("tempo: 92.5, house", {"tempo": 92.5}),
    ("80-90 bpm hip-hop", {"tempo": 85.0, "styles": ("hip_hop",)}),
    ("808 drums and rhodes, trap", {"tempo": None, "instruments": ("808 drums", "rhodes"), "styles": ("hip_hop",)}),
    ("90s hip hop", {"tempo": None, "duration": None}),
    ("a 30 second pop song", {"duration": 30.0, "bars": None}),
    ("2 minutes 30 seconds of techno", {"duration": 150.0}),
    ("8 bars of funk", {"bars": 8, "styles": ("funk",)}),
    ("12 bar blues", {"bars": None, "styles": ("blues",)}),
    # meters
    ("folk in 3/4", {"meter": "3/4"}),
    ("a waltz", {"meter": "3/4"}),
    ("4/4 techno with 1/16 hats", {"meter": "4/4"}),
    ("meter 6/8", {"meter": "6/8"}),
    # keys
    ("ambient in A minor", {"key": "A minor"}),
    ("ambient in a minor key", {"key": None}),
    ("ambient, a minor setback", {"key": None}),
    ("A minor setback, ambient", {"key": None}),
    ("in a minor, slow", {"key": "A minor"}),
    ("F# major", {"key": "F# major"}),
    ("B flat minor waltz", {"key": "Bb minor", "meter": "3/4"}),
    ("e-flat major string quartet", {"key": "Eb major", "styles": ("classical",)}),
    ("C sharp dorian funk", {"key": "C# dorian"}),
    ("E♭m rap", {"key": "Eb minor"}),
    ("house in Am", {"key": "A minor"}),
    ("Am I dreaming, techno", {"key": None}),
    ("key of G, folk", {"key": "G major", "styles": ("folk",)}),
    ("synth pop in C", {"key": "C major", "styles": ("pop",)}),
    # names
    ("bossa nova with acoustic guitar", {"styles": ("bossa_nova",), "instruments": ("acoustic guitar",)}),
    ("drum kit, electric-piano, saxophones", {"instruments": ("drum kit", "electric piano", "saxophone")}),
    ("chill vibes", {"instruments": (), "moods": ("mellow",)}),
    ("music for a haunted house", {"styles": ()}),
    ("not rock but funk", {"styles": ("funk",)}),
    ("heavy metal with blues guitar", {"styles": ("blues", "metal")}),
    # wishes against
    ("rock, no drums", {"without": ("drums",), "instruments": ()}),
    ("techno without any bass or drums", {"without": ("bass", "drums")}),
    ("drumless ambient piano", {"without": ("drums",), "instruments": ("piano",)}),
    ("piano but no drums", {"without": ("drums",), "instruments": ("piano",)}),
    ("solo piano", {"only": True, "instruments": ("piano",)}),
    ("just piano and bass", {"only": True}),
    ("rock with a guitar solo", {"only": False, "instruments": ("guitar",)}),
    ("", {"tempo": None, "styles": (), "instruments": ()}),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
def test_words_are_read_exactly(text: str, expected: dict[str, Any]) -> None:
    facts = parse_prompt(text)
    assert {name: getattr(facts, name) for name in expected} == expected


def test_the_flagship_prompt_is_understood() -> None:
    facts = parse_prompt("lofi jazz piano")
    assert facts.style == "lofi" and facts.instruments == ("piano",)


def test_the_parser_never_contradicts_a_caption() -> None:
    rng = random.Random(0)
    labels = training.Labels.of_styles()
    for _ in range(300):
        facts = training.draw_facts(load_style(rng.choice(labels.styles)), labels, rng) | {"instruments": ["flute"]}
        text, _ = describe(facts, rng)
        read = parse_prompt(text)
        assert read.tempo in (None, facts["tempo"]), text
        assert read.key is None or Key.parse(read.key) == Key.parse(facts["key"]), text
        assert read.meter in (None, facts["meter"]), text
        assert not read.without and read.bars in (None, 12) and read.duration is None, text  # "12 bar bluse"


# --- heads ----------------------------------------------------------------------------------------------------------


def heads(style_hidden: int = 0) -> AttributeHeads:
    torch.manual_seed(0)
    return AttributeHeads(**LABELS, hidden=8, style_hidden=style_hidden)


def test_heads_give_one_finding_a_field() -> None:
    embedding = torch.nn.functional.normalize(torch.randn(3, 384), dim=1)
    rows = heads().predict(embedding)
    assert len(rows) == 3
    for row in rows:
        assert set(row) == {"style", "tempo", "key", "mood", "instruments"}
        assert all(0 <= finding.confidence <= 1 and finding.source == "classifier" for finding in row.values())
        assert row["style"].value in LABELS["styles"]
        assert row["key"].value is None or Key.parse(row["key"].value)
        assert sum(row["mood"].scores.values()) == pytest.approx(1)


def test_predict_is_the_same_in_training_mode() -> None:
    module, embedding = heads(), torch.ones(1, 384) / 384**0.5
    trained = module.train().predict(embedding)
    assert module.training and module.eval().predict(embedding) == trained


def test_key_labels_are_all_keys_and_one_none() -> None:
    names = key_names()
    assert len(names) == 25 and names[-1] == ""
    for name in names[:-1]:
        assert names[training.key_number(Key.parse(name))] == name
    assert names[training.key_number(Key.parse("D dorian"))] == "D minor"


@pytest.mark.parametrize("style_hidden", [0, 16])
def test_heads_survive_saving(tmp_path: Path, style_hidden: int) -> None:
    module, embedding = heads(style_hidden), torch.ones(1, 384) / 384**0.5
    module.save(tmp_path / "attributes.safetensors")
    assert AttributeHeads.load(tmp_path / "attributes.safetensors").predict(embedding) == module.predict(embedding)
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="no attribute heads"):
        AttributeHeads.load(tmp_path / "broken.safetensors")


def test_a_style_with_a_layer_of_its_own_leaves_the_other_heads_alone() -> None:
    module, embedding = heads(16), torch.ones(1, 384) / 384**0.5
    module.eval()(embedding)["style"].sum().backward()
    assert module.style_trunk[0].weight.grad is not None and module.trunk[0].weight.grad is None


def test_heads_refuse_bad_labels_and_shapes() -> None:
    with pytest.raises(ConfigError, match="none twice"):
        AttributeHeads(styles=("a", "a"), moods=("b",), instruments=("c",))
    with pytest.raises(ShapeError, match=r"\[B, 384\]"):
        heads()(torch.zeros(2, 10))


# --- joining --------------------------------------------------------------------------------------------------------


def guess(**changes: Finding) -> dict[str, Finding]:
    found = {
        "style": Finding("rock", 0.7, "classifier", {"rock": 0.7, "blues": 0.2, "metal": 0.1}),
        "tempo": Finding(100.0, 0.9, "classifier"),
        "key": Finding("C major", 0.4, "classifier"),
        "mood": Finding("sad", 0.8, "classifier"),
        "instruments": Finding(("flute", "jazz guitar", "drums", "jazz kit", "bassoon"), 0.6, "classifier"),
    }
    return found | changes


def test_words_win_over_guesses() -> None:
    found = merge(PromptFacts(tempo=84.0, styles=("jazz",), moods=("calm",), instruments=("piano",)), guess())
    assert {name: finding.value for name, finding in found.items()} == {
        "style": "jazz",
        "tempo": 84.0,
        "key": None,  # a guess of 0.4 is not sure enough
        "mood": "calm",
        "instruments": ("piano",),
    }
    assert found["tempo"] == Finding(84.0, 1.0, "rule") and found["key"].source == "classifier"


def test_guesses_fill_what_words_leave_open() -> None:
    found = merge(PromptFacts(), guess())
    assert found["style"].value == "rock" and found["tempo"].value == 100.0 and found["mood"].value == "sad"
    assert found["style"].source == "classifier" and found["style"].confidence == 0.7


def test_of_several_named_styles_the_classifier_picks() -> None:
    facts = PromptFacts(styles=("metal", "blues"))
    assert merge(facts, guess())["style"].value == "blues"
    assert merge(facts)["style"].value == "metal"


def test_forbidden_instruments_are_not_guessed() -> None:
    found = merge(PromptFacts(without=("guitar", "drums", "bass")), guess())
    assert found["instruments"].value == ("flute", "bassoon")


def test_without_a_classifier_what_is_not_said_stays_open() -> None:
    assert {finding.value for finding in merge(PromptFacts()).values()} <= {None, ()}


# --- training -------------------------------------------------------------------------------------------------------


PLAIN = [  # words of every day, and who plays then
    ("savasana, breathe out", "ambient"),
    ("my baby left, pour me a whiskey", "blues"),
    ("swaying in ipanema", "bossa_nova"),
    ("joystick and pixels", "chiptune"),
    ("the king rides to war", "cinematic"),
    ("powdered wigs in the palace", "classical"),
    ("round the campfire with a fiddle", "folk"),
    ("slap that bass, get down", "funk"),
    ("freestyle on the block", "hip_hop"),
    ("sunrise in ibiza by the pool with a dj", "house"),
    ("martini and a saxophone", "jazz"),
    ("homework and rain on the window", "lofi"),
    ("headbanging in the pit", "metal"),
    ("a catchy chorus for the radio", "pop"),
    ("stadium, loud amps, leather jacket", "rock"),
    ("strobe in a dark warehouse", "techno"),
]


def test_everyday_words_speak_for_a_style() -> None:
    assert sorted(style for _, style in PLAIN) == style_names()
    assert [likeliest_style(text) for text, _ in PLAIN] == [style for _, style in PLAIN]
    assert telling_words("Martini and a SAXOPHONE, please", "jazz") == ("martini", "saxophone")
    assert likeliest_style("Headbanging in the pit", avoid=("metal",)) not in ("metal", None)


def test_words_that_nobody_uses_say_nothing() -> None:
    assert likeliest_style("zorbi kuthli 17") is None and telling_words("zorbi kuthli 17", "jazz") == ()
    assert set(style_odds("zorbi kuthli 17").values()) == {0.0}


def test_nothing_is_said_of_a_style_that_has_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gen_audio.composition.associations.style_names", lambda: [*style_names(), "polka"])
    assert style_odds("martini and a saxophone")["polka"] == 0


def test_evidence_corrects_a_guess() -> None:
    found = Finding("rock", 0.6, "classifier", {"rock": 0.6, "ambient": 0.4})
    assert weigh(found, {}) == found and weigh(found, {}).scores == pytest.approx(found.scores)
    corrected = weigh(found, {"ambient": 2.0, "rock": -1.0, "polka": 9.0}, trust=1.0)
    assert corrected.value == "ambient" and sum(corrected.scores.values()) == pytest.approx(1)
    assert corrected.scores["ambient"] / corrected.scores["rock"] == pytest.approx(0.4 / 0.6 * math.exp(3))


def test_labels_are_names_that_the_composer_knows() -> None:
    labels = training.Labels.of_styles()
    assert set(labels.moods) == set(mood_names()) and len(labels.styles) >= 14
    for name in labels.instruments:
        find_instrument(name)


def test_examples_are_endless_and_the_same_for_the_same_seed() -> None:
    labels = training.Labels.of_styles()
    first, second = (training.examples(labels, random.Random(3)) for _ in range(2))
    rows = [next(first) for _ in range(20)]
    assert rows == [next(second) for _ in range(20)]
    for _, target in rows:
        assert 0 <= target["style"] < len(labels.styles) and 0 <= target["key"] <= 24
        assert len(target["instruments"]) == len(labels.instruments)


def test_new_examples_hold_only_scenes_that_training_never_says() -> None:
    labels = training.Labels.of_styles()
    scenes = {scene for words in vocabulary()["styles"].values() for scene in (*words["scenes"], *words["sayings"])}
    kept = {scene for scene in scenes if training.is_held_out(scene)}
    assert 0.05 < len(kept) / len(scenes) < 0.15
    scenes = {scene for scene in scenes if scene.count(" ") >= 4}  # a short one may be part of another
    kept &= scenes
    new, old = (training.examples(labels, random.Random(5), new=flag) for flag in (True, False))
    for text, _ in islice(new, 30):
        assert not parse_prompt(text).styles, text
    told = " | ".join(text.lower() for text, _ in islice(new, 100))
    assert sum(scene in told for scene in kept) > 20 and not any(scene in told for scene in scenes - kept)
    told = " | ".join(text.lower() for text, _ in islice(old, 2000))
    assert sum(scene in told for scene in scenes - kept) > 200 and not any(scene in told for scene in kept)


TINY = {"examples": 64, "shard": 64, "steps": 40, "warmup_steps": 2, "decay_steps": 10, "batch_size": 32}
TINY |= {"hidden": 32, "style_hidden": 32, "log_every": 10, "validate_every": 20}


@pytest.fixture
def fake_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bags of hashed words in place of MiniLM, whose thousand captions would take a minute here."""

    def encode(self: MiniLM, texts: list[str], batch_size: int = 1) -> torch.Tensor:
        rows = torch.zeros(len(texts), 384)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[sum(word.encode()) % 384] += 1
        return torch.nn.functional.normalize(rows + 1e-3, dim=1)

    monkeypatch.setattr(MiniLM, "encode", encode)


def test_training_learns_logs_and_saves(tmp_path: Path, fake_encoder: None) -> None:
    training.train(TINY, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert 0 <= lines[-1]["held_out/style_accuracy"] <= 1 and 0 <= lines[-1]["held_out/style_accuracy_new_scenes"] <= 1
    assert "held_out/instruments_f1" in lines[-1]
    assert AttributeHeads.load(tmp_path / "attributes.safetensors").styles == training.Labels.of_styles().styles


def test_training_goes_on_where_it_stopped(tmp_path: Path, fake_encoder: None, monkeypatch: Any) -> None:
    training.train(TINY, tmp_path / "whole")

    class Killed(Exception):
        pass

    stopped = training.AttributeStage.loss

    def loss(self: Any, step: int, rng: Any) -> Any:
        if step == 25:
            raise Killed
        return stopped(self, step, rng)

    monkeypatch.setattr(training.AttributeStage, "loss", loss)
    with pytest.raises(Killed):
        training.train({**TINY, "checkpoint_minutes": 0}, tmp_path / "parts")
    monkeypatch.setattr(training.AttributeStage, "loss", stopped)
    monkeypatch.setattr(MiniLM, "encode", None)  # the captions of the first run are used again
    training.train(TINY, tmp_path / "parts")
    whole, parts = (AttributeHeads.load(tmp_path / name / "attributes.safetensors") for name in ("whole", "parts"))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_training_refuses_unknown_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no setting 'stpes'"):
        training.train({"stpes": 3}, tmp_path)
