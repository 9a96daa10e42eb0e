"""MusicGen with random weights, built and saved by transformers: what our own loop is compared with.

Public weights cannot be had everywhere, and for equality and speed they are not needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UnknownNameError
from ..pipeline.musicgen_checkpoint import quiet

__all__ = ["KINDS", "PROMPTS", "SIZES", "codes_of", "make_checkpoint"]

KINDS = ("mono", "stereo", "melody")
PROMPTS = ("lofi jazz piano", "rock", "calm guitar and slow drums with piano")  # of three lengths
WORDS = "<pad> </s> <unk> lofi jazz piano rock calm guitar and slow drums with".split()

T5_BASE = {"vocab_size": 32128, "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12}
ENCODEC = {"num_filters": 64, "hidden_size": 128, "codebook_dim": 128, "codebook_size": 2048, "num_lstm_layers": 2}
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "text": {"vocab_size": 50, "d_model": 24, "d_kv": 6, "d_ff": 32, "num_layers": 2, "num_heads": 4},
        "audio": {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16, "codebook_size": 64, "num_lstm_layers": 1},
        "decoder": {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    },
    "small": {
        "text": T5_BASE,
        "audio": ENCODEC,
        "decoder": {"vocab_size": 2048, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    },
    "medium": {
        "text": T5_BASE,
        "audio": ENCODEC,
        "decoder": {"vocab_size": 2048, "hidden_size": 1536, "num_hidden_layers": 48, "num_attention_heads": 24},
    },
    "large": {
        "text": T5_BASE,
        "audio": ENCODEC,
        "decoder": {"vocab_size": 2048, "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32},
    },
}


def make_checkpoint(folder: Path, kind: str, size: str = "tiny", dtype: torch.dtype = torch.float32) -> Any:
    """Build a model of random weights, save it with a tokenizer of a few words, and return it in eval mode.

    Args:
        folder: made if need be.
        kind: mono, stereo or melody.
        size: one of SIZES; all but tiny have the shapes of the public weights.
        dtype: that the weights are saved in; the returned model has them in the same.
    """
    for name, given, known in (("kind", kind, KINDS), ("size", size, SIZES)):
        if given not in known:
            raise UnknownNameError(name, given, known)
    import transformers

    name = "MusicgenMelody" if kind == "melody" else "Musicgen"
    torch.manual_seed(0)
    with quiet():
        config = getattr(transformers, f"{name}Config")(**_settings(kind, size))
        model = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
        _randomise(model, 0.2 if size == "tiny" else 0.03)
        model.to(dtype).save_pretrained(folder)
    _save_tokenizer(folder)
    return model


def codes_of(model: Any, **told: Any) -> Tensor:
    """The codes [B, K, T] that `generate` hands to its codec; the channels of a stereo model take turns."""
    seen: list[Tensor] = []
    decode = model.audio_encoder.decode

    def watched(codes: Tensor, **settings: Any) -> Any:
        seen.append(codes[0])
        return decode(codes, **settings)

    model.audio_encoder.decode = watched
    try:
        model.generate(**told)
    finally:
        del model.audio_encoder.decode
    return torch.stack(seen, 2).flatten(1, 2)


def _settings(kind: str, size: str) -> dict[str, dict[str, Any]]:
    shapes, channels = SIZES[size], 2 if kind == "stereo" else 1
    decoder, card = shapes["decoder"], shapes["decoder"]["vocab_size"]
    audio = {"model_type": "encodec", "sampling_rate": 32000, "audio_channels": 1, "use_causal_conv": False}
    audio |= {"upsampling_ratios": [8, 5, 4, 4], "target_bandwidths": [1.2 if size == "tiny" else 2.2]}
    return {
        "text_encoder": {"model_type": "t5", **shapes["text"]},
        "audio_encoder": audio | shapes["audio"],
        "decoder": decoder
        | {"ffn_dim": 2 * decoder["hidden_size"] if size == "tiny" else 4 * decoder["hidden_size"]}
        | {"num_codebooks": 4 * channels, "audio_channels": channels, "pad_token_id": card, "bos_token_id": card},
    }


def _randomise(model: Any, std: float) -> None:
    """Larger weights than those of a new model, whose logits hardly differ, and codebooks, which start as zeros."""
    for name, tensor in model.state_dict().items():
        if tensor.dim() > 1 and not name.startswith("audio_encoder"):
            torch.nn.init.normal_(tensor, std=std)
        elif name.endswith("embed"):
            torch.nn.init.normal_(tensor, std=0.5)


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])  # type: ignore[assignment]
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
