"""Every test runs offline and on one thread."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, or it has no effect
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import socket  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Any:
    """Refuse every connection but those between processes of this machine."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        original = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, original: Any = original) -> Any:
            if self.family != getattr(socket, "AF_UNIX", None):
                raise RuntimeError(f"a test tried to reach {address}; gen-audio works offline")
            return original(self, address)

        patch.setattr(socket.socket, name, guarded)
    yield
    patch.undo()
