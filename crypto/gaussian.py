"""Gaussian noise on a grid: normal draws from a keystream, each a multiple of a power of two.

Contract. Whoever releases a noised sum rounds it to the same grid first, and then adds:

    released = round_to(total, grid(std)) + gaussian(total.size, std, rng=rng)

Both terms are integers below 2^51 times the grid, so the addition is exact in float64. As the rounded total lies
on the grid, adding noise rounded to the grid is the same as adding the noise and rounding then: what is released
is a function of (rounded total + Gaussian), and its low bits tell nothing else of the total (Mironov, "On
significance of the least significant bits for differential privacy", CCS 2012). Rounding moves each of d numbers by
half a grid step at most, so two neighbouring totals at L2 distance D come to lie at most D + sqrt(d) grid apart. For
std = sigma D that is D (1 + sigma sqrt(d) 2^-30) at most: a millionth for sigma 1 and d = 10^6.

Layout. One seed of 32 bytes per call. Words are 64 bits, little-endian; values 2j and 2j + 1 come from words 2j = w
and 2j + 1 = v (v in two's complement) by Box and Muller, to the nearest grid point:

    r = sqrt(-2 ln((w + 1/2) / 2^64)),  a = pi v / 2^63:  std r cos a and std r sin a

For w below 2^50 a third word x, from byte 2^80 of the keystream on and in the order of the pairs, gives
w + (x + 1/2) / 2^64 instead of w + 1/2. Without it the far tail would be a few thin circles with gaps wider than the
grid: a pair of values seen between them would exclude a total, with a probability of 2^-37 per pair.

What is not exact. The largest r is 13.3, and a pair lies beyond with probability 2^-128. The radii and angles that
floats can take are 2^16 times denser than the grid or more, everywhere; how far the probability of one grid point
is off is estimated from that, not proved. A draw in 2^16 or so comes out one grid step away from what exact arithmetic
gives, and may do so on another processor. Where noise must be exact, use `skellam`.
What floats do to a secret in time is out of scope, as in `ring`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError, ValueOutOfRange
from silo.crypto.inversion import next_word
from silo.crypto.prg import SEED_BYTES, Keystream
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

_FINENESS: Final = 30
_ROOM: Final = 51
_EXTREME: Final = 2.0**900
_CHUNK_PAIRS: Final = 16 * 1024
_EDGE: Final = 1 << 50
_FAR_BYTE: Final = 1 << 80


def grid(std: float) -> float:
    """Return the step that noise of this standard deviation is rounded to: 2^-30 of it, or down to 2^-31.

    A power of two. Raises `ParameterError` for what is no standard deviation within 2^-900 to 2^900.
    """
    if not 1 / _EXTREME <= std <= _EXTREME:
        raise ParameterError(
            f"the standard deviation of noise is a number above 0 that float64 holds with room, not {std}"
        )
    return math.ldexp(1.0, math.frexp(std)[1] - 1 - _FINENESS)


def round_to(values: npt.NDArray[Any], grid: float) -> npt.NDArray[np.float64]:
    """Round to the nearest multiple of `grid`, a power of two; what lies beyond 2^51 grid is cut to that.

    A cut moves no two values apart, so it is sound after clipping (and 2^20 standard deviations away).
    Raises `ValueOutOfRange` for NaN and infinities, which no clipping bounds, and `ParameterError` for a grid
    that is no power of two.
    """
    if not (1 / _EXTREME / 2**32 <= grid <= _EXTREME and math.frexp(grid)[0] == 0.5):
        raise ParameterError(f"a grid is a power of two within float64, not {grid}: take it from grid(std)")
    steps = np.array(values, np.float64)
    finite = np.isfinite(steps)
    if not finite.all():
        first = int(finite.reshape(-1).argmin())
        raise ValueOutOfRange(first, float(steps.reshape(-1)[first]), grid * 2.0**_ROOM)
    np.clip(steps, -grid * 2.0**_ROOM, grid * 2.0**_ROOM, out=steps)
    np.divide(steps, grid, out=steps)
    return _on_grid(steps, grid)


def gaussian(count: int, std: float, *, rng: Rng) -> npt.NDArray[np.float64]:
    """Draw `count` normal values of mean 0 and standard deviation `std`, multiples of `grid(std)`.

    Raises `ParameterError` for a negative count, and for what `grid` refuses.
    """
    step = grid(std)
    if operator.index(count) < 0:
        raise ParameterError(f"noise is drawn for 0 or more values, not for {count}")
    seed = Secret.random(SEED_BYTES, rng=rng)
    stream = Keystream(seed)
    # Few draws come near an end, and a stream takes as long to begin as a thousand draws.
    finer = cache(lambda: Keystream(seed, offset=_FAR_BYTE))
    out = np.empty(count + count % 2)
    size = min(_CHUNK_PAIRS, len(out) // 2)
    words, radius, angle = np.empty((size, 2), np.uint64), np.empty(size), np.empty(size)
    for at in range(0, len(out), 2 * _CHUNK_PAIRS):
        piece = out[at : at + 2 * _CHUNK_PAIRS]
        half = len(piece) // 2
        stream.fill(words[:half])
        _exponential(words[:half, 0], radius[:half], finer)
        _polar(radius[:half], words.view(np.int64)[:half, 1], angle[:half], std / step, piece)
        _on_grid(piece, step)
    return out[:count]


def _exponential(
    words: npt.NDArray[np.uint64], out: npt.NDArray[np.float64], finer: Callable[[], Keystream]
) -> None:
    """Write -2 ln of the uniform fractions that the words stand for."""
    out[:] = words
    np.add(out, 0.5, out=out)
    np.multiply(out, 2.0**-64, out=out)
    np.log(out, out=out)
    np.multiply(out, -2.0, out=out)
    # Near both ends of (0, 1) those floats are too coarse. The sum wraps: one comparison finds both.
    for edge in np.flatnonzero(words + np.uint64(_EDGE) < np.uint64(2 * _EDGE)):
        word = int(words[edge])
        if word < _EDGE:
            out[edge] = -2 * (math.log(2 * (word << 64 | next_word(finer())) + 1) - 129 * math.log(2))
        else:
            out[edge] = -2 * math.log1p(-(2 * (2**64 - word) - 1) * 2.0**-65)


def _polar(
    squares: npt.NDArray[np.float64],
    turns: npt.NDArray[np.int64],
    angle: npt.NDArray[np.float64],
    scale: float,
    out: npt.NDArray[np.float64],
) -> None:
    """Write the points of the given squared radii and angles (2^64 to the turn), times scale; `squares` is used up."""
    np.multiply(squares, scale * scale, out=squares)
    radius = np.sqrt(squares, out=squares)
    angle[:] = turns
    np.multiply(angle, math.pi * 2.0**-63, out=angle)
    np.multiply(np.cos(angle), radius, out=out[0::2])
    np.multiply(np.sin(angle, out=angle), radius, out=out[1::2])


def _on_grid(steps: npt.NDArray[np.float64], grid: float) -> npt.NDArray[np.float64]:
    np.rint(steps, out=steps)
    # A zero keeps no sign: -0.0 + -0.0 would tell that of a total which was rounded to zero.
    np.add(steps, 0.0, out=steps)
    return np.multiply(steps, grid, out=steps)
