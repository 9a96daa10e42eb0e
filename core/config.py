"""Settings from YAML: one optional `base:`, overrides as `a.b=c`, and every key checked.

A configuration is plain data; no interpolation, no class paths. What reads it checks its keys with `check_keys` or
turns it into a frozen dataclass with `from_dict`, so that a misspelt key is an error and never a silent default.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.resources
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from .errors import ConfigError, UnknownNameError

__all__ = ["apply_override", "check_keys", "from_dict", "load_config", "read_yaml", "shipped_configs"]

T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice and reads `1e-4` as a number, which YAML 1.1 calls a string."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        ConfigError: the file cannot be read, is no YAML, is no mapping, or gives a key twice.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}). Give a readable YAML file.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds {type(data).__name__}; a configuration is a mapping of keys to values.")
    return data


def shipped_configs() -> dict[str, Path]:
    """Names and paths of the configurations that came with the package."""
    folder = Path(str(importlib.resources.files(f"{__package__}.configs")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _locate(name: str | Path, beside: Path | None = None) -> Path:
    """Return the file that `name` means: a path, a file beside the one that names it, or a shipped configuration."""
    path = Path(name)
    for candidate in [path] if beside is None or path.is_absolute() else [beside / path, path]:
        if candidate.is_file():
            return candidate
    shipped = shipped_configs()
    if str(name) in shipped:
        return shipped[str(name)]
    if path.suffix or len(path.parts) > 1:
        raise ConfigError(f"{path} is no file. Give a YAML file or one of: {', '.join(shipped) or 'none'}.")
    raise UnknownNameError("configuration", str(name), shipped)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`, mapping by mapping; a block that names another plug-in replaces the old one whole."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            same = value.get("name", old.get("name")) == old.get("name")
            value = _merge(old, value) if same else value
        merged[key] = value
    return merged


def load_config(name: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read a configuration, lay it over its `base:` and apply overrides.

    Args:
        name: a YAML file, or the name of a shipped configuration such as "nano".
        overrides: texts "a.b=c" that change a value the file has; c is read as YAML.

    Raises:
        ConfigError: a file is broken, a base has a base of its own, or an override names no key.
    """
    path = _locate(name)
    config = read_yaml(path)
    if "base" in config:
        base_path = _locate(str(config.pop("base")), beside=path.parent)
        base = read_yaml(base_path)
        if "base" in base:
            raise ConfigError(f"{path}: base {base_path} has a base itself; only one level is read. Merge the two.")
        config = _merge(base, config)
    for text in overrides:
        apply_override(config, text)
    return config


def apply_override(config: dict[str, Any], text: str) -> None:
    """Change `config` in place by one "a.b=c".

    Raises:
        ConfigError: the text is no assignment, or the key is not in `config`.
    """
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set '{text}' is no assignment. Write --set key.sub_key=value.")
    block: Any = config
    for depth, part in enumerate(parts):
        where = ".".join(parts[:depth]) or "the configuration"
        if not isinstance(block, dict):
            raise ConfigError(f"--set '{text}': {where} is a plain value without keys of its own.")
        check_keys({part: None}, block, f"--set '{text}': {where}")
        if depth < len(parts) - 1:
            block = block[part]
    try:
        block[parts[-1]] = yaml.load(value, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set '{text}': '{value}' is not valid YAML.") from error


def check_keys(settings: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise ConfigError, with the nearest known key, if `settings` has a key that is not known."""
    names = [str(name) for name in known]
    for key in settings:
        if str(key) not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"{where} has no key '{key}'.{hint} Known: {', '.join(sorted(names)) or 'none'}.")


def from_dict(cls: type[T], settings: Mapping[str, Any], where: str = "config") -> T:
    """Build the dataclass `cls`, nested ones included, from a mapping; `where` names the block in messages.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{where} is {settings!r}; it must be a mapping of keys to values.")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    check_keys(settings, fields, where)
    hints = get_type_hints(cls)
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in settings and not optional:
            raise ConfigError(f"{where}.{name} is missing. Give a value.")
    return cls(**{key: _convert(value, hints[key], f"{where}.{key}") for key, value in settings.items()})


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as the type `hint` wants it; numbers widen, lists become tuples, nothing else changes."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        rest = [arg for arg in args if arg is not type(None)]
        exact = [arg for arg in rest if type(value) is arg]
        return _convert(value, (exact or rest)[0], where)
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where)  # type: ignore[arg-type]
    if origin in (tuple, list) and isinstance(value, (list, tuple)):
        inner = args[0] if args else Any
        return origin(_convert(item, inner, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {_convert(k, args[0], where): _convert(v, args[1], f"{where}.{k}") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = origin or hint
    if not isinstance(value, wanted) or (wanted in (int, float) and isinstance(value, bool)):
        raise ConfigError(f"{where} is {value!r}; it must be {getattr(wanted, '__name__', wanted)}.")
    return value
