"""Keys: the private one stays with its holder, the public one travels. SEAL draws both.

Keys travel as bare coefficients of a fixed length. A public key cannot be checked further than that it is a pair
of polynomials: whether anybody can decrypt under it shows at the first sum.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from silo.crypto import labels
from silo.crypto.ckks.parameters import CKKS_4096, CkksSet
from silo.crypto.ckks.scratch import Scratch
from silo.crypto.ckks.seal import Words, engine
from silo.crypto.errors import ParameterError, refuse_pickle
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

_TRIED_SCALE: Final = 1 << 32


@final
class PublicKey:
    """What ciphertexts are made with."""

    __slots__ = ("_raw", "chosen")

    def __init__(self, raw: bytes, chosen: CkksSet) -> None:
        words = _polynomials(raw, chosen.public_key_bytes, chosen, "public key").reshape(2, 2, chosen.degree)
        if not words.any(axis=2).all():
            raise ParameterError("the public key is degenerate: a part of it is zero")
        self._raw = bytes(raw)
        self.chosen = chosen

    @classmethod
    def from_bytes(cls, raw: bytes, chosen: CkksSet = CKKS_4096) -> PublicKey:
        """Read a public key. Raises `ParameterError` for a bad length, a coefficient beyond its modulus or a zero."""
        return cls(raw, chosen)

    def to_bytes(self) -> bytes:
        """The key, `chosen.public_key_bytes` bytes."""
        return self._raw

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the key with its parameter set, 32 bytes."""
        return hashlib.sha256(labels.bind(labels.CKKS_KEY, self.chosen.parameters.name, self._raw)).digest()

    @property
    def words(self) -> Words:
        """Coefficients, of shape (2, 2, N)."""
        return np.frombuffer(self._raw, dtype="<u8").reshape(2, 2, self.chosen.degree)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and (self._raw, self.chosen) == (other._raw, other.chosen)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"PublicKey({self.fingerprint.hex()[:16]}...)"


@final
class PrivateKey:
    """What decrypts. It holds its public key; only `to_bytes` gives the secret out, as a `Secret`."""

    __slots__ = ("_secret", "public")

    def __init__(self, secret: Secret, public: PublicKey) -> None:
        chosen = public.chosen
        _polynomials(secret.reveal(), chosen.secret_key_bytes, chosen, "private key")
        self._secret = secret
        self.public = public

    @classmethod
    def from_bytes(cls, secret: Secret, chosen: CkksSet = CKKS_4096) -> PrivateKey:
        """Read what `to_bytes` gave. Raises `ParameterError` for parts that do not fit each other."""
        raw = secret.reveal()
        split = chosen.secret_key_bytes
        if len(raw) != split + chosen.public_key_bytes:
            raise ParameterError(f"a private key has {split + chosen.public_key_bytes} bytes, not {len(raw)}")
        private = cls(Secret(raw[:split]), PublicKey.from_bytes(raw[split:], chosen))
        _try(private)
        return private

    def to_bytes(self) -> Secret:
        """The secret key and the public key, for a file that only its owner reads."""
        return Secret(self._secret.reveal() + self.public.to_bytes())

    @property
    def chosen(self) -> CkksSet:
        """The parameter set."""
        return self.public.chosen

    def reveal(self) -> Words:
        """The secret coefficients, of shape (2, N)."""
        return np.frombuffer(self._secret.reveal(), dtype="<u8").reshape(2, self.chosen.degree)

    def __repr__(self) -> str:
        return f"PrivateKey(public={self.public.fingerprint.hex()[:16]}...)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def generate(chosen: CkksSet = CKKS_4096, *, rng: Rng) -> PrivateKey:
    """Draw a key. `rng` is not read: SEAL draws from the operating system and offers no sound way to seed it."""
    secret, public = engine(chosen).generate()
    return PrivateKey(Secret(_raw(secret)), PublicKey(_raw(public), chosen))


def _try(private: PrivateKey) -> None:
    seal = engine(private.chosen)
    cipher = np.empty((2, private.chosen.degree), dtype=np.uint64)
    with Scratch() as scratch:
        encryptor = seal.encryptor(private.public.words, scratch)
        seal.encrypt(encryptor, [0j] * (private.chosen.degree // 2), _TRIED_SCALE, scratch, cipher)
        found = seal.decrypt(seal.decryptor(private.reveal(), scratch), cipher, _TRIED_SCALE, scratch)
    if not float(np.abs(found).max()) < 1:
        raise ParameterError(
            "the private key does not decrypt what its public key encrypts: take another copy"
        )


def _raw(words: Words) -> bytes:
    return words.astype("<u8", copy=False).tobytes()


def _polynomials(raw: bytes, size: int, chosen: CkksSet, what: str) -> npt.NDArray[np.uint64]:
    if len(raw) != size:
        raise ParameterError(f"a {what} of these parameters has {size} bytes, not {len(raw)}")
    words = np.frombuffer(raw, dtype="<u8").reshape(-1, 2, chosen.degree)
    if words[:, 0].max() >= chosen.modulus or words[:, 1].max() >= chosen.key_modulus:
        raise ParameterError(f"the {what} is not of these parameters: a coefficient is beyond its modulus")
    return words
