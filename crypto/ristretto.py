"""The group ristretto255 (RFC 9496), through libsodium: hash to the group, and secret exponents over lists of points.

Security: 125 bits against discrete logarithms. Points travel as their 32 canonical bytes; libsodium refuses every other
string, and an exponent refuses the identity, so that what was received needs no other check. Time does not depend on
exponents, nor on points that items hash to; of points that were received u (below) is worked out in Python, whose time
may. Nothing here is hidden from who asks often: an identifier that can be guessed can be tested.

The last exponent of a point that is only compared is applied on Curve25519 (RFC 7748), where it costs a third less. A
point is encoded by the s of a pair (s, t) with t^2 = s^4 + 486662 s^2 + 1 (RFC 9496; Hamburg, Decaf, CRYPTO 2015).
Divided by s^6 that is v^2 = u^3 + 486662 u^2 + u with u = 1 / s^2 and v = t / s^3: the curve, and a map to it that
keeps sums and loses points of small order only. Exponents are multiples of 8, which clear these. u is the same for a
point and its negative, and no two items hash to such a pair but by chance.
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
_IDENTITY: Final = bytes(POINT_BYTES)
_P: Final = 2**255 - 19
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


def _ladder() -> Callable[[bytes, bytes], bytes]:
    # X25519 as libsodium does it, which lets other threads run; the extra `vertical`.
    found: Callable[[bytes, bytes], bytes] = import_module("nacl.bindings").crypto_scalarmult
    return found


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

    __slots__ = ("_clamped", "_scalar")

    def __init__(self, scalar: Secret, clamped: Secret | None = None) -> None:
        if len(scalar) != POINT_BYTES or scalar == Secret(bytes(POINT_BYTES)):
            raise ParameterError("an exponent is 32 bytes, reduced by the order of the group, and not zero")
        self._scalar, self._clamped = scalar, clamped

    @classmethod
    def random(cls, *, rng: Rng) -> Exponent:
        """Draw one as RFC 7748 does: one of 2^251 multiples of 8, which the order of the group tells apart."""
        drawn = bytearray(rng.bytes(POINT_BYTES))
        drawn[0] &= 0b11111000
        drawn[-1] = drawn[-1] & 0b01111111 | 0b01000000
        reduced = _library().crypto_core_ristretto255_scalar_reduce(bytes(drawn) + bytes(POINT_BYTES))
        return cls(Secret(reduced), Secret(bytes(drawn)))

    def inverse(self) -> Exponent:
        """The exponent that undoes this one."""
        return Exponent(Secret(_library().crypto_core_ristretto255_scalar_invert(self._scalar.reveal())))

    def raise_items(self, prefix: bytes, items: Sequence[bytes], *, threads: int = 1) -> bytes:
        """Hash items to the group and raise them; 32 bytes each, in their order."""
        return self._over(len(items), lambda at, upto: hash_to_group(prefix, items[at:upto]), threads)

    def raise_points(self, points: Points, *, threads: int = 1) -> bytes:
        """Raise points that were received. Raises `ParameterError` for a wrong length, and `NotAPoint`."""
        count, cut = _cut(points)
        return self._over(count, cut, threads)

    def raise_last(self, points: Points, *, threads: int = 1) -> bytes:
        """Raise received points for the last time, to be compared: 32 bytes each, which are no points.

        Two exponents give the same, whichever of them was drawn (`random`) to be last. Raises as `raise_points`.
        """
        if self._clamped is None:
            raise ParameterError("only an exponent that was drawn can be the last one")
        count, cut = _cut(points)
        exponent, climb = self._clamped.reveal(), _ladder()

        def work(at: int) -> bytes:
            return b"".join(climb(exponent, u) for u in _u_of(cut(at, min(at + _BATCH, count)), at))

        return _in_batches(work, count, threads)

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

        return _in_batches(work, count, threads)

    def __repr__(self) -> str:
        return "Exponent(redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def _cut(points: Points) -> tuple[int, Callable[[int, int], list[bytes]]]:
    """How many points there are, and what gives some of them."""
    if len(points) % POINT_BYTES:
        raise ParameterError(f"{len(points)} bytes are no whole number of points of {POINT_BYTES} bytes")
    raw = bytes(points)

    def cut(at: int, upto: int) -> list[bytes]:
        return [
            raw[place : place + POINT_BYTES]
            for place in range(at * POINT_BYTES, upto * POINT_BYTES, POINT_BYTES)
        ]

    return len(raw) // POINT_BYTES, cut


def _in_batches(work: Callable[[int], bytes], count: int, threads: int) -> bytes:
    starts = range(0, count, _BATCH)
    if threads > 1 and len(starts) > 1:
        with ThreadPoolExecutor(threads) as pool:
            return b"".join(pool.map(work, starts))
    return b"".join(map(work, starts))


def _u_of(points: list[bytes], first: int) -> list[bytes]:
    """u = 1 / s^2 of each, with one inversion for all (Montgomery's trick). Raises `NotAPoint`."""
    is_point = _library().crypto_core_ristretto255_is_valid_point
    squares, products, product = [], [], 1
    for place, point in enumerate(points):
        if not is_point(point) or point == _IDENTITY:
            raise NotAPoint(first + place)
        s = int.from_bytes(point, "little")
        square = s * s % _P
        squares.append(square)
        products.append(product)
        product = product * square % _P
    rest, found = pow(product, -1, _P), []
    for square, before in zip(reversed(squares), reversed(products), strict=True):
        found.append((rest * before % _P).to_bytes(POINT_BYTES, "little"))
        rest = rest * square % _P
    return found[::-1]
