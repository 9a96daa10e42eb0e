"""A critic of sound: small networks over spectra that learn to tell composed stems from decoded ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["Critic", "critic_loss", "decoder_loss"]

Opinion = list[Tensor]  # what every layer says of a batch; the last one is the score, above 1 for "composed"


QUIET = 1e-6  # power beside which a bin counts as silent
LOUDNESS = 0.3  # exponent of the magnitudes: at 1 nobody would hear what is 40 dB below a loud tone


def _convolution(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: int = 1, dilation: int = 1, gain: float = 1.0
) -> nn.Module:
    """Over [B, C, frames, bins]; stride over bins, dilation over frames; the size stays but for the stride."""
    padding = (dilation * (kernel[0] - 1) // 2, (kernel[1] - 1) // 2)
    layer = nn.Conv2d(inputs, outputs, kernel, (1, stride), padding, (dilation, 1))
    nn.init.kaiming_normal_(layer.weight, a=0.2)  # PyTorch's own start would leave the scores near zero for long
    layer.weight.data *= gain
    return weight_norm(layer)


class _Scale(nn.Module):
    """The critic of one window size."""

    window: Tensor

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size) / size**0.5, persistent=False)
        layers = [_convolution(2, channels, (3, 9))]
        layers += [_convolution(channels, channels, (3, 9), stride=2, dilation=2**i) for i in range(3)]
        layers.append(_convolution(channels, channels, (3, 3)))
        layers.append(_convolution(channels, 1, (3, 3), gain=0.1))  # undecided at first
        self.layers = nn.ModuleList(layers)

    def forward(self, audio: Tensor) -> Opinion:
        spectrum = torch.fft.rfft(audio.unfold(-1, self.size, self.size // 4) * self.window)  # [B, frames, bins]
        x, said = torch.stack((spectrum.real, spectrum.imag), 1), []
        x = x * (x.square().sum(1, keepdim=True) + QUIET) ** ((LOUDNESS - 1) / 2)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
            said.append(x)
        return [*said, self.layers[-1](x)]


class Critic(nn.Module):
    """Spectra with their phases, at several window sizes; each says of every place whether it is composed or decoded.

    Loud and quiet are drawn together first (`LOUDNESS`). It hears what no distance between magnitudes does: buzz,
    smear, phases that do not belong together.

    Args:
        sizes: of the windows, in samples.
        channels: of every layer.

    Source: Défossez et al. 2022 (EnCodec), arXiv:2210.13438, section 3.4; ours has a quarter of its channels.
    """

    def __init__(self, *, sizes: Sequence[int] = (2048, 512), channels: int = 8) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_Scale(size, channels) for size in sizes)

    def forward(self, audio: Tensor) -> list[Opinion]:
        """[B, L] -> what each scale says."""
        return [scale(audio) for scale in self.scales]


def critic_loss(composed: list[Opinion], decoded: list[Opinion]) -> Tensor:
    """Hinge loss: scores of composed sound are to be above 1, those of decoded sound below -1."""
    losses = [F.relu(1 - c[-1]).mean() + F.relu(1 + d[-1]).mean() for c, d in zip(composed, decoded, strict=True)]
    return torch.stack(losses).mean()


def decoder_loss(composed: list[Opinion], decoded: list[Opinion]) -> tuple[Tensor, Tensor]:
    """What the decoder has to lower: minus its score, and how far the critic's layers are from those of the composed.

    Source for the second: Kumar et al. 2019 (MelGAN), arXiv:1910.06711; relative to the size of the layer, as EnCodec.
    """
    scores = torch.stack([-opinion[-1].mean() for opinion in decoded]).mean()
    pairs = [
        (c.detach(), d) for a, b in zip(composed, decoded, strict=True) for c, d in zip(a[:-1], b[:-1], strict=True)
    ]
    distances = [(c - d).abs().mean() / (c.abs().mean() + 1e-5) for c, d in pairs]
    return scores, torch.stack(distances).mean()
