"""Models on the hub: owner/name[@revision] -> a local folder. Offline mode is honoured; no pickle is fetched."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import CheckpointError

__all__ = ["fetch", "is_hub_id", "licence_of"]

WANTED = ["*.json", "*.safetensors", "spiece.model", "README.md"]  # no pickle is ever fetched
HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/name or owner/name@revision and is no path that exists."""
    return HUB_ID.fullmatch(name) is not None and not name.startswith(".") and not Path(name).exists()


def fetch(name: str) -> Path:
    """Return the folder of a model, downloaded unless the local cache has it; its name is the revision's hash.

    Raises:
        CheckpointError: no network, no such model, or no leave to read it.
    """
    from huggingface_hub import snapshot_download

    match = HUB_ID.fullmatch(name)
    assert match is not None
    try:
        return Path(snapshot_download(match["id"], revision=match["revision"], allow_patterns=WANTED))
    except Exception as error:  # the hub's own errors and those of three network libraries
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"'{name}' is not in the local cache and could not be fetched ({type(error).__name__}: {first}). "
            "Connect to the network, or copy the model's folder from another machine: --model ./folder."
        ) from error


def licence_of(folder: Path) -> str:
    """The licence that the model card in `folder` states, or "not stated"."""
    card = folder / "README.md"
    if card.is_file():
        front = card.read_text(encoding="utf-8", errors="replace").split("\n---", 1)[0]
        if found := re.search(r"^license:\s*(\S+)", front, re.MULTILINE):
            return found[1]
    return "not stated"
