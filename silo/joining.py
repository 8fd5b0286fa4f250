"""Joining a federation: charter, identity and script are checked, then the relay is dialled."""

from __future__ import annotations

import ast
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from silo import expiry
from silo.charter import Charter, Task
from silo.crypto import labels, signing
from silo.driver import Left, Seat
from silo.errors import NotAllowed, ParameterError, UsageError
from silo.identity import Identity
from silo.journal import Journal
from silo.outbox import Outbox
from silo.privacy.ledger import Ledger
from silo.privacy.policy import Policy
from silo.results import Results
from silo.session import Session
from silo.sum_key import SumKey
from silo.transport.base import Endpoint, Patience

if TYPE_CHECKING:
    from silo.transport.relay import RelayServer
    from silo.transport.wire.login import Credentials

_log = logging.getLogger("silo")


def join(
    charter: str | Path | Charter,
    identity: str | Path | Identity,
    *,
    task: str | None = None,
    script: str | Path | None = None,
    passphrase: str | None = None,
    threads: int | None = None,
    ledger: str | Path | None = None,
) -> Session:
    """Enter a task of a charter as one of its members; use the session in a `with` block.

    `task` may be left out where the charter lists only one. A task that names a script needs `script`, the
    path of the file that is running (`script=__file__`); one changed byte is refused. `ledger` is where privacy
    spent is kept, if the charter has a policy for this member: state/ledger.db of the identity by default.
    Raises `CharterError` (not signed by all, expired, another key), `IdentityError`, `NotAllowed`, `TransportError`.
    """
    agreed = charter if isinstance(charter, Charter) else Charter.load(charter)
    own = identity if isinstance(identity, Identity) else Identity.load(identity, passphrase)
    chosen = check(agreed, own, task, script)
    return open_session(agreed, own, chosen, _dial(agreed, own), threads=threads, ledger=ledger)


def check(charter: Charter, identity: Identity, task: str | None, script: str | Path | None) -> Task:
    """Everything that can be refused before a socket is opened. Returns the task."""
    now = expiry.utc_now()
    charter.recognise(identity)
    charter.member(identity.name)
    charter.require_signed(now=now)
    chosen = charter.task(task)
    if script is not None:
        chosen.allow_script(script_digest(script))
    elif chosen.script:
        raise NotAllowed(
            f"task {chosen.name} names a script: pass script=__file__", chosen.script[:19], "none"
        )
    for sentence in identity.warnings(now):
        _log.warning(sentence)
    return chosen


def require_run(path: str | Path) -> None:
    """Refuse a script that members could not run, before anybody signs or dials. Raises `UsageError`."""
    try:
        tree = ast.parse(Path(path).read_bytes())
    except OSError as problem:
        raise ParameterError(f"the script {path} cannot be read: {problem.strerror}") from None
    except (SyntaxError, ValueError) as problem:
        raise UsageError(f"{path} is no Python script ({type(problem).__name__}): mend it first") from None
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    names |= {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    if "run" not in names:
        raise UsageError(f"{path} has no function run(session): write one, it is what members run")


def script_digest(path: str | Path) -> bytes:
    """SHA-256 of a script's bytes. Raises `ParameterError`."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).digest()
    except OSError as problem:
        raise ParameterError(f"the script {path} cannot be read: {problem.strerror}") from None


def open_session(
    charter: Charter,
    identity: Identity,
    task: Task,
    endpoint: Endpoint,
    *,
    threads: int | None = None,
    ledger: str | Path | None = None,
) -> Session:
    """A session over an endpoint; journal, outbox and results are in the identity's folder, under state."""
    home = identity.directory / "state"
    home.mkdir(mode=0o700, exist_ok=True)
    terms = charter.policy(identity.name)
    policy = Policy.open(terms, Ledger.open(ledger or home / "ledger.db", identity)) if terms else None
    journal = Journal.open(home / "journal.db")
    outbox = Outbox.open(home / "outbox.db", identity.name)

    def record(left: Left) -> None:
        outbox.record(
            session=left.session,
            round=left.round,
            recipient=left.recipient,
            kind=left.kind,
            protection=left.protection,
            size=left.size,
            digest=left.digest,
        )

    return Session(
        seat=Seat(endpoint, identity.name, identity.signing, patience(charter), record=record),
        charter=charter,
        identity=identity,
        task=task,
        journal=journal,
        outbox=outbox,
        results=Results(home / "results" / f"{charter.digest.hex()[:16]}-{task.name}"),
        policy=policy,
        sum_key=SumKey.of_charter(charter, identity),
        threads=threads or min(4, os.cpu_count() or 1),
    )


def patience(charter: Charter) -> Patience:
    """The charter's three settings of time."""
    return Patience(charter.time.reconnect, charter.time.silence, charter.time.work)


def max_message(charter: Charter) -> int:
    """No message of this charter is larger, in bytes: the largest task, or the presences of all members."""
    words = max((task.bytes for task in charter.tasks), default=0)
    return min(words + (1 << 20), 1 << 34) + (1 << 20) * (len(charter.names) + 4)


def _dial(charter: Charter, identity: Identity) -> Endpoint:
    from silo.transport.websocket import WebSocketEndpoint

    relay = charter.relay
    pins = () if relay.allow_interception else (relay.card.certificate,)
    return WebSocketEndpoint(
        relay.url,
        credentials=_credentials(charter, identity),
        relay=relay.name,
        pin=relay.card.certificate_fingerprint,
        verify=_verifier(charter),
        ssl_context=identity.ssl_client_context(pins),
        patience=patience(charter),
        allow_interception=relay.allow_interception,
        max_message=max_message(charter),
    )


def listen(charter: Charter, identity: Identity, host: str, port: int) -> RelayServer:
    """The relay's server for a charter, not yet listening."""
    from silo.transport.relay import RelayServer

    return RelayServer(
        host,
        port,
        ssl_context=identity.ssl_server_context([card.certificate for card in charter.members]),
        members={card.certificate_fingerprint: card.name for card in charter.members},
        credentials=_credentials(charter, identity),
        verify=_verifier(charter),
        patience=patience(charter),
        allow_interception=charter.relay.allow_interception,
        max_message=max_message(charter),
    )


def _credentials(charter: Charter, identity: Identity) -> Credentials:
    from silo.transport.wire.login import Credentials

    def sign(message: bytes) -> bytes:
        return identity.sign(labels.LINK_LOGIN, message)

    return Credentials(identity.name, charter.digest, sign, identity.card.certificate)


def _verifier(charter: Charter) -> Callable[[str, bytes, bytes], None]:
    keys = {**charter.keys, charter.relay.name: charter.relay.card.key}

    def verify(name: str, message: bytes, signature: bytes) -> None:
        signing.verify(keys[name], labels.LINK_LOGIN, message, signature)

    return verify
