"""The member's half of the login, over a connection that was dialled."""

from __future__ import annotations

from dataclasses import dataclass, replace

from silo.crypto.rng import SystemRng
from silo.transport.base import Traffic, TransportError
from silo.transport.errors import (
    CertificateExpired,
    LinkViolation,
    NotAdmitted,
    TakenOver,
    VersionMismatch,
)
from silo.transport.wire import frames, login
from silo.transport.wire.carrier import NotedClient, receive_login
from silo.transport.wire.frames import Challenge, Login, Refused, Welcome
from silo.transport.wire.login import Credentials, Verify


@dataclass(frozen=True, slots=True)
class Caller:
    """Who knocks, at whose door, and how that door is recognised."""

    credentials: Credentials
    relay: str
    verify: Verify
    traffic: Traffic

    async def log_in(self, connection: NotedClient, token: bytes, received: int) -> tuple[str, Welcome]:
        """Prove the own key, check the relay's; gives the relay's epoch and its answer.

        `token` and `received` are those of a link to resume. Raises `NotAdmitted` and what `refusal` gives.
        """
        challenge = await receive_login(connection, self.traffic, self.relay)
        if isinstance(challenge, Refused):
            raise self.refusal(challenge)
        if not isinstance(challenge, Challenge) or challenge.relay != self.relay:
            raise NotAdmitted("relay-key")
        me = self.credentials
        mine = Login(me.name, me.charter, SystemRng().bytes(frames.NONCE), token, received, b"")
        mine = replace(mine, signature=login.check_length(me.sign(login.member_proof(challenge, mine))))
        raw = frames.encode_login(mine)
        self.traffic.sent(self.relay, len(raw))
        await connection.send(raw)
        answer = await receive_login(connection, self.traffic, self.relay)
        if isinstance(answer, Refused):
            raise self.refusal(answer)
        if not isinstance(answer, Welcome):
            raise LinkViolation("no answer to the login")
        try:
            self.verify(self.relay, login.relay_proof(challenge, mine, answer), answer.signature)
        except Exception:
            # Whatever the caller's check raises, the relay has not shown its key.
            raise NotAdmitted("relay-key") from None
        return challenge.epoch.hex(), answer

    def refusal(self, refused: Refused) -> TransportError:
        """The error that the relay's word stands for."""
        match refused.reason:
            case "version":
                return VersionMismatch(frames.VERSION, refused.version)
            case "expired":
                return CertificateExpired(self.credentials.name)
            case "taken-over":
                return TakenOver(self.credentials.name)
            case "violation":
                return LinkViolation("the relay says that this side did not keep them")
        return NotAdmitted(refused.reason)
