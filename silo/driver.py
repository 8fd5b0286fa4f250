"""The one driver: it moves any protocol's role over any transport.

It seals and opens envelopes, waits with deadlines that watch progress, keeps the transcript of what came and
tells the outbox of what left. It knows nothing of any protocol but what its `Step`s say.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from silo.crypto.signing import SigningKey
from silo.protocols import private, rollcall
from silo.protocols.codec import Message
from silo.protocols.control import Abort
from silo.protocols.envelope import EVERYBODY, Bearings, Opened, claimed_protocol, open_frame, seal
from silo.protocols.errors import ProtocolAborted, ProtocolViolation, ReplayedMessage
from silo.protocols.psi import context as psi
from silo.protocols.step import Inbox, Outgoing, Role, Step, Wait
from silo.protocols.vertical import context as vertical
from silo.transport.base import Delivery, Endpoint, Patience, Presence, Reset

R = TypeVar("R")
_TICK = 0.2
_TRANSCRIPT = 4096
_EARLY = 16
_OUT_OF_TURN = frozenset({rollcall.PROTOCOL, private.PROTOCOL, psi.PROTOCOL, vertical.PROTOCOL})
"""Protocols whose messages may come while another's are waited for: they are kept for their turn."""


@dataclass(frozen=True, slots=True)
class Received:
    """One line of the transcript."""

    sender: str
    kind: str
    size: int
    digest: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Left:
    """One frame that left: what the outbox writes down."""

    session: bytes
    round: int
    recipient: str
    kind: str
    protection: str
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Watch:
    """Where a wait stands, for progress bars and the monitor."""

    round: int
    step: str
    waiting_for: tuple[str, ...]
    present: tuple[str, ...]


class RelayRestarted(ProtocolAborted):
    """The relay came back as a new process: what was under way is lost, the next round can begin."""

    code = "SILO-214"


@dataclass(eq=False)
class Seat:
    """One party at one transport: its name, its pen, and whom it tells what it does."""

    endpoint: Endpoint
    me: str
    signer: SigningKey
    patience: Patience
    record: Callable[[Left], None] = lambda _: None
    once: Callable[[bytes, int, Step], None] = lambda session, round, step: None
    watch: Callable[[Watch], None] = lambda _: None
    heard: Callable[[int, Opened[Any]], None] = lambda round, opened: None
    transcript: deque[Received] = field(default_factory=lambda: deque(maxlen=_TRANSCRIPT))
    gone: dict[str, str] = field(default_factory=dict)
    departures: Counter[str] = field(default_factory=Counter)
    epoch: str = ""
    """The relay process in which the present work began; the caller sets it."""
    recorded: int = 0
    """Bytes told to `record` so far."""
    _early: dict[str, deque[Delivery]] = field(default_factory=dict)

    def send(self, outgoing: Outgoing, bearings: Bearings) -> Opened[Message]:
        """Seal one message, and send it to each of its recipients; returns it as sent."""
        name = EVERYBODY if outgoing.public or len(outgoing.to) != 1 else outgoing.to[0]
        sealed = seal(
            outgoing.message, bearings, sender=self.me, recipient=name, signer=self.signer, note=outgoing.note
        )
        kind = type(outgoing.message).__name__
        for to in outgoing.to:
            self.record(
                Left(
                    bearings.session,
                    bearings.round,
                    to,
                    kind,
                    outgoing.protection,
                    len(sealed.frame),
                    sealed.receipt.digest,
                )
            )
            self.recorded += len(sealed.frame)
            # Read-only, so that no transport needs a copy of its own for each recipient.
            self.endpoint.send(to, memoryview(sealed.frame).toreadonly())
        return sealed

    def next(self, timeout: float) -> Delivery | None:
        """The next frame, or None; notes who is gone. Raises `RelayRestarted`, `TransportError`."""
        event = self.endpoint.receive(timeout)
        if isinstance(event, Delivery):
            return event
        if isinstance(event, Presence):
            if event.state == "gone":
                self.gone[event.party] = event.code
                self.departures[event.party] += 1
            elif event.state == "present":
                self.gone.pop(event.party, None)
        elif isinstance(event, Reset) and event.epoch != self.epoch:
            # Of a restart before this work began nothing is lost: what was in flight was older.
            self._early.clear()
            raise RelayRestarted("the relay was restarted in the middle of a round; this round is lost")
        return None

    def set_aside(self, delivery: Delivery) -> None:
        """Keep a frame that came before its time; of each party the last few only."""
        self._early.setdefault(delivery.sender, deque(maxlen=_EARLY)).append(delivery)

    def early(self) -> list[Delivery]:
        """Take all frames that were set aside."""
        taken = [delivery for kept in self._early.values() for delivery in kept]
        self._early.clear()
        return taken

    def note(self, delivery: Delivery, kind: str, digest: bytes, verdict: str) -> None:
        """Write one frame into the transcript."""
        self.transcript.append(
            Received(delivery.sender, kind, len(delivery.payload), digest.hex()[:16], verdict)
        )


