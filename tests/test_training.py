"""The stages of training on a tiny pool: they run, they learn, and a run that was cut off takes the same steps."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gen_audio.codecs.layers.partials import note_to_hz
from gen_audio.composition.arranger import arrange
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.score import ROLES
from gen_audio.config import load_config
from gen_audio.errors import ConfigError
from gen_audio.training import codec, lm, tokens, vocoder
from gen_audio.training.critic import Critic, critic_loss
from gen_audio.training.curves import draw_curves
from gen_audio.training.loop import learning_rate, pick_device, run
from gen_audio.training.pool import Pool, note_table, to_int16
from gen_audio.training.weights import read_weights
from safetensors.torch import load_file, save_file
from torch import nn

RATE = 24000
CODEC = {"name": "spectral", "n_q": 2, "card": 16, "width": 32, "latent_width": 8, "num_bands": 40}
CODEC |= {"encoder_layers": 1, "decoder_layers": 1, "vocoder_width": 32, "vocoder_layers": 1}
LM = {"n_q": 2, "card": 16, "width": 32, "num_layers": 1, "num_heads": 2, "window": 25}
LM |= {"head": {"name": "depth", "width": 16, "num_layers": 1, "num_heads": 2}, "dropout": 0.0}
QUICK = {"batch_size": 4, "warmup_steps": 2, "decay_steps": 4, "log_every": 2, "validate_every": 4}


def beep(table: np.ndarray, seconds: float) -> np.ndarray:
    """Sines for notes: sound enough for a test, without a SoundFont."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = np.zeros_like(time)
    for start, duration, pitch, velocity in table:
        inside = (time >= start) & (time < start + duration)
        sound[inside] += velocity / 800 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time[inside])
    return sound


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pool of two shards, its codec and its tokens."""
    work = tmp_path_factory.mktemp("training")
    for shard in range(2):
        folder = work / "pool" / f"shard-{shard:04d}"
        folder.mkdir(parents=True)
        plan = plan_music(Attributes(style="lofi"), Constraints(duration=5.0, seed=shard + 1))
        score, sounds, tables, stems = arrange(plan), [], [], []
        for track in score.tracks:
            table = note_table(track, score)
            place = {"audio": [sum(map(len, sounds)), round(plan.duration * RATE)]}
            place |= {"notes": [sum(map(len, tables)), len(table)]}
            stems.append({"role": track.role, "program": track.program, **place})
            sounds.append(to_int16(np.clip(beep(table, plan.duration), -1, 1)))
            tables.append(table)
        np.save(folder / "audio.npy", np.concatenate(sounds))
        np.save(folder / "notes.npy", np.concatenate(tables))
        (folder / "pieces.jsonl").write_text(json.dumps({"plan": json.loads(plan.to_json()), "stems": stems}) + "\n")
    codec.train(codec_config(work), work / "codec")
    tokens.train(
        {"pool": work / "pool", "codec": CODEC, "codec_weights": work / "codec" / "model.safetensors"}
        | {"captions": 2, "seed": 1, "workers": 1},
        work / "tokens",
    )
    return work


def codec_config(work: Path, **changes: Any) -> dict[str, Any]:
    own = {"pool": work / "pool", "codec": CODEC, "shards": 1, "crop_frames": 25, "quantise_from": 3, "steps": 8}
    return {**load_config("train_codec"), **QUICK, **own, **changes}


def vocoder_config(work: Path, **changes: Any) -> dict[str, Any]:
    own = {"pool": work / "pool", "codec": CODEC, "codec_weights": work / "codec" / "model.safetensors"}
    return {**load_config("train_vocoder"), **QUICK, **own, "levels": [2], "crop_frames": 20, "steps": 8, **changes}


def lm_config(work: Path, **changes: Any) -> dict[str, Any]:
    own = {"pool": work / "pool", "lm": LM, "crop_frames": 25, "steps": 8}
    return {**load_config("train_lm"), **QUICK, **own, **changes}


def criticised_config(work: Path, **changes: Any) -> dict[str, Any]:
    return vocoder_config(work, critic={"from_step": 3, "channels": 2, "sizes": [256, 64], "samples": 2000}, **changes)


STAGES = {
    "codec": (codec, codec_config),
    "vocoder": (vocoder, vocoder_config),
    "vocoder with a critic": (vocoder, criticised_config),
    "lm": (lm, lm_config),
}


def last_metrics(out: Path) -> dict[str, float]:
    return json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])


class Killed(Exception):
    """Stands for kill -9: nothing after it runs."""


@pytest.mark.parametrize("name", STAGES)
def test_a_run_that_was_cut_off_takes_the_same_steps(
    name: str, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, config = STAGES[name]
    settings = {**config(work), "checkpoint_minutes": 0}  # a checkpoint after every step
    stage.train(settings, tmp_path / "whole")

    real = stage.run

    def dying(trained: Any, config: dict[str, Any], out: Path) -> None:
        loss = trained.loss

        def killed_at_five(step: int, rng: np.random.Generator) -> Any:
            if step == 5:
                raise Killed
            return loss(step, rng)

        trained.loss = killed_at_five
        real(trained, config, out)

    monkeypatch.setattr(stage, "run", dying)
    with pytest.raises(Killed):
        stage.train(settings, tmp_path / "cut")
    monkeypatch.setattr(stage, "run", real)
    stage.train(settings, tmp_path / "cut")

    whole, cut = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for key, value in whole.items():
        assert torch.equal(value, cut[key]), key


def test_codes_are_in_use_after_the_start(work: Path) -> None:
    assert load_file(work / "codec" / "model.safetensors")["quantiser.codebooks"].abs().sum() > 0
    table = np.load(work / "pool" / "shard-0001" / "tokens.npy")
    assert table.shape[1] == CODEC["n_q"] and len(np.unique(table[:, 0])) > 4


def test_tokens_are_found_where_their_stem_lies(work: Path) -> None:
    pool = Pool(work / "pool")
    module = tokens.load_codec(CODEC, work / "codec" / "model.safetensors")
    table = tokens.Tokens(pool, module.hop_length)
    for shard, _, stem in pool.stems(held_out=False):
        sound = torch.from_numpy(pool.sound(shard, stem))
        whole = module.encode(sound[None, None])[0].numpy()
        assert np.array_equal(table.codes(shard, stem, 10, 20), whole[:, 10:30])


def test_lm_overfits_one_batch(work: Path) -> None:
    stage = lm.LMStage(lm_config(work, corrupt=0.0))
    batch, prepared = stage.batch(np.random.default_rng(0), False, 4)
    optimizer = torch.optim.AdamW(stage.module.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = stage.level_losses(batch, prepared, None, np.random.default_rng(0), 1.0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(LM["card"]), rel=0.2)
    assert losses[-1] < 0.5 * losses[0]


def test_vocoder_learns_and_leaves_the_codes_alone(work: Path, tmp_path: Path) -> None:
    settings = vocoder_config(work, steps=30, decay_steps=10)
    vocoder.train(settings, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    before, after = (load_file(f / "model.safetensors") for f in (work / "codec", tmp_path))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(name.startswith("vocoder.") for name in moved)


def test_sinusoids_are_compared_with_tones_and_not_with_noise(work: Path) -> None:
    stage = vocoder.VocoderStage(vocoder_config(work))
    torch.manual_seed(0)
    time = torch.arange(24000) / stage.module.sample_rate
    note = 57.2  # of the sinusoid 33, a fifth of a semitone too high
    tone = 0.3 * torch.sin(2 * math.pi * float(note_to_hz(torch.tensor(note))) * time)[None]
    amplitude, detune = stage.tones(tone)
    assert float(amplitude[0, 50, 33]) == pytest.approx(0.3, rel=0.2)
    tuning, level = stage.partial_losses(amplitude, detune, tone)
    assert float(tuning) < 0.01 and float(level) < 0.01
    assert float(stage.partial_losses(amplitude, detune - 0.2, tone)[0]) == pytest.approx(0.2, abs=0.02)
    assert float(stage.partial_losses(amplitude / 8, detune, tone)[1]) > 0.5
    noise = 0.1 * torch.randn(1, 24000)
    assert float(stage.tones(noise)[0][..., 30:].mean()) < 0.4 * float(stage.finder(noise)[0][..., 30:].mean())


def test_role_of_weight_zero_is_never_drawn(work: Path) -> None:
    stage = lm.LMStage(lm_config(work, role_weights={"chords": 1}))
    _, prepared = stage.batch(np.random.default_rng(0), False, 4)
    assert prepared["notes"]["role"].tolist() == [ROLES.index("chords")] * 4


def test_pool_without_long_enough_stems_is_refused(work: Path) -> None:
    with pytest.raises(ConfigError, match="no stem"):
        lm.LMStage(lm_config(work, crop_frames=10_000))


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


class LineStage:
    """Push a number towards zero; counts its steps."""

    part, critic = "codec", None

    def __init__(self) -> None:
        self.module, self.steps = Line(), 0

    def loss(self, step: int, rng: np.random.Generator) -> Any:
        self.steps += 1
        return self.module.weight.square().sum(), {"weight": float(self.module.weight.detach())}

    def validate(self) -> dict[str, float]:
        return {"weight": float(self.module.weight)}


PLAIN = {**QUICK, "steps": 1000, "learning_rate": 0.1, "weight_decay": 0.0, "betas": [0.9, 0.99], "clip": 1.0}
PLAIN |= {"seed": 0, "checkpoint_minutes": 5, "device": "cpu"}


def test_a_run_ends_after_the_minutes_it_was_given(tmp_path: Path) -> None:
    class Slow(LineStage):
        def loss(self, step: int, rng: np.random.Generator) -> Any:
            time.sleep(0.01)
            return super().loss(step, rng)

    stage = Slow()
    config = {**PLAIN, "steps": 10**9, "minutes": 0.03, "decay_share": 0.5, "validate_every": 10**9}
    start = time.monotonic()
    run(stage, config, tmp_path)
    assert 0.9 < time.monotonic() - start < 6.0  # 1.8 s, were the machine idle
    rates = [json.loads(line)["rate"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rates[-1] < 0.1 * max(rates)  # it had time to decay


def test_a_critic_learns_to_tell_a_tone_from_noise() -> None:
    torch.manual_seed(0)
    critic = Critic(sizes=(256, 64), channels=4)
    optimizer = torch.optim.AdamW(critic.parameters(), 3e-3)
    time = torch.arange(4000) / 8000
    for _ in range(60):
        tone = 0.3 * torch.sin(2 * torch.pi * (200 + 800 * torch.rand(4, 1)) * time + 6 * torch.rand(4, 1))
        loss = critic_loss(critic(tone), critic(0.2 * torch.randn(4, 4000)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5  # 2.0 for one that knows nothing


def test_a_critic_cannot_hear_more_than_is_compared(work: Path) -> None:
    with pytest.raises(ConfigError, match=r"critic\.samples is 99999, but crop_frames of 20 leaves"):
        vocoder.VocoderStage(vocoder_config(work, critic={"channels": 2, "samples": 99999}))


def test_vocoder_and_critic_learn_from_their_own_loss_alone(work: Path) -> None:
    stage = vocoder.VocoderStage(criticised_config(work))
    critic, ours = stage.critic, 0.1 * torch.randn(2, 4000)
    assert critic is not None
    ours.requires_grad_()
    theirs = 0.1 * torch.randn(2, 4000)
    loss, said = stage.criticise(critic, ours, theirs)
    loss.backward()
    learnt = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
    critic.zero_grad()
    critic_loss(critic(theirs), critic(ours.detach())).backward()
    alone = [p.grad for p in critic.parameters() if p.grad is not None]
    assert learnt and all(torch.allclose(a, b, atol=1e-6) for a, b in zip(learnt, alone, strict=True))
    assert ours.grad is not None and float(ours.grad.abs().sum()) > 0
    assert said.keys() == {"critic", "score", "layers"}


def test_a_run_starts_from_a_part_of_a_model(nano_model: Path) -> None:
    tensors = read_weights(nano_model, "performer")
    assert "lm.embedding.weight" in tensors and not any(name.startswith("performer.") for name in tensors)
    assert read_weights(nano_model, "codec").keys().isdisjoint(tensors)
    with pytest.raises(ConfigError, match="has no part 'melody'"):
        read_weights(nano_model, "melody")


def test_wind_down_ends_a_run_after_its_decay(tmp_path: Path) -> None:
    stage = LineStage()
    (tmp_path / "wind-down").touch()
    run(stage, PLAIN, tmp_path)
    assert stage.steps == PLAIN["decay_steps"]
    assert (tmp_path / "model.safetensors").is_file()


def test_a_run_starts_from_the_weights_of_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"weight": torch.full((1,), 5.0)}, tmp_path / "old.safetensors")
    stage = LineStage()
    run(stage, {**PLAIN, "steps": 1, "start_from": tmp_path / "old.safetensors"}, tmp_path / "a")
    assert 4.5 < float(stage.module.weight.detach()) < 5.0
    (tmp_path / "old.safetensors").unlink()  # a run that goes on does not need it
    run(LineStage(), {**PLAIN, "start_from": tmp_path / "old.safetensors"}, tmp_path / "a")
    save_file({}, tmp_path / "none.safetensors")
    run(LineStage(), {**PLAIN, "steps": 1, "start_from": tmp_path / "none.safetensors"}, tmp_path / "b")
    assert "new and random: weight" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.ones(2)}, r"weight \[2\], this model has \[1\]"),
        ({"bias": torch.ones(1)}, "no such tensor"),
        (None, "which is no file, and no model"),
    ],
)
def test_weights_that_do_not_fit_are_no_start(
    tensors: dict[str, torch.Tensor] | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "old.safetensors"
    if tensors is not None:
        save_file(tensors, path)
    with pytest.raises(ConfigError, match=message):
        run(LineStage(), {**PLAIN, "start_from": path}, tmp_path / "a")


def test_a_checkpoint_of_another_model_is_not_resumed(tmp_path: Path) -> None:
    run(LineStage(), {**PLAIN, "steps": 1}, tmp_path)
    wide = LineStage()
    wide.module.weight = nn.Parameter(torch.ones(2))
    with pytest.raises(ConfigError, match="Train into another folder"):
        run(wide, PLAIN, tmp_path)


def test_curves_are_drawn(tmp_path: Path) -> None:
    run(LineStage(), {**PLAIN, "steps": 20}, tmp_path)
    picture = tmp_path / "curves.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    (tmp_path / "empty.jsonl").touch()
    draw_curves(tmp_path / "empty.jsonl", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_learning_rate_warms_up_stays_and_falls() -> None:
    rates = [learning_rate(step, peak=1.0, warmup=10, steps=100, decay=50) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9:50] == [1.0] * 41
    assert rates[75] == pytest.approx(0.5) and rates[99] == pytest.approx(0.02)


def test_gpu_that_is_missing_is_refused() -> None:
    if torch.cuda.is_available():
        assert pick_device("cuda").type == "cuda"
    else:
        with pytest.raises(ConfigError, match="no GPU"):
            pick_device("cuda")
    assert pick_device("cpu").type == "cpu"
