"""Shamir's secret sharing (CACM 22(11), 1979) of 32-byte secrets over the field of 2^256 + 297 elements.

A secret s < 2^256 is f(0) of a polynomial f of degree threshold - 1 with uniform coefficients; a share is
(x, f(x)), x not zero. Fewer than `threshold` shares say nothing about s: coefficients are 384 random bits mod
the prime, at statistical distance below 2^-127 from uniform each. Shares carry no proof: a wrong share gives
a wrong secret, so that callers check what they recover against a commitment or a public key.

Source of the constant: the smallest prime above 2^256; tests/crypto/test_shamir.py proves that it is prime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import mul
from typing import Any, Final

from silo.crypto.errors import ParameterError, refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

PRIME: Final = 2**256 + 297
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 33
MAX_POINT: Final = 2**32 - 1
_COEFFICIENT_BYTES: Final = 48
# Horner's rule without reduction lets the value grow by the bits of the point at every step: cheaper than a
# division each time, as long as it is cut back now and then.
_STEPS_BETWEEN_REDUCTIONS: Final = 64
_CACHED_POINT_SETS: Final = 128


@dataclass(frozen=True, slots=True)
class Share:
    """One share: the point x and f(x), 33 bytes big-endian. Raises `ParameterError` for what is no share."""

    point: int
    value: Secret

    def __post_init__(self) -> None:
        _check_points((self.point,))
        if len(self.value) != SHARE_BYTES:
            raise ParameterError(f"a share has {SHARE_BYTES} bytes, not {len(self.value)}")
        if int.from_bytes(self.value.reveal(), "big") >= PRIME:
            raise ParameterError(f"the share at point {self.point} is not an element of the field")

    def to_bytes(self) -> bytes:
        """The value alone, 33 bytes; the point is known from whose share it is."""
        return self.value.reveal()

    @classmethod
    def from_bytes(cls, point: int, raw: bytes) -> Share:
        """Read a share. Raises `ParameterError` for a bad length, a value beyond the field or a bad point."""
        return cls(point, Secret(raw))

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def share(secret: Secret, *, threshold: int, points: Sequence[int], rng: Rng) -> tuple[Share, ...]:
    """Share a 32-byte secret among `points`, so that any `threshold` of the shares recover it.

    Raises `ParameterError` for a zero or repeated point, or a threshold outside 1 to len(points).
    """
    if len(secret) != SECRET_BYTES:
        raise ParameterError(f"secrets of {SECRET_BYTES} bytes can be shared, not of {len(secret)}")
    if not 1 <= threshold <= len(points):
        raise ParameterError(f"a threshold of {threshold} does not fit {len(points)} points")
    _check_points(points)
    raw = rng.bytes(_COEFFICIENT_BYTES * (threshold - 1))
    drawn = range(0, len(raw), _COEFFICIENT_BYTES)
    falling = [int.from_bytes(raw[at : at + _COEFFICIENT_BYTES], "big") % PRIME for at in drawn]
    falling.append(int.from_bytes(secret.reveal(), "big"))
    blocks = [
        falling[at : at + _STEPS_BETWEEN_REDUCTIONS] for at in range(0, threshold, _STEPS_BETWEEN_REDUCTIONS)
    ]
    return tuple(Share(x, Secret(_evaluate(blocks, x).to_bytes(SHARE_BYTES, "big"))) for x in points)


def recover(shares: Sequence[Share], threshold: int) -> Secret:
    """Recover a secret from at least `threshold` shares; the first `threshold` by point are used.

    Raises `ParameterError` for too few shares, a repeated point, or shares that cannot come from one sharing.
    That they do fit is for the caller to check against what the secret's owner committed to.
    """
    if not 1 <= threshold <= len(shares):
        raise ParameterError(f"{len(shares)} shares cannot recover a secret of threshold {threshold}")
    by_point = {one.point: one.value for one in shares}
    if len(by_point) != len(shares):
        _check_points([one.point for one in shares])
    points = tuple(sorted(by_point)[:threshold])
    values = [int.from_bytes(by_point[x].reveal(), "big") for x in points]
    found = sum(map(mul, weights_at_zero(points), values)) % PRIME
    if found >> 8 * SECRET_BYTES:
        raise ParameterError(f"the shares at points {', '.join(map(str, points))} do not fit together")
    return Secret(found.to_bytes(SECRET_BYTES, "big"))


@lru_cache(maxsize=_CACHED_POINT_SETS)
def weights_at_zero(points: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights: f(0) = sum of weight_i f(x_i), for a polynomial of degree below len(points)."""
    _check_points(points)
    product = 1
    for x in points:
        product = product * x % PRIME
    weights = []
    for x in points:
        below = x
        for other in points:
            if other != x:
                below = below * (other - x) % PRIME
        weights.append(product * pow(below, -1, PRIME) % PRIME)
    return tuple(weights)


def _evaluate(blocks: Sequence[Sequence[int]], x: int) -> int:
    value = 0
    for block in blocks:
        for coefficient in block:
            value = value * x + coefficient
        value %= PRIME
    return value


def _check_points(points: Sequence[int]) -> None:
    for x in points:
        if not 1 <= x <= MAX_POINT:
            raise ParameterError(f"a share's point lies in 1 to {MAX_POINT}, not at {x}")
    if len(set(points)) != len(points):
        twice = next(x for x in points if points.count(x) > 1)
        raise ParameterError(f"point {twice} occurs twice among {len(points)}: each holder has its own")
