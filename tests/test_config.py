"""Configuration: strict keys, one base, overrides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from gen_audio.config import apply_override, check_keys, from_dict, load_config, read_yaml, shipped_configs
from gen_audio.errors import ConfigError, UnknownNameError


@dataclass(frozen=True)
class Inner:
    width: int
    rate: float = 0.1


@dataclass(frozen=True)
class Outer:
    inner: Inner
    betas: tuple[float, ...] = (0.9, 0.99)
    name: str | None = None


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_base_is_laid_under_the_file(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "lm: {width: 64, depth: 2}\nsteps: 10\n")
    path = write(tmp_path, "child.yaml", "base: base.yaml\nlm: {depth: 4}\n")
    assert load_config(path) == {"lm": {"width": 64, "depth": 4}, "steps": 10}


def test_a_block_that_names_another_plug_in_replaces_the_old_one(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "sampler: {name: top_k, k: 9}\n")
    path = write(tmp_path, "child.yaml", "base: base.yaml\nsampler: {name: greedy}\n")
    assert load_config(path) == {"sampler": {"name": "greedy"}}


def test_a_base_has_no_base(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "x: 1\n")
    write(tmp_path, "b.yaml", "base: a.yaml\n")
    with pytest.raises(ConfigError, match="only one level"):
        load_config(write(tmp_path, "c.yaml", "base: b.yaml\n"))


def test_overrides_change_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "lm: {width: 64}\nrate: 0.1\n")
    assert load_config(path, ["lm.width=96", "rate=1e-4"]) == {"lm": {"width": 96}, "rate": 1e-4}


@pytest.mark.parametrize("text", ["lm.wdith=3", "lm.width.x=3", "lm.width", "=3", "lm.width=[1"])
def test_overrides_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        apply_override({"lm": {"width": 64}}, text)


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'width'"):
        check_keys({"wdith": 1}, ["width", "depth"], "lm")


@pytest.mark.parametrize("text", ["- a\n", "a: 1\na: 2\n", "a: [1\n", ""])
def test_a_broken_file_is_one_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="a.yaml"):
        read_yaml(write(tmp_path, "a.yaml", text))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere/a\.yaml is no file"):
        load_config("nowhere/a.yaml")
    with pytest.raises(UnknownNameError, match="No configuration named 'nano2'"):
        load_config("nano2")


def test_from_dict_builds_nested_dataclasses() -> None:
    built = from_dict(Outer, {"inner": {"width": 3, "rate": 1}, "betas": [0, 1]})
    assert built == Outer(Inner(3, 1.0), (0.0, 1.0))
    assert isinstance(built.inner.rate, float)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inner": {"wdith": 3}}, "config.inner has no key 'wdith'. Did you mean 'width'"),
        ({"inner": {}}, "config.inner.width is missing"),
        ({"inner": {"width": "3"}}, "config.inner.width is '3'; it must be int"),
        ({"inner": {"width": True}}, "config.inner.width is True"),
        ({"inner": 3}, "config.inner is 3"),
        ({}, "config.inner is missing"),
    ],
)
def test_from_dict_names_the_place_of_a_mistake(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(Outer, settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_every_shipped_configuration_reads(name: str) -> None:
    assert load_config(name)