@dataclass(eq=False)
class Drive:
    """One role under way: where its messages belong, whose keys count, what does not belong to it."""

    seat: Seat
    bearings: Bearings
    keys: Mapping[str, bytes]
    lost: dict[str, str] = field(default_factory=dict)
    _before: Counter[str] = field(init=False)
    _ahead: dict[str, deque[Delivery]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._before = Counter(self.seat.departures)

    def run(self, role: Role[R]) -> R:
        """Move a role to its end. Raises what the role raises, and `ProtocolAborted` when told so."""
        inbox: Inbox = {}
        try:
            step = next(role)
            while True:
                inbox = self._take(step)
                del step
                step = role.send(inbox)
                del inbox
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            role.close()

    def _take(self, step: Step) -> Inbox:
        if step.once:
            self.seat.once(self.bearings.session, self.bearings.round, step)
        sent: dict[str, Opened[Any]] = {}
        for outgoing in step.send:
            sent[self.seat.me] = self.seat.send(outgoing, self.bearings)
        if step.wait is None:
            return sent
        del sent
        return self._wait(step.wait)

    def _wait(self, wait: Wait) -> dict[str, Opened[Any]]:
        inbox: dict[str, Opened[Any]] = {}
        start = time.monotonic()
        for delivery in self.seat.early():
            self._receive(delivery, wait, inbox)
        for name in wait.senders:
            if self._ahead.get(name):
                self._receive(self._ahead[name].popleft(), wait, inbox)
        shown: tuple[str, ...] | None = None
        while True:
            missing = tuple(sorted(wait.senders - inbox.keys() - self.lost.keys()))
            if missing != shown:
                shown = missing
                self.seat.watch(Watch(self.bearings.round, wait.name, missing, tuple(sorted(inbox))))
            if not missing:
                self._require_one(wait, inbox)
                return inbox
            came = self.seat.next(_TICK)
            if came is not None:
                self._receive(came, wait, inbox)
            self._give_up(missing, start, 2 if len(wait.senders) == 1 else 1)

    def _require_one(self, wait: Wait, inbox: Inbox) -> None:
        """Who waits for one party only cannot go on without it. Raises `ProtocolAborted`."""
        if len(wait.senders) == 1 and not inbox:
            (name,) = wait.senders
            raise ProtocolAborted(
                f"{name} was given up [{self.lost[name]}] while {wait.name} was waited for: ask there why",
                (name,),
            )

    def _give_up(self, missing: tuple[str, ...], start: float, times: int) -> None:
        """Count silent parties as lost. The relay is given `work` twice: it may wait once for somebody else."""
        now = time.monotonic()
        for name in missing:
            if name in self.seat.gone or self.seat.departures[name] != self._before[name]:
                # Whoever came back is another process, which knows nothing of this round.
                self.lost[name] = self.seat.gone.get(name, "SILO-302")
            elif now - max(start, self.seat.endpoint.progress(name)) > self.seat.patience.silence:
                self.lost[name] = "SILO-304"
            elif now - start > times * self.seat.patience.work:
                self.lost[name] = "SILO-305"

    def _keep(self, delivery: Delivery, wait: Wait, inbox: Inbox) -> bool:
        """Keep what came before it is waited for; nothing of it is trusted yet."""
        name = delivery.sender
        if name in wait.senders and name not in inbox:
            return False
        kept = self._ahead.setdefault(name, deque())
        if name not in self.keys or len(kept) >= wait.ahead:
            return False
        kept.append(delivery)
        return True

    def _receive(self, delivery: Delivery, wait: Wait, inbox: dict[str, Opened[Any]]) -> None:
        claimed = claimed_protocol(delivery.payload)
        if claimed != self.bearings.protocol and claimed in _OUT_OF_TURN:
            self.seat.set_aside(delivery)
            return
        if wait.ahead and claimed == self.bearings.protocol and self._keep(delivery, wait, inbox):
            return
        aborts = (
            self.seat.me not in wait.senders and delivery.sender in wait.senders and len(wait.senders) == 1
        )
        kinds: dict[str, type[Message]] = {kind.__name__: kind for kind in wait.kinds}
        if aborts:
            kinds[Abort.__name__] = Abort
        try:
            opened = open_frame(
                delivery.payload,
                bearings=self.bearings,
                keys=self.keys,
                kinds=kinds,
                recipients=frozenset({self.seat.me, EVERYBODY}),
                limit=wait.limit,
                came_from=delivery.sender,
            )
            if opened.sender != delivery.sender:
                raise ReplayedMessage(
                    f"a message of {opened.sender}", culprits=(delivery.sender,), round=self.bearings.round
                )
            if isinstance(opened.message, Abort):
                raise opened.message.as_error()
            if opened.sender not in wait.senders or opened.sender in self.lost:
                self.seat.note(
                    delivery, type(opened.message).__name__, opened.receipt.digest, "not asked for"
                )
                return
            if opened.sender in inbox:
                self.seat.note(delivery, type(opened.message).__name__, opened.receipt.digest, "repeated")
                return
            self.seat.heard(self.bearings.round, opened)
            wait.accept(opened)
        except ReplayedMessage:
            # An old or copied frame changes nothing; the party it came from may still answer.
            self.seat.note(delivery, "?", b"", "replayed")
            return
        except ProtocolViolation as problem:
            self.seat.note(delivery, "?", b"", problem.code)
            if delivery.sender not in wait.senders:
                return
            if aborts:
                raise
            self.lost[delivery.sender] = problem.code
            return
        self.seat.note(delivery, type(opened.message).__name__, opened.receipt.digest, "taken")
        inbox[opened.sender] = opened
