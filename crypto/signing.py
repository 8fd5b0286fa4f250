"""Signatures: Ed25519 (RFC 8032), each under a label.

The library (OpenSSL) refuses s >= L, but accepts public keys of small order, under which anybody can make
signatures that fit many messages, and non-canonical encodings (y >= p), which give one key two names. Both
are refused here before it is asked. Keys with a component of small order beside one of large order are
accepted, as in RFC 8032: their signatures still take the private key.
"""

from __future__ import annotations

from typing import Any, Final, final

from cryptography.exceptions import InvalidSignature as _Invalid
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from silo.crypto import labels
from silo.crypto.errors import InvalidSignature, ParameterError, refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

KEY_BYTES: Final = 32

_P: Final = 2**255 - 19
# The y coordinates of the eight points whose order divides 8: orders 4, 1, 2 and, twice, 8.
_Y8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER: Final = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})


@final
class SigningKey:
    """An Ed25519 private key."""

    __slots__ = ("_private", "_public", "_secret")

    def __init__(self, secret: Secret) -> None:
        if len(secret) != KEY_BYTES:
            raise ParameterError(f"an Ed25519 private key has {KEY_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self._private = Ed25519PrivateKey.from_private_bytes(secret.reveal())
        self._public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, *, rng: Rng) -> SigningKey:
        """Draw a fresh key."""
        return cls(Secret.random(KEY_BYTES, rng=rng))

    @classmethod
    def from_secret(cls, secret: Secret) -> SigningKey:
        """Take a key from its 32-byte seed. Raises `ParameterError` for another length."""
        return cls(secret)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._public

    @property
    def secret(self) -> Secret:
        """The private seed, 32 bytes."""
        return self._secret

    def sign(self, label: bytes, message: bytes) -> bytes:
        """Sign `labels.bind(label, message)`; 64 bytes."""
        return self._private.sign(labels.bind(label, message))

    def __repr__(self) -> str:
        return f"SigningKey(public={self._public.hex()[:16]}...)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def require_public(public: bytes) -> None:
    """Refuse a public key of another length, a non-canonical one, or one of small order.

    Raises `ParameterError`. Whether the bytes are a point of the curve shows when a signature is verified.
    """
    if len(public) != KEY_BYTES:
        raise ParameterError(f"an Ed25519 public key has {KEY_BYTES} bytes, not {len(public)}")
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if y >= _P:
        raise ParameterError(f"the Ed25519 public key {bytes(public).hex()} is not in its canonical form")
    if y in _SMALL_ORDER:
        raise ParameterError(
            f"the Ed25519 public key {bytes(public).hex()} has small order: anybody signs for it"
        )


def verify(public: bytes, label: bytes, message: bytes, signature: bytes) -> None:
    """Check a signature over `labels.bind(label, message)`. Raises `InvalidSignature`."""
    try:
        require_public(public)
        key = Ed25519PublicKey.from_public_bytes(bytes(public))
    except ValueError as problem:
        raise InvalidSignature(f"no signature verifies under this key: {problem}") from None
    try:
        key.verify(bytes(signature), labels.bind(label, message))
    except _Invalid:
        raise InvalidSignature(f"the signature does not verify under {bytes(public).hex()[:16]}...") from None
