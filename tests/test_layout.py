"""The shape of the repository: who imports whom, what the package lists, how long files are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS = {name: ROOT / PROJECT["package-dir"][name] for name in PROJECT["packages"]}
SOURCES = sorted(path for folder in FOLDERS.values() for path in folder.glob("*.py"))

PARTS = {"codecs", "conditioning", "models", "pipeline.patterns", "pipeline.samplers"}
BELOW = {"core", "composition", "weights", "configs", *PARTS}
# package -> the other packages that its files may import
MAY_IMPORT = {
    "core": set(),
    "composition": {"core"},
    "conditioning": {"core", "composition"},
    **dict.fromkeys(["codecs", "models", "pipeline.patterns", "pipeline.samplers"], {"core"}),
    "pipeline": BELOW,
    "training": BELOW | {"pipeline"},
    "evaluation": BELOW | {"pipeline", "training"},  # copies are looked for in what was learnt from
    "weights": set(),
    "configs": set(),
}
HEAVY = {"torch", "torchaudio", "transformers", "safetensors", "encodec"}


def area(dotted: str) -> str:
    """The row of MAY_IMPORT that a module inside gen_audio belongs to: "codecs.layers.mel" -> "codecs"."""
    parts = dotted.split(".")
    pair = ".".join(parts[:2])
    return pair if pair in MAY_IMPORT else parts[0] if parts[0] in MAY_IMPORT else "core"


def dotted(path: Path) -> str:
    """The name of a file inside gen_audio: composition/plan.py -> "composition.plan", core/audio.py -> "audio"."""
    package = next(name for name, folder in FOLDERS.items() if folder == path.parent)
    stem = [] if path.stem == "__init__" else [path.stem]
    return ".".join([*package.split(".")[1:], *stem])


def imports(path: Path) -> Iterator[tuple[str, bool, ast.ImportFrom | ast.Import]]:
    """Each import of a file: (module, whether it stands at the top level, node). Those for types alone are left out."""

    def walk(nodes: list[ast.stmt], top: bool) -> Iterator[tuple[bool, ast.stmt]]:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            yield top, node
            inner = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for field in ("body", "orelse", "finalbody", "handlers"):
                yield from walk(getattr(node, field, []), inner)

    package = FOLDERS_BY_PATH[path.parent]
    for top, node in walk(ast.parse(path.read_text()).body, True):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, top, node
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or "", top, node
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            if node.module:
                yield ".".join([*base, node.module]), top, node
            else:
                for name in node.names:
                    yield ".".join([*base, name.name]), top, node


FOLDERS_BY_PATH = {folder: name for name, folder in FOLDERS.items()}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    here = area(dotted(path))
    for module, top, _ in imports(path):
        if not module.startswith("gen_audio."):
            continue
        there = area(module.removeprefix("gen_audio."))
        if path.parent == ROOT / "pipeline" and path.name in ("cli.py", "cli_codec.py", "cli_doctor.py") and not top:
            continue  # a sub-command imports its own module when it runs
        if path == ROOT / "core" / "__main__.py":
            continue  # python -m gen_audio is the command line
        assert there == here or there in MAY_IMPORT[here], f"{path.name} imports {module}: {here} must not know {there}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_our_own_imports_are_relative(path: Path) -> None:
    for module, _, node in imports(path):
        is_ours = module.split(".")[0] == "gen_audio"
        assert not is_ours or (isinstance(node, ast.ImportFrom) and node.level > 0), f"{path.name}: import {module}"


@pytest.mark.parametrize("path", sorted((ROOT / "composition").rglob("*.py")), ids=lambda p: p.name)
def test_the_composer_knows_no_torch(path: Path) -> None:
    assert not HEAVY & {module.split(".")[0] for module, _, _ in imports(path)}


def test_every_package_folder_is_listed() -> None:
    top = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    folders = {path.parent for name in top for path in (ROOT / name).rglob("__init__.py")}
    assert folders == set(FOLDERS.values())
    with_code = {path.parent for name in top for path in (ROOT / name).rglob("*.py")}
    assert with_code <= set(FOLDERS.values())


def test_every_data_file_goes_into_the_wheel() -> None:
    packed = {
        path for name, globs in PROJECT["package-data"].items() for glob in globs for path in FOLDERS[name].glob(glob)
    }
    data = {
        path
        for folder in FOLDERS.values()
        for pattern in ("*.yaml", "*/*.safetensors")
        for path in folder.glob(pattern)
    }
    assert data <= packed


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_says_what_it_does_and_stays_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert not text.strip() or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("command", ["import gen_audio", "from gen_audio.pipeline.cli import run; run(['--help'])"])
def test_looking_around_imports_no_torch(command: str) -> None:
    code = f"import sys; {command}; print(sorted({{'torch', 'numpy', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_public_name_of_the_package_is_there() -> None:
    import gen_audio

    assert all(getattr(gen_audio, name) for name in gen_audio.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        gen_audio.nonsense  # noqa: B018
