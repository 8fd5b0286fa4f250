"""Where randomness comes from: always an argument, never a global.

Protocols and schemes take `rng` as a keyword without default; only the session supplies `SystemRng`.
"""

from __future__ import annotations

import os
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class Rng(Protocol):
    """A source of uniform bytes."""

    def bytes(self, count: int, /) -> bytes:
        """Return `count` uniform bytes."""
        ...


class SystemRng:
    """The operating system's cryptographic generator."""

    __slots__ = ()

    def bytes(self, count: int, /) -> bytes:
        return os.urandom(count)


class InsecureSeededRng:
    """A reproducible stream for tests and vectors. It protects nothing."""

    __slots__ = ("_stream",)

    def __init__(self, seed: int) -> None:
        key = seed.to_bytes(16, "little")
        self._stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def bytes(self, count: int, /) -> bytes:
        return self._stream.update(bytes(count))
