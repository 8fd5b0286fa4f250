"""The key of a sum that one member holds: made once, named in the charter by its fingerprint, kept beside the identity.

The file is sealed under the identity's signing key (AES-256-GCM), so that a passphrase over the identity covers it too.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final, final

from silo import private_file
from silo.charter import SUMS, Charter
from silo.crypto import aead, labels
from silo.crypto.errors import DecryptionFailed, refuse_pickle
from silo.crypto.keys import derive
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.errors import IdentityError, ParameterError
from silo.extras import need
from silo.identity import Identity
from silo.protocols.he_sum import schemes
from silo.protocols.he_sum.schemes import Decryption

PAILLIER_BITS: Final = 3072


@final
class SumKey:
    """A private key with its public part. `public` is what travels: the public key with its proof."""

    __slots__ = ("_private", "protocol", "public")

    def __init__(self, protocol: str, private: Any, public: bytes) -> None:
        self.protocol, self._private, self.public = protocol, private, public

    @classmethod
    def generate(cls, protocol: str, *, rng: Rng, bits: int = PAILLIER_BITS) -> SumKey:
        """Make a key for `paillier` (of so many bits) or `ckks`. Raises `ParameterError`."""
        require_scheme(protocol)
        if protocol == "paillier":
            from silo.protocols.he_sum import paillier

            private = paillier.generate(bits, rng=rng)
            return cls(protocol, private, paillier.public_bytes(private))
        from silo.crypto.ckks import keys

        made = keys.generate(rng=rng)
        return cls(protocol, made, made.public.to_bytes())

    @property
    def fingerprint(self) -> bytes:
        """What the charter names it by; 32 bytes."""
        return schemes.fingerprint(self.protocol, self.public)

    @property
    def digest(self) -> str:
        """The fingerprint as it stands in a charter."""
        return f"sha256:{self.fingerprint.hex()}"

    def decryption(self, count: int, bits: int) -> Decryption:
        """The holder's side of one vector."""
        if self.protocol == "paillier":
            from silo.protocols.he_sum.paillier import PaillierDecryption

            return PaillierDecryption(self._private, count, bits)
        from silo.protocols.he_sum.ckks import CkksDecryption

        return CkksDecryption(self._private, count, bits)

    def save(self, identity: Identity, *, rng: Rng) -> Path:
        """Write the key beside the identity (0600), never over another one. Raises `IdentityError`."""
        path = _path(identity, self.digest)
        secret = self._private.to_bytes().reveal()
        sealed = aead.seal(_sealing(identity), secret, _associated(self.protocol, self.public), rng=rng)
        text = {
            "protocol": self.protocol,
            "public": base64.b64encode(self.public).decode(),
            "sealed": base64.b64encode(sealed).decode(),
        }
        try:
            with private_file.creating(path) as file:
                file.write(json.dumps(text).encode())
        except OSError as problem:
            raise IdentityError(f"the key {path} cannot be written: {problem.strerror}") from None
        return path

    @classmethod
    def load(cls, identity: Identity, digest: str) -> SumKey:
        """Read the key of this fingerprint. Raises `IdentityError`."""
        path = _path(identity, digest)
        try:
            if path.stat().st_mode & 0o077:
                raise IdentityError(f"others on this computer may read {path}: run `chmod 600 {path}`")
            text = json.loads(path.read_text(encoding="ascii"))
            protocol, public = str(text["protocol"]), base64.b64decode(text["public"], validate=True)
            sealed = base64.b64decode(text["sealed"], validate=True)
            secret = aead.unseal(_sealing(identity), sealed, _associated(protocol, public))
        except OSError as problem:
            raise IdentityError(
                f"the key {path} cannot be read ({problem.strerror}), and {identity.name} is to decrypt with it: "
                "restore it from a backup"
            ) from None
        except (DecryptionFailed, KeyError, TypeError, ValueError):
            raise IdentityError(
                f"the key {path} is damaged, or of another identity: restore it from a backup"
            ) from None
        require_scheme(protocol)
        if protocol == "paillier":
            from silo.protocols.he_sum import paillier

            found = cls(protocol, paillier.private_from(Secret(secret)), public)
        else:
            from silo.crypto.ckks import keys

            found = cls(protocol, keys.PrivateKey.from_bytes(Secret(secret)), public)
        if found.digest != digest:
            raise IdentityError(
                f"the key {path} is another one than the charter names: restore it from a backup"
            )
        return found

    @classmethod
    def of_charter(cls, charter: Charter, identity: Identity) -> SumKey | None:
        """The key that the charter wants of this identity, if it does. Raises `IdentityError`, `ParameterError`."""
        terms = charter.sum
        if SUMS[terms.protocol].holder:
            require_scheme(terms.protocol)
        return cls.load(identity, terms.key) if terms.key_holder == identity.name else None

    def __repr__(self) -> str:
        return f"SumKey({self.protocol}, {self.digest[:19]})"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def require_scheme(protocol: str) -> None:
    """Say what to install for a scheme. Raises `ParameterError`."""
    if protocol not in schemes.HELD:
        raise ParameterError(f"{protocol} has no key holder: choose one of {', '.join(schemes.HELD)}")
    if protocol == "ckks":
        need("the sum under ckks", "he", "tenseal")


def _path(identity: Identity, digest: str) -> Path:
    return identity.directory / f"sum-{digest.removeprefix('sha256:')[:16]}.key"


def _sealing(identity: Identity) -> Secret:
    return derive(identity.signing.secret, labels.bind(labels.SUM_KEY_FILE, identity.name))


def _associated(protocol: str, public: bytes) -> bytes:
    return labels.bind(labels.SUM_KEY_FILE, protocol, public)
