"""The one driver: it moves any protocol's role over any transport.

It seals and opens envelopes, waits with deadlines that watch progress, keeps the transcript of what came and
tells the outbox of what left. It knows nothing of any protocol but what its `Step`s say.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from silo.crypto.signing import SigningKey
from silo.early import Aside, Turns, numbered
from silo.protocols import private, rollcall
from silo.protocols.codec import Message
from silo.protocols.control import Abort
from silo.protocols.envelope import (
    EVERYBODY,
    Bearings,
    Opened,
    claimed_protocol,
    claimed_signature,
    open_frame,
    seal,
)
from silo.protocols.errors import MalformedMessage, ProtocolAborted, ProtocolViolation, ReplayedMessage
from silo.protocols.psi import context as psi
from silo.protocols.step import Inbox, Outgoing, Role, Step, Wait
from silo.protocols.vertical import context as vertical
from silo.transport.base import Delivery, Endpoint, Patience, Presence, Reset

R = TypeVar("R")
_TICK = 0.2
_TOLD_AGAIN = 1.0
"""Seconds after which who watches an unchanged wait is told again: time passes, and parties come and go."""
_TRANSCRIPT = 4096
_REMEMBERED = 4096
"""Frames of each party that are known again when they are copied; no protocol takes so many out of order."""
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
    aside: Aside = field(default_factory=Aside)

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
            self.aside.clear()
            raise RelayRestarted("the relay was restarted in the middle of a round; this round is lost")
        return None

    def set_aside(self, delivery: Delivery) -> None:
        """Keep a frame that came before its time. What finds no room is found missing when its time comes."""
        verdict = self.aside.put(claimed_protocol(delivery.payload), delivery)
        if verdict:
            self.note(delivery, "?", b"", verdict)

    def early(self) -> list[Delivery]:
        """Take all frames that were set aside."""
        return self.aside.take()[0]

    def note(self, delivery: Delivery, kind: str, digest: bytes, verdict: str) -> None:
        """Write one frame into the transcript."""
        self.transcript.append(
            Received(delivery.sender, kind, len(delivery.payload), digest.hex()[:16], verdict)
        )


@dataclass(eq=False)
class Drive:
    """One role under way: where its messages belong, whose keys count, what does not belong to it.

    Ordered messages are numbered from 0: one party has one drive for the same bearings.
    """

    seat: Seat
    bearings: Bearings
    keys: Mapping[str, bytes]
    lost: dict[str, str] = field(default_factory=dict)
    _before: Counter[str] = field(init=False)
    _sent: Counter[str] = field(default_factory=Counter)
    _turns: Turns = field(default_factory=Turns)
    _taken: dict[str, deque[bytes]] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)

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
            for opened in self._turns.rest():
                self._note(opened, "not asked for")

    def _take(self, step: Step) -> Inbox:
        if step.once:
            self.seat.once(self.bearings.session, self.bearings.round, step)
        sent: dict[str, Opened[Any]] = {}
        for outgoing in step.send:
            for one in self._numbered(outgoing) if outgoing.ordered else (outgoing,):
                sent[self.seat.me] = self.seat.send(one, self.bearings)
        if step.wait is None:
            return sent
        del sent
        return self._wait(step.wait)

    def _numbered(self, outgoing: Outgoing) -> Iterator[Outgoing]:
        """One message for each recipient, with its place among those that go there."""
        for to in outgoing.to:
            yield replace(outgoing, to=(to,), note=numbered(self._sent[to]))
            self._sent[to] += 1

    def _wait(self, wait: Wait) -> dict[str, Opened[Any]]:
        inbox: dict[str, Opened[Any]] = {}
        start = time.monotonic()
        self._take_early(wait, inbox)
        shown: tuple[str, ...] | None = None
        told = start
        while True:
            missing = tuple(sorted(wait.senders - inbox.keys() - self.lost.keys()))
            if missing != shown or time.monotonic() - told > _TOLD_AGAIN:
                shown, told = missing, time.monotonic()
                self.seat.watch(Watch(self.bearings.round, wait.name, missing, tuple(sorted(inbox))))
            if not missing:
                self._require_one(wait, inbox)
                return inbox
            came = self.seat.next(_TICK)
            if came is not None:
                self._receive(came, wait, inbox)
            self._give_up(missing, start, 2 if len(wait.senders) == 1 else 1)

    def _take_early(self, wait: Wait, inbox: dict[str, Opened[Any]]) -> None:
        """Begin with what is there. Raises `ProtocolAborted` if something was too much to be kept."""
        for name in sorted(wait.senders):
            self._take_turn(name, wait, inbox)
        early, over = self.seat.aside.take(self.bearings.protocol)
        self._over |= over
        for name in sorted(self._over & wait.senders):
            raise ProtocolAborted(
                f"{name} sent before {wait.name} was waited for, and there was no room for it: {self.seat.aside.room} "
                "bytes are kept of what comes before its time",
                (name,),
            )
        for delivery in early:
            self._receive(delivery, wait, inbox)

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
            number = self._turns.gap(name) if name in self.lost else None
            if number is not None:
                raise ProtocolAborted(
                    f"message {number} of {name} did not come, and later ones did: the relay lost it or holds it back"
                )

    def _receive(self, delivery: Delivery, wait: Wait, inbox: dict[str, Opened[Any]]) -> None:
        claimed, name = claimed_protocol(delivery.payload), delivery.sender
        if claimed != self.bearings.protocol and claimed in _OUT_OF_TURN:
            self.seat.set_aside(delivery)
            return
        if claimed_signature(delivery.payload) in self._taken.get(name, ()):
            self.seat.note(delivery, "?", b"", "repeated")
            return
        with self._judging(delivery, wait):
            opened = self._open(delivery, wait)
            if not wait.ahead:
                self._accept(opened, wait, inbox)
            elif name in self.lost:
                self._note(opened, "not asked for")
            elif not self._turns.put(opened, self.bearings.round):
                self._note(opened, "repeated")
        if wait.ahead:
            self._take_turn(name, wait, inbox)
            self._turns.require_room(name, wait.ahead, wait.name)

    def _take_turn(self, name: str, wait: Wait, inbox: dict[str, Opened[Any]]) -> None:
        """Take the next frame of a party in, if it is waited for and there."""
        if name not in wait.senders or name in inbox or name in self.lost:
            return
        opened = self._turns.take(name)
        if opened is not None:
            with self._judging(Delivery(name, opened.frame), wait):
                self._accept(opened, wait, inbox)

    def _open(self, delivery: Delivery, wait: Wait) -> Opened[Any]:
        kinds: dict[str, type[Message]] = {kind.__name__: kind for kind in wait.kinds}
        if self._may_abort(delivery.sender, wait):
            kinds[Abort.__name__] = Abort
        opened = open_frame(
            delivery.payload,
            bearings=self.bearings,
            keys=self.keys,
            kinds=kinds,
            recipients=frozenset({self.seat.me, EVERYBODY}),
            # What is kept may belong to a step with larger messages: the step looks at their size.
            limit=max(wait.limit, wait.ahead),
            came_from=delivery.sender,
        )
        if opened.sender != delivery.sender:
            raise ReplayedMessage(
                f"a message of {opened.sender}", culprits=(delivery.sender,), round=self.bearings.round
            )
        if isinstance(opened.message, Abort):
            raise opened.message.as_error()
        return opened

    def _accept(self, opened: Opened[Any], wait: Wait, inbox: dict[str, Opened[Any]]) -> None:
        """Take a message in that is due. Raises `ProtocolViolation`."""
        name = opened.sender
        if name not in wait.senders or name in self.lost:
            self._note(opened, "not asked for")
            return
        if name in inbox:
            self._note(opened, "repeated")
            return
        if len(opened.frame) > wait.limit:
            raise MalformedMessage(
                "a frame is too large",
                culprits=(name,),
                round=self.bearings.round,
                expected=f"<= {wait.limit}",
                found=len(opened.frame),
            )
        self.seat.heard(self.bearings.round, opened)
        wait.accept(opened)
        self._note(opened, "taken")
        if not wait.ahead:
            self._taken.setdefault(name, deque(maxlen=_REMEMBERED)).append(opened.receipt.signature)
        inbox[name] = opened

    @contextmanager
    def _judging(self, delivery: Delivery, wait: Wait) -> Iterator[None]:
        """What follows from a frame that breaks a rule."""
        name = delivery.sender
        try:
            yield
        except ReplayedMessage:
            # An old or copied frame changes nothing; the party it came from may still answer.
            self.seat.note(delivery, "?", b"", "replayed")
        except ProtocolViolation as problem:
            self.seat.note(delivery, "?", b"", problem.code)
            if self._may_abort(name, wait):
                raise
            # Where each frame has its place, one that cannot be read leaves a gap: no later step need wait for it.
            if name in wait.senders or (wait.ahead and name in self.keys):
                self.lost[name] = problem.code

    def _may_abort(self, name: str, wait: Wait) -> bool:
        """Whether all depends on one party, as members depend on the aggregator."""
        return self.seat.me not in wait.senders and wait.senders == {name}

    def _note(self, opened: Opened[Any], verdict: str) -> None:
        self.seat.note(
            Delivery(opened.sender, opened.frame),
            type(opened.message).__name__,
            opened.receipt.digest,
            verdict,
        )
