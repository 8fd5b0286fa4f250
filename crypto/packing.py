"""Ring words on the wire: exactly b bits each, little-endian, without a second copy of the vector.

Byte k of word j is byte j b/8 + k of the buffer. Rings of 16 and 32 bits travel as they lie in memory; 24 and
40 bits are the low 3 of 4 and 5 of 8 bytes, moved together inside the buffer of the words, chunk by chunk.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.ring import CHUNK_WORDS, Ring

Buffer = bytes | bytearray | memoryview

# 3 = 2 + 1 and 5 = 4 + 1 bytes: two strided copies of machine words are faster than bytes one by one.
_HALVES: Final[dict[int, dict[str, Any]]] = {
    3: {"names": ["low", "high"], "formats": ["<u2", "u1"], "offsets": [0, 2]},
    5: {"names": ["low", "high"], "formats": ["<u4", "u1"], "offsets": [0, 4]},
}


def pack(words: npt.NDArray[Any], ring: Ring) -> memoryview:
    """Pack words mod 2^b in place; what comes back is the front of their own buffer, and they are used up.

    Raises `ParameterError` for words that are not contiguous, not writable or of another dtype.
    """
    _require_words(words, ring)
    if not (words.flags.c_contiguous and words.flags.writeable):
        raise ParameterError("words are packed inside their own buffer: it must be contiguous and writable")
    wide, narrow = ring.dtype.itemsize, ring.wire_bytes
    raw = words.view(np.uint8)
    if wide != narrow:
        # By way of a chunk of scratch, so that nothing is overwritten before it was read.
        scratch = np.empty(min(len(words), CHUNK_WORDS) * narrow, np.uint8)
        for at in range(0, len(words), CHUNK_WORDS):
            piece = words[at : at + CHUNK_WORDS]
            packed = scratch[: len(piece) * narrow]
            _move(piece, wide, packed, narrow)
            raw[at * narrow : at * narrow + len(packed)] = packed
    return raw[: len(words) * narrow].data


def unpack(buffer: Buffer, ring: Ring, count: int) -> npt.NDArray[Any]:
    """Read `count` words into a new array. Raises `ParameterError` for a buffer of another length."""
    words = np.zeros(_require_length(buffer, ring, count), ring.dtype)
    add_packed(words, buffer, ring)
    return words


def add_packed(acc: npt.NDArray[Any], buffer: Buffer, ring: Ring) -> None:
    """Add packed words to `acc` in place. Raises `ParameterError` for a buffer of another length."""
    _require_words(acc, ring)
    _require_length(buffer, ring, len(acc))
    wide, narrow = ring.dtype.itemsize, ring.wire_bytes
    if wide == narrow:
        np.add(acc, np.frombuffer(buffer, ring.dtype), out=acc)
        return
    packed = np.frombuffer(buffer, np.uint8)
    scratch = np.zeros(min(len(acc), CHUNK_WORDS), ring.dtype)
    for at in range(0, len(acc), CHUNK_WORDS):
        piece = acc[at : at + CHUNK_WORDS]
        words = scratch[: len(piece)]
        _move(packed[at * narrow : (at + len(piece)) * narrow], narrow, words, wide)
        np.add(piece, words, out=piece)


def _move(source: npt.NDArray[Any], from_bytes: int, target: npt.NDArray[Any], to_bytes: int) -> None:
    """Copy the low b bits of words that lie `from_bytes` apart to places `to_bytes` apart, in two halves."""
    halves = _HALVES[min(from_bytes, to_bytes)]
    old = source.view(_record(halves, from_bytes))
    new = target.view(_record(halves, to_bytes))
    new["low"] = old["low"]
    new["high"] = old["high"]


def _record(halves: dict[str, Any], size: int) -> np.dtype[Any]:
    layout: Any = {**halves, "itemsize": size}
    record: np.dtype[Any] = np.dtype(layout)
    return record


def _require_words(words: npt.NDArray[Any], ring: Ring) -> None:
    if words.dtype != ring.dtype or words.ndim != 1:
        raise ParameterError(
            f"words of {ring.bits} bits lie in a row of {ring.dtype}, not in {words.ndim}-d {words.dtype}"
        )


def _require_length(buffer: Buffer, ring: Ring, count: int) -> int:
    wanted = count * ring.wire_bytes
    if count < 0 or memoryview(buffer).nbytes != wanted:
        raise ParameterError(
            f"{count} words of {ring.bits} bits are {wanted} bytes, not {memoryview(buffer).nbytes}"
        )
    return count
