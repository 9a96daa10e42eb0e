"""Configurations of the transformers library, read from what its `config.json` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError

__all__ = ["read_config"]


def read_config(cls: Any, config: Mapping[str, Any]) -> Any:
    """Turn a mapping, such as a `config.json`, into the configuration class `cls` of transformers.

    Keys that it lacks take the defaults of the class, as when the library reads the file itself.

    Raises:
        ConfigError: it describes another architecture, or the library refuses a value.
    """
    kind = config.get("model_type", cls.model_type)
    if kind != cls.model_type:
        raise ConfigError(f"the config is of a model of type '{kind}'; this codec needs '{cls.model_type}'.")
    try:
        return cls.from_dict(dict(config))
    except Exception as error:  # the library validates with errors of its own, which share no base
        raise ConfigError(f"transformers refuses the config of this codec: {' '.join(str(error).split())}") from error
