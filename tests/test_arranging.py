"""What a listener expects of a band, role by role: each claim is about the notes of many composed pieces."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from gen_audio.composition.arranger import arrange
from gen_audio.composition.grid import BarView, Piece
from gen_audio.composition.melody import compose_line
from gen_audio.composition.plan import MusicalPlan, Section
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.score import ROLES, Note, Score
from gen_audio.composition.style import DRUM_PITCHES, load_style, style_names
from gen_audio.composition.theory import Chord

SEEDS = range(4)
LATE = 0.12  # beats by which hands may miss the beat they mean


@functools.cache
def compose(style: str, seed: int, duration: float = 60.0) -> tuple[Piece, Score]:
    plan = plan_music(Attributes(style=style), Constraints(duration=duration, seed=seed))
    return Piece.of(plan, load_style(style)), arrange(plan)


def pieces(*styles: str) -> Iterator[tuple[Piece, Score]]:
    for style in styles or style_names():
        for seed in SEEDS:
            yield compose(style, seed)


def notes(score: Score, role: str) -> tuple[Note, ...]:
    return next((track.notes for track in score.tracks if track.role == role), ())


def lowest(chord: Chord) -> int:
    return chord.root if chord.bass is None else chord.bass


def inside(played: tuple[Note, ...], bar: BarView) -> list[Note]:
    return [note for note in played if bar.start - LATE <= note.start < bar.start + bar.beats - LATE]


# --- all of them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", style_names())
def test_the_same_plan_gives_the_same_notes_and_another_seed_others(style: str) -> None:
    plan = compose(style, 1)[0].plan
    assert arrange(plan) == arrange(plan)
    assert arrange(replace(plan, seed=2)) != arrange(plan)


@pytest.mark.parametrize("duration", [1.0, 4.0, 10.0, 33.3])
def test_every_role_that_is_planned_plays_and_ends_in_time(duration: float) -> None:
    for style in style_names():
        piece, score = compose(style, 3, duration)
        for track in score.tracks:
            assert track.notes, (style, track.role)
            assert max(note.start + note.duration for note in track.notes) <= piece.total_beats + 1e-6


@pytest.mark.parametrize("style", style_names())
def test_everyone_ends_on_the_last_chord(style: str) -> None:
    for piece, score in pieces(style):
        last = piece.bars[-1].chords[-1]
        for track in score.tracks:
            # A grace note before the last one is not the last one.
            final = [note for note in track.notes if note.start > piece.final - LATE and note.duration > 0.2]
            assert final, (style, track.role)
            if not track.is_drums:
                assert {note.pitch % 12 for note in final} <= set(last.pitch_classes), (style, track.role)


def test_a_piece_that_does_not_ring_ends_on_its_last_bar() -> None:
    section = Section("verse", 0.7, (("C",), ("F",), ("G",), ("C",)))
    for style in style_names():
        programs = {role: next(iter(load_style(style).roles.get(role, {0: 1}))) for role in ROLES}
        plan = MusicalPlan(style, 120.0, "4/4", "C major", (section,), programs, 8.2)
        for track in arrange(plan).tracks:
            begun = {round(note.start) for note in track.notes if note.start > 12 - LATE}
            assert begun == {12}, (style, track.role)


@pytest.mark.parametrize("style", style_names())
def test_roles_stay_in_the_registers_of_the_style(style: str) -> None:
    rules = load_style(style)
    for _, score in pieces(style):
        for role, (low, high) in {
            "lead": tuple(rules.melody["register"]),
            "bass": (rules.bass["register"][0], rules.bass["register"][1] + 4),
            "pad": (55, 79),
        }.items():
            assert all(low - (role == "lead") <= note.pitch <= high for note in notes(score, role)), (style, role)


def test_drums_strike_only_what_the_grooves_of_their_kit_have() -> None:
    known = {(kit, 36) for kit in range(128)} | {(kit, 49) for kit in range(128)}
    for style in map(load_style, style_names()):
        rows = [name for rows in [*style.drums["grooves"].values(), *style.drums["fills"]] for name in rows]
        known |= {(kit, DRUM_PITCHES[name]) for kit in style.roles.get("drums", {}) for name in rows}
    for style in style_names():
        for _, score in pieces(style):
            for track in score.tracks:
                assert not track.is_drums or {(track.program, note.pitch) for note in track.notes} <= known, style


@pytest.mark.parametrize("style", style_names())
def test_a_drummer_who_leaves_takes_no_note_of_the_others_along(style: str) -> None:
    for piece, score in pieces(style):
        alone = {role: program for role, program in piece.plan.instruments.items() if role != "drums"}
        without = arrange(replace(piece.plan, instruments=alone, groove=""))
        assert without.tracks == tuple(track for track in score.tracks if not track.is_drums)


# --- the form ------------------------------------------------------------------------------------------------------


def mean_density(piece: Piece, score: Score, section: str) -> float:
    bars = [bar for bar in piece.bars if bar.section == section]
    return sum(len(inside(track.notes, bar)) for track in score.tracks for bar in bars) / max(1, len(bars))


def test_intros_grow_and_choruses_are_fuller_than_verses() -> None:
    both = [(p, s) for p, s in pieces() if {"intro", "chorus", "verse"} <= {bar.section for bar in p.bars}]
    density = {name: sum(mean_density(p, s, name) for p, s in both) for name in ("intro", "verse", "chorus")}
    assert density["intro"] < 0.7 * density["verse"] and 1.15 * density["verse"] < density["chorus"]
    for piece, score in both:
        intro = [bar for bar in piece.bars if bar.section == "intro"]
        players = [sum(bool(inside(track.notes, bar)) for track in score.tracks) for bar in intro]
        assert players[0] >= 1 and players[0] <= players[-1], piece.plan.style


# --- the drummer ---------------------------------------------------------------------------------------------------


def test_toms_are_for_fills_and_fills_for_the_ends_of_sections() -> None:
    toms = {DRUM_PITCHES[name] for name in ("tom_low", "tom_mid", "tom_high")}
    filled = 0
    for piece, score in pieces("rock", "pop", "funk", "blues"):
        groove = piece.style.drums["grooves"][piece.plan.groove]
        for bar in piece.bars:
            struck = {note.pitch for note in inside(notes(score, "drums"), bar)} & toms
            if struck and not any(name.startswith("tom") for name in groove):
                assert bar.is_last_of_section
                filled += 1
    assert filled > 8


def test_a_loud_section_begins_with_a_crash() -> None:
    for piece, score in pieces("rock", "pop", "house"):
        for bar in piece.bars:
            if bar.index == 0 and bar.section == "chorus":
                assert any(
                    note.pitch == 49 and note.start < bar.start + LATE for note in inside(notes(score, "drums"), bar)
                )


def test_house_builds_up_and_keeps_the_kick_back() -> None:
    section = [Section("break", 0.4, (("Am",),) * 8), Section("chorus", 1.0, (("Am",),) * 8)]
    plan = MusicalPlan("house", 125.0, "4/4", "A minor", tuple(section), {"drums": 25}, 32.0, groove="classic")
    played = arrange(plan).tracks[0].notes
    snares = [sum(n.pitch == 38 for n in played if 4 * bar - 0.1 <= n.start < 4 * bar + 3.9) for bar in range(9)]
    assert snares[5] == 0 < snares[6] < snares[7] and snares[8] == 0
    assert not [note for note in played if note.pitch == 36 and 27.9 < note.start < 31.9]


# --- bass and chords -----------------------------------------------------------------------------------------------


def test_the_bass_has_its_note_of_the_chord_on_the_one() -> None:
    for piece, score in pieces():
        ones = [
            (bar, note) for bar in piece.bars for note in notes(score, "bass") if abs(note.start - bar.start) < LATE
        ]
        right = [note.pitch % 12 == lowest(bar.chords[0]) for bar, note in ones]
        assert sum(right) >= 0.9 * len(right), piece.plan.style


def test_a_walking_bass_moves_by_small_steps_and_reaches_each_root_from_close_by() -> None:
    for piece, score in pieces("jazz"):
        played = notes(score, "bass")
        line = [note.pitch for note in played]
        begins = [place for place, n in enumerate(played) if place and abs(n.start % piece.plan.beats_per_bar) < LATE]
        near = [abs(line[place] - line[place - 1]) in (1, 2, 5, 7) for place in begins]
        assert sum(near) > 0.9 * len(near)
        moves = [abs(after - before) for before, after in zip(line, line[1:], strict=False)]
        assert sum(move <= 4 for move in moves) > 0.8 * len(moves) and max(moves) <= 12
        assert sum(move == 0 for move in moves) < 0.05 * len(moves)


def test_voices_of_the_accompaniment_never_jump_above_a_sixth() -> None:
    for style in ("pop", "jazz", "lofi", "bossa_nova", "blues", "house", "funk", "rock"):
        for _, score in pieces(style):
            struck: list[list[Note]] = []
            for note in notes(score, "chords"):
                if struck and note.start - struck[-1][0].start < 0.2:
                    struck[-1].append(note)
                else:
                    struck.append([note])
            tops = [max(note.pitch for note in chord) for chord in struck if len(chord) >= 3]
            assert all(abs(after - before) <= 9 for before, after in zip(tops, tops[1:], strict=False)), style


# --- the tune ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", style_names())
def test_the_tune_breathes_and_its_strong_beats_are_of_the_chord(style: str) -> None:
    for piece, _ in pieces(style):
        line = compose_line(piece)
        rests = [after.start - before.end for before, after in zip(line, line[1:], strict=False)]
        assert sum(rest >= 0.75 for rest in rests) >= len(piece.bars) // 16
        strong = [note for note in line if note.is_strong and not note.is_goal]
        right = [note.pitch % 12 in chord_of(piece, note.start).pitch_classes for note in strong]
        assert sum(right) >= 0.85 * len(right)


def chord_of(piece: Piece, beat: float) -> Chord:
    bar = piece.bars[min(int(beat // piece.plan.beats_per_bar), len(piece.bars) - 1)]
    return bar.chord_at(min(beat - bar.start, bar.beats - 0.01))


def test_a_section_that_returns_brings_its_motif_back() -> None:
    found = 0
    for piece, _ in pieces():
        rhythms: dict[str, set[tuple[float, ...]]] = {}
        line = compose_line(piece)
        for bar in piece.bars:
            if bar.index == 0 and bar.section in ("verse", "chorus") and bar.length >= 4:
                begun = tuple(n.start - bar.start for n in line if bar.start <= n.start < bar.start + bar.beats - 1)
                rhythms.setdefault(bar.section, set()).add(begun)
                found += bar.occurrence > 0
        assert all(len(shapes) == 1 for shapes in rhythms.values()), piece.plan.style
    assert found > 20


def test_the_tune_of_a_raised_chorus_is_sung_in_its_new_key() -> None:
    chorus = (("C",), ("Am",), ("F",), ("G",))
    higher = (("D",), ("Bm",), ("G",), ("A",))
    sections = tuple(
        Section(*part) for part in (("chorus", 0.9, chorus), ("chorus", 1.0, higher), ("ending", 0.5, (("D",),)))
    )
    plan = MusicalPlan("pop", 120.0, "4/4", "C major", sections, {"lead": 80}, 20.0)
    piece = Piece.of(plan, load_style("pop"))
    assert [str(bar.key) for bar in piece.bars] == ["C major"] * 4 + ["D major"] * 5
    sung = {note.pitch % 12 for note in compose_line(piece) if 16 <= note.start < 32}
    assert not sung & {0, 5}  # neither C nor F


def test_colours_leave_a_verse_to_the_tune() -> None:
    heard = 0
    for seed in range(30):
        piece, score = compose("lofi", seed)
        line = compose_line(piece)
        for bar in piece.bars:
            if bar.section == "verse" and "lead" in piece.plan.instruments:
                for note in inside(notes(score, "colour"), bar):
                    heard += 1
                    assert not any(sung.start + LATE < note.start < sung.end - 2 * LATE for sung in line), (seed, note)
    assert heard > 20
