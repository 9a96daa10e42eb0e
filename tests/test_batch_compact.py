"""What is remembered of every item: a table that is a dict in a few bytes an entry."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from gen_audio.pipeline.batch import compact
from gen_audio.pipeline.batch.compact import CompactTable


@pytest.mark.parametrize("recent", [1, 7, 10_000])
def test_a_table_says_what_a_dict_says(recent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "RECENT", recent)
    dice = random.Random(recent)
    keys = [0, 2**64 - 1, 2**63, *(dice.randrange(2**64) for _ in range(97))]
    table, plain = CompactTable(), dict[int, int]()
    for _ in range(1000):
        key, other = dice.sample(keys, 2)
        table[key] = plain[key] = dice.choice((-2, -1, 0, 1, 2**31 - 1))
        assert table.get(other) == plain.get(other, 0)
    assert [table.get(key) for key in keys] == [plain.get(key, 0) for key in keys]


def test_an_entry_takes_twelve_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "RECENT", 1000)
    keys = random.Random(0)
    tracemalloc.start()
    try:
        table = CompactTable()
        for number in range(20_000):
            table[keys.randrange(2**64)] = number
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 20_000 * 12 + 10_000
    assert peak < 20_000 * 12 + 400_000  # with the dict of the last thousand, and a copy of one array
