"""The octave above a codec's band: what lies below it, copied upwards as loud as that lets expect.

Nothing is predicted up there. Hi-hats, breath and strings go on upwards much as they are below, and no ear tells
partials from one another at 15 kHz; so a copy with the right loudness in each moment does. Knows no model.

    bins   ... 172 .... 214 .... 256 | 298 .... 340 .... 382 .... 424          TOP = 256, the codec's 12 kHz
                 source: c        d  |    c'       d'       c''      d''       each as loud as four bands below tell
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .blockwise import blockwise

__all__ = ["BANDS", "HOP", "SIZE", "STEP", "STEPS", "TOP", "Highs", "band_levels", "spectrum_of"]

SIZE, HOP = 512, 256  # samples of a window at the codec's rate, 21 ms at 24 kHz, and to the next
TOP = SIZE // 2  # the first bin above the codec's band
STEP = 42  # bins of a band, 2 kHz; a copy is moved by two, which must be a multiple of SIZE / HOP to keep its phase
STEPS = 4  # bands above, up to 19.9 kHz
BANDS = tuple((TOP - STEP * number, TOP - STEP * (number - 1)) for number in (4, 3, 2, 1))  # those listened to
REACH = SIZE  # samples on either side that can change a sample: windows half as far away hear half as far
FLOOR = 1e-10


class Highs:
    """Sound at a codec's rate -> sound at twice that rate, with a band above the codec's.

    Args:
        levels: group -> for each of the STEPS bands above, weights of the levels of BANDS in dB, and a constant. A role
            that has no group of its own takes `other`.

    Source: spectral band replication, Dietz et al. 2002, AES 112th convention, paper 5553; there an encoder tells the
    loudness, here it is fitted (`python -m benchmarks.fit_highs`).
    """

    def __init__(self, levels: Mapping[str, Sequence[Sequence[float]]]) -> None:
        self.levels = {group: torch.tensor(rows, dtype=torch.float32) for group, rows in levels.items()}

    @torch.inference_mode()
    def extend(self, samples: np.ndarray, roles: Sequence[str]) -> np.ndarray:
        """Sound of some roles, [R, n] float32 -> [R, 2 * n] at twice the rate."""
        extended = np.zeros((len(roles), 2 * samples.shape[1]), np.float32)
        heard = [row for row in range(len(roles)) if samples[row].any()]
        if heard:
            extended[heard] = self._extend(samples[heard], [roles[row] for row in heard])
        return extended

    def _extend(self, samples: np.ndarray, roles: Sequence[str]) -> np.ndarray:
        spectrum = spectrum_of(torch.from_numpy(np.ascontiguousarray(samples)))  # [R, frames, TOP + 1]
        weights = torch.stack([self.levels.get(role, self.levels["other"]) for role in roles])
        heard = band_levels(spectrum, BANDS)  # [R, frames, bands]
        wanted = heard @ weights[..., :-1].transpose(1, 2) + weights[:, None, :, -1]
        given = heard[..., -2:].repeat(1, 1, STEPS // 2)
        gain = 10 ** ((wanted - given).clamp(max=0.0) / 20)  # nothing above is louder than what it was copied from
        whole = spectrum.new_zeros(*spectrum.shape[:2], SIZE + 1)
        whole[..., :TOP] = spectrum[..., :TOP]
        source = spectrum[..., None, TOP - 2 * STEP : TOP].unflatten(-1, (2, STEP))  # [R, frames, 1, 2, STEP]
        above = whole[..., TOP : TOP + STEPS * STEP].unflatten(-1, (STEPS // 2, 2, STEP))
        torch.mul(source, gain.unflatten(-1, (STEPS // 2, 2))[..., None], out=above)
        return _overlap_add(whole, 2 * samples.shape[1])

    def extend_blocks(self, blocks: Iterable[np.ndarray], roles: Sequence[str]) -> Iterator[np.ndarray]:
        """As `extend`, of sound that arrives in blocks [R, n]; the pieces, joined, are the same."""

        def pairs(excerpt: np.ndarray, _begin: int) -> np.ndarray:
            return self.extend(excerpt, roles).reshape(len(roles), -1, 2)

        for piece in blockwise(blocks, pairs, past=REACH, future=REACH, align=HOP):
            yield piece.reshape(len(roles), -1)


def band_levels(spectrum: Tensor, bands: Sequence[tuple[int, int]]) -> Tensor:
    """Levels in dB of some bands of bins: [R, frames, bins] -> [R, frames, bands]."""
    parts = torch.view_as_real(spectrum)
    means = [parts[..., low:high, :].square().sum((-2, -1)) / (high - low) for low, high in bands]
    return 10 * (torch.stack(means, -1) + FLOOR).log10()


def _overlap_add(spectrum: Tensor, length: int) -> np.ndarray:
    """The inverse of `spectrum_of` at twice the rate, [R, frames, bins] -> [R, length]; faster than istft."""
    frames = torch.fft.irfft(spectrum, 2 * SIZE) * (2 * _window(2))  # [R, frames, 2 * SIZE]
    first, second = frames.split(SIZE, 2)  # halves; the second of a window sounds with the first of the next
    sound = second[:, :-1] + first[:, 1:]
    added: np.ndarray = sound.flatten(1)[:, :length].numpy()  # windows are centred: the first begins before the sound
    return added


def spectrum_of(samples: Tensor, times: int = 1) -> Tensor:
    """Windows of sound [R, n] -> [R, frames, bins]; `times` is that of the sound's rate over the codec's."""
    padded = torch.nn.functional.pad(samples, (HOP * times, 2 * HOP * times - samples.shape[-1] % (HOP * times)))
    return torch.fft.rfft(padded.unfold(-1, SIZE * times, HOP * times) * _window(times))


@functools.cache
def _window(times: int) -> Tensor:
    """Squared, two of them half a window apart sum to one."""
    return torch.hann_window(SIZE * times).sqrt()
