"""MusicGen through our loop: what transformers computes, exactly, from any checkpoint; and bad ones, named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gen_audio import load
from gen_audio.audio import Waveform
from gen_audio.conditioning.melody import Melody
from gen_audio.conditioning.t5 import MAX_TOKENS
from gen_audio.errors import AudioError, CheckpointError, ConfigError, UnknownNameError
from gen_audio.pipeline import checkpoint, hub, musicgen
from gen_audio.pipeline.convert import convert
from gen_audio.pipeline.executors.base import Choosing
from gen_audio.pipeline.fuse import Fused
from gen_audio.pipeline.generate import Piece, play
from gen_audio.pipeline.guidance import Guidance
from gen_audio.pipeline.long_form import first_frame
from gen_audio.pipeline.musicgen import MusicGen
from gen_audio.pipeline.musicgen_told import read_words
from gen_audio.pipeline.noise import GumbelNoise
from gen_audio.pipeline.samplers.greedy import Greedy
from gen_audio.pipeline.tensor_file import TensorFiles
from safetensors.torch import load_file, save_file
from torch import Tensor

CARD, RATE = 64, 32000
KINDS = ("mono", "stereo", "melody")
PROMPTS = ["lofi jazz piano", "rock", "calm guitar and slow drums with piano"]  # three lengths


@pytest.fixture(scope="module")
def theirs(tiny_musicgen: Callable[[str], Any]) -> Callable[[str], Any]:
    return tiny_musicgen


@pytest.fixture(scope="module", params=["native", "reference"])
def executor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def ours(theirs: Callable[[str], Any], executor: str) -> Callable[[str], MusicGen]:
    loaded: dict[str, MusicGen] = {}

    def get(kind: str) -> MusicGen:
        if kind not in loaded:
            loaded[kind] = load(str(theirs(kind).folder), executor=executor)  # type: ignore[assignment]
        return loaded[kind]

    return get


@pytest.fixture
def folder(theirs: Callable[[str], Any], tmp_path: Path) -> Path:
    """A copy of the mono model that a test may break."""
    return Path(shutil.copytree(theirs("mono").folder, tmp_path / "model"))


def tune(seconds: float = 2.0, rate: int = RATE, channels: int = 1) -> Waveform:
    """A rising scale."""
    time = np.arange(round(seconds * rate)) / rate
    pitch = 220 * 2 ** (np.floor(time * 4) / 12)
    sound = 0.4 * np.sin(2 * np.pi * np.cumsum(pitch) / rate)
    return Waveform(np.tile(sound, (channels, 1)).astype(np.float32), rate)


def chroma_of(model: MusicGen, sound: Waveform) -> Tensor:
    assert model.parts.melody is not None
    return model.parts.melody.chroma(torch.from_numpy(sound.samples), sound.sample_rate)


# --- the same numbers -------------------------------------------------------------------------------------------------


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_melody", [False, True])
def test_teacher_forced_logits_are_those_of_transformers(
    kind: str, with_melody: bool, theirs: Any, ours: Callable[[str], MusicGen]
) -> None:
    if with_melody and kind != "melody":
        pytest.skip("this model hears no melody")
    reference, model = theirs(kind).model, ours(kind)
    told = model.parts.text.prepare(PROMPTS)
    steps = torch.randint(CARD, (3, model.executor.n_q, 64), generator=torch.Generator().manual_seed(1))
    columns = torch.cat((torch.full_like(steps[..., :1], CARD), steps[..., :-1]), -1).flatten(0, 1)
    chroma = chroma_of(model, tune()) if with_melody else None
    extra = {"input_features": chroma.expand(3, -1, -1)} if chroma is not None else {}
    wanted = reference(**told, decoder_input_ids=columns, **extra).logits[:, -64:]
    fused = model.conditions(model.parts.text(**told), None if chroma is None else lambda _: chroma, False, 0)
    found = model.executor.logits(fused, steps)
    assert (found.flatten(0, 1) - wanted).abs().max() < 1e-4
    assert wanted.std() > 0.1  # so that agreement says something


@torch.inference_mode()
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_codes_of_a_padded_batch_are_identical_for_200_steps(
    kind: str, guidance: float, theirs: Any, ours: Callable[[str], MusicGen]
) -> None:
    reference, model = theirs(kind), ours(kind)
    told = model.parts.text.prepare(PROMPTS)
    chroma = chroma_of(model, tune()) if kind == "melody" else None
    extra = {"input_features": chroma.expand(3, -1, -1)} if chroma is not None else {}
    wanted = reference.codes(**told, do_sample=False, guidance_scale=guidance, max_new_tokens=200, **extra)
    guide = Guidance(guidance)
    text = model.parts.text(**told)
    fused = model.conditions(text, None if chroma is None else lambda _: chroma, guidance != 1, 0)
    found = greedy(model, fused, wanted.shape[-1], guide)
    assert torch.equal(found, wanted)
    assert len(wanted.unique()) > 10


def greedy(model: MusicGen, fused: Fused, num_frames: int, guide: Guidance) -> Tensor:
    noise = GumbelNoise([0] * fused.batch_size, [0] * fused.batch_size, n_q=model.executor.n_q, card=CARD)
    piece = Piece(model.executor, model.pattern, fused, Choosing(Greedy(), guide, noise), num_frames=num_frames)
    return torch.stack(list(play(piece)), -1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_generation_sounds_as_transformers_makes_it(
    kind: str, theirs: Any, ours: Callable[[str], MusicGen]
) -> None:
    reference, model = theirs(kind), ours(kind)
    made = model.generate("lofi jazz piano", duration=1.0, temperature=0, loudness="none", seed=1)
    steps = 50 + (model.parts.lm.n_q // model.parts.channels - 1)
    told = model.parts.text.prepare(["lofi jazz piano"])
    wanted = reference.model.generate(**told, do_sample=False, guidance_scale=3.0, max_new_tokens=steps)
    assert made.waveform.samples.shape == (model.parts.channels, RATE)
    np.testing.assert_allclose(made.waveform.samples, wanted[0].numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_a_recording_is_continued_as_transformers_does(kind: str, theirs: Any, ours: Callable[[str], MusicGen]) -> None:
    reference, model = theirs(kind), ours(kind)
    sound = tune(0.5, channels=model.parts.channels)
    made = model.generate("rock", duration=1.0, temperature=0, continue_from=sound, seed=1)
    told = model.parts.text.prepare(["rock"])
    steps = 25 + (model.parts.lm.n_q // model.parts.channels - 1)
    audio = torch.from_numpy(sound.samples)[None]
    wanted = reference.codes(**told, input_values=audio, do_sample=False, guidance_scale=3.0, max_new_tokens=steps)
    assert torch.equal(made.codes["mix"], wanted[0])
    assert torch.equal(made.codes["mix"][:, :25], model.encode_mix(audio[0])[0])


@pytest.mark.parametrize("rate", [RATE, 44100, 8000])
@pytest.mark.parametrize("channels", [1, 2])
def test_chroma_is_that_of_the_feature_extractor(rate: int, channels: int) -> None:
    from transformers import MusicgenMelodyFeatureExtractor

    sound = tune(2.3, rate, channels)
    sound.samples[0] *= 0.5
    extractor = MusicgenMelodyFeatureExtractor()
    wanted = extractor(torch.from_numpy(sound.samples.mean(0)[None]), sampling_rate=rate)["input_features"]
    found = Melody(width=8).chroma(torch.from_numpy(sound.samples), rate)
    assert torch.equal(found, wanted[0])
    assert len(found.argmax(1).unique()) > 4


# --- every option does something --------------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 2},
    "negative_prompt": {"negative_prompt": "slow drums"},
    "guidance_scale": {"guidance_scale": 1.0},
    "temperature": {"temperature": 0.3},
    "top_k": {"top_k": 2},
    "top_p": {"top_p": 0.3},
    "min_p": {"min_p": 0.5},
    "continue_from": {"continue_from": tune(0.2)},
    "melody": {"melody": tune(3.0)},
    "chords": {"chords": ["Am", "D7"], "duration": 4.0},
    "tempo and key": {"tempo": 90, "key": "Eb major", "duration": 4.0},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_what_is_played(option: str, ours: Callable[[str], MusicGen]) -> None:
    plain = {"duration": 1.0, "seed": 1}
    before = ours("melody").generate("lofi jazz piano", **plain).codes["mix"]
    after = ours("melody").generate("lofi jazz piano", **(plain | OPTIONS[option])).codes["mix"]
    assert not torch.equal(before, after[:, : before.shape[1]])


def test_another_tune_and_other_chords_are_heard(ours: Callable[[str], MusicGen]) -> None:
    plain = {"duration": 2.0, "seed": 1}
    backwards = Waveform(tune(3.0).samples[:, ::-1].copy(), RATE)
    for name, one, other in (("melody", tune(3.0), backwards), ("chords", ["Am"], ["Db"])):
        first = ours("melody").generate("rock", **plain, **{name: one}).codes["mix"]  # type: ignore[arg-type]
        second = ours("melody").generate("rock", **plain, **{name: other}).codes["mix"]  # type: ignore[arg-type]
        assert not torch.equal(first, second)


def test_an_option_that_the_model_cannot_hear_is_refused(ours: Callable[[str], MusicGen]) -> None:
    for name, value in (("key", "A minor"), ("without", ("drums",)), ("melody", tune()), ("rung", "plan")):
        with pytest.raises(ConfigError, match=f"cannot be told {name}: it hears words alone"):
            ours("mono").generate("rock", **{name: value})
    with pytest.raises(ConfigError, match="Give one of them"):
        ours("melody").generate("rock", melody=tune(), chords=["Am"])
    with pytest.raises(ConfigError, match="etude cannot be told melody"):
        load("etude").generate("rock", melody=tune())


def test_a_prompt_longer_than_the_text_encoder_reads_is_refused(ours: Callable[[str], MusicGen]) -> None:
    with pytest.raises(ConfigError, match=f"at most {MAX_TOKENS}"):
        ours("mono").generate("rock " * (MAX_TOKENS + 1))


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_guidance_pulls_away_from_the_negative_prompt(kind: str, ours: Callable[[str], MusicGen]) -> None:
    model = ours(kind)
    text, negative = read_words(model.parts.text, "rock", "calm guitar and slow drums")
    steps = torch.randint(CARD, (1, model.executor.n_q, 32), generator=torch.Generator().manual_seed(1))
    both = model.executor.logits(model.conditions(text, None, True, 0, negative), steps.expand(1, -1, -1))
    alone = [model.executor.logits(model.conditions(each, None, False, 0), steps) for each in (text, negative)]  # type: ignore[arg-type]
    assert (both - torch.cat(alone)).abs().max() < 1e-4
    assert (both[0] - both[1]).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_as_its_own_negative_is_no_guidance(kind: str, ours: Callable[[str], MusicGen]) -> None:
    plain = {"duration": 1.0, "temperature": 0, "seed": 1}
    made = ours(kind).generate("rock", negative_prompt="rock", guidance_scale=3.0, **plain)
    assert torch.equal(made.codes["mix"], ours(kind).generate("rock", guidance_scale=1.0, **plain).codes["mix"])
    assert made.params.to_dict()["negative_prompt"] == "rock" and "pulls away" in str(made.provenance["understand"])


def test_a_negative_prompt_needs_guidance(ours: Callable[[str], MusicGen]) -> None:
    with pytest.raises(ConfigError, match="guidance_scale is 1, which is off"):
        ours("mono").generate("rock", negative_prompt="drums", guidance_scale=1.0)


# --- long pieces ------------------------------------------------------------------------------------------------------


def test_windows_start_at_multiples_of_the_stride() -> None:
    assert [first_frame(done, 30, 18) for done in (0, 29, 30, 47, 48, 66)] == [0, 0, 18, 18, 36, 54]


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(musicgen, "WINDOW", 1.0)
    monkeypatch.setattr(musicgen, "STRIDE", 0.6)
    yield


@pytest.mark.parametrize("kind", ["stereo", "melody"])
def test_a_long_piece_begins_as_the_short_one_and_has_its_exact_length(
    kind: str, short_windows: None, ours: Callable[[str], MusicGen]
) -> None:
    extra = {"melody": tune(3.0)} if kind == "melody" else {}
    long = ours(kind).generate("rock", duration=2.3, seed=3, **extra)
    short = ours(kind).generate("rock", duration=1.0, seed=3, **extra)
    assert long.waveform.samples.shape[1] == round(2.3 * RATE)
    assert long.codes["mix"].shape[1] == 115
    last = 50 - 3  # the last frames of the short piece end while the long one goes on
    assert torch.equal(long.codes["mix"][:, :last], short.codes["mix"][:, :last])
    assert 0 <= long.codes["mix"].min() and long.codes["mix"].max() < CARD


def test_the_second_window_hears_the_end_of_the_first(short_windows: None, ours: Callable[[str], MusicGen]) -> None:
    one = ours("mono").generate("rock", duration=2.0, seed=3).codes["mix"]
    other = ours("mono").generate("rock", duration=2.0, seed=3, continue_from=tune(0.9)).codes["mix"]
    assert not torch.equal(one[:, 50:], other[:, 50:])


def test_a_tune_goes_on_in_the_second_window(short_windows: None, ours: Callable[[str], MusicGen]) -> None:
    sound, rate = tune(3.0), 3.0
    changed = Waveform(sound.samples.copy(), RATE)
    changed.samples[:, round(rate / 2 * RATE) :] = changed.samples[:, round(rate / 2 * RATE) :][:, ::-1]
    one, other = (
        ours("melody").generate("rock", duration=2.0, seed=3, melody=m).codes["mix"] for m in (sound, changed)
    )
    assert torch.equal(one[:, :45], other[:, :45]) and not torch.equal(one, other)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_shards_and_older_names_load_as_well(folder: Path, ours: Callable[[str], MusicGen]) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    renamed = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in tensors.items()
    }
    renamed["decoder.model.decoder.embed_positions.weights"] = torch.zeros(2048, 32)
    shards = {"one.safetensors": {}, "two.safetensors": {}}  # type: dict[str, dict[str, Tensor]]
    for i, name in enumerate(renamed):
        shards[list(shards)[i % 2]][name] = renamed[name]
    for file, part in shards.items():
        save_file(part, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    again = load(str(folder)).generate("rock", duration=0.5, seed=1)
    assert torch.equal(again.codes["mix"], ours("mono").generate("rock", duration=0.5, seed=1).codes["mix"])
    (folder / "two.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"not there: two\.safetensors"):
        load(str(folder))


def test_tensors_that_are_missing_left_over_or_of_another_shape_are_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("decoder.lm_heads.2.weight")
    tensors["decoder.model.decoder.layers.0.fc1.weight"] = torch.zeros(3, 5)
    tensors["stray.weight"] = torch.zeros(1)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        load(str(folder))
    for part in (
        r"missing: decoder.lm_heads.2.weight",
        "decoder.model.decoder.layers.0.fc1.weight is [3, 5] instead of [64, 32]",
        "unknown: stray.weight",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("keep", [0.6, 0.0001])
def test_a_truncated_file_is_named(folder: Path, keep: float) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * keep)])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is (truncated|no safetensors)"):
        load(str(folder))


def test_a_pickle_is_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is a pickle"):
        load(str(folder))


def test_an_architecture_that_we_do_not_know_is_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bark"}))
    with pytest.raises(CheckpointError, match="of type 'bark'"):
        load(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(str(folder))


def test_a_folder_without_tokenizer_says_which_files_it_needs(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        load(str(folder))


def test_names_that_lead_nowhere_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no model"):
        load("empty")
    with pytest.raises(UnknownNameError, match="etude"):
        load("etuda")
    with pytest.raises(CheckpointError, match=r"'nobody/nothing@v1' .*--model \./folder"):
        load("nobody/nothing@v1")
    assert not hub.is_hub_id("./a/b") and not hub.is_hub_id("a/b/c") and hub.is_hub_id("a/b@0123abc")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_converted_model_plays_the_same_and_is_verified(
    dtype: str, folder: Path, tmp_path: Path, ours: Callable[[str], MusicGen]
) -> None:
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# A card\n")
    out = convert(str(folder), tmp_path / "converted", dtype)
    model = load(str(out), precision="auto" if dtype == "fp32" else "bf16")
    made = model.generate("rock", duration=0.5, seed=1)
    assert made.model["licence"] == "cc-by-nc-4.0"
    assert made.model["sha256"] == checkpoint.read_config(out)["sha256"]
    if dtype == "fp32":
        assert torch.equal(made.codes["mix"], ours("mono").generate("rock", duration=0.5, seed=1).codes["mix"])
    with pytest.raises(ConfigError, match="exists"):
        convert(str(folder), out)
    with pytest.raises(ConfigError, match="in our format already"):
        convert(str(out), tmp_path / "twice")
    data = bytearray((out / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (out / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load(str(out))


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 0.1), ("int8", 0.2), ("int4", 1.5)])
def test_lower_precision_stays_near_the_logits(
    precision: str, bound: float, executor: str, theirs: Any, ours: Callable[[str], MusicGen]
) -> None:
    if precision == "int4" and executor == "reference":
        with pytest.raises(ConfigError, match="int4"):
            load(str(theirs("mono").folder), precision=precision, executor=executor)
        return
    low = load(str(theirs("mono").folder), precision=precision, executor=executor)
    steps = torch.randint(CARD, (1, 4, 32), generator=torch.Generator().manual_seed(1))
    found, wanted = [], []
    for model, logits in ((low, found), (ours("mono"), wanted)):
        assert isinstance(model, MusicGen)
        text = model.parts.text(**model.parts.text.prepare(["rock"]))
        logits.append(model.executor.logits(model.conditions(text, None, False, 0), steps))
    assert low.precision == precision
    assert 0 < (found[0] - wanted[0]).abs().max() < bound * wanted[0].std()


def test_a_tensor_is_read_in_place_and_in_the_wanted_type(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(2).bfloat16(), "d": torch.zeros(0)}
    save_file(tensors, tmp_path / "model.safetensors")
    files = TensorFiles(tmp_path)
    assert files.num_bytes == 3 * 4 * 4 + 5 * 8 + 2 * 2
    for name, value in tensors.items():
        assert torch.equal(files.read(name), value)
    whole = torch.zeros(6, 4)
    files.read_into("a", whole[3:])
    assert torch.equal(whole[3:], tensors["a"]) and not whole[:3].any()
    assert torch.equal(files.read("a", torch.bfloat16), tensors["a"].bfloat16())
    assert files.read("b", torch.bfloat16).dtype == torch.int64


# --- recordings -------------------------------------------------------------------------------------------------------


def test_recordings_that_cannot_be_used_are_refused(tmp_path: Path, ours: Callable[[str], MusicGen]) -> None:
    silent = Waveform(np.zeros((1, RATE), np.float32), RATE)
    for kind, name, sound, error, said in (
        ("melody", "melody", silent, AudioError, "silent"),
        ("melody", "melody", tune(0.05), AudioError, r"lasts 0\.050 s; it needs"),
        ("mono", "continue_from", silent, AudioError, "silent"),
        ("mono", "continue_from", tune(3.0), ConfigError, "longer duration"),
        ("mono", "continue_from", tmp_path / "no.wav", AudioError, "no.wav"),
    ):
        with pytest.raises(error, match=said):
            ours(kind).generate("rock", duration=2.0, **{name: sound})


def test_a_recording_of_another_rate_and_shape_is_converted_and_said_so(
    ours: Callable[[str], MusicGen], caplog: pytest.LogCaptureFixture
) -> None:
    made = ours("mono").generate("rock", duration=1.0, seed=1, continue_from=tune(0.5, 44100, 2))
    assert "resampled from 44100 to 32000" in caplog.text
    assert made.codes["mix"].shape == (4, 50)
    ours("melody").generate("rock", duration=0.5, seed=1, melody=tune(1.0, 8000, 2))
    assert "the melody has 2 channels at 8000 Hz; it is heard as 1 at 32000" in caplog.text


# --- audiocraft -------------------------------------------------------------------------------------------------------


def audiocraft_state(model: Any) -> dict[str, Tensor]:
    """The weights of a model of transformers under the names that audiocraft has for them."""
    state, out = model.state_dict(), {}
    for k in range(4):
        out[f"emb.{k}.weight"] = state[f"decoder.model.decoder.embed_tokens.{k}.weight"]
        out[f"linears.{k}.weight"] = state[f"decoder.lm_heads.{k}.weight"]
    names = {"norm1": "self_attn_layer_norm", "norm_cross": "encoder_attn_layer_norm", "norm2": "final_layer_norm"}
    for i in range(2):
        theirs, ours = f"decoder.model.decoder.layers.{i}.", f"transformer.layers.{i}."
        for one, other in (("self_attn", "self_attn"), ("cross_attention", "encoder_attn")):
            stacked = [state[f"{theirs}{other}.{x}_proj.weight"] for x in "qkv"]
            out[f"{ours}{one}.in_proj_weight"] = torch.cat(stacked)
            out[f"{ours}{one}.out_proj.weight"] = state[f"{theirs}{other}.out_proj.weight"]
        for one, other in names.items():
            for part in ("weight", "bias"):
                out[f"{ours}{one}.{part}"] = state[f"{theirs}{other}.{part}"]
        out[f"{ours}linear1.weight"] = state[f"{theirs}fc1.weight"]
        out[f"{ours}linear2.weight"] = state[f"{theirs}fc2.weight"]
    for part in ("weight", "bias"):
        out[f"out_norm.{part}"] = state[f"decoder.model.decoder.layer_norm.{part}"]
        out[f"condition_provider.conditioners.description.output_proj.{part}"] = state[f"enc_to_dec_proj.{part}"]
    return out


@pytest.fixture
def audiocraft(theirs: Any, tmp_path: Path) -> dict[str, Path]:
    """A state dict of audiocraft, and its T5 and codec as transformers saves them."""
    model = theirs("mono").model
    model.text_encoder.save_pretrained(tmp_path / "t5")
    model.audio_encoder.save_pretrained(tmp_path / "encodec")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(theirs("mono").folder / name, tmp_path / "t5" / name)
    package = {"best_state": audiocraft_state(model), "xp.cfg": "transformer_lm: {num_heads: 4}\nchannels: 1\n"}
    torch.save(package, tmp_path / "state_dict.bin")
    return {name: tmp_path / name for name in ("state_dict.bin", "t5", "encodec", "out")}


def test_a_state_dict_of_audiocraft_plays_the_same(
    audiocraft: dict[str, Path], ours: Callable[[str], MusicGen]
) -> None:
    source, t5, encodec, out = audiocraft.values()
    with pytest.raises(ConfigError, match="--text-encoder FOLDER --codec FOLDER"):
        convert(str(source), out)
    convert(str(source), out, text_encoder=t5, codec=encodec)
    made = load(str(out)).generate("rock", duration=0.5, seed=1)
    wanted = ours("mono").generate("rock", duration=0.5, seed=1)
    assert torch.equal(made.codes["mix"], wanted.codes["mix"])
    np.testing.assert_array_equal(made.waveform.samples, wanted.waveform.samples)
    with pytest.raises(CheckpointError, match="gen-audio convert"):
        load(str(source.parent))


def test_a_pickle_that_would_run_code_is_refused(audiocraft: dict[str, Path]) -> None:
    source, t5, encodec, out = audiocraft.values()
    torch.save({"best_state": {}, "xp.cfg": Path}, source)
    with pytest.raises(CheckpointError, match="would run code, and is not opened"):
        convert(str(source), out, text_encoder=t5, codec=encodec)
    source.write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="Copy it again"):
        convert(str(source), out, text_encoder=t5, codec=encodec)
    assert not out.exists()
