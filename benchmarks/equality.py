"""Proof that our loop computes what transformers computes, before any time is compared.

Both are told the same codes step by step (teacher forcing) on three prompts of different lengths in one batch.

Usage, as `engine.py` calls it: equality MODEL PRECISION...; prints JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from gen_audio import load
from gen_audio.errors import GenAudioError
from gen_audio.evaluation.random_musicgen import PROMPTS
from torch import Tensor

__all__ = ["compare", "measure"]

STEPS = 64
CODEC_FRAMES = 50


@torch.inference_mode()
def measure(folder: str, precisions: list[str]) -> dict[str, Any]:
    """Precision -> how far its logits are from those of transformers in fp32; and the codecs' largest difference."""
    steps, reference, sound = _reference(folder)
    found: dict[str, Any] = {"steps": STEPS, "prompts": list(PROMPTS), "logits_std": float(reference.std())}
    rows = found["precisions"] = {}
    for precision in precisions:
        try:
            model: Any = load(folder, precision=precision)
        except GenAudioError as error:
            rows[precision] = {"unavailable": " ".join(str(error).split())}
            continue
        rows[precision] = compare(reference, _ours(model, steps))
        if "codec_max_error" not in found:
            decoded = model.codec.decode(steps[:1, :, :CODEC_FRAMES])
            found["codec_max_error"] = float((decoded - sound).abs().max())
        del model
    return found


def compare(reference: Tensor, logits: Tensor) -> dict[str, Any]:
    """Compare logits [B, K, S, card]: largest error; per codebook, KL(reference || ours) in nats and same best."""
    told, ours = reference.log_softmax(-1), logits.log_softmax(-1)
    divergence = (told.exp() * (told - ours)).sum(-1).mean((0, 2))  # [K]
    agree = (reference.argmax(-1) == logits.argmax(-1)).float().mean((0, 2))
    return {
        "max_error": float((reference - logits).abs().max()),
        "kl": [max(0.0, float(value)) for value in divergence],
        "top_1": [float(value) for value in agree],
    }


def _reference(folder: str) -> tuple[Tensor, Tensor, Tensor]:
    """Random steps [B, K, S], what transformers says of them [B, K, S, card], and its sound of the first ones."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model: Any = transformers.MusicgenForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    config = model.config.decoder
    shape = (len(PROMPTS), config.num_codebooks, STEPS)
    steps = torch.randint(config.vocab_size, shape, generator=torch.Generator().manual_seed(1))
    columns = torch.cat((torch.full_like(steps[..., :1], config.vocab_size), steps[..., :-1]), -1).flatten(0, 1)
    told = tokenizer(list(PROMPTS), padding=True, return_tensors="pt")
    logits = model(**told, decoder_input_ids=columns).logits.view(*shape, config.vocab_size)
    sound = model.audio_encoder.decode(steps[None, :1, :, :CODEC_FRAMES], [None]).audio_values
    return steps, logits, sound


def _ours(model: Any, steps: Tensor) -> Tensor:
    """Logits [B, K, S, card] of our model, told `steps`."""
    text = model.parts.text(**model.parts.text.prepare(list(PROMPTS)))
    return model.executor.logits(model.conditions(text, None, False, 0), steps)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2:])))
