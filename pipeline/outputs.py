"""Where results go: names, checks before any work is done, and writing that leaves all files or none."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..composition.score import ROLES
from ..errors import AudioError, ConfigError, UnknownNameError
from . import sidecar

if TYPE_CHECKING:
    from ..audio import Waveform
    from .generation import Generation

__all__ = [
    "FORMATS",
    "Extra",
    "Target",
    "check_writable",
    "plan_targets",
    "slug",
    "staged",
    "stem_extras",
    "stem_paths",
    "write_generation",
    "write_sound",
    "write_stems",
    "write_waveform",
]

Extra = tuple[Path, Callable[[Path], object]]  # a further file, and what writes it
FORMATS = ("wav", "flac", "ogg", "mp3", "opus")


def slug(prompt: str, limit: int = 40) -> str:
    """Turn a prompt into a file name: `"Lo-fi, jazz!"` -> `lo-fi-jazz`; "music" if no letter survives."""
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(name) > limit:
        name = name[: limit + 1].rsplit("-", 1)[0][:limit]
    return name or "music"


@dataclass(frozen=True)
class Target:
    """One sound file to be written, with its sidecar beside it."""

    path: Path
    format: str
    overwrite: bool = False

    @property
    def sidecar(self) -> Path:
        return self.path.with_suffix(".json")

    @classmethod
    def of(cls, path: str | Path, format: str | None = None, *, overwrite: bool = False) -> Target:
        """Settle the format by suffix or by `format` and check that both files can be written.

        Raises:
            ConfigError: suffix and format disagree, the folder is missing or read-only, or a file exists.
            UnknownNameError: no format of that name.
        """
        path = Path(path)
        suffix = path.suffix[1:].lower()
        if format is not None and format not in FORMATS:
            raise UnknownNameError("format", format, FORMATS)
        if format is not None and suffix in FORMATS and suffix != format:
            raise ConfigError(f"The output '{path}' ends in .{suffix}, but the format is {format}. Drop one of them.")
        if suffix not in FORMATS:
            if format is None and suffix:
                raise UnknownNameError("format", suffix, FORMATS)
            path = path.with_name(f"{path.name}.{format or 'wav'}")
        target = cls(path, format or (suffix if suffix in FORMATS else "wav"), overwrite)
        check_writable([target.path, target.sidecar], overwrite=overwrite)
        return target


def check_writable(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise ConfigError unless each path can be written: folder there and writable, file absent or replaceable."""
    for path in paths:
        folder = path.parent
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "does not exist"
            raise ConfigError(f"The output folder '{folder}' {what}. Make it, or choose another with --output.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"The output folder '{folder}' is read-only. Choose another with --output.")
        if path.is_dir():
            raise ConfigError(f"The output '{path}' is a folder; it must be a file. Choose another name.")
        if path.exists() and not overwrite:
            raise ConfigError(f"'{path}' exists. Add --overwrite, or choose another name with --output.")


def plan_targets(
    prompt: str,
    seeds: Sequence[int],
    output: Path | None = None,
    format: str | None = None,
    *,
    overwrite: bool = False,
    inputs: Iterable[Path] = (),
) -> list[Target]:
    """Name one file per seed and check that all can be written.

    Args:
        output: None for `<slug>-<seed>.<format>` here; a folder for the same inside it; else the file, which becomes
            `<name>-<seed>.<format>` if there are several seeds.
        inputs: files that are read and must not be replaced.
    """
    if output is None or output.is_dir() or str(output).endswith(os.sep):
        if format is not None and format not in FORMATS:
            raise UnknownNameError("format", format, FORMATS)
        folder = output or Path()
        paths = [folder / f"{slug(prompt)}-{seed}.{format or 'wav'}" for seed in seeds]
    elif len(seeds) > 1:
        paths = [output.with_name(f"{output.stem}-{seed}{output.suffix}") for seed in seeds]
    else:
        paths = [output]
    targets = [Target.of(path, format, overwrite=overwrite) for path in paths]
    taken = {path.resolve() for path in inputs}
    for target in targets:
        for path in (target.path, target.sidecar):
            if path.resolve() in taken:
                raise ConfigError(f"Writing '{target.path}' would replace the input '{path}'. Choose another --output.")
    return targets


def stem_paths(
    folder: str | Path, roles: Iterable[str] = ROLES, format: str = "wav", *, prefix: str = "", overwrite: bool = False
) -> dict[str, Path]:
    """Name one file per role in `folder`, which may be new if its parent is there, and check them."""
    folder = Path(folder)
    paths = {role: folder / f"{prefix}{role}.{format}" for role in roles}
    if folder.exists():
        check_writable(paths.values(), overwrite=overwrite)
    else:
        check_writable([folder], overwrite=overwrite)
    return paths


@contextmanager
def staged(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give a temporary path for each of `paths`; rename all at the end, or remove all on any error or Ctrl-C.

    Raises:
        AudioError: the disk is full, or another error of the file system.
    """
    parts = [path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}") for path in paths]
    try:
        yield parts
        for part, path in zip(parts, paths, strict=True):
            os.replace(part, path)
    except OSError as error:
        where = paths[0].parent
        raise AudioError(f"Writing to '{where}' failed: {error.strerror or error}. Nothing was kept there.") from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def write_sound(waveform: Waveform, facts: Mapping[str, Any], target: Target, extras: Sequence[Extra] = ()) -> Path:
    """Write a sound, its sidecar and the extras together, all or none; return the path of the sound."""
    for path, _ in extras:
        path.parent.mkdir(exist_ok=True)
    with staged([target.path, target.sidecar, *(path for path, _ in extras)]) as parts:
        write_waveform(waveform, parts[0], target.format, sidecar.tags(facts))
        parts[1].write_text(sidecar.dumps(facts), encoding="utf-8")
        for part, (_, write) in zip(parts[2:], extras, strict=True):
            write(part)
    return target.path


def write_generation(generation: Generation, target: Target, stems: Mapping[str, Path] | None = None) -> Path:
    """Write a generated piece; `stems` names a file for every role that may have played."""
    extras = stem_extras(generation.stems, stems or {})
    return write_sound(generation.waveform, sidecar.generation_facts(generation, target.path), target, extras)


def stem_extras(stems: Mapping[str, Waveform], paths: Mapping[str, Path]) -> list[Extra]:
    """Pair the file of each role that played with what writes it.

    Stems louder than a file can hold are all turned down alike, so that they still sum to the mix, only quieter.
    """
    loudest = max((stem.peak for stem in stems.values()), default=0.0)
    gain = min(1.0, 1.0 / max(loudest, 1e-9))
    if gain < 1:
        logging.getLogger(__name__).warning(
            "stems peak at %.2f; all are turned down by %.1f dB", loudest, -20 * math.log10(gain)
        )

    def writer(stem: Waveform, format: str) -> Callable[[Path], object]:
        quieter = stem if gain == 1 else replace(stem, samples=stem.samples * gain * (1 - 1e-6))
        return lambda part: write_waveform(quieter, part, format, None)

    return [(path, writer(stems[role], path.suffix[1:])) for role, path in paths.items() if role in stems]


def write_stems(stems: Mapping[str, Waveform], paths: Mapping[str, Path]) -> None:
    """Write one file per role."""
    extras = stem_extras(stems, paths)
    for path, _ in extras:
        path.parent.mkdir(exist_ok=True)
    with staged([path for path, _ in extras]) as parts:
        for part, (_, write) in zip(parts, extras, strict=True):
            write(part)


def write_waveform(waveform: Waveform, part: Path, format: str, tags: dict[str, str] | None) -> None:
    """Write a sound to `part` and read its length back: a full disk can end a file early without an error."""
    import soundfile

    wanted = waveform.samples.shape[-1]
    try:
        waveform.save(part, format=format, tags=tags)
        written = soundfile.info(part).frames
    except AudioError as error:
        if not isinstance(error.__cause__, (OSError, RuntimeError)):
            raise  # the sound is at fault, not the disk
        written = 0
    if abs(written - wanted) > (0 if format in ("wav", "flac") else 4096):  # lossy formats pad their last block
        free = shutil.disk_usage(part.parent).free / 2**20
        raise AudioError(
            f"Writing {waveform.duration:.1f} s of {format} to '{part.parent}' failed; {free:.1f} MiB are free there. "
            "Free some space or choose another --output. Nothing was kept."
        )
