"""The card: the public half of an identity, the one thing that is sent to partners."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from silo.crypto import labels
from silo.errors import CharterError, Expired, ParameterError

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
RESERVED: Final = frozenset({"everybody"})
"""Names that the envelope gives a meaning of its own."""
_MAX_CARD: Final = 16 * 1024
_MAX_CERTIFICATE: Final = 8 * 1024


def check_name(name: str) -> None:
    """Refuse what cannot name a party. Raises `ParameterError`."""
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ParameterError(
            f"{name[:40]!r} cannot be a name: use 1 to 32 of a-z, 0-9 and '-', first a letter or digit, "
            "and not 'everybody'"
        )


@dataclass(frozen=True, slots=True)
class Card:
    """Name, Ed25519 key (32 bytes) and TLS certificate (PEM) of a member or a relay. Nothing secret."""

    name: str
    key: bytes
    certificate: str

    def __post_init__(self) -> None:
        check_name(self.name)
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.key)
        except ValueError:
            raise CharterError(f"the key of {self.name} is not an Ed25519 key of 32 bytes") from None
        if len(self.certificate) > _MAX_CERTIFICATE:
            raise CharterError(f"the certificate of {self.name} is larger than {_MAX_CERTIFICATE} bytes")
        try:
            parsed = x509.load_pem_x509_certificate(self.certificate.encode())
            pem = parsed.public_bytes(Encoding.PEM).decode()
            public = parsed.public_key()
            names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            # Parsed late by the library, so asked here: no later use can fail.
            _ = parsed.not_valid_before_utc, parsed.not_valid_after_utc, parsed.issuer
        except Exception:
            # The library has an exception of its own for every kind of defect, with no common base.
            raise CharterError(f"the certificate of {self.name} is not a certificate in PEM form") from None
        if not isinstance(public, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
            raise CharterError(f"the certificate of {self.name} has no elliptic curve key")
        if [attribute.value for attribute in names] != [self.name]:
            raise CharterError(f"the certificate given for {self.name} was not made for that name")
        object.__setattr__(self, "certificate", pem)

    @property
    def x509(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.encode())

    @property
    def der(self) -> bytes:
        """The certificate's DER bytes, as a TLS peer presents them."""
        return self.x509.public_bytes(Encoding.DER)

    @property
    def expires(self) -> datetime:
        return self.x509.not_valid_after_utc

    def check_valid(self, now: datetime) -> None:
        """Raise when the certificate does not hold at `now`."""
        certificate = self.x509
        if certificate.not_valid_after_utc <= now:
            raise Expired(
                f"the certificate of {self.name}",
                certificate.not_valid_after_utc,
                f"there, run `silo keygen {self.name} --renew` and send the new card",
            )
        if certificate.not_valid_before_utc > now:
            raise CharterError(
                f"the certificate of {self.name} holds from "
                f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC "
                f"and this computer's clock says {now:%Y-%m-%d %H:%M} UTC: set the clock"
            )

    @property
    def fingerprint(self) -> str:
        """Eighty bits of the card's digest in groups of four, to be compared by telephone."""
        bound = labels.bind(labels.IDENTITY_CARD, self.name, self.key, self.der)
        digest = base64.b32encode(hashlib.sha256(bound).digest()[:10]).decode().lower()
        return "-".join(digest[start : start + 4] for start in range(0, len(digest), 4))

    @property
    def certificate_fingerprint(self) -> str:
        """SHA-256 of the certificate, as network tools print it."""
        digest = hashlib.sha256(self.der).hexdigest().upper()
        return ":".join(digest[start : start + 2] for start in range(0, len(digest), 2))

    def to_toml(self) -> str:
        return (
            "# Public: send this file to your partners, and compare the fingerprint by telephone.\n"
            f"# fingerprint: {self.fingerprint}\n"
            f'name = "{self.name}"\n'
            f'key = "{self.key.hex()}"\n'
            f'certificate = """\n{self.certificate}"""\n'
        )

    @classmethod
    def from_toml(cls, text: str, source: str) -> Card:
        """Read a card strictly; `source` names the file in errors. Raises `CharterError`."""
        try:
            table = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError):
            raise CharterError(f"{source} is not a card: it is not TOML; ask for it again") from None
        unknown = sorted(set(table) - {"name", "key", "certificate"})
        if unknown:
            raise CharterError(f"{source} is not a card: it has the unknown key {unknown[0][:40]!r}")
        fields = [table.get(key) for key in ("name", "key", "certificate")]
        name, key, certificate = fields
        if not (isinstance(name, str) and isinstance(key, str) and isinstance(certificate, str)):
            raise CharterError(f"{source} is not a card: name, key and certificate are needed, all text")
        return cls(name, _unhex(key, source), certificate)

    @classmethod
    def load(cls, path: str | Path) -> Card:
        """Read a card file of at most 16 KiB. Raises `CharterError`."""
        try:
            with Path(path).open("rb") as file:
                raw = file.read(_MAX_CARD + 1)
            if len(raw) > _MAX_CARD:
                raise CharterError(f"{path} is not a card: it is larger than {_MAX_CARD} bytes")
            return cls.from_toml(raw.decode(), str(path))
        except OSError as problem:
            raise CharterError(f"the card {path} cannot be read: {problem.strerror}") from None
        except UnicodeDecodeError:
            raise CharterError(f"{path} is not a card: it is not UTF-8 text") from None


def _unhex(text: str, source: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise CharterError(f"{source} is not a card: its key is not hexadecimal") from None
