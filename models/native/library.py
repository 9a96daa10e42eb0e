"""The C++ half: compiled once for this processor by the compiler that is there, kept in the user's cache."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from ctypes import c_char_p, c_int, c_int64, c_void_p
from pathlib import Path

from ...errors import GenAudioError
from .records import RECORDS

__all__ = ["NativeError", "load"]

logger = logging.getLogger(__name__)
SOURCES = Path(__file__).parent
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-pthread")
FUNCTIONS = {  # name -> (result, arguments)
    "record_sizes": (None, [c_void_p]),
    "instructions": (c_char_p, []),
    "matrix_new": (c_void_p, [c_int, c_int, c_int]),
    "matrix_free": (None, [c_void_p]),
    "matrix_bytes": (c_int64, [c_void_p]),
    "matrix_pack": (None, [c_void_p, c_int, c_int, c_void_p, c_int, c_void_p]),
    "cache_new": (c_void_p, [c_int] * 6),
    "cache_free": (None, [c_void_p]),
    "cache_bytes": (c_int64, [c_void_p]),
    "cache_write": (None, [c_void_p, c_int, c_int, c_int, c_int, c_void_p, c_void_p]),
    "machine_new": (c_void_p, [c_int, c_void_p, c_int]),
    "machine_free": (None, [c_void_p]),
    "machine_make_room": (None, [c_void_p, c_int]),
    "machine_run": (None, [c_void_p, c_void_p]),
    "machine_read": (None, [c_void_p, c_int, c_int, c_int, c_void_p]),
}


class NativeError(GenAudioError):
    """The C++ half cannot be used here; the message says why and what would help."""


@functools.cache
def load() -> ctypes.CDLL:
    """Load the library, compiled first if this processor has none yet.

    Raises:
        NativeError: there is no compiler, or it fails.
    """
    if platform.system() == "Windows":
        raise NativeError("the fast loop is for Linux and macOS")
    library = ctypes.CDLL(str(compiled()))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    sizes = (ctypes.c_int32 * len(RECORDS))()
    library.record_sizes(sizes)
    if list(sizes) != [record.itemsize for record in RECORDS]:
        raise NativeError(f"the fast loop was compiled with records of {list(sizes)} bytes, which Python cannot write")
    return library


def compiled() -> Path:
    """The library's file. CXX and CXXFLAGS of the environment are obeyed; the flags come after our own.

    Raises:
        NativeError: as `load`.
    """
    compiler = _compiler()
    processor = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
    flags = (*FLAGS, processor, *os.environ.get("CXXFLAGS", "").split())
    path = _folder() / f"native-{_fingerprint(compiler, flags)}.so"
    if not path.is_file():
        logger.warning("compiling the fast loop for this processor; that happens once and takes some seconds")
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder, path.name)
            command = [compiler, *flags, str(SOURCES / "interface.cpp"), "-o", str(part)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[-200:])
                raise NativeError(f"{compiler} cannot compile the fast loop: {reason.strip()}")
            os.replace(part, path)
    return path


def _compiler() -> str:
    for name in filter(None, (os.environ.get("CXX"), *COMPILERS)):
        if found := shutil.which(name):
            return found
    raise NativeError("the fast loop needs a C++ compiler, and none was found. Install g++ or clang++")


def _folder() -> Path:
    """Where compiled files are kept: the user's cache, or for this process only if that cannot be written."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        (root / "gen_audio").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root / "gen_audio"):
            return root / "gen_audio"
    except OSError:
        return Path(_own_folder().name)


@functools.cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gen_audio")


def _fingerprint(compiler: str, flags: tuple[str, ...]) -> str:
    """Hash of everything that the compiled file depends on."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    parts = [compiler, version, *flags, platform.machine(), _processor()]
    parts += [path.read_text() for path in sorted([*SOURCES.glob("*.h"), *SOURCES.glob("*.cpp")])]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """Name and instruction sets of the processor; a home folder may be shared by different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
