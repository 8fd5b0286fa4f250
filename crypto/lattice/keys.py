"""Parts of a key: each member's secret s_i with b_i = e_i - a s_i, and their sum, under which everybody encrypts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np

from silo.crypto.errors import ParameterError, refuse_pickle
from silo.crypto.lattice import ntt, residues, sampling
from silo.crypto.lattice.ntt import Factor, P, Words, columns
from silo.crypto.prg import Keystream
from silo.crypto.secret import Secret

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = residues.POLYNOMIAL_BYTES
MAX_PARTS: Final = 1024


def expand(seed: bytes) -> Words:
    """The polynomial that all parts share, from 32 public bytes; transformed."""
    return sampling.uniform(Keystream(Secret(seed)))


@final
class KeyShare:
    """One member's part. Everything in it comes from a seed of 32 bytes, so that sharing the seed shares the part."""

    __slots__ = ("public", "secret")

    def __init__(self, secret: Factor, public: bytes) -> None:
        self.secret, self.public = secret, public

    @classmethod
    def from_seed(cls, seed: Secret, common: Words) -> KeyShare:
        """The part of a seed, beside the common polynomial of `expand`."""
        if len(seed) != SEED_BYTES:
            raise ParameterError(f"the seed of a part has {SEED_BYTES} bytes, not {len(seed)}")
        stream = Keystream(seed)
        primes = columns(P, 1)
        secret = ntt.forward(sampling.residues(sampling.ternary(1, stream)))
        error = ntt.forward(sampling.residues(sampling.errors(1, stream)))
        factor = Factor(secret, primes)
        found = ntt.below(error + primes - ntt.below(ntt.times(common, factor, primes), primes), primes)
        raw = np.empty(PUBLIC_BYTES, np.uint8)
        residues.pack(found, raw)
        return cls(factor, raw.tobytes())

    def __repr__(self) -> str:
        return "KeyShare(redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


@final
class PublicKey:
    """The sum of all parts, and the common polynomial."""

    __slots__ = ("common", "joint")

    def __init__(self, common: Words, joint: Words) -> None:
        self.common, self.joint = Factor(common, columns(P, 1)), Factor(joint, columns(P, 1))


def check_public(raw: bytes) -> None:
    """Refuse bytes that are no part of a key. Raises `ParameterError`."""
    residues.unpack(raw, 1)


def combine(common: Words, parts: Sequence[bytes]) -> PublicKey:
    """The joint key of all parts. Raises `ParameterError`."""
    if not 1 <= len(parts) <= MAX_PARTS:
        raise ParameterError(f"a joint key has 1 to {MAX_PARTS} parts, not {len(parts)}")
    joint = residues.unpack(parts[0], 1)
    for part in parts[1:]:
        joint = ntt.below(joint + residues.unpack(part, 1), columns(P, 1))
    return PublicKey(common, joint)
