"""Who is at the other end: certificates by fingerprint, then both signing keys over fresh nonces.

TLS shows that the peer holds the pinned certificate. Inside, each side signs both nonces, both names, the
relay's instance and the charter's digest, so a login proves the charter's signing key also where a proxy that
inspects TLS is allowed, cannot be replayed at another relay or a restarted one, and does not mix charters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509

from silo.crypto import labels
from silo.transport.errors import CertificateExpired, LinkViolation, NotAdmitted
from silo.transport.wire.frames import VERSION, Challenge, Login, Welcome

Sign = Callable[[bytes], bytes]
Verify = Callable[[str, bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in: name, SHA-256 digest of the charter, how to sign, and the own certificate (PEM).

    The certificate is only looked at for its dates, so that an expired one is named before anything is sent.
    """

    name: str
    charter: bytes
    sign: Sign = field(repr=False)
    certificate: str = ""

    def check_valid(self, now: datetime | None = None) -> None:
        """Refuse an own certificate that does not hold now. Raises `CertificateExpired`."""
        if self.certificate:
            _check_dates(x509.load_pem_x509_certificate(self.certificate.encode()), self.name, now)


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate, lower-case hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def plain(pin: str) -> str:
    """A fingerprint however it is written, with colons or in capitals, in the form that is compared."""
    return pin.replace(":", "").lower()


def check_valid(der: bytes, name: str, now: datetime | None = None) -> None:
    """Refuse a certificate that does not hold now. Raises `CertificateExpired`."""
    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError:
        raise NotAdmitted("certificate") from None
    _check_dates(certificate, name, now)


def _check_dates(certificate: x509.Certificate, name: str, now: datetime | None) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begins <= (now or datetime.now(UTC)) <= ends:
        raise CertificateExpired(name, ends)


def member_proof(challenge: Challenge, login: Login) -> bytes:
    """What a member signs."""
    return labels.bind(
        labels.LINK_LOGIN,
        "member",
        *VERSION,
        challenge.epoch,
        challenge.nonce,
        challenge.relay,
        login.nonce,
        login.name,
        login.charter,
        login.token,
        login.received,
    )


def relay_proof(challenge: Challenge, login: Login, welcome: Welcome) -> bytes:
    """What the relay signs."""
    return labels.bind(
        labels.LINK_LOGIN,
        "relay",
        *VERSION,
        challenge.epoch,
        challenge.nonce,
        challenge.relay,
        login.nonce,
        login.name,
        login.charter,
        welcome.token,
        int(welcome.resumed),
        welcome.received,
    )


def check_length(signature: bytes) -> bytes:
    """A signature of the 64 bytes that its frame has room for. Raises `LinkViolation`."""
    if len(signature) != 64:
        raise LinkViolation("a signature has 64 bytes")
    return signature
