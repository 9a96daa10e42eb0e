"""A frozen T5 encoder: one vector per token of the prompt, for the models that were trained with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError
from .base import Condition

__all__ = ["T5"]

MAX_TOKENS = 512  # the length that T5 was trained with; its relative positions know no other limit


class T5(nn.Module):
    """Text -> Condition [B, N, D], N the tokens of the longest prompt; filler is zero and masked.

    No `Conditioner`: nothing is learnt here, and nothing said is no vector of its own but no source at all.

    Args:
        width: D of the model that listens.
        config: settings of transformers' T5Config; None are those of its default, t5-small.

    Source: Raffel et al. 2020, arXiv:1910.10683; in front of MusicGen, Copet et al. 2023, arXiv:2306.05284.
    """

    def __init__(self, *, width: int, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        from transformers import T5Config, T5EncoderModel

        settings = T5Config(**(config or {}))
        self.encoder = T5EncoderModel(settings)
        self.project = nn.Linear(settings.d_model, width) if settings.d_model != width else None
        self.tokenizer: Any = None

    def use_tokenizer(self, folder: Path) -> None:
        """Load the tokenizer in `folder`.

        Raises:
            CheckpointError: there is none, or it cannot be read.
        """
        from transformers import AutoTokenizer

        if not any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model")):
            raise CheckpointError(
                f"{folder} holds no tokenizer. Copy tokenizer.json and tokenizer_config.json of its T5 there, "
                "which save_pretrained of the processor writes."
            )
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"the tokenizer in {folder} cannot be read: {error}") from error

    def prepare(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Tokenise texts, one a row: `input_ids` and `attention_mask`, [B, N] each.

        Raises:
            ConfigError: no tokenizer is loaded, or a text is longer than T5 reads; nothing is cut.
        """
        if self.tokenizer is None:
            raise ConfigError("this text encoder has no tokenizer. Call use_tokenizer(folder) first.")
        told = self.tokenizer(list(texts), padding=True, truncation=False, return_tensors="pt", verbose=False)
        longest = told["input_ids"].shape[1]
        if longest > MAX_TOKENS:
            raise ConfigError(
                f"the prompt is {longest} tokens long; the text encoder reads at most {MAX_TOKENS}. Shorten it."
            )
        return {"input_ids": told["input_ids"], "attention_mask": told["attention_mask"]}

    @torch.no_grad()
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Condition:
        """Turn tokens [B, N] into a Condition [B, N, D], where the encoder is."""
        input_ids, attention_mask = (told.to(self.encoder.device) for told in (input_ids, attention_mask))
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.project is not None:
            hidden = self.project(hidden)
        mask = attention_mask.bool()
        return Condition(hidden * mask[..., None], mask)
