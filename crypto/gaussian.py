"""Gaussian noise from a cryptographic stream, on a grid.

Box and Muller (1958) on 64-bit words of AES-CTR, in double precision, then rounded to `grid(std)`, a power of two
some 2^-30 of the standard deviation.

Why a grid. The low bits of a floating-point sum betray what was added (Mironov, CCS 2012). Here the caller rounds
its value to the grid first (`round_to`); value and noise are then multiples of it below 2^52 steps, and their sum is
exact: adding rounded noise to a rounded value is rounding the noised value, which is post-processing of the ideal
mechanism. Rounding moves a vector of d entries by at most sqrt(d) / 2 steps, so two neighbouring sums differ by at
most sqrt(d) steps more than the clip: 2^-20 of the standard deviation for d = 10^6, which is not accounted for.

The radius takes all 64 bits of its word, so the tail ends at 9.4 standard deviations; beyond them lies less than 2^-64.
The angle has 53 bits. Not covered: the time that `log`, `cos` and `sin` take.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.prg import SEED_BYTES, Keystream
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

Array = npt.NDArray[np.float64]
_FINENESS: Final = 30
_CHUNK: Final = 1 << 14
_ANGLE: Final = 2 * math.pi * 2.0**-53


def grid(std: float) -> float:
    """The power of two on whose multiples noise of this standard deviation lies."""
    if not (math.isfinite(std) and 2.0**-900 < std < 2.0**900):
        raise ParameterError(f"the standard deviation of noise is a number above 0, not {std}")
    return 2.0 ** (math.floor(math.log2(std)) - _FINENESS)


def round_to(values: npt.NDArray[Any], step: float) -> Array:
    """The nearest multiples of a power of two, as float64."""
    return np.asarray(np.rint(np.asarray(values, np.float64) / step) * step)


def gaussian(count: int, std: float, *, rng: Rng) -> Array:
    """Draw `count` values of mean 0; each is a multiple of `grid(std)`. Raises `ParameterError`."""
    step = grid(std)
    if count < 0:
        raise ParameterError(f"noise is drawn for at least 0 values, not {count}")
    out = np.empty(count + count % 2)
    stream = Keystream(Secret(rng.bytes(SEED_BYTES)))
    words = np.empty((2, min(_CHUNK, max(len(out) // 2, 1))), np.uint64)
    for at in range(0, len(out), 2 * words.shape[1]):
        piece = out[at : at + 2 * words.shape[1]]
        half = len(piece) // 2
        block = words[:, :half] if half == words.shape[1] else np.empty((2, half), np.uint64)
        stream.fill(block)
        _box_muller(block, piece, std / step)
    np.rint(out, out=out)
    out *= step
    return out[:count]


def _box_muller(words: npt.NDArray[np.uint64], out: Array, std: float) -> None:
    # (w + 1) / 2^64 lies in (0, 1]: the radius is 0 at one end and 9.42 at the other.
    radius = words[0].astype(np.float64)
    radius += 1.0
    radius *= 2.0**-64
    np.log(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    radius *= std
    angle = (words[1] >> np.uint64(11)).astype(np.float64)
    angle *= _ANGLE
    half = len(radius)
    np.cos(angle, out=out[:half])
    np.sin(angle, out=out[half:])
    out[:half] *= radius
    out[half:] *= radius
