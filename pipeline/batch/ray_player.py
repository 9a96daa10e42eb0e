"""What runs in the process of a worker: one model, loaded once, that plays items together and finishes the pieces.

Knows nothing of Ray, of other workers, or of where the pieces go.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import NamedTuple

from ... import __version__
from ...errors import CheckpointError, ConfigError, GenAudioError, MissingExtraError
from . import identity
from .ensemble import Ensemble
from .items import Item
from .settings import Settings
from .sound import Finished, finish

__all__ = ["Fatal", "Loaded", "Player", "portable"]

FATAL = (CheckpointError, MissingExtraError, OSError, MemoryError)  # as in `play`
KINDS = (ConfigError, *FATAL, GenAudioError, Exception)  # whose handlers a copy of an error must still meet


class Loaded(NamedTuple):
    """What a worker plays with; all workers of a run must agree but for what begins with `host`."""

    sha256: str
    settings: str
    precision: str
    executor: str
    version: str
    sound_version: int
    host: str
    said: tuple[str, ...]  # warnings while it was loaded, such as of a licence
    slots: int  # pieces that it plays at a time

    @property
    def model(self) -> dict[str, str]:
        """As `identity.of`."""
        return dict(zip(self._fields[:4], self[:4], strict=True))

    def differs(self, other: Loaded) -> str:
        """The first thing that two workers do not share, or ""."""
        for name, one, two in zip(self._fields[:6], self, other, strict=False):
            if one != two:
                return f"{name} {one} on {self.host}, but {two} on {other.host}"
        return ""


class Fatal(NamedTuple):
    """An error that no other item would survive."""

    error: Exception


class Player:
    """What runs in a worker's process. Errors come back as values, because Ray wraps what is raised.

    Many threads call `make`. They wait until their piece was played, and take turns to set its level and encode it.
    """

    def __init__(self, model: str, how: dict[str, str], settings: Settings, folder: str) -> None:
        self.wanted, self.how = model, how
        self.settings = settings
        self.turn = threading.Lock()
        if os.path.isdir(folder):  # where relative paths of models and recordings begin
            os.chdir(folder)

    def load(self) -> Loaded | Exception:
        """Load the model."""
        from ..load import load

        said = _Said()
        logging.getLogger("gen_audio").addHandler(said)
        try:
            self.pipeline = load(self.wanted, **self.how)
            self.ensemble = Ensemble(self.pipeline)
        except Exception as error:
            return portable(error)
        finally:
            logging.getLogger("gen_audio").removeHandler(said)
        return Loaded(
            **identity.of(self.pipeline),
            version=__version__,
            sound_version=identity.SOUND_VERSION,
            host=socket.gethostname(),
            said=tuple(said.lines),
            slots=self.pipeline.executor.slots,
        )

    def make(self, item: Item) -> Finished | Exception | Fatal:
        """Play an item and finish the piece."""
        try:
            made = self.ensemble.play(item)
            if isinstance(made, Exception):
                return portable(made)
            assert not isinstance(made, Finished)
            with self.turn:
                return finish(item, made, self.settings)
        except FATAL as error:
            return Fatal(portable(error))
        except Exception as error:
            return portable(error)


class _Said(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def portable(error: Exception) -> Exception:
    """A copy of an error, of the same name and text, that can go to another process whatever it holds."""
    kind = next(kind for kind in KINDS if isinstance(error, kind))
    copy: Exception = type(type(error).__name__, (kind,), {})(str(error))
    return copy
