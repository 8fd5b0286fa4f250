"""Who is at the other end: both sides sign fresh nonces inside the TLS tunnel.

relay -> member   Greeting: version, epoch (this relay process), nonce
member -> relay   Login: version, name, charter digest, nonce, link, last frame received; signed
relay -> member   Welcome: last frame received, whether the link goes on, who is there; signed
                  or Refusal: a code, and both versions where they do not fit

The signatures bind both nonces, both names, the epoch and the charter, so that neither can be carried to
another relay, member or connection. A link is one process of a member: 16 random bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from silo.crypto import labels, signing
from silo.crypto.errors import InvalidSignature
from silo.crypto.signing import SigningKey
from silo.transport.base import State
from silo.transport.errors import LinkViolation, NotAdmitted, VersionMismatch

VERSION: Final = (1, 0)
_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Pass:
    """What a member shows: its name, its pen, the charter's digest, and whose signature it wants to see."""

    name: str
    signer: SigningKey
    charter: bytes
    relay: str
    relay_key: bytes

    def answer(self, greeting: Mapping[str, Any], *, nonce: bytes, link: bytes, received: int) -> bytes:
        """The login. Raises `VersionMismatch`."""
        check_version(greeting.get("version"))
        epoch, theirs = str(greeting["epoch"]), bytes.fromhex(greeting["nonce"])
        bound = _bind("member", epoch, theirs, nonce, self.name, self.relay, self.charter, link)
        return dump(
            {
                "version": list(VERSION),
                "name": self.name,
                "charter": self.charter.hex(),
                "nonce": nonce.hex(),
                "link": link.hex(),
                "received": received,
                "signature": self.signer.sign(labels.LINK_LOGIN, bound).hex(),
            }
        )

    def verify(
        self, greeting: Mapping[str, Any], welcome: Mapping[str, Any], *, nonce: bytes, link: bytes
    ) -> None:
        """Check that the relay of the charter answered. Raises `NotAdmitted`."""
        if "refused" in welcome:
            check_version(welcome.get("version"))
            raise NotAdmitted(str(welcome["refused"])[:16])
        theirs = bytes.fromhex(greeting["nonce"])
        bound = _bind(
            "relay", str(greeting["epoch"]), theirs, nonce, self.name, self.relay, self.charter, link
        )
        try:
            signing.verify(
                self.relay_key, labels.LINK_LOGIN, bound, bytes.fromhex(str(welcome.get("signature")))
            )
        except (InvalidSignature, ValueError):
            raise NotAdmitted("relay-key") from None


@dataclass(frozen=True, slots=True)
class Door:
    """What the relay knows of those who may come in."""

    relay: str
    signer: SigningKey
    charter: bytes
    keys: Mapping[str, bytes]

    def greeting(self, epoch: str, nonce: bytes) -> bytes:
        """The first message of a connection."""
        return dump({"version": list(VERSION), "epoch": epoch, "nonce": nonce.hex()})

    def check(self, login: Mapping[str, Any], *, epoch: str, nonce: bytes) -> str:
        """Check a login and return the member's name. Raises `Refused`."""
        if not _fits(login.get("version")):
            raise Refused("version")
        name = login["name"]
        if not isinstance(name, str) or name not in self.keys:
            raise Refused("name")
        if login["charter"] != self.charter.hex():
            raise Refused("charter")
        link, theirs = bytes.fromhex(login["link"]), bytes.fromhex(login["nonce"])
        bound = _bind("member", epoch, nonce, theirs, name, self.relay, self.charter, link)
        try:
            signing.verify(self.keys[name], labels.LINK_LOGIN, bound, bytes.fromhex(login["signature"]))
        except InvalidSignature:
            raise Refused("key") from None
        return name

    def welcome(
        self,
        login: Mapping[str, Any],
        *,
        epoch: str,
        nonce: bytes,
        received: int,
        resumed: bool,
        parties: Mapping[str, State],
    ) -> bytes:
        """The answer to a good login."""
        link, theirs = bytes.fromhex(login["link"]), bytes.fromhex(login["nonce"])
        bound = _bind("relay", epoch, nonce, theirs, login["name"], self.relay, self.charter, link)
        return dump(
            {
                "received": received,
                "resumed": resumed,
                "parties": dict(parties),
                "signature": self.signer.sign(labels.LINK_LOGIN, bound).hex(),
            }
        )


class Refused(Exception):
    """Why a login is not taken: a word that `NotAdmitted` explains."""


def refusal(reason: str) -> bytes:
    """The answer to a bad login."""
    return dump({"refused": reason, "version": list(VERSION)})


def check_version(found: object) -> None:
    """Refuse another major version, naming both. Raises `VersionMismatch`."""
    if not _fits(found):
        pair = found if isinstance(found, list) and len(found) == 2 else [0, 0]
        raise VersionMismatch(VERSION, (int(pair[0]), int(pair[1])))


def dump(message: Mapping[str, Any]) -> bytes:
    """Write a message of the login."""
    return json.dumps(message).encode()


def load(raw: object, *keys: str) -> dict[str, Any]:
    """Read a message of the login that has at least these keys. Raises `LinkViolation`."""
    if not isinstance(raw, bytes) or len(raw) > _MAX:
        raise LinkViolation("a login message is too large or no bytes")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise LinkViolation("a login message does not decode") from None
    if not isinstance(found, dict) or ("refused" not in found and not set(keys) <= found.keys()):
        raise LinkViolation("a login message misses a field")
    return found


def guarded(read: Callable[[], Any]) -> Any:
    """Run a reader of received fields; a field of a wrong form is `LinkViolation`."""
    try:
        return read()
    except (ValueError, TypeError, KeyError, AttributeError):
        raise LinkViolation("a login message has a malformed field") from None


def _fits(found: object) -> bool:
    return isinstance(found, list) and len(found) == 2 and found[0] == VERSION[0]


def _bind(
    role: str,
    epoch: str,
    relay_nonce: bytes,
    nonce: bytes,
    name: str,
    relay: str,
    charter: bytes,
    link: bytes,
) -> bytes:
    return labels.bind(labels.LINK_LOGIN, role, epoch, relay_nonce, nonce, name, relay, charter, link)
