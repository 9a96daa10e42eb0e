"""From a manifest to items: every kind of file, every kind of bad row, and what makes two items the same."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gen_audio.composition.planner import Attributes, Constraints, plan_music
from gen_audio.errors import CheckpointError, ConfigError, MissingExtraError
from gen_audio.pipeline.batch import columns, identity, journal, lock, tables
from gen_audio.pipeline.batch.items import Item, Reader
from gen_audio.pipeline.batch.manifest import Row, open_manifest
from gen_audio.pipeline.params import GenerationParams

MODEL = {"sha256": "ab" * 32, "settings": "ef" * 8, "precision": "fp32", "executor": "native"}


def items(values: dict[str, Any], **options: Any) -> list[Item]:
    options = {"defaults": {}, "home": Path(), **options}
    return list(Reader(**options).items(Row(1, values)))


def address(values: dict[str, Any]) -> str:
    (item,) = items(values)
    return identity.address(item.content, MODEL)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def write_saved(path: Path, rows: list[dict[str, Any]]) -> None:
    pytest.importorskip("datasets").Dataset.from_list(rows).save_to_disk(str(path))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines), encoding="utf-8-sig")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


WRITERS: dict[str, Callable[[Path, list[dict[str, Any]]], None]] = {
    "a.jsonl": write_jsonl,
    "a.csv": write_csv,
    "a.parquet": write_parquet,
    "a": write_saved,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_manifest_gives_the_same_items(name: str, tmp_path: Path) -> None:
    rows = [{"prompt": "lofi", "duration": 2, "seed": 3, "take": "one"}, {"prompt": "house", "duration": 3, "seed": 4, "take": "two"}]  # fmt: skip # noqa: E501
    WRITERS[name](tmp_path / name, rows)
    manifest = open_manifest(tmp_path / name)
    found = [item for row in manifest.rows() for item in Reader({}, tmp_path).items(row)]
    assert [(item.row, item.prompt, item.given, item.carried) for item in found] == [
        (1, "lofi", {"duration": 2.0, "seed": 3}, {"take": "one"}),
        (2, "house", {"duration": 3.0, "seed": 4}, {"take": "two"}),
    ]
    assert manifest.count() == 2


def test_a_text_file_is_a_prompt_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("lofi jazz\n\n  house \n")
    assert [(row.number, row.values["prompt"]) for row in open_manifest(tmp_path / "a.txt").rows()] == [
        (1, "lofi jazz"),
        (3, "house"),
    ]


BAD_LINES = {
    "bad utf-8": (b'{"prompt": "a\xff"}', "byte 14 of the row, 0xff, is not UTF-8"),
    "no json": (b"{", "not JSON"),
    "no object": (b"[1]", "it must be an object"),
    "key twice": (b'{"prompt": "a", "prompt": "b"}', "'prompt' is given twice"),
    "no prompt": (b'{"seed": 1}', "the prompt is missing"),
    "empty prompt": (b'{"prompt": " "}', "it must hold words"),
    "number as prompt": (b'{"prompt": 3}', "it must hold words"),
    "long prompt": (b'{"prompt": "' + b"a" * 10_000_000 + b'"}', "10,000,000 characters"),
    "longest line": (b"a" * ((1 << 24) + 9), "at most 16,777,216"),
    "bad number": (b'{"prompt": "a", "tempo": "fast"}', "tempo is 'fast'; it must be a number"),
    "out of range": (b'{"prompt": "a", "duration": -1}', "duration is -1.0"),
    "nan": (b'{"prompt": "a", "duration": NaN}', "duration is nan"),
    "half a seed": (b'{"prompt": "a", "seed": 1.5}', "seed is 1.5; it must be a whole number"),
    "true as a seed": (b'{"prompt": "a", "seed": true}', "seed is True"),
    "misspelt": (b'{"prompt": "a", "temprature": 1}', "Did you mean 'temperature'"),
    "style": (b'{"prompt": "a", "style": "jaz"}', "Did you mean 'jazz'"),
    "climbs out": (b'{"prompt": "a", "id": "../../x"}', "climbs out"),
    "absolute": (b'{"prompt": "a", "id": "/etc/x"}', "climbs out"),
    "file climbs out": (b'{"prompt": "a", "file_name": "x/../../y.wav"}', "climbs out"),
    "control in id": (b'{"prompt": "a", "id": "x\\u0000"}', "printable"),
    "surrogate": (b'{"prompt": "a\\ud800"}', "surrogate"),
    "carried nan": (b'{"prompt": "a", "weight": Infinity}', "what JSON cannot"),
    "empty slot": (b'{"prompt": "{genre} piano"}', "no column 'genre'"),
    "empty list": (b'{"prompt": "a", "tempo": []}', "empty list"),
    "too many": (b'{"prompt": "a", "seed": [1,2,3], "num_samples": 1001}', "num_samples is 1001"),
    "no recording": (b'{"prompt": "a", "melody": "nowhere.wav"}', "cannot be read"),
    "no plan": (b'{"prompt": "a", "plan": "nowhere.json"}', "nowhere.json"),
    "given twice": (b'{"prompt": "a", "tempo": 90, "bpm": 91}', "tempo is given twice"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_row_is_refused_with_its_reason_and_the_next_is_read(case: str, tmp_path: Path) -> None:
    line, reason = BAD_LINES[case]
    (tmp_path / "a.jsonl").write_bytes(line + b'\n{"prompt": "good"}\n')
    bad, good = open_manifest(tmp_path / "a.jsonl").rows()
    with pytest.raises(ConfigError) as caught:
        for item in Reader({}, tmp_path).items(bad):
            item.check()
    assert reason in str(caught.value)
    assert [item.prompt for item in Reader({}, tmp_path).items(good)] == ["good"]


def test_bad_rows_of_csv_are_refused_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'prompt,seed\n"a, b",1\nx\xff,2\none,2,3\n"two\nlines",4\n')
    faults = [(row.number, row.fault) for row in open_manifest(tmp_path / "a.csv").rows()]
    assert [number for number, fault in faults if not fault] == [1, 4]
    assert "not UTF-8" in faults[1][1] and "3 cells" in faults[2][1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", b"", "ends in '.xyz'"),
        ("a.csv", b"", "first line"),
        ("a.csv", b"a,a\n", "different name"),
        ("a.parquet", b"PAR", "cannot be read as Parquet"),
    ],
)
def test_a_manifest_that_cannot_be_read_at_all_is_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        open_manifest(tmp_path / name)


def test_a_missing_library_names_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'gen-audio\[batch\]'"):
        tables.need("no_such_library", "A test")


def test_lists_and_templates_multiply_out() -> None:
    found = items({"prompt": "{genre} at {tempo}", "genre": ["lofi", "house"], "tempo": [80, 90.5], "num_samples": 2})
    assert [item.prompt for item in found[::2]] == ["lofi at 80", "house at 80", "lofi at 90.5", "house at 90.5"]
    assert len({item.content for item in found}) == len({item.given["seed"] for item in found}) == 8
    assert found[0].carried == {"genre": "lofi"}
    assert [item.part for item in found] == list(range(8))


def test_a_list_of_names_is_one_value_and_a_list_of_lists_a_sweep() -> None:
    assert items({"prompt": "a", "instruments": ["piano", "bass"]})[0].given["instruments"] == ["piano", "bass"]
    assert len(items({"prompt": "a", "instruments": [["piano"], ["bass"]]})) == 2
    assert len(items({"prompt": "a", "tempo": "[80, 90]"})) == 2


def test_a_seed_that_is_given_counts_upwards_and_ids_get_a_number() -> None:
    found = items({"prompt": "a", "seed": 7, "num_samples": 3, "id": "x"})
    assert [(item.given["seed"], item.id) for item in found] == [(7, "x-0"), (8, "x-1"), (9, "x-2")]


def test_more_samples_keep_the_first_ones() -> None:
    two, three = ([i.content for i in items({"prompt": "a", "num_samples": n})] for n in (2, 3))
    assert three[:2] == two


def test_flags_are_defaults_that_a_row_overrides() -> None:
    defaults = {"duration": 5.0, "tempo": 80.0}
    assert items({"prompt": "a", "bpm": 90}, defaults=defaults)[0].given | {"seed": 0} == {
        "duration": 5.0,
        "tempo": 90.0,
        "seed": 0,
    }


def test_a_column_that_looks_like_a_parameter_is_carried_if_told_so() -> None:
    assert items({"prompt": "a", "keys": "x"}, carry=("keys",))[0].carried == {"keys": "x"}


def test_the_address_knows_parameters_and_not_how_they_are_written() -> None:
    same = [{"duration": 10}, {"duration": 10.0}, {"duration": "10"}, {"duration": 10, "note": "carried"}]
    assert len({address({"prompt": "a", **row}) for row in same}) == 1
    rows = [{}, {"duration": 10}, {"tempo": 90}, {"seed": 1}, {"id": "x"}, {"loudness": "peak"}, {"prompt": "b"}]
    assert len({address({"prompt": "a", **row}) for row in rows}) == len(rows)
    content = items({"prompt": "a"})[0].content
    changes = ({"sha256": "cd" * 32}, {"settings": "01" * 8}, {"precision": "int8"}, {"executor": "graph"})
    models = [MODEL, *({**MODEL, **change} for change in changes)]
    assert len({identity.address(content, model) for model in models}) == 5


def test_a_recording_counts_by_what_it_holds(tmp_path: Path) -> None:
    found = []
    for content in (b"one", b"other", b"one"):
        (tmp_path / "a.wav").write_bytes(content)
        identity._hashes.clear()
        found.append(items({"prompt": "a", "melody": "a.wav"}, home=tmp_path)[0].content)
    assert found[0] == found[2] != found[1]


def test_a_plan_may_be_an_object_or_a_file(tmp_path: Path) -> None:
    plan = plan_music(Attributes(style="lofi"), Constraints(bars=2, seed=3))
    plan.save(tmp_path / "plan.json")
    one, other = (items({"prompt": "a", "plan": p}, home=tmp_path)[0] for p in ("plan.json", plan.to_dict()))
    assert one.content == other.content
    assert one.told()["plan"] == plan


def test_every_parameter_has_a_reading() -> None:
    known = {*columns.NUMBERS, *columns.INTEGERS, *columns.LISTS, *columns.SOURCES, *columns.SWITCHES}
    known |= {"loudness", "role_seeds", "plan"}
    texts = {"rung", "style", "mood", "negative_prompt", "key", "meter", "effects"}
    assert known | texts == {field.name for field in dataclasses.fields(GenerationParams)}


@pytest.mark.parametrize("value", [True, "true", " TRUE ", 1, "1"])
def test_a_switch_has_one_form_however_it_is_written(value: Any, tmp_path: Path) -> None:
    assert columns.plain("as_mix", value, tmp_path) is True
    assert columns.plain("as_mix", "false", tmp_path) is False
    with pytest.raises(ConfigError, match="as_mix is 'maybe'; it must be true or false"):
        columns.plain("as_mix", "maybe", tmp_path)


def test_equal_items_meet_in_one_shard_and_shards_are_alike_in_size() -> None:
    found = [identity.shard_of(items({"prompt": f"a {i}"})[0].content, 4) for i in range(400)]
    assert set(found) == {1, 2, 3, 4}
    assert max(found.count(shard) for shard in (1, 2, 3, 4)) < 400 / 4 + 5 * math.sqrt(400 / 4)


def entry(path: Path, number: int) -> None:
    with journal.Journal(path) as notes:
        notes.append("done", f"{number:016x}", number, 0, record={"n": number})


def test_a_journal_forgets_only_the_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal-1-of-1.jsonl"
    for number in (3, 1, 2):
        entry(path, number)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = [e.address for e in journal.scan(path)]
        entry(path, 9)
        assert [e.address for e in journal.scan(path)] == [*kept, 9]
        assert kept == [3, 1, 2][: len(kept)] and len(kept) == max(0, whole[:cut].count(b"\n") - 1)
    path.write_bytes(whole)
    assert [line["record"]["n"] for line in journal.in_order([path])] == [1, 2, 3]


@pytest.mark.parametrize("text", ['{"journal":2}\n', "nonsense\n", '{"journal":1}\nnonsense\n{"done":1}\n'])
def test_a_journal_that_is_newer_or_damaged_is_named_and_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "journal-1-of-1.jsonl"
    path.write_text(text)
    with pytest.raises(CheckpointError, match="Nothing was changed"):
        with journal.Journal(path):
            list(journal.scan(path))
    assert path.read_text() == text


def test_shards_of_one_division_may_work_together_and_nothing_else_may(tmp_path: Path) -> None:
    with lock.alone(tmp_path, "1-of-3"), lock.alone(tmp_path, "2-of-3"):
        for tag in ("1-of-3", "1-of-1", "1-of-2"):
            with pytest.raises(ConfigError, match=r"is being written by process \d+"), lock.alone(tmp_path, tag):
                pass
    with lock.alone(tmp_path, "1-of-1"):
        pass
