"""SEAL's serialisation (SEAL 4, native/src/seal/serialization.h): the few layouts that are read and written.

Only this process's SEAL ever sees them. What travels between parties are bare coefficients, checked before
they are wrapped here, so that no received byte reaches SEAL's parser as a length, a type or a compression.

SEAL compresses what it saves with Zstandard (RFC 8878). Coefficients of 60 bits in 64 cannot be compressed
enough to be worth it, and Zstandard then stores the content as it is; the frame is taken apart here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_HEADER: Final = struct.Struct("<HBBBBHQ")
_MAGIC: Final = 0xA15E
_UNCOMPRESSED: Final = 0
_ZSTANDARD: Final = 2
_FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_BLOCK_STORED: Final = 0
SEED_BYTES: Final = 64
_BLAKE2XB: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Version:
    """The version that this process's SEAL writes and accepts."""

    major: int
    minor: int

    @classmethod
    def of(cls, saved: bytes) -> Version:
        """Read the version from anything saved."""
        _, _, major, minor, _, _, _ = _HEADER.unpack_from(saved)
        return cls(major, minor)

    def header(self, body: int) -> bytes:
        """The header of an uncompressed body of so many bytes."""
        return _HEADER.pack(
            _MAGIC, _HEADER.size, self.major, self.minor, _UNCOMPRESSED, 0, _HEADER.size + body
        )

    def ciphertext(
        self, parms_id: list[int], degree: int, moduli: int, scale: float, stored: int, more: int = 0
    ) -> bytes:
        """What stands before the `stored` words of a ciphertext of two polynomials, and `more` bytes."""
        fixed = struct.pack("<4QBQQQdQ", *parms_id, 1, 2, degree, moduli, scale, 1)
        array = self._array(stored)
        return self.header(len(fixed) + len(array) + 8 * stored + more) + fixed + array

    def plaintext(self, parms_id: list[int], words: int) -> bytes:
        """What stands before the words of a plaintext (and so of a secret key)."""
        fixed = struct.pack("<4QQd", *parms_id, words, 1.0)
        array = self._array(words)
        return self.header(len(fixed) + len(array) + 8 * words) + fixed + array

    def seed(self, seed: bytes) -> bytes:
        """What follows a seeded ciphertext: the generator's kind (Blake2xb) and its 64-byte seed."""
        return self.header(1 + SEED_BYTES) + _BLAKE2XB + seed

    def _array(self, words: int) -> bytes:
        return self.header(8 + 8 * words) + struct.pack("<Q", words)


def body(saved: bytes) -> bytes | None:
    """The body of something saved, or None where Zstandard did compress it."""
    _, _, _, _, kind, _, _ = _HEADER.unpack_from(saved)
    frame = saved[_HEADER.size :]
    if kind == _UNCOMPRESSED:
        return frame
    if kind != _ZSTANDARD or frame[:4] != _FRAME_MAGIC:
        return None
    return _stored(frame)


def _stored(frame: bytes) -> bytes | None:
    descriptor = frame[4]
    single = descriptor >> 5 & 1
    content_bytes = (single, 2, 4, 8)[descriptor >> 6]
    at = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + content_bytes
    parts = []
    last = False
    while not last:
        head = int.from_bytes(frame[at : at + 3], "little")
        last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        if kind != _BLOCK_STORED or at + 3 + size > len(frame):
            return None
        parts.append(frame[at + 3 : at + 3 + size])
        at += 3 + size
    return b"".join(parts)
