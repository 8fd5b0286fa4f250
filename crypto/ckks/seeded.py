"""Half the bytes where the sender holds the private key: the second polynomial is uniform, so its seed travels.

The seed is SEAL's: 64 bytes for Blake2xb, fresh for each ciphertext. A payload is, per ciphertext, the seed and
the first polynomial. Whoever adds it up expands it before; any seed expands to some polynomial, and one that
was not drawn honestly harms its sender alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from silo.crypto.ckks import vector
from silo.crypto.ckks.keys import PrivateKey, PublicKey
from silo.crypto.ckks.parameters import CkksSet, Layout
from silo.crypto.ckks.scratch import Scratch
from silo.crypto.ckks.seal import Words, engine
from silo.crypto.ckks.stream import SEED_BYTES
from silo.crypto.errors import ParameterError
from silo.crypto.rng import Rng


def payload_bytes(public: PublicKey, count: int, bits: int) -> int:
    """Bytes of a seeded vector of `count` words. Raises `ParameterError` for bits of no use."""
    return Layout(count, bits, public.chosen).ciphertexts * _block(public.chosen)


def encrypt(words: npt.NDArray[Any], private: PrivateKey, bits: int, *, rng: Rng) -> bytes:
    """Encrypt words as `vector.encrypt` does, under the private key; `rng` is not read either."""
    layout = Layout(words.size, bits, private.chosen)
    places = vector.to_places(words, layout)
    first = np.empty(layout.chosen.degree, dtype=np.uint64)
    seal = engine(layout.chosen)
    parts = []
    with Scratch() as scratch:
        key = seal.symmetric_encryptor(private.reveal(), scratch)
        for values in places:
            parts.append(
                seal.encrypt_seeded(key, vector.to_slots(values, layout), layout.scale, scratch, first)
            )
            parts.append(first.astype("<u8", copy=False).tobytes())
    return b"".join(parts)


def expand(payload: vector.Payload, public: PublicKey, count: int, bits: int) -> memoryview:
    """Write a seeded payload in full, as `vector.Sum` takes it.

    Raises `ParameterError` for another length or a coefficient beyond the modulus.
    """
    layout = Layout(count, bits, public.chosen)
    if len(payload) != payload_bytes(public, count, bits):
        raise ParameterError(
            f"{count} words of {bits} bits take {payload_bytes(public, count, bits)} bytes with seeds, "
            f"not {len(payload)}"
        )
    blocks = np.frombuffer(payload, dtype=np.uint8).reshape(layout.ciphertexts, _block(layout.chosen))
    first: Words = blocks[:, SEED_BYTES:].copy().view("<u8")
    if first.size and int(first.max()) >= layout.chosen.modulus:
        raise ParameterError("a ciphertext is not of these parameters: a coefficient is beyond the modulus")
    out = np.empty((layout.ciphertexts, 2, layout.chosen.degree), dtype=np.uint64)
    seal = engine(layout.chosen)
    with Scratch() as scratch:
        for block, words, ciphertext in zip(blocks, first, out, strict=True):
            seal.expand(words, block[:SEED_BYTES].tobytes(), scratch, ciphertext)
    return vector.to_bytes(out)


def _block(chosen: CkksSet) -> int:
    return SEED_BYTES + 8 * chosen.degree
