"""A dict of whole numbers in 12 bytes an entry, for what must be remembered of every item. Knows nothing of items."""

from __future__ import annotations

import numpy as np

__all__ = ["CompactTable"]

RECENT = 4096  # entries that may wait in a dict, which takes about 150 bytes each


class CompactTable:
    """Numbers by 64-bit keys: sorted arrays, which now and then take in a small dict of what was set lately.

    Keys are 0 .. 2**64 - 1, values -2**31 .. 2**31 - 1.

    Example:
        >>> table = CompactTable()
        >>> table[7] = -1
        >>> table.get(7), table.get(8)
        (-1, 0)
    """

    def __init__(self) -> None:
        self._keys = np.empty(0, np.uint64)  # [n] in order
        self._values = np.empty(0, np.int32)  # [n]
        self._recent: dict[int, int] = {}

    def get(self, key: int) -> int:
        """The value of a key, 0 if it was never set."""
        if key in self._recent:
            return self._recent[key]
        place = self._keys.searchsorted(np.uint64(key))
        return int(self._values[place]) if place < len(self._keys) and self._keys[place] == key else 0

    def __setitem__(self, key: int, value: int) -> None:
        self._recent[key] = value
        if len(self._recent) >= RECENT:
            self._take_in()

    def _take_in(self) -> None:
        keys = np.fromiter(self._recent, np.uint64)
        values = np.fromiter(self._recent.values(), np.int32)
        self._recent = {}
        order = keys.argsort()
        keys, values = keys[order], values[order]
        places = self._keys.searchsorted(keys)
        known = places < self._keys.searchsorted(keys, "right")
        self._values[places[known]] = values[known]
        self._keys = np.insert(self._keys, places[~known], keys[~known])
        self._values = np.insert(self._values, places[~known], values[~known])
