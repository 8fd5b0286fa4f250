"""The negacyclic number-theoretic transform of degree 4096 modulo four primes at once, in whole numbers.

Sources: Longa and Naehrig (eprint 2016/504) for the order of the roots; Harvey (2014, arXiv 1205.2926) for products
with a precomputed quotient, whose results stay below 2 p. Without any reduction between the twelve layers a value that
begins below p stays below 25 p < 2^32, for which that product is right.

The last six layers work on a transposed copy, so that every NumPy call runs over at least 64 neighbouring numbers; what
comes out stands in that order, which only `inverse` needs to know.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.lattice.parameters import DEGREE, PRIMES

Words = npt.NDArray[np.uint64]
_SHIFT: Final = np.uint64(32)
_SIDE: Final = 64
_LAYERS: Final = 6
P: Final[Words] = np.array(PRIMES, np.uint64)
_TWICE: Final[Words] = 2 * P


class Factor:
    """Numbers to multiply with, below p, and their quotients floor(w 2^32 / p)."""

    __slots__ = ("quotient", "value")

    def __init__(self, value: Words, primes: Words) -> None:
        self.value: Words = np.ascontiguousarray(value)
        self.quotient: Words = np.ascontiguousarray((value << _SHIFT) // primes)


def times(x: Words, factor: Factor, primes: Words) -> Words:
    """x w mod p, below 2 p; x is below 2^32."""
    quotient = x * factor.quotient
    np.right_shift(quotient, _SHIFT, out=quotient)
    np.multiply(quotient, primes, out=quotient)
    product = x * factor.value
    np.subtract(product, quotient, out=product)
    return product


def reduced(x: Words, primes: Words) -> Words:
    """x mod p for x below 2^32."""
    found = times(x, Factor(np.ones_like(primes), primes), primes)
    return below(found, primes)


def below(x: Words, primes: Words) -> Words:
    """x mod p for x below 2 p, in place."""
    # Below p the subtraction wraps round to something larger.
    np.minimum(x, x - primes, out=x)
    return x


def columns(primes: Words, axes: int) -> Words:
    """One number a prime, shaped to stand before `axes` more axes."""
    return primes.reshape(primes.shape + (1,) * axes)


def _root(prime: int) -> int:
    """A primitive root of 1 of order 2 N."""
    for base in range(2, 100):
        found = pow(base, (prime - 1) // (2 * DEGREE), prime)
        if pow(found, DEGREE, prime) == prime - 1:
            return found
    raise ArithmeticError("no root")  # pragma: no cover


def _reversed(number: int) -> int:
    return int(f"{number:0{DEGREE.bit_length() - 1}b}"[::-1], 2)


def _tables() -> tuple[Words, Words]:
    """Powers of the roots in bit-reversed order, forward and inverse: shape (4, N)."""
    forward, backward = np.empty((2, len(PRIMES), DEGREE), np.uint64)
    order = [_reversed(number) for number in range(DEGREE)]
    for place, prime in enumerate(PRIMES):
        root = _root(prime)
        for table, base in ((forward, root), (backward, pow(root, -1, prime))):
            powers = [1]
            for _ in range(DEGREE - 1):
                powers.append(powers[-1] * base % prime)
            table[place] = [powers[number] for number in order]
    return forward, backward


def _layers(table: Words) -> list[Factor]:
    """Factors of the twelve layers, each shaped for the view that the layer works on."""
    found = []
    for layer in range(2 * _LAYERS):
        blocks = 1 << layer
        part = table[:, blocks : 2 * blocks]
        if layer < _LAYERS:
            shaped: Words = part.reshape(4, blocks, 1)
            axes = 2
        else:
            inner = blocks // _SIDE
            shaped = part.reshape(4, _SIDE, inner).swapaxes(1, 2).reshape(4, inner, 1, _SIDE)
            axes = 3
        found.append(Factor(shaped, columns(P, axes)))
    return found


_FORWARD, _BACKWARD = (_layers(table) for table in _tables())
_SCALE: Final = Factor(
    columns(np.array([pow(DEGREE, -1, prime) for prime in PRIMES], np.uint64), 1), columns(P, 1)
)


def forward(x: Words) -> Words:
    """Transform (rows, 4, N) coefficients below p; the result is below p."""
    rows = len(x)
    work = x.copy()
    for layer in range(_LAYERS):
        view = work.reshape(rows, 4, 1 << layer, 2, -1)
        _butterfly(view[:, :, :, 0], view[:, :, :, 1], _FORWARD[layer], 2)
    work = np.ascontiguousarray(work.reshape(rows, 4, _SIDE, _SIDE).swapaxes(2, 3))
    for layer in range(_LAYERS, 2 * _LAYERS):
        inner = 1 << layer - _LAYERS
        view = work.reshape(rows, 4, inner, 2, -1, _SIDE)
        _butterfly(view[:, :, :, 0], view[:, :, :, 1], _FORWARD[layer], 3)
    return reduced(work.reshape(rows, 4, DEGREE), columns(P, 1))


def inverse(x: Words) -> Words:
    """Transform back what `forward` gave: (rows, 4, N) coefficients below p."""
    rows = len(x)
    work = x.copy()
    for layer in reversed(range(_LAYERS, 2 * _LAYERS)):
        inner = 1 << layer - _LAYERS
        view = work.reshape(rows, 4, inner, 2, -1, _SIDE)
        _back(view[:, :, :, 0], view[:, :, :, 1], _BACKWARD[layer], 3)
    work = np.ascontiguousarray(work.reshape(rows, 4, _SIDE, _SIDE).swapaxes(2, 3))
    for layer in reversed(range(_LAYERS)):
        view = work.reshape(rows, 4, 1 << layer, 2, -1)
        _back(view[:, :, :, 0], view[:, :, :, 1], _BACKWARD[layer], 2)
    return below(times(work.reshape(rows, 4, DEGREE), _SCALE, columns(P, 1)), columns(P, 1))


def _butterfly(upper: Any, lower: Any, factor: Factor, axes: int) -> None:
    """(u, v) becomes (u + v w, u - v w), each larger by at most 2 p."""
    turned = times(lower, factor, columns(P, axes))
    np.subtract(upper, turned, out=lower)
    np.add(lower, columns(_TWICE, axes), out=lower)
    np.add(upper, turned, out=upper)


def _back(upper: Any, lower: Any, factor: Factor, axes: int) -> None:
    """(u, v) becomes (u + v, (u - v) w); both below 2 p before and after."""
    twice = columns(_TWICE, axes)
    apart = upper - lower
    np.add(apart, twice, out=apart)
    np.add(upper, lower, out=upper)
    np.minimum(upper, upper - twice, out=upper)
    lower[...] = times(apart, factor, columns(P, axes))
