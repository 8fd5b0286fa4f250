"""Key agreement and derivation: X25519 (RFC 7748) and HKDF-SHA256 (RFC 5869).

The key of a pair is HKDF(shared point, info), where `info` binds the caller's label and context and both
public keys in sorted order, so that both sides derive the same key and no key serves two pairs. An all-zero
shared point (a peer key of small order) is refused, and so is one's own public key (reflection).
"""

from __future__ import annotations

from typing import Any, Final, final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from silo.crypto import labels
from silo.crypto.errors import ParameterError, refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

KEY_BYTES: Final = 32
_LONGEST: Final = 255 * 32


_P: Final = 2**255 - 19
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)
"""The u-coordinates of order 1, 2, 4 and 8 on the curve and its twist."""


def require_public(public: bytes) -> None:
    """Refuse an X25519 public key of another length, written non-canonically, or of small order.

    A point has then one spelling only, and no pair agrees on what everybody can compute. Raises `ParameterError`.
    """
    if len(public) != KEY_BYTES:
        raise ParameterError(f"an X25519 public key has {KEY_BYTES} bytes, not {len(public)}")
    u = int.from_bytes(public, "little")
    if u >= _P:
        raise ParameterError("an X25519 public key is not written canonically")
    if u in _SMALL_ORDER:
        raise ParameterError("an X25519 public key has small order: everybody knows what it agrees on")


@final
class AgreementKey:
    """An X25519 private key."""

    __slots__ = ("_private", "_public", "_secret")

    def __init__(self, secret: Secret) -> None:
        if len(secret) != KEY_BYTES:
            raise ParameterError(f"an X25519 private key has {KEY_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self._private = X25519PrivateKey.from_private_bytes(secret.reveal())
        self._public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, *, rng: Rng) -> AgreementKey:
        """Draw a fresh key."""
        return cls(Secret.random(KEY_BYTES, rng=rng))

    @classmethod
    def from_secret(cls, secret: Secret) -> AgreementKey:
        """Take a key from its 32 bytes. Raises `ParameterError` for another length."""
        return cls(secret)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._public

    @property
    def secret(self) -> Secret:
        """The 32 private bytes as they were drawn (X25519 clamps them when it uses them)."""
        return self._secret

    def agree(self, peer_public: bytes, info: bytes) -> Secret:
        """Derive the 32-byte key shared with a peer for `info` (built with `labels.bind`).

        Raises `ParameterError` for a peer key of another length, of small order, or equal to the own one.
        """
        if len(peer_public) != KEY_BYTES:
            raise ParameterError(f"an X25519 public key has {KEY_BYTES} bytes, not {len(peer_public)}")
        peer = bytes(peer_public)
        if peer == self._public:
            raise ParameterError("the peer's X25519 public key is this party's own: somebody reflected it")
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError:
            raise ParameterError(
                f"the X25519 public key {peer.hex()} has small order: the shared point is all zero"
            ) from None
        first, second = sorted((self._public, peer))
        return derive(Secret(shared), labels.bind(labels.AGREEMENT, first, second, info))

    def __repr__(self) -> str:
        return f"AgreementKey(public={self._public.hex()[:16]}...)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def derive(secret: Secret, info: bytes, length: int = KEY_BYTES) -> Secret:
    """Derive `length` bytes from a secret by HKDF-SHA256 (RFC 5869) with an empty salt.

    `info` is built with `labels.bind`. Raises `ParameterError` for a length outside 1 to 8160.
    """
    if not 1 <= length <= _LONGEST:
        raise ParameterError(f"HKDF-SHA256 gives 1 to {_LONGEST} bytes, not {length}")
    return Secret(HKDF(SHA256(), length, salt=None, info=info).derive(secret.reveal()))
