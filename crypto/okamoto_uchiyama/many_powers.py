"""Thousands of random powers of one base: a digit of all of them is looked up before the next digit.

So the table's part for one digit stays in the processor's cache, where one power after the other goes through the whole
table each time: measured, a quarter to a third less time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, final

import numpy as np

from silo.crypto.paillier import fixed_base
from silo.crypto.prg import Keystream
from silo.crypto.secret import Secret

_TOGETHER: Final = 4096
"""Powers that are made together, by measurement."""


@final
class Table(fixed_base.Table):
    """A table of powers, as `fixed_base` makes it, that is read digit by digit."""

    __slots__ = ()

    def random_powers(self, count: int, seed: Secret) -> Iterator[Any]:
        """`count` powers with uniform exponents, drawn from a seed of 32 bytes; the same as one by one."""
        stream, modulus = Keystream(seed), self._modulus
        for at in range(0, count, _TOGETHER):
            drawn = np.empty((min(_TOGETHER, count - at), self.digits), np.uint16)
            stream.fill(drawn)
            drawn &= (1 << fixed_base.WINDOW) - 1
            digits = drawn.T.tolist()
            column = self._columns[0]
            found = [column[digit] for digit in digits[0]]
            for column, row in zip(self._columns[1:], digits[1:], strict=True):
                found = [one * column[digit] % modulus for one, digit in zip(found, row, strict=True)]
            yield from found


def made(base: int, modulus: int, bits: int) -> Table:
    """The table of a base for exponents of at least so many bits."""
    return Table(base, modulus, -(-bits // fixed_base.WINDOW))


@lru_cache(maxsize=4)
def table(base: int, modulus: int, bits: int) -> Table:
    """The same, kept in this process as long as it runs: for bases and moduli that are no secret."""
    return made(base, modulus, bits)
