"""The two networks of the package musicnn in PyTorch: mel spectrograms in, tags and the layer before them out.

They know no file: weights come as arrays under the names that TensorFlow gave them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["BANDS", "FRAMES", "Musicnn", "Vgg"]

FRAMES, BANDS = 187, 96  # of one window, 3 s at 16 kHz
EPSILON = 1e-3  # of TensorFlow's batch normalisation


class _Weights:
    """Tensors in PyTorch's order of dimensions; layers are numbered as TensorFlow does: none, _1, _2."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def conv(self, name: str, sound: Tensor, same: tuple[bool, bool]) -> Tensor:
        """Convolve [B, C, T, F], then ReLU; `same` says of T and F whether they keep their length."""
        kernel = self.tensors[f"{name}/kernel"].permute(3, 2, 0, 1)
        time, band = (size - 1 if keep else 0 for size, keep in zip(kernel.shape[2:], same, strict=True))
        padded = F.pad(sound, (band // 2, band - band // 2, time // 2, time - time // 2))
        return F.relu(F.conv2d(padded, kernel, self.tensors[f"{name}/bias"]))

    def norm(self, number: int, x: Tensor) -> Tensor:
        """Batch normalisation over dimension 1 with the statistics of training."""
        name = "batch_normalization" + (f"_{number}" if number else "")
        mean, variance, gamma, beta = (
            self.tensors[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return F.batch_norm(x, mean, variance, gamma, beta, eps=EPSILON)

    def dense(self, name: str, x: Tensor) -> Tensor:
        return x @ self.tensors[f"{name}/kernel"] + self.tensors[f"{name}/bias"]


class _Tagger:
    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.weights = _Weights(arrays)


class Musicnn(_Tagger):
    """Musically motivated filters: tall ones for timbre, long ones for rhythm.

    Source: Pons and Serra 2019, arXiv:1909.06654; weights of the package musicnn 0.1.0 (ISC). We differ in single
    precision throughout: the package squeezes the mel power into half precision, which overflows on loud music.
    """

    width = 200

    @torch.inference_mode()
    def __call__(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """[B, FRAMES, BANDS] -> tags [B, 50] in 0..1, and the layer before them [B, 200]."""
        w = self.weights
        x = w.norm(0, mel[:, None])
        front = [w.norm(1, w.conv("conv2d", x, (True, False))), w.norm(2, w.conv("conv2d_1", x, (True, False)))]
        front += [w.norm(3 + i, w.conv(f"conv2d_{2 + i}", x, (True, True))) for i in range(3)]
        layers = [torch.cat([part.amax(3) for part in front], 1)]  # [B, 561, T]
        for i in range(3):
            kernel = w.tensors[f"conv2d_{5 + i}/kernel"][:, :, 0].permute(2, 1, 0)
            more = w.norm(6 + i, F.relu(F.conv1d(layers[-1], kernel, w.tensors[f"conv2d_{5 + i}/bias"], padding=3)))
            layers.append(more if i == 0 else more + layers[-1])
        every = torch.cat(layers, 1)
        pooled = torch.stack([every.amax(2), every.mean(2)], 2).flatten(1)
        last = w.norm(10, F.relu(w.dense("dense", w.norm(9, pooled))))
        return w.dense("dense_1", last).sigmoid(), last


class Vgg(_Tagger):
    """Five plain layers of small filters, as for pictures.

    Source: Choi et al. 2016, arXiv:1606.00298, as trained for the package musicnn 0.1.0 (ISC).
    """

    width = 256

    @torch.inference_mode()
    def __call__(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """[B, FRAMES, BANDS] -> tags [B, 50] in 0..1, and the layer before them [B, 256]."""
        w = self.weights
        x = w.norm(0, mel[:, None])
        for layer, (size, stride) in enumerate(
            zip([(4, 1), (2, 2), (2, 2), (2, 2), (4, 4)], [2, 2, 2, 2, 4], strict=True), start=1
        ):
            x = F.max_pool2d(w.norm(layer, w.conv(f"{layer}CNN", x, (True, True))), size, stride)
        last = x.permute(0, 2, 3, 1).flatten(1)  # channels last, as TensorFlow flattens
        return w.dense("dense", last).sigmoid(), last
