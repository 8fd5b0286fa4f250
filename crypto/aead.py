"""Authenticated encryption: AES-256-GCM (NIST SP 800-38D) with a 96-bit nonce and a 128-bit tag.

Two forms. `seal` puts a random nonce in front: for keys that seal few messages; 2^32 under one key keep the
chance of a repeated nonce below 2^-32. `SealingChannel` counts instead: the nonce is not sent, so a message
that is lost, repeated or out of order does not open. GCM does not commit to its key: nobody may conclude from
a ciphertext that opens that no other key opens it.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from silo.crypto.errors import DecryptionFailed, ParameterError, UsageError, refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
OVERHEAD: Final = NONCE_BYTES + TAG_BYTES
"""How much longer `seal` makes a message; a channel adds only TAG_BYTES."""
LONGEST: Final = 2**31 - 1 - OVERHEAD
_LAST: Final = 2**64 - 1


def seal(key: Secret, plaintext: bytes, associated: bytes, *, rng: Rng) -> bytes:
    """Encrypt: nonce || ciphertext || tag. Raises `ParameterError` for a bad key or 2 GiB and more."""
    nonce = rng.bytes(NONCE_BYTES)
    return nonce + _encrypt(_cipher(key), nonce, plaintext, associated)


def unseal(key: Secret, ciphertext: bytes, associated: bytes) -> bytes:
    """Decrypt what `seal` made. Raises `DecryptionFailed`; the reason is not told."""
    cipher = _cipher(key)
    if len(ciphertext) < OVERHEAD:
        raise DecryptionFailed(f"a sealed message has at least {OVERHEAD} bytes, not {len(ciphertext)}")
    view = memoryview(ciphertext)
    return _decrypt(cipher, bytes(view[:NONCE_BYTES]), view[NONCE_BYTES:], associated)


class _Counting:
    __slots__ = ("_cipher", "_count")

    def __init__(self, key: Secret) -> None:
        self._cipher = _cipher(key)
        self._count = 0

    def _nonce(self) -> bytes:
        if self._count > _LAST:
            raise UsageError("this channel has used all its nonces: open a new one with a new key")
        return self._count.to_bytes(NONCE_BYTES, "big")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<key>, message {self._count})"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


class SealingChannel(_Counting):
    """The sending end of one direction. Its key is derived for this direction and nothing else."""

    __slots__ = ()

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt the next message: ciphertext || tag. Raises `ParameterError` for 2 GiB and more."""
        sealed = _encrypt(self._cipher, self._nonce(), plaintext, associated)
        self._count += 1
        return sealed


class OpeningChannel(_Counting):
    """The receiving end of one direction: opens messages in the order of their sealing, each once."""

    __slots__ = ()

    def unseal(self, ciphertext: bytes, associated: bytes) -> bytes:
        """Decrypt the next message. Raises `DecryptionFailed` and still waits for the same message then."""
        plaintext = _decrypt(self._cipher, self._nonce(), ciphertext, associated)
        self._count += 1
        return plaintext


def _cipher(key: Secret) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise ParameterError(f"an AES-256-GCM key has {KEY_BYTES} bytes, not {len(key)}")
    return AESGCM(key.reveal())


def _encrypt(cipher: AESGCM, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    if max(len(plaintext), len(associated)) > LONGEST:
        raise ParameterError(f"{len(plaintext)} bytes are too many to seal at once: send them in pieces")
    return cipher.encrypt(nonce, plaintext, associated)


def _decrypt(cipher: AESGCM, nonce: bytes, ciphertext: bytes | memoryview, associated: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, ciphertext, associated)
    except (InvalidTag, OverflowError):
        raise DecryptionFailed(
            "a sealed message does not open: wrong key, wrong context, or it was changed on the way"
        ) from None
