"""A tag in front of the words that says, after the decryption, that a sum is the sum of just these inputs.

t_i = sum_j r_j u_ij + s_i mod 2^61 - 1, with r and s_i from a key that the members of a round share and the aggregator
lacks. Tags add up as the words do (a homomorphic authenticator: Agrawal and Boneh, ACNS 2009). Without the key any
other combination of ciphertexts passes with a chance of 2^-61, whatever the inputs are: even a refusal tells nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto import labels
from silo.crypto.keys import derive
from silo.crypto.prg import Keystream
from silo.crypto.secret import Secret

PRIME: Final = 2**61 - 1
_CHUNK: Final = 8192
"""Products of 20 by 31 bits: so many stay below 2^64."""
_LOW, _HIGH = np.uint64(20), np.uint64(31)


def of(words: npt.NDArray[Any], key: Secret, name: str) -> int:
    """The tag of one member's words, each below 2^40."""
    return (_weighed(words, key) + _own(key, name)) % PRIME


def expected(sums: npt.NDArray[Any], key: Secret, names: Collection[str]) -> int:
    """What the tags of these members add up to, modulo 2^61 - 1, when `sums` are those of their words."""
    return (_weighed(sums, key) + sum(_own(key, name) for name in names)) % PRIME


def _own(key: Secret, name: str) -> int:
    raw = derive(key, labels.bind(labels.SUM_CHECK, name)).reveal()
    return int.from_bytes(raw[:16], "little") % PRIME


def _weighed(words: npt.NDArray[Any], key: Secret) -> int:
    stream = Keystream(derive(key, labels.bind(labels.SUM_CHECK)))
    factors, total = np.empty(_CHUNK, np.uint64), 0
    for at in range(0, len(words), _CHUNK):
        piece = words[at : at + _CHUNK].astype(np.uint64)
        stream.fill(factors)
        r = (factors & np.uint64(PRIME))[: len(piece)]
        u = np.stack([piece & np.uint64((1 << 20) - 1), piece >> _LOW])
        (low, middle), (third, high) = (u @ np.stack([r & np.uint64((1 << 31) - 1), r >> _HIGH]).T).tolist()
        total += low + (middle << 31) + (third << 20) + (high << 51)
    return total % PRIME
