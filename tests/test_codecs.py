"""Every codec keeps the contract; the parts of ours do what they say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gen_audio import registry
from gen_audio.codecs.layers.convnext import TILE, ConvNeXt
from gen_audio.codecs.layers.inverse_stft import InverseSTFT
from gen_audio.codecs.layers.mel import LogMel, warped_bands
from gen_audio.codecs.layers.partials import LOWEST_NOTE, PartialBank, PartialFinder, note_to_hz
from gen_audio.codecs.layers.quantiser import ResidualQuantiser
from gen_audio.codecs.spectral import Spectral
from gen_audio.codecs.toy import Toy
from gen_audio.errors import ConfigError, ShapeError

SMALL = {
    "spectral": {
        "sample_rate": 8000,
        "hop_length": 320,
        "n_q": 3,
        "card": 16,
        "num_bands": 24,
        "width": 16,
        "latent_width": 8,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "vocoder_width": 16,
        "vocoder_layers": 2,
        "num_partials": 60,
    }
}


def make(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    codec = registry.build("codecs", name, **SMALL.get(name, {}))
    if name == "spectral":
        codec.quantiser.codebooks.normal_()
        with torch.no_grad():
            for block in codec.vocoder.blocks:
                block.scale.fill_(1.0)
            codec.vocoder.to_partials.bias[:60] = 3.0  # loud enough to be heard in a comparison
    return codec.eval()


@pytest.fixture(params=registry.names("codecs"))
def codec(request: pytest.FixtureRequest, public_codec: Callable[..., Any]) -> Any:
    is_ours = registry.find("codecs", request.param).public is None
    return make(request.param) if is_ours else public_codec(request.param)


def test_codec_states_its_facts_and_its_source(codec: torch.nn.Module) -> None:
    assert codec.frame_rate == codec.sample_rate / codec.hop_length
    assert codec.special_token_id == codec.card
    assert "Source" in (type(codec).__doc__ or "")


def test_codes_have_the_stated_shape_and_range(codec: torch.nn.Module) -> None:
    audio = torch.rand(2, codec.channels, codec.hop_length * 5 + 1) - 0.5
    codes = codec.encode(audio)
    assert codes.shape == (2, codec.n_q, 6) and codes.dtype == torch.int64
    assert 0 <= int(codes.min()) and int(codes.max()) < codec.card
    assert torch.equal(codes[:, :2], codec.encode(audio, levels=2))


@torch.no_grad()
def test_frames_cover_the_sound_and_no_more_than_needed(codec: Any) -> None:
    for length in (1, codec.hop_length, codec.hop_length + 1, codec.hop_length * 9 - 3):
        codes = codec.encode(torch.rand(1, codec.channels, length) - 0.5)
        assert codes.shape[-1] == codec.num_frames(length)
        decoded = codec.decode(codes).shape[-1]
        assert length <= decoded == codec.num_audio_samples(codes.shape[-1]) < length + codec.hop_length


def test_a_codec_knows_its_bandwidths_and_refuses_others(codec: Any) -> None:
    kbps = list(codec.bandwidths)
    assert kbps == sorted(kbps) and max(codec.bandwidths.values()) == codec.n_q
    assert [codec.levels_at(each) for each in kbps] == list(codec.bandwidths.values())
    with pytest.raises(ConfigError, match=f"{kbps[0]:.3g}.*{kbps[-1]:.3g}"):
        codec.levels_at(1000.0)
    assert codec.num_bits(10, codec.n_q) > codec.num_bits(10, 1) > 0
    for levels in (0, codec.n_q + 1):
        with pytest.raises(ConfigError, match=f"Use 1 to {codec.n_q}"):
            codec.encode(torch.zeros(1, codec.channels, 100), levels)


@torch.no_grad()
def test_decoding_any_first_levels_gives_whole_frames(codec: torch.nn.Module) -> None:
    codes = torch.randint(codec.card, (1, codec.n_q, 7))
    for levels in {*range(1, 6), codec.n_q} & {*range(codec.n_q + 1)}:
        audio = codec.decode(codes[:, :levels])
        assert audio.shape == (1, codec.channels, codec.num_audio_samples(7))
        assert torch.isfinite(audio).all()


@torch.no_grad()
def test_streamed_decode_equals_whole_decode(codec: torch.nn.Module) -> None:
    codes = torch.randint(codec.card, (2, codec.n_q, 40))
    joined = torch.cat(list(codec.decode_stream(codes, chunk=9)), -1)
    assert torch.allclose(joined, codec.decode(codes), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(1, 2, 3, 34), (40,), (17, 20, 1, 1, 1)])
def test_codes_that_are_still_written_decode_to_the_same(codec: torch.nn.Module, sizes: tuple[int, ...]) -> None:
    codes = torch.randint(codec.card, (2, codec.n_q, 40))
    pieces = list(codec.decode_blocks(codes.split(sizes, -1)))
    torch.testing.assert_close(torch.cat(pieces, -1), codec.decode(codes), atol=1e-4, rtol=1e-4)
    assert all(piece.shape[-1] > 0 for piece in pieces)


@torch.no_grad()
def test_context_is_not_smaller_than_what_a_frame_depends_on() -> None:
    codec = make("spectral")
    codes = torch.randint(codec.card, (1, codec.n_q, 60))
    other = codes.clone()
    other[..., 30] = (other[..., 30] + 1) % codec.card
    parts = [codec.vocoder.parts(*codec.mel_from_latent(codec.quantiser.decode(c))) for c in (codes, other)]
    for one, two in zip(*parts, strict=True):
        changed = (one - two).abs().amax(-1).view(60, 4).amax(1) > 1e-6
        reach = (changed.nonzero() - 30).abs().max()
        assert 0 < int(reach) <= codec.context


def tone(note: float, seconds: float = 1.0, sample_rate: int = 24000) -> torch.Tensor:
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    return (0.5 * torch.cos(2 * math.pi * float(note_to_hz(torch.tensor(note))) * time)).float()


@pytest.mark.parametrize("note", [24.2, 33.0, 57.3, 69.0, 80.6, 102.9])
def test_finder_hears_pitch_and_level_of_a_tone(note: float) -> None:
    amplitude, detune, spread = PartialFinder(80, 24000, 240)(tone(note)[None])
    loudest = int(amplitude[0, 50].argmax())
    assert LOWEST_NOTE + loudest + float(detune[0, 50, loudest]) == pytest.approx(note, abs=0.02)
    assert float(amplitude[0, 50, loudest]) == pytest.approx(0.5, rel=0.02)
    assert float(spread[0, 50, loudest]) < 0.05


@pytest.mark.parametrize("note", [24.2, 33.0, 57.3, 69.0, 80.6, 102.9])
def test_bank_plays_a_tone_of_any_pitch_at_that_pitch(note: float) -> None:
    """Frames alike in everything: only a phase that runs on can give a pitch between multiples of the frame rate."""
    bank, inverse = PartialBank(80, 24000, 960, 240), InverseSTFT(960, 240)
    index = round(note) - LOWEST_NOTE
    amplitude, detune = torch.zeros(1, 100, 80), torch.zeros(1, 100, 80)
    amplitude[..., index], detune[..., index] = 0.5, note - round(note)
    track = bank.run(detune)
    audio = inverse(bank(amplitude, detune, track))[0]
    # the phase of frame 0 is that at its centre, sample 120
    time = (torch.arange(len(audio), dtype=torch.float64) - 120) / 24000
    phase = 2 * math.pi * (float(note_to_hz(torch.tensor(note))) * time + track.cycles[0, 0, index])
    assert float((audio - 0.5 * phase.cos())[960:-960].abs().max()) < 0.01


def test_noise_is_told_from_tones_by_its_spread() -> None:
    torch.manual_seed(0)
    amplitude, _, spread = PartialFinder(80, 24000, 240)(0.1 * torch.randn(1, 24000))
    assert float(spread[0, 20:80, 40:][amplitude[0, 20:80, 40:] > 1e-3].mean()) > 0.2


def test_what_the_finder_hears_the_bank_plays() -> None:
    chord = sum(0.4 * tone(note, 2.0) for note in (40.0, 52.1, 56.0, 59.2, 64.0))
    amplitude, detune, _ = PartialFinder(80, 24000, 240)(chord[None])
    bank = PartialBank(80, 24000, 960, 240)
    again = InverseSTFT(960, 240)(bank(amplitude, detune, bank.run(detune)))[0]
    window = torch.hann_window(16384)
    ours, theirs = (torch.fft.rfft(x[16000 : 16000 + 16384] * window).abs() for x in (again, chord))
    assert float((ours - theirs).norm() / theirs.norm()) < 0.05


def test_a_sinusoid_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    bank = PartialBank(10, 24000, 960, 240)
    detune = torch.rand(2, 50, 10) - 0.5
    whole = bank.run(detune)
    first = bank.run(detune[:, :20])
    rest = bank.run(detune[:, 20:], first)
    assert torch.allclose(torch.cat((first.cycles, rest.cycles), 1), whole.cycles, atol=1e-9)


def test_convnext_is_the_same_with_and_without_gradients() -> None:
    torch.manual_seed(0)
    block, x = ConvNeXt(16, 32, scale=1.0), torch.randn(2, 2 * TILE + 9, 16)
    with torch.no_grad():
        tiled = block(x)
    assert torch.allclose(tiled, block(x), atol=1e-5)


def test_wrong_shapes_and_foreign_codes_are_refused(codec: torch.nn.Module) -> None:
    with pytest.raises(ShapeError, match="needs"):
        codec.encode(torch.zeros(1, codec.channels + 1, 100))
    with pytest.raises(ShapeError, match="K from 1"):
        codec.decode(torch.zeros(1, codec.n_q + 1, 3, dtype=torch.int64))
    with pytest.raises(ShapeError, match="another codec"):
        codec.decode(torch.full((1, 1, 3), codec.card))


def test_toy_round_trip_stays_within_its_stated_error() -> None:
    codec = Toy()
    frames = torch.rand(1, 1, 50) * 2 - 1
    audio = frames.repeat_interleave(codec.hop_length, -1)
    codes = codec.encode(audio)
    for levels in range(1, codec.n_q + 1):
        assert float((codec.decode(codes[:, :levels]) - audio).abs().max()) <= codec.max_error(levels) + 1e-5


def test_inverse_stft_inverts_a_spectrum_of_the_same_window() -> None:
    inverse = InverseSTFT(64, 16)
    audio = torch.randn(1, 16 * 20)
    padded = torch.nn.functional.pad(audio, (24, 24))
    spectra = torch.fft.rfft(padded.unfold(-1, 64, 16) * inverse.window)
    assert torch.allclose(inverse(spectra), audio, atol=1e-4)


def test_filters_cover_the_band_and_a_tone_lands_in_its_band() -> None:
    bands = warped_bands(160, 2049, 24000, corner_hz=300.0)
    assert (bands.sum(1) > 0).all() and (bands[:, 20:2000].sum(0) > 0).all()
    mel = LogMel(24000, 240)
    time = torch.arange(24000) / 24000
    levels = {f: mel(torch.sin(2 * math.pi * f * time)[None])[0, :, 50] for f in (262.0, 277.0, 3000.0)}
    assert levels[262.0].argmax() != levels[277.0].argmax()  # neighbouring semitones at middle C
    assert int(levels[3000.0].argmax()) > mel.num_low and float(levels[3000.0].max()) > -1.0 > float(
        levels[3000.0].median()
    )


def test_quantiser_levels_reduce_the_error_one_after_another() -> None:
    torch.manual_seed(0)
    quantiser = ResidualQuantiser(4, 32, 6)
    latent = torch.randn(8, 100, 6)
    quantiser.start(latent.flatten(0, 1))
    codes = quantiser.encode(latent)
    errors = [float((quantiser.decode(codes[:, :k]) - latent).square().mean()) for k in range(1, 5)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.3 * errors[0]


def test_quantiser_training_moves_dead_entries_back_into_use() -> None:
    torch.manual_seed(0)
    quantiser = ResidualQuantiser(1, 16, 2).train()
    quantiser.codebooks.fill_(100.0)  # all far away: one entry takes everything
    quantiser.codebooks[0, 0] = 0.0
    latent = torch.randn(4, 50, 2)
    for _ in range(30):
        quantiser(latent, torch.ones(4, dtype=torch.long))
    assert len(quantiser.encode(latent).unique()) > 10


def test_dropped_levels_do_not_reach_the_output() -> None:
    torch.manual_seed(0)
    quantiser = ResidualQuantiser(3, 8, 4).eval()
    quantiser.codebooks.normal_()
    latent = torch.randn(2, 5, 4)
    quantised, _, _ = quantiser(latent, torch.tensor([1, 3]))
    codes = quantiser.encode(latent)
    assert torch.allclose(quantised[0], quantiser.decode(codes[:1, :1])[0], atol=1e-6)
    assert torch.allclose(quantised[1], quantiser.decode(codes[1:])[0], atol=1e-6)


def test_spectral_mel_and_latent_have_four_to_one_rates() -> None:
    codec = make("spectral")
    assert isinstance(codec, Spectral)
    mel = codec.log_mel(torch.randn(1, 1, 3200) * 0.1)
    assert mel.shape == (1, 40, 24)
    assert codec.latent(mel).shape == (1, 10, 8)
