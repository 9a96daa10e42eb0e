"""How far the upsampling half of a convolutional codec listens, in frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["upsampling_reach"]


def upsampling_reach(ratios: Sequence[int], *, residual: int, last: int) -> int:
    """Bound how many frames to one side can change a sample, for convolutions that turn frames into samples.

    Args:
        ratios: of the transposed convolutions, first one first; their kernels are twice as long.
        residual: samples to one side that the residual layers behind each of them see.
        last: the same for the last convolution.

    Example:
        >>> upsampling_reach((8, 5, 4, 2), residual=2, last=6)  # EnCodec
        2

    Source: counted from the last sample back, as in Araujo et al. 2019, "Computing receptive fields of convolutional
    neural networks", doi:10.23915/distill.00021; rounded up at every layer.
    """
    reach = last
    for ratio in reversed(ratios):
        reach = math.ceil((reach + residual) / ratio) + 1
    return reach
