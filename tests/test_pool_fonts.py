"""Several SoundFonts in one pool: shares, the draw, what is kept, and what is refused. Some of it plays real ones."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gen_audio.composition.arranger import arrange
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.composition.renderer import Renderer, find_font
from gen_audio.config import load_config
from gen_audio.errors import AudioError, ConfigError, MissingExtraError
from gen_audio.training import pool
from gen_audio.training.fonts import RECORD, draw_font, read_fonts, settle_fonts

REAL = ("MuseScore_General_Lite.sf3", "FluidR3Mono_GM.sf3")


def is_there(name: str) -> bool:
    try:
        return find_font(name).is_file()
    except MissingExtraError:
        return False


needs_fonts = pytest.mark.skipif(
    importlib.util.find_spec("tinysoundfont") is None or not all(map(is_there, REAL)),
    reason=f"needs tinysoundfont and {' and '.join(REAL)}",
)


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Files that stand for fonts where nothing is played."""
    for name in ("a.sf3", "b.sf3", "c.sf3"):
        (tmp_path / name).write_text(f"not really a font, {name}")
    return [str(tmp_path / name) for name in ("a.sf3", "b.sf3", "c.sf3")]


def config(**changes: Any) -> dict[str, Any]:
    small = {"hours": 0.01, "shard_minutes": 0.3, "piece_seconds": [3, 4], "workers": 1}
    return {**load_config("train_pool"), **small, **changes}


def test_fonts_have_equal_shares_unless_told_otherwise(paths: list[str]) -> None:
    a, b, _ = paths
    assert [(font.name, font.share) for font in read_fonts({"font": a})] == [("a.sf3", 1.0)]
    assert [font.share for font in read_fonts({"font": None, "fonts": [a, b]})] == [0.5, 0.5]
    assert [font.share for font in read_fonts({"fonts": f"{a}:{b}"})] == [0.5, 0.5]
    assert [font.share for font in read_fonts({"fonts": {a: 3, b: 1}})] == [0.75, 0.25]


def test_what_cannot_be_meant_is_refused(paths: list[str], tmp_path: Path) -> None:
    a, b, _ = paths
    with pytest.raises(ConfigError, match=r"font is '.*', and fonts is .* Give one of them"):
        read_fonts({"font": a, "fonts": [a, b]})
    with pytest.raises(ConfigError, match="names one font twice"):
        read_fonts({"fonts": [a, a, b]})
    (tmp_path / "again.sf3").symlink_to(a)
    with pytest.raises(ConfigError, match="names one font twice"):
        read_fonts({"fonts": [a, str(tmp_path / "again.sf3")]})
    for share in (0, -1, True, "half"):
        with pytest.raises(ConfigError, match="it must be a number above 0"):
            read_fonts({"fonts": {a: 1, b: share}})
    with pytest.raises(MissingExtraError, match=r"nowhere\.sf3 does not exist here or in .*Name one that is there"):
        read_fonts({"fonts": [a, "nowhere.sf3"]})


def test_the_seed_of_a_piece_draws_its_font_by_the_shares(paths: list[str]) -> None:
    fonts = read_fonts({"fonts": {paths[0]: 3, paths[1]: 1}})
    drawn = [draw_font(fonts, seed).name for seed in range(2000)]
    assert drawn == [draw_font(fonts, seed).name for seed in range(2000)]
    assert Counter(drawn)["a.sf3"] / 2000 == pytest.approx(0.75, abs=0.04)


def test_a_pool_goes_on_with_its_own_fonts_only(paths: list[str], tmp_path: Path) -> None:
    a, b, c = paths
    out = tmp_path / "pool"
    out.mkdir()
    settle_fonts(read_fonts({"fonts": [a, b]}), out)
    settle_fonts(read_fonts({"fonts": {a: 2, b: 2}}), out)  # the same shares, said otherwise
    for other in ([a, c], [a], {a: 2, b: 1}):
        with pytest.raises(ConfigError, match=r"was begun with the fonts a\.sf3 .*, b\.sf3 .* another --out"):
            settle_fonts(read_fonts({"fonts": other}), out)
    Path(b).write_text("another font of that name")
    with pytest.raises(ConfigError, match="was begun with the fonts"):
        settle_fonts(read_fonts({"fonts": [a, b]}), out)


def test_a_pool_from_before_goes_on_with_one_font_only(paths: list[str], tmp_path: Path) -> None:
    out = tmp_path / "pool"
    (out / "shard-0000").mkdir(parents=True)
    with pytest.raises(ConfigError, match="all were played by one, and now there are 2"):
        settle_fonts(read_fonts({"fonts": paths[:2]}), out)
    settle_fonts(read_fonts({"font": paths[0]}), out)
    assert json.loads((out / RECORD).read_text())[0]["name"] == "a.sf3"


@needs_fonts
def test_a_pool_of_two_fonts_says_who_played_what_and_goes_on(tmp_path: Path) -> None:
    made = config(fonts=list(REAL))
    out = tmp_path / "pool"
    out.mkdir()
    pool.train(made, out)
    filled = pool.Pool(out)
    pieces = [piece for shard in filled.pieces for piece in shard]
    fonts = read_fonts(made)
    assert {piece.font for piece in pieces} == set(REAL)
    assert all(piece.font == draw_font(fonts, piece.plan.seed).name for piece in pieces)
    kept = {folder.name: np.array(audio) for folder, audio in zip(filled.folders, filled.audio, strict=True)}

    (out / "shard-0001").rename(tmp_path / "lost")
    pool.train(made, out)
    again = pool.Pool(out)
    for folder, audio in zip(again.folders, again.audio, strict=True):
        np.testing.assert_array_equal(audio, kept[folder.name])
    with pytest.raises(ConfigError, match="was begun with the fonts"):
        pool.train(config(font=REAL[0]), out)


@needs_fonts
def test_fonts_play_the_same_notes_at_about_the_same_level_and_not_all_alike() -> None:
    score = arrange(plan_music(Attributes(style="pop"), Constraints(duration=4.0, seed=2)))
    one, other = (Renderer(name).render(score) for name in REAL)
    for track in score.tracks:
        levels = [np.sqrt(np.mean(np.square(stems[track.role]))) for stems in (one, other)]
        assert abs(20 * np.log10(levels[1] / levels[0])) < 6, track.role
    apart = {role: float(np.abs(one[role] - other[role]).max()) for role in one}
    assert max(apart.values()) > 0.1, apart  # half of their programs have the same samples


@needs_fonts
def test_a_kit_that_a_font_lacks_is_refused_instead_of_another_one_playing() -> None:
    plan = plan_music(Attributes(style="pop"), Constraints(duration=3.0, seed=2, instruments=("drums",)))
    plan.instruments["drums"] = 99
    with pytest.raises(AudioError, match=r"MuseScore.* has no drum kit 99, which this plan wants for its drums"):
        Renderer(REAL[0]).render(arrange(plan))
