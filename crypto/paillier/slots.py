"""Many words in one message: slots of exactly b bits, and above them a canary of 1 for each summand.

The protocol plans the words so that no sum of them reaches 2^b: slots never carry. The canary's 16 bits hold up to 1024
summands, and what a liar lets run over from the highest slot ends up in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto import packing
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.ring import Ring

CANARY_BITS: Final = 16


def slots(key_bits: int, bits: int) -> int:
    """Words in one message of a key of `key_bits`."""
    return (key_bits - 2 - CANARY_BITS) // bits


def messages(words: npt.NDArray[Any], key_bits: int, bits: int) -> Iterator[int]:
    """The words as messages; the last one is filled up with zeros. Raises `ParameterError`."""
    ring, each = Ring.of(bits), slots(key_bits, bits)
    if words.dtype != ring.dtype or words.ndim != 1:
        raise ParameterError(f"words of {bits} bits are carried in {ring.dtype}, not in {words.dtype}")
    if words.size and int(words.max()) > ring.mask:
        raise ParameterError(f"a word is beyond {bits} bits: reduce the words before")
    packed = packing.pack(words.copy(), ring)
    step, canary = each * ring.wire_bytes, 1 << each * bits
    for at in range(0, len(packed), step):
        yield int.from_bytes(packed[at : at + step], "little") | canary


def words(found: Sequence[int], key_bits: int, bits: int, count: int, summands: int) -> npt.NDArray[Any]:
    """The words of a sum. Raises `DecryptionFailed` unless each message counts `summands`."""
    ring, each = Ring.of(bits), slots(key_bits, bits)
    size, low = each * ring.wire_bytes, (1 << each * bits) - 1
    raw = bytearray()
    for message in found:
        if message >> each * bits != summands:
            raise DecryptionFailed(
                f"the encrypted sum does not count the {summands} summands that were announced"
            )
        raw += (message & low).to_bytes(size, "little")
    used = count * ring.wire_bytes
    if any(raw[used:]):
        raise DecryptionFailed("the encrypted sum has values behind its end")
    return np.asarray(packing.unpack(memoryview(raw)[:used], ring, count))
