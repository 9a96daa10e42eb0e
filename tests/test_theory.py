"""Chords, keys and roman numerals as integers."""

import pytest
from gen_audio.composition.theory import MODES, Chord, Key, note_name, parse_note
from gen_audio.errors import ConfigError

SYMBOLS = (
    "Am7 C/E Dmaj7 G7sus4 Bdim7 Caug C6 Cm6 C9 Cm9 Cmaj9 Cadd9 C13 C7b9 C5 CmMaj7 F#m7b5 Bb C#m Ab Em11 G7#9 Am7/G"
)


@pytest.mark.parametrize("symbol", SYMBOLS.split())
def test_chord_symbols_survive_a_round_trip(symbol: str) -> None:
    assert str(Chord.parse(symbol)) == symbol


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("CM7", "Cmaj7"),
        ("C-7", "Cm7"),
        ("C°7", "Cdim7"),
        ("Cø", "Cm7b5"),
        ("C6/9", "C69"),
        ("C+", "Caug"),
        ("CΔ", "Cmaj7"),
    ]
    + [("Csus", "Csus4"), ("Cmin7", "Cm7"), ("C7(b9)", "C7b9"), ("B♭m", "Bbm"), ("Cm(maj7)", "CmMaj7"), ("CM", "C")],
)
def test_other_spellings_are_understood(spoken: str, written: str) -> None:
    assert str(Chord.parse(spoken)) == written


@pytest.mark.parametrize("symbol", ["", "H7", "Cfoo", "am7", "C/", "C/X", "7"])
def test_nonsense_is_not_a_chord(symbol: str) -> None:
    with pytest.raises(ConfigError, match="not a chord"):
        Chord.parse(symbol)


def test_pitch_classes_are_stacked_from_the_root() -> None:
    assert Chord.parse("F#m7b5").pitch_classes == (6, 9, 0, 4)
    assert Chord.parse("C/E").pitch_classes == (0, 4, 7)
    assert Chord.parse("C/E").bass == 4


@pytest.mark.parametrize(
    ("symbol", "family"),
    [
        ("C6", "maj"),
        ("Cm6", "min"),
        ("Cdim7", "dim"),
        ("Cm7b5", "dim"),
        ("Caug", "aug"),
        ("C13", "dom"),
        ("Cmaj9", "maj7"),
    ]
    + [("Cm9", "min7"), ("C7sus4", "sus"), ("C5", "sus")],
)
def test_every_chord_belongs_to_a_family(symbol: str, family: str) -> None:
    assert Chord.parse(symbol).simple == family


def test_note_names() -> None:
    assert [parse_note(name) for name in ("C", "F#", "Bb", "Cb", "E flat", "f sharp", "B♭")] == [0, 6, 10, 11, 3, 6, 10]
    assert (note_name(1), note_name(1, flats=True), note_name(-1)) == ("C#", "Db", "B")
    with pytest.raises(ConfigError, match="not a note"):
        parse_note("H")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("A minor", "A minor"),
        ("Am", "A minor"),
        ("C# dorian", "C# dorian"),
        ("Bb", "Bb major"),
        ("bb minor", "Bb minor"),
    ]
    + [("F sharp minor", "F# minor"), ("E-flat major", "Eb major"), ("D#m", "Eb minor"), ("G Aeolian", "G minor")],
)
def test_keys_are_read_and_named(text: str, name: str) -> None:
    assert str(Key.parse(text)) == name
    assert Key.parse(name) == Key.parse(text)


def test_every_key_survives_a_round_trip() -> None:
    for mode in MODES:
        for tonic in range(12):
            assert Key.parse(str(Key(tonic, mode))) == Key(tonic, mode)
            assert len(set(Key(tonic, mode).scale)) == 7


@pytest.mark.parametrize("text", ["", "H minor", "A happy", "minor", "5"])
def test_nonsense_is_not_a_key(text: str) -> None:
    with pytest.raises(ConfigError, match="not a key"):
        Key.parse(text)


@pytest.mark.parametrize(
    ("roman", "symbol"),
    [("i7", "Am7"), ("iv7", "Dm7"), ("bVII7", "G7"), ("bIIImaj7", "Cmaj7"), ("V7/ii", "F#7"), ("#ivm7b5", "D#m7b5")]
    + [
        ("viio7", "G#dim7"),
        ("iadd9", "Amadd9"),
        ("imaj7", "AmMaj7"),
        ("ii7b5", "Bm7b5"),
        ("iidim", "Bdim"),
        ("V7b9", "E7b9"),
    ]
    + [
        ("I5", "A5"),
        ("isus4", "Asus4"),
        ("I6/9", "A69"),
        ("bII", "Bb"),
        ("V7/V", "B7"),
        ("bvii", "Gm"),
        ("V13", "E13"),
    ],
)
def test_roman_numerals_in_a_minor(roman: str, symbol: str) -> None:
    assert Key.parse("A minor").degree(roman) == Chord.parse(symbol)


@pytest.mark.parametrize("roman", ["", "IIII", "VIX", "iX", "H", "bb", "V7/", "V7/x"])
def test_nonsense_is_not_a_numeral(roman: str) -> None:
    with pytest.raises(ConfigError):
        Key.parse("C").degree(roman)


def test_a_key_decides_the_spelling() -> None:
    key = Key.parse("F minor")
    assert key.degree("bVI").spell(key.flats) == "Db"
    key = Key.parse("E major")
    assert key.degree("vi7").spell(key.flats) == "C#m7"
