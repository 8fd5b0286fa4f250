"""The group ristretto255 (RFC 9496), through libsodium: hash to the group, and secret exponents over lists of points.

Security: 126 bits against discrete logarithms. Points travel as their 32 canonical bytes; libsodium refuses every other
string, and an exponent refuses the identity, so that what was received needs no other check. Time does not depend on
exponents or points. Nothing here is hidden from who asks often: an identifier that can be guessed can be tested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, Final, final

from silo.crypto.errors import ParameterError, refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

Points = bytes | bytearray | memoryview

POINT_BYTES: Final = 32
_BATCH: Final = 1024
"""Points that a thread takes at once: 50 milliseconds."""


class NotAPoint(ParameterError):
    """Bytes that are no point, or the identity; `index` is their place in the list."""

    code = "SILO-107"

    def __init__(self, index: int) -> None:
        self.index = index
        super().__init__(f"entry {index} is no point of the group, or its identity")


def _library() -> Any:
    return import_module("rbcl")  # the extra `vertical`


def hash_to_group(prefix: bytes, items: Sequence[bytes]) -> list[bytes]:
    """Map each item to a point: the one-way map of RFC 9496 of SHA-512(prefix || item).

    `prefix` is a label that no other is the beginning of (`labels.bind`), so that points of one use mean nothing in
    another.
    """
    one_way = _library().crypto_core_ristretto255_from_hash
    begun = hashlib.sha512(prefix)
    found = []
    for item in items:
        hashed = begun.copy()
        hashed.update(item)
        found.append(one_way(hashed.digest()))
    return found


@final
class Exponent:
    """A secret exponent. Commutes: a list raised by two exponents is the same in either order."""

    __slots__ = ("_scalar",)

    def __init__(self, scalar: Secret) -> None:
        if len(scalar) != POINT_BYTES or scalar == Secret(bytes(POINT_BYTES)):
            raise ParameterError("an exponent is 32 bytes, reduced by the order of the group, and not zero")
        self._scalar = scalar

    @classmethod
    def random(cls, *, rng: Rng) -> Exponent:
        """Draw one: 64 bytes reduced by the order, off uniform by less than 2^-250."""
        return cls(Secret(_library().crypto_core_ristretto255_scalar_reduce(rng.bytes(64))))

    def inverse(self) -> Exponent:
        """The exponent that undoes this one."""
        return Exponent(Secret(_library().crypto_core_ristretto255_scalar_invert(self._scalar.reveal())))

    def raise_items(self, prefix: bytes, items: Sequence[bytes], *, threads: int = 1) -> bytes:
        """Hash items to the group and raise them; 32 bytes each, in their order."""
        return self._over(len(items), lambda at, upto: hash_to_group(prefix, items[at:upto]), threads)

    def raise_points(self, points: Points, *, threads: int = 1) -> bytes:
        """Raise points that were received. Raises `ParameterError` for a wrong length, and `NotAPoint`."""
        if len(points) % POINT_BYTES:
            raise ParameterError(f"{len(points)} bytes are no whole number of points of {POINT_BYTES} bytes")
        raw = bytes(points)

        def cut(at: int, upto: int) -> list[bytes]:
            return [raw[place : place + POINT_BYTES] for place in range(at * 32, upto * 32, POINT_BYTES)]

        return self._over(len(raw) // POINT_BYTES, cut, threads)

    def _over(self, count: int, points: Callable[[int, int], list[bytes]], threads: int) -> bytes:
        multiply = _library().crypto_scalarmult_ristretto255
        scalar = self._scalar.reveal()

        def work(at: int) -> bytes:
            upto, found = min(at + _BATCH, count), []
            for point in points(at, upto):
                try:
                    found.append(multiply(scalar, point))
                except RuntimeError:
                    raise NotAPoint(at + len(found)) from None
            return b"".join(found)

        starts = range(0, count, _BATCH)
        if threads > 1 and len(starts) > 1:
            with ThreadPoolExecutor(threads) as pool:
                return b"".join(pool.map(work, starts))
        return b"".join(map(work, starts))

    def __repr__(self) -> str:
        return "Exponent(redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)
