"""The work behind `gen-audio train`: settle the configuration, then run one stage."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import yaml

from ..config import load_config
from ..errors import ConfigError, UnknownNameError

__all__ = ["STAGES", "run_stage"]

STAGES = ("pool", "codec", "tokens", "vocoder", "lm", "attributes", "export")


def run_stage(
    stage: str, config: str | Path, out: Path, *, overrides: Sequence[str] = (), resume: bool = False
) -> None:
    """Call `train(config, out)` of the stage's file, which goes on where an earlier run in `out` stopped.

    Raises:
        UnknownNameError: no such stage.
        ConfigError: the configuration is broken, or `out` holds a run and `resume` was not said, or the reverse.
    """
    if stage not in STAGES:
        raise UnknownNameError("training stage", stage, STAGES)
    settings = load_config(config, overrides)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"The run's folder '{out}' is a file. Choose another with --out.")
    begun = out.is_dir() and any(out.iterdir())
    if begun and not resume:
        raise ConfigError(f"'{out}' is not empty. Add --resume to go on with the run in it, or choose another --out.")
    if resume and not begun:
        raise ConfigError(f"'{out}' holds no run to resume. Leave --resume out to begin one.")
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    importlib.import_module(f".{stage}", __package__).train(settings, out)
