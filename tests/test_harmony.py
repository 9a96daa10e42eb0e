"""Rules with a name: voicings, motifs and what becomes of them, chords that lead on."""

from __future__ import annotations

import random

import pytest
from gen_audio.composition.harmony import DEVICES, enrich, local_key, raise_end
from gen_audio.composition.phrasing import DEVELOPMENTS, Tone, Tune
from gen_audio.composition.theory import Chord, Key
from gen_audio.composition.voicing import VOICINGS, voice

C_MAJOR, A_MINOR = Key.parse("C major"), Key.parse("A minor")
MOTIF = (Tone(0.0, 1.0, 0), Tone(1.0, 0.5, 1), Tone(2.0, 1.0, 3), Tone(3.0, 1.0, 2))
TUNE = Tune(MOTIF, (Tone(0.0, 4.0, 0),), "AaBC", (0, 2, 4, 0), False, 0)


def parsed(text: str) -> tuple[Chord, ...]:
    return tuple(Chord.parse(symbol) for symbol in text.split())


@pytest.mark.parametrize(
    ("device", "here", "target", "becomes"),
    [
        ("secondary_dominant", "C", "Dm", "C A7"),
        ("secondary_dominant", "Dm", "C", None),  # the tonic's dominant is no secondary one
        ("secondary_dominant", "A7", "Dm", None),  # it is there already
        ("secondary_dominant", "C", "Bdim", None),
        ("tritone_substitute", "G7", "Cmaj7", "G7 Db7"),
        ("tritone_substitute", "G7", "Am", None),
        ("two_five", "G7", "Cmaj7", "Dm7 G7"),
        ("two_five", "E7", "Am7", "Bm7b5 E7"),
        ("suspension", "G", "C", "Gsus4 G"),
        ("suspension", "G7", "Am", None),
        ("minor_subdominant", "Fmaj7", "C", "Fmaj7 Fm6"),
        ("minor_subdominant", "G", "C", None),
    ],
)
def test_a_device_changes_what_it_fits_and_nothing_else(
    device: str, here: str, target: str, becomes: str | None
) -> None:
    changed = DEVICES[device](Chord.parse(here), Chord.parse(target), C_MAJOR)
    assert changed == (None if becomes is None else parsed(becomes))


def test_a_progression_is_heard_plain_before_it_leads_on() -> None:
    bars = [(chord,) for chord in parsed("C Am Dm G C Am Dm G")]
    done = enrich(bars, 8, C_MAJOR, dict.fromkeys(DEVICES, 1.0), random.Random(0))
    assert bars[:3] == [(chord,) for chord in parsed("C Am Dm")]
    assert bars[3] == parsed("Gsus4 G") and bars[5] == parsed("Am A7") and len(done) == 2
    short = [(chord,) for chord in parsed("C Am Dm G C Am Dm G")]
    assert not enrich(short, 4, C_MAJOR, dict.fromkeys(DEVICES, 1.0), random.Random(0))


def test_only_a_second_chorus_of_a_piece_of_some_length_rises() -> None:
    bars = [parsed("C")] * 32
    first, step = raise_end(("verse", "chorus", "verse", "chorus"), (8, 8, 8, 8), bars, random.Random(1))
    assert first == 24 and step in (1, 2)
    assert bars[23] == parsed("C") and bars[24] == (Chord(step, ""),)
    assert raise_end(("verse", "chorus"), (16, 16), [parsed("C")] * 32, random.Random(1)) == (32, 0)
    assert raise_end(("chorus", "chorus"), (8, 8), [parsed("C")] * 16, random.Random(1)) == (16, 0)


def test_a_borrowed_chord_is_no_change_of_key() -> None:
    assert local_key(parsed("C Ab Bb C"), C_MAJOR, C_MAJOR) == C_MAJOR
    assert local_key(parsed("D Bm G A"), C_MAJOR, C_MAJOR) == Key.parse("D major")
    assert local_key(parsed("C7 F7 C7 G7"), C_MAJOR, C_MAJOR) == C_MAJOR


# --- voicings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", VOICINGS)
def test_voicings_rise_stay_low_enough_and_move_little(spacing: str) -> None:
    previous: tuple[int, ...] = ()
    for chord in parsed("Dm9 G13 Cmaj9 A7b9 Dm G7 C F Bb5 E7 Am"):
        pitches = voice(chord, (52, 72), previous, spacing=spacing)
        assert list(pitches) == sorted(set(pitches)) and 52 <= pitches[0] and pitches[-1] <= 74
        assert {pitch % 12 for pitch in pitches} <= set(chord.pitch_classes)
        assert not previous or abs(pitches[-1] - previous[-1]) <= 7
        previous = pitches


def test_a_rootless_ninth_keeps_third_and_seventh() -> None:
    assert {pitch % 12 for pitch in voice(Chord.parse("Dm9"), (52, 72), (), rootless=True)} == {5, 9, 0, 4}
    assert {pitch % 12 for pitch in voice(Chord.parse("G13"), (52, 72), (), rootless=True)} == {11, 5, 9, 4}
    assert {pitch % 12 for pitch in voice(Chord.parse("C"), (52, 72), (), rootless=True)} == {0, 4, 7}


def test_drop_two_is_wider_than_close() -> None:
    close, wide = (voice(Chord.parse("Cmaj7"), (52, 72), (), spacing=kind) for kind in ("close", "drop2"))
    assert close[-1] - close[0] < 12 < wide[-1] - wide[0]


# --- motifs --------------------------------------------------------------------------------------------------------


def test_a_variation_keeps_the_rhythm_and_turns_the_second_half_upside_down() -> None:
    varied = DEVELOPMENTS["a"](TUNE, 4)
    assert [tone.beat for tone in varied] == [tone.beat for tone in MOTIF]
    assert [tone.step for tone in varied] == [0, 1, 3, 4]


def test_a_fragment_is_the_head_twice_the_second_time_higher() -> None:
    assert [(tone.beat, tone.step) for tone in DEVELOPMENTS["F"](TUNE, 4)] == [(0, 0), (1, 1), (2, 1), (3, 2)]


def test_stretching_halves_the_speed() -> None:
    assert DEVELOPMENTS["G"](TUNE, 4) == (Tone(0.0, 2.0, 0), Tone(2.0, 1.0, 1))


@pytest.mark.parametrize("letter", sorted(DEVELOPMENTS))
@pytest.mark.parametrize("beats", [3, 4])
def test_every_development_stays_in_its_bar(letter: str, beats: int) -> None:
    tones = [tone for tone in MOTIF if tone.beat < beats]
    tune = Tune(tuple(tones), (Tone(0.0, float(beats), 0),), "AaBC", (0, 2, 4, 0), False, 0)
    developed = DEVELOPMENTS[letter](tune, beats)
    assert developed and all(tone.beat + tone.length <= beats + 1e-6 for tone in developed)
