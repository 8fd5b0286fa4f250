"""Keys and ciphertexts to and from python-paillier, whose n and generator n + 1 are the same.

This is the only file that imports `phe`, which is under the GPL and an extra of its own. Its numbers carry an exponent
in clear, which tells how large they are: only raw ciphertexts of whole numbers are taken over.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

from silo.crypto.errors import ParameterError
from silo.crypto.paillier import keys
from silo.crypto.paillier.keys import PrivateKey, PublicKey
from silo.crypto.rng import Rng


def _phe() -> Any:
    try:
        return import_module("phe")
    except ModuleNotFoundError:
        raise ParameterError(
            "the exchange with python-paillier needs it: run `pip install '.[phe]'` in Silo's source folder"
        ) from None


def public_to_phe(public: PublicKey) -> Any:
    """The same key as a phe.PaillierPublicKey."""
    return _phe().PaillierPublicKey(int(public.n))


def private_to_phe(private: PrivateKey) -> Any:
    """The same key as a phe.PaillierPrivateKey."""
    return _phe().PaillierPrivateKey(public_to_phe(private.public), int(private.p), int(private.q))


def private_from_phe(private: Any, *, rng: Rng) -> PrivateKey:
    """Take over a key, with a base of our own. Raises `ParameterError` for factors that are not 3 mod 4, as here.

    Three keys of four that phe makes have other factors.
    """
    p, q = int(private.p), int(private.q)
    if p % 4 != 3 or q % 4 != 3 or not keys.fit(p, q):
        raise ParameterError(
            "a key of python-paillier can be taken over if both factors are 3 mod 4: make another with it, or here"
        )
    return keys.with_factors(p, q, rng=rng)


def to_phe(ciphertext: int, public: PublicKey) -> Any:
    """A ciphertext of a whole number as a phe.EncryptedNumber. Raises `ParameterError`."""
    _require(ciphertext, public)
    return _phe().EncryptedNumber(public_to_phe(public), int(ciphertext), 0)


def from_phe(number: Any, public: PublicKey) -> int:
    """The ciphertext of a phe.EncryptedNumber of a whole number. Raises `ParameterError`."""
    if int(number.public_key.n) != int(public.n):
        raise ParameterError("the number of python-paillier is under another key")
    if number.exponent != 0:
        raise ParameterError(
            f"the number of python-paillier has the exponent {number.exponent}: encrypt whole numbers (precision=1)"
        )
    found = int(number.ciphertext(be_secure=True))
    _require(found, public)
    return found


def _require(ciphertext: int, public: PublicKey) -> None:
    if not 0 < ciphertext < public.square:
        raise ParameterError("a ciphertext is not between 0 and n^2")
    if math.gcd(int(ciphertext), int(public.n)) != 1:
        raise ParameterError("a ciphertext shares a factor with n: it is none")
