"""The relay's half of the login: whom it lets in, and the one word that everybody else gets."""

from __future__ import annotations

import hmac
from collections.abc import Container, Mapping
from dataclasses import dataclass

from silo.crypto.rng import SystemRng
from silo.transport.base import Traffic
from silo.transport.errors import CertificateExpired, LinkViolation, VersionMismatch
from silo.transport.wire import frames, login
from silo.transport.wire.carrier import NotedServer, receive_login
from silo.transport.wire.frames import Challenge, Login, Reason
from silo.transport.wire.login import Credentials, Verify

NEWCOMER = "?"
"""Whose traffic it is while nobody knows who is there."""


class Refusal(Exception):
    """A connection that is not let in."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Door:
    """`pins`: {SHA-256 of a certificate: name}. With `allow_interception` there may be no certificate."""

    credentials: Credentials
    epoch: bytes
    pins: Mapping[str, str]
    names: Container[str]
    verify: Verify
    allow_interception: bool
    traffic: Traffic

    async def admit(self, connection: NotedServer) -> tuple[Challenge, Login]:
        """Challenge whoever is there and check the answer. Raises `Refusal`."""
        known = self._recognise(connection)
        challenge = Challenge(self.epoch, SystemRng().bytes(frames.NONCE), self.credentials.name)
        raw = frames.encode_login(challenge)
        self.traffic.sent(known or NEWCOMER, len(raw))
        await connection.send(raw)
        asked = await self._ask(connection, known)
        self._judge(asked, challenge, known)
        return challenge, asked

    def _recognise(self, connection: NotedServer) -> str:
        tunnel = connection.transport.get_extra_info("ssl_object")
        der = tunnel.getpeercert(binary_form=True) if tunnel is not None else None
        if der is None:
            if self.allow_interception:
                return ""
            raise Refusal("certificate")
        name = self.pins.get(login.fingerprint(der))
        if name is None:
            raise Refusal("certificate")
        try:
            login.check_valid(der, name)
        except CertificateExpired:
            raise Refusal("expired") from None
        return name

    async def _ask(self, connection: NotedServer, known: str) -> Login:
        try:
            asked = await receive_login(connection, self.traffic, known or NEWCOMER)
        except VersionMismatch:
            raise Refusal("version") from None
        except LinkViolation:
            raise Refusal("violation") from None
        if not isinstance(asked, Login):
            raise Refusal("violation")
        return asked

    def _judge(self, asked: Login, challenge: Challenge, known: str) -> None:
        if asked.name not in self.names or (known and known != asked.name):
            raise Refusal("name")
        if not hmac.compare_digest(asked.charter, self.credentials.charter):
            raise Refusal("charter")
        try:
            self.verify(asked.name, login.member_proof(challenge, asked), asked.signature)
        except Exception:
            # Whatever the caller's check raises, the member has not shown its key.
            raise Refusal("key") from None
