"""Skellam probabilities in whole numbers: e^-x I_n(x), where I is the modified Bessel function and x the variance.

`masses` holds all of them for a small variance. It runs the recurrence I_(n-1) = I_(n+1) + (2n/x) I_n downwards
from far out in the tail (Miller's way): every term is positive, so nothing cancels, and what was wrong at the start
dies out. Their sum is e^x, which leaves nothing else to compute.

`Decay` gives any I_n(x) / I_0(x) for a large variance, by Debye's expansion (NIST DLMF 10.41.3) as power series in
y = (n/x)^2. With s = sqrt(n^2 + x^2):

    ln I_n(x) = s - n asinh(n/x) - ln(2 pi s)/2 + ln(1 + U_1/n + U_2/n^2 + ...)

U_k/n^k is x^-k times a power series in y. The terms kept leave out x^-6 and y^13 x, both below 2^-115 in the range.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Final

FIXED_BITS: Final = 256
"""Binary places of what `Decay` returns."""
LEAST_WIDE: Final = 2.0**20
"""The smallest variance that `Decay` is accurate for, to 2^-110."""
REACH: Final = 12.5
"""Standard deviations up to which `Decay` is accurate; 2^-112 of the mass lies beyond."""

_START_BITS: Final = 160
_FARTHEST: Final = 1 << 15
_ORDERS: Final = 5
_TERMS: Final = 13
_SQUARINGS: Final = 8
_GUARD: Final = 32

Series = list[Fraction]


def masses(variance: float) -> list[int]:
    """Return whole numbers in the ratio p_0 : p_1 : ... for a variance up to 2^20; the tail cut is below 2^-160."""
    top, bottom = variance.as_integer_ratio()
    last = bisect_left(range(_FARTHEST), _START_BITS * math.log(2), lo=1, key=lambda n: _rarity(n, variance))
    ahead, here = 0, 1 << _START_BITS
    found = [here]
    for n in range(last, 0, -1):
        ahead, here = here, ahead + 2 * n * bottom * here // top
        found.append(here)
    found.reverse()
    return found


def _rarity(n: int, variance: float) -> float:
    """Chernoff: P(X >= n) <= e^-rarity."""
    return n * math.asinh(n / variance) - n * n / (math.hypot(n, variance) + variance)


class Decay:
    """I_n(variance) / I_0(variance), for a variance of 2^20 or more and n up to 12.5 standard deviations."""

    __slots__ = ("_bottom", "_coefficients", "_top")

    def __init__(self, variance: float) -> None:
        top, bottom = variance.as_integer_ratio()
        self._top, self._bottom = top * top, bottom * bottom
        leading, *corrections = _expansion()
        exact = [Fraction(variance) * term for term in leading]
        for k, series in enumerate(corrections):
            power = Fraction(variance) ** -k
            exact = [a + power * b for a, b in zip(exact, series, strict=True)]
        self._coefficients = [math.floor(term * 2**FIXED_BITS) for term in reversed(exact[1:])]

    def at(self, n: int) -> int:
        """Return the ratio for n >= 0, times 2^256, rounded down."""
        y = (n * n * self._bottom << FIXED_BITS) // self._top
        log = 0
        for coefficient in self._coefficients:
            log = ((log + coefficient) * y) >> FIXED_BITS
        return _exp(log)


def _exp(log: int) -> int:
    """Return e^log for log <= 0; both are times 2^256."""
    halvings, rest = divmod(-log, _ln2())
    bits = FIXED_BITS + _GUARD
    small = (rest << _GUARD) >> _SQUARINGS
    term = total = 1 << bits
    k = 0
    while term:
        k += 1
        term = ((term * small) >> bits) // k
        total += -term if k % 2 else term
    for _ in range(_SQUARINGS):
        total = (total * total) >> bits
    return total >> (_GUARD + halvings)


@cache
def _ln2() -> int:
    bits = FIXED_BITS + _GUARD
    return sum((1 << bits) // (k << k) for k in range(1, bits)) >> _GUARD


@cache
def _expansion() -> list[Series]:
    """Power series in y of ln I_n(x) - ln I_0(x): the factors of x, 1, x^-1, x^-2, ... (of y^0 they are not used)."""
    # s - n asinh(n/x) - x = -x (the integral of asinh from 0 to n/x).
    leading = [Fraction(0)] + [
        Fraction(-((-1) ** k) * math.comb(2 * k, k), 4**k * (2 * k + 1) * (2 * k + 2))
        for k in range(_TERMS - 1)
    ]
    # -ln(s/x)/2 = -ln(1 + y)/4.
    root = [Fraction(0)] + [Fraction((-1) ** k, 4 * k) for k in range(1, _TERMS)]
    terms = [_in_y(k, polynomial) for k, polynomial in enumerate(_debye())][1:]
    logs: list[Series] = []
    for k, term in enumerate(terms, 1):
        # The logarithm of 1 + sum of terms[k] x^-k, order by order.
        lower = [_times(logs[i - 1], terms[k - i - 1], Fraction(-i, k)) for i in range(1, k)]
        logs.append([sum(column, Fraction(0)) for column in zip(term, *lower, strict=True)])
    return [leading, root, *logs]


def _debye() -> list[dict[int, Fraction]]:
    """The polynomials U_0, ..., U_5 of DLMF 10.41.9, as {power: coefficient}."""
    found = [{0: Fraction(1)}]
    for _ in range(_ORDERS):
        step: dict[int, Fraction] = {}
        for m, c in found[-1].items():
            step[m + 1] = step.get(m + 1, Fraction(0)) + c * (Fraction(m, 2) + Fraction(1, 8 * (m + 1)))
            step[m + 3] = step.get(m + 3, Fraction(0)) - c * (Fraction(m, 2) + Fraction(5, 8 * (m + 3)))
        found.append(step)
    return found


def _in_y(k: int, polynomial: dict[int, Fraction]) -> Series:
    """Write x^k U_k(p)/n^k in y, where p = n/s: a term c p^m is c y^i (1 + y)^-(i + k/2) for m = k + 2i."""
    out = [Fraction(0)] * _TERMS
    for m, c in polynomial.items():
        i = (m - k) // 2
        factor = c
        for j in range(i, _TERMS):
            out[j] += factor
            factor *= -(i + Fraction(k, 2) + (j - i)) / (j - i + 1)
    return out


def _times(a: Sequence[Fraction], b: Sequence[Fraction], factor: Fraction) -> Series:
    return [factor * sum((a[i] * b[j - i] for i in range(j + 1)), Fraction(0)) for j in range(_TERMS)]
