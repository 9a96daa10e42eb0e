"""Find a plug-in class by folder and file name: `codecs` + `toy` -> the class in codecs/toy.py.

Knows no plug-in by name: a new file is a new plug-in, and only the file asked for is imported.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from .errors import ConfigError, UnknownNameError

__all__ = ["build", "find", "names"]


def names(folder: str) -> list[str]:
    """List the plug-ins of a folder such as "codecs" or "pipeline.samplers", sorted."""
    package = importlib.import_module(f"{__package__}.{folder}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg and m.name != "base")


def find(folder: str, name: str) -> type:
    """Return the one public class of the plug-in file `name` in `folder`."""
    if name not in names(folder):
        raise UnknownNameError(folder.rsplit(".", 1)[-1].rstrip("s"), name, names(folder))
    module = importlib.import_module(f"{__package__}.{folder}.{name}")
    return getattr(module, module.__all__[0])


def build(folder: str, name: str, **settings: Any) -> Any:
    """Construct a plug-in; `settings` are checked against its keyword-only constructor."""
    cls = find(folder, name)
    known = inspect.signature(cls).parameters
    for key in settings:
        if key not in known:
            raise ConfigError(f"{folder} '{name}' has no setting '{key}'. Known: {', '.join(known) or 'none'}.")
    return cls(**settings)
