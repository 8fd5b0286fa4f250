"""Scattering of small grey images: fixed wavelets, nothing learned, so that features cost no privacy.

Two scales and eight angles (Bruna and Mallat, IEEE TPAMI 2013), as Tramèr and Boneh take it for private learning
(ICLR 2021, arXiv 2011.11660): 1 + 16 + 64 channels, each on a grid of a quarter of the image's side. Then each
group of channels of *one* image gets mean 0 and deviation 1, which looks at no other image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch

SCALES: Final = 2
ANGLES: Final = 8
CHANNELS: Final = 1 + SCALES * ANGLES + ANGLES * ANGLES
_SHRINK: Final = 2**SCALES
_WIDTH: Final = 0.8
_FREQUENCY: Final = 3 * math.pi / 4
_SLANT: Final = 4 / ANGLES
_LEAST: Final = 1e-5


class Scattering:
    """The transform of images of `side` pixels a side, a multiple of four."""

    def __init__(self, side: int) -> None:
        self.side = side
        self._padded = side + 2 * _SHRINK
        waves = [
            [_morlet(self._padded, scale, angle * math.pi / ANGLES) for angle in range(ANGLES)]
            for scale in range(SCALES)
        ]
        self._fine, self._coarse = (torch.stack(row).to(torch.float32) for row in waves)
        self._smooth = _averages(side, self._padded).to(torch.float32)
        self._smooth_half = _averages(side, self._padded, step=2).to(torch.float32)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """From (images, side, side) to (images, channels, side / 4, side / 4)."""
        padded = torch.nn.functional.pad(images[:, None], [_SHRINK] * 4, mode="reflect")
        spectrum = torch.fft.fft2(padded)
        fine = torch.fft.ifft2(spectrum * self._fine).abs()
        coarse = torch.fft.ifft2(_halve(spectrum * self._coarse)).abs()
        between = torch.fft.fft2(fine)[:, :, None] * self._coarse
        second = torch.fft.ifft2(_halve(between)).abs().flatten(1, 2)
        return torch.cat(
            [
                _pool(padded, self._smooth),
                _pool(fine, self._smooth),
                _pool(coarse, self._smooth_half),
                _pool(second, self._smooth_half),
            ],
            dim=1,
        )


def features(images: torch.Tensor, *, groups: int, batch: int = 100) -> torch.Tensor:
    """Scattered and normalised images, (images, channels x side / 4 x side / 4), each image by itself."""
    transform = Scattering(images.shape[-1])
    found = torch.empty(len(images), CHANNELS * (images.shape[-1] // _SHRINK) ** 2)
    for at in range(0, len(images), batch):
        found[at : at + batch] = normalise(transform(images[at : at + batch]), groups)
    return found


def normalise(scattered: torch.Tensor, groups: int) -> torch.Tensor:
    """Give each group of channels of each image mean 0 and deviation 1; flat."""
    return torch.nn.functional.group_norm(scattered, groups, eps=_LEAST).flatten(1)


def _morlet(side: int, scale: int, angle: float) -> torch.Tensor:
    """A wavelet's spectrum, (side, side), real; its mean is 0."""
    width, frequency = _WIDTH * 2**scale, _FREQUENCY / 2**scale
    bump = _bump(side, width, angle, frequency)
    base = _bump(side, width, angle, 0.0)
    return bump - base * (bump[0, 0] / base[0, 0])


def _bump(side: int, width: float, angle: float, frequency: float) -> torch.Tensor:
    """A Gaussian around one frequency, with its copies that sampling folds back."""
    axis = 2 * math.pi * torch.fft.fftfreq(side, dtype=torch.float64)
    turns: Sequence[float] = [2 * math.pi * turn for turn in (-1, 0, 1)]
    total = torch.zeros(side, side, dtype=torch.float64)
    for down in turns:
        for right in turns:
            y, x = torch.meshgrid(axis + down, axis + right, indexing="ij")
            along = x * math.cos(angle) + y * math.sin(angle) - frequency
            across = (y * math.cos(angle) - x * math.sin(angle)) / _SLANT
            total += torch.exp(-0.5 * width**2 * (along**2 + across**2))
    return total


def _averages(side: int, padded: int, step: int = 1) -> torch.Tensor:
    """Gaussian means around the middles of a coarse grid, (side / 4, padded / step)."""
    width = _WIDTH * _SHRINK / 2
    middles = _SHRINK + (_SHRINK - 1) / 2 + _SHRINK * torch.arange(side // _SHRINK, dtype=torch.float64)
    places = torch.arange(0, padded, step, dtype=torch.float64)
    weights = torch.exp(-0.5 * ((places[None] - middles[:, None]) / width) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)


def _halve(spectrum: torch.Tensor) -> torch.Tensor:
    """The spectrum of every second pixel each way."""
    half = spectrum.shape[-1] // 2
    low, high = spectrum[..., :half], spectrum[..., half:]
    both = (low + high) / 2
    return (both[..., :half, :] + both[..., half:, :]) / 2


def _pool(maps: torch.Tensor, averages: torch.Tensor) -> torch.Tensor:
    return averages @ maps @ averages.T
