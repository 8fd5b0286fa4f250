"""Sending bytes from member to member within a round, end-to-end encrypted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from silo.agreement import Round
from silo.driver import Drive
from silo.protocols import private
from silo.protocols.errors import ProtocolAborted
from silo.protocols.private import Pair, Private
from silo.protocols.step import Outgoing, Step, Wait
from silo.session import Session

_PROTECTION = "end-to-end encrypted"


def send(session: Session, round_: Round, letters: Mapping[str, bytes]) -> None:
    """Send each named member its bytes. Raises `NotAllowed` beyond the task's cap on bytes."""
    session.check_leaving(sum(map(len, letters.values())))

    def role() -> Any:
        outgoing = tuple(
            Outgoing((to,), _pair(session, round_, to).seal(text, rng=session.rng), _PROTECTION)
            for to, text in sorted(letters.items())
        )
        yield Step(outgoing, None)

    _drive(session, round_).run(role())


def receive(session: Session, round_: Round, sender: str, *, limit: int) -> bytes:
    """Wait for the bytes of one member; `limit` bounds them. Raises `ProtocolAborted` if it goes away."""

    def role() -> Any:
        wait = Wait(f"a message of {sender}", (Private,), frozenset({sender}), 1, limit + private.EXTRA)
        inbox = yield Step((), wait)
        if sender not in inbox:
            raise ProtocolAborted(f"{sender} went away before it sent what was asked for", (sender,))
        return _pair(session, round_, sender).unseal(inbox[sender].message)

    text: bytes = _drive(session, round_).run(role())
    return text


def _drive(session: Session, round_: Round) -> Drive:
    where = private.bearings(round_.charter.digest, round_.session, round_.number)
    return Drive(session.seat, where, round_.charter.keys)


def _pair(session: Session, round_: Round, peer: str) -> Pair:
    where = private.bearings(round_.charter.digest, round_.session, round_.number)
    return Pair(where, session.me, peer, session.channel_key, round_.presents[peer].channel)
