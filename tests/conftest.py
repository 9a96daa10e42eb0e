"""Every test runs offline and on one thread."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, or it has no effect
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if not os.path.exists("/dev/nvidia0"):  # no GPU: Triton's kernels run one program at a time on the CPU
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before triton is imported

import functools  # noqa: E402
import socket  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402

# Public architectures in small; those of the encodec package come in one size.
SMALL_CODECS: dict[str, dict[str, Any]] = {
    "encodec_24khz": {},
    "encodec_48khz": {},
    "encodec_32khz": {
        "config": {
            "sampling_rate": 8000,
            "target_bandwidths": [1.0, 2.0, 3.0],
            "num_filters": 4,
            "hidden_size": 8,
            "upsampling_ratios": [4, 2, 5],
            "use_causal_conv": False,
            "use_conv_shortcut": False,
            "codebook_size": 32,
        }
    },
    "dac": {
        "config": {
            "sampling_rate": 8000,
            "encoder_hidden_size": 4,
            "decoder_hidden_size": 32,
            "downsampling_ratios": [2, 4, 5],
            "n_codebooks": 4,
            "codebook_size": 16,
            "codebook_dim": 4,
        }
    },
    "mimi": {
        "config": {
            "sampling_rate": 8000,
            "hidden_size": 16,
            "num_filters": 4,
            "upsampling_ratios": [5, 4],
            "codebook_size": 16,
            "codebook_dim": 8,
            "vector_quantization_hidden_dimension": 8,
            "num_quantizers": 5,
            "upsample_groups": 16,
            "num_hidden_layers": 2,
            "intermediate_size": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "sliding_window": 12,
        }
    },
}


@functools.cache
def build_public_codec(name: str, full_size: bool = False) -> Any:
    import torch
    from gen_audio import registry

    torch.manual_seed(0)
    codec = registry.build("codecs", name, **({} if full_size else SMALL_CODECS[name])).eval().requires_grad_(False)
    for path, tensor in codec.named_buffers():
        if path.endswith(("embed", "embed_sum")):
            tensor.normal_()  # the libraries leave codebooks at zero until weights come
    return codec


@pytest.fixture(scope="session")
def public_codec() -> Callable[..., Any]:
    """Name of a public codec -> it with random weights, small where it can be; one for all tests, not to be changed."""
    return build_public_codec


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Any:
    """Refuse every connection but those between processes of this machine."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        original = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, original: Any = original) -> Any:
            if self.family != getattr(socket, "AF_UNIX", None):
                raise RuntimeError(f"a test tried to reach {address}; gen-audio works offline")
            return original(self, address)

        patch.setattr(socket.socket, name, guarded)
    yield
    patch.undo()


class TinyMusicGen:
    """A random MusicGen of transformers, and the folder that it was saved to."""

    def __init__(self, kind: str, folder: Any) -> None:
        from gen_audio.evaluation.random_musicgen import make_checkpoint

        self.folder = folder
        self.model = make_checkpoint(folder, kind, "tiny")

    def codes(self, **told: Any) -> Any:
        from gen_audio.evaluation.random_musicgen import codes_of

        return codes_of(self.model, **told)


@pytest.fixture(scope="session")
def tiny_musicgen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gives the TinyMusicGen of a kind: mono, stereo or melody."""
    made: dict[str, TinyMusicGen] = {}

    def get(kind: str) -> TinyMusicGen:
        if kind not in made:
            made[kind] = TinyMusicGen(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return get


@pytest.fixture(scope="session")
def nano_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a tiny etude with random weights."""
    from gen_audio.evaluation.random_etude import make_model

    return make_model(tmp_path_factory.mktemp("models") / "nano")
