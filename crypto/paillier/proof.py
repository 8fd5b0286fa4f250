"""A proof that a Paillier modulus is sound, by whoever knows its factors: n and phi(n) have no common divisor.

Source: Goldberg, Reyzin, Sagga and Baldimtsi, "Efficient noninteractive certification of RSA moduli and beyond",
ASIACRYPT 2019 (eprint 2018/1057), section 3.2: n-th roots of all hashed numbers exist only if gcd(n, phi(n)) is 1, and
only who knows the factors takes them. With no factor below 2^13, eleven roots leave 2^-143 to a cheat.
"""

from __future__ import annotations

import hashlib
from typing import Final

from silo.crypto import labels, powers
from silo.crypto.errors import ParameterError
from silo.crypto.paillier.keys import PrivateKey, PublicKey

ROOTS: Final = 11


def prove(private: PrivateKey) -> bytes:
    """The roots, each of the bytes of n, big-endian."""
    n = int(private.public.n)
    exponent = int(powers.inverse(n, private.order))
    return b"".join(
        int(powers.power(_challenge(private.public, place), exponent, n)).to_bytes(private.public.size, "big")
        for place in range(ROOTS)
    )


def verify(public: PublicKey, raw: bytes) -> None:
    """Raise `ParameterError` unless the proof holds."""
    size, n = public.size, int(public.n)
    if len(raw) != ROOTS * size:
        raise ParameterError(
            f"the proof of a key of {public.bits} bits has {ROOTS * size} bytes, not {len(raw)}"
        )
    for place in range(ROOTS):
        root = int.from_bytes(raw[place * size : (place + 1) * size], "big")
        if not 0 < root < n or int(powers.power(root, n, n)) != _challenge(public, place):
            raise ParameterError(
                "the proof does not hold: whoever sent this key does not know its factors, or it is bad"
            )


def _challenge(public: PublicKey, place: int) -> int:
    """A number below n that nobody chose; 128 bits more than n are hashed, so that it is uniform."""
    size = public.size + 16
    seed = labels.bind(labels.PAILLIER_PROOF, public.to_bytes(), place)
    return int.from_bytes(hashlib.shake_256(seed).digest(size), "big") % int(public.n)
