"""What can go wrong on the way: one class, code and page each; every message is one sentence with a remedy.

Codes below 310 are also said about others: `Presence(party, "gone", code)` carries the same ones.
"""

from __future__ import annotations

from datetime import datetime

from silo.transport.base import TransportError

__all__ = [
    "CertificateExpired",
    "LinkViolation",
    "MessageTooLarge",
    "NotAdmitted",
    "PinMismatch",
    "PortInUse",
    "RelayLost",
    "RelaySilent",
    "RelayUnreachable",
    "Stalled",
    "TakenOver",
    "TransportError",
    "VersionMismatch",
]

_REMEDIES = {
    "dns": "correct the name in the charter, or ask the network team for a DNS entry",
    "refused": "start the relay, or correct the port in the charter",
    "tls": "ask the network team whether a device in between breaks TLS",
    "timeout": "ask the network team to allow outgoing TCP to it",
    "proxy": "correct the proxy in HTTPS_PROXY, or ask the network team to allow CONNECT to it",
}

_REFUSALS = {
    "charter": "its charter is another one: compare the digests of `silo charter verify`",
    "name": "its charter names another party for this certificate: use the identity of that name",
    "key": "the signing key is not the one in its charter: use the identity that the charter names",
    "certificate": "it does not know this certificate: use the identity that the charter names, "
    "and check that its certificate has not expired",
    "relay-key": "the relay could not prove the signing key in the charter: stop, and call its operator",
}


class TakenOver(TransportError):
    """Another process with the same identity has come, as the relay says; this one is out."""

    code = "SILO-302"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the relay says that {name} is already connected from another process, and the newer one counts: "
            "stop one of the two"
        )
        self.name = name


class RelayLost(TransportError):
    """The connection to the relay was lost for longer than the reconnect time."""

    code = "SILO-303"

    def __init__(self, host: str, port: int, seconds: float, cause: str) -> None:
        super().__init__(
            f"the relay {host}:{port} has been lost for {seconds:.0f} s ({cause}): run `silo doctor`, "
            "then start again"
        )
        self.host, self.port, self.seconds, self.cause = host, port, seconds, cause


class RelaySilent(RelayLost):
    """The relay was connected, showed no sign of life, and did not come back."""

    code = "SILO-304"


class Stalled(TransportError):
    """A living party does not take what was sent to it."""

    code = "SILO-305"

    def __init__(self, party: str, seconds: float) -> None:
        super().__init__(
            f"{party} is connected but has not taken what was sent to it for {seconds:.0f} s: "
            "ask there, or agree on a longer time of work in the charter"
        )
        self.party, self.seconds = party, seconds


class RelayUnreachable(TransportError):
    """The relay could not be reached; `cause` is dns, refused, tls, proxy or timeout."""

    code = "SILO-311"

    def __init__(self, host: str, port: int, seconds: float, cause: str) -> None:
        remedy = _REMEDIES.get(cause, "run `silo doctor`")
        super().__init__(
            f"the relay {host}:{port} could not be reached within {seconds:.0f} s ({cause}): {remedy}"
        )
        self.host, self.port, self.seconds, self.cause = host, port, seconds, cause


class PinMismatch(TransportError):
    """The certificate shown is not the relay's in the charter; both as SHA-256 of the DER, hexadecimal."""

    code = "SILO-312"

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(
            f"the relay shows the certificate {found[:16]}… and the charter pins {expected[:16]}…: "
            "a proxy may inspect TLS, or the relay was renewed; run `silo doctor`"
        )
        self.expected, self.found = expected, found


class PortInUse(TransportError):
    """The relay cannot listen, because another program does."""

    code = "SILO-313"

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is in use by another program: stop it, or choose another port")
        self.port = port


class NotAdmitted(TransportError):
    """One side refused the other; `reason` is charter, name, key, certificate, relay-key or version."""

    code = "SILO-314"

    def __init__(self, reason: str, sentence: str = "") -> None:
        why = sentence or _REFUSALS.get(reason, "run `silo doctor`")
        super().__init__(f"no admission at the relay: {why}")
        self.reason = reason


class LinkViolation(TransportError):
    """The other side sent what no peer that keeps the rules sends; the connection was closed."""

    code = "SILO-315"

    def __init__(self, what: str) -> None:
        super().__init__(f"the link was closed, as the other side broke its rules: {what}; update both sides")
        self.what = what


class MessageTooLarge(TransportError):
    """A message above the limit, refused before it was sent or stored; sizes in bytes."""

    code = "SILO-316"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"a message of {size} bytes is above the limit of {limit}: send less, or agree on larger messages"
        )
        self.size, self.limit = size, limit


class CertificateExpired(TransportError):
    """A certificate does not hold today."""

    code = "SILO-317"

    def __init__(self, name: str, ends: datetime | None = None) -> None:
        when = f" ({ends:%Y-%m-%d %H:%M} UTC)" if ends else ""
        super().__init__(
            f"the certificate of {name} is not valid today{when}: check the clock; there, run "
            f"`silo keygen {name} --renew` and have the new card signed into the charter"
        )
        self.name, self.ends = name, ends


class VersionMismatch(NotAdmitted):
    """The two sides speak different major versions of the link."""

    code = "SILO-318"

    def __init__(self, ours: tuple[int, int], theirs: tuple[int, int]) -> None:
        mine, other = f"{ours[0]}.{ours[1]}", f"{theirs[0]}.{theirs[1]}"
        super().__init__(
            "version", f"it speaks version {other} of the link and this side {mine}: update the older one"
        )
        self.ours, self.theirs = ours, theirs
