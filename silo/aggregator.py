"""The aggregator's loop: roll call, round, roll call; it runs in the relay's process, at the relay's seat."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from silo.agreement import Round, session_id
from silo.charter import Charter
from silo.crypto.errors import SiloError
from silo.driver import Drive, Seat, Watch
from silo.protocols import rollcall
from silo.protocols.cohort import Closed
from silo.protocols.control import Abort, Lost
from silo.protocols.envelope import EVERYBODY, Opened, claimed_protocol, open_frame
from silo.protocols.errors import GivenUp, ProtocolViolation, TooFewParties
from silo.protocols.rollcall import Begin, Present
from silo.protocols.step import Outgoing
from silo.sums import aggregator_role
from silo.transport.base import Delivery, TransportError

_TICK = 0.2
_PUBLIC = "signed"


@dataclass(frozen=True, slots=True)
class Finished:
    """One round as the aggregator saw it end."""

    number: int
    tag: str
    survivors: tuple[str, ...]
    lost: dict[str, str]
    liars: tuple[str, ...]
    """Members that gave wrong shares; the sum is right without them."""
    problem: SiloError | None
    seconds: float


@dataclass(eq=False)
class Aggregator:
    """Serves the rounds of one charter until `stop` is set, or all have left when `once`."""

    seat: Seat
    charter: Charter
    stop: threading.Event
    once: bool = False
    threads: int = 1
    told: Callable[[Finished], None] = lambda _: None
    last_round: int = 0
    _waiting: dict[str, Opened[Present]] = field(default_factory=dict)
    _newest: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    @property
    def session(self) -> bytes:
        return session_id(self.charter, self.seat.endpoint.epoch)

    def serve(self) -> None:
        """Run rounds until told to stop."""
        while not self.stop.is_set():
            presents = self._gather()
            if presents is None:
                return
            if presents:
                self._round(presents)

    def _gather(self) -> dict[str, Opened[Present]] | None:
        """Wait until everybody who is expected has said what it is about to do."""
        start = time.monotonic()
        for delivery in self.seat.early():
            self._take(delivery)
        shown: tuple[str, ...] | None = None
        while not self.stop.is_set():
            if not self._waiting:
                start = time.monotonic()  # nobody waits for the others yet
            expected = self._expected(start)
            missing = tuple(sorted(expected - self._waiting.keys()))
            if missing != shown:
                shown = missing
                self.seat.watch(
                    Watch(self.last_round + 1, "the roll call", missing, tuple(sorted(self._waiting)))
                )
            if not missing and self._waiting:
                taken, self._waiting = self._waiting, {}
                return dict(sorted(taken.items()))
            if self.once and not expected and self._seen:
                return None
            if not self.once and self._all_left(expected):
                # The next run begins: everybody is awaited again, whatever became of them in the last.
                self._seen.clear()
                self.seat.gone.clear()
            departures = dict(self.seat.departures)
            came = self.seat.next(_TICK)
            for name, count in self.seat.departures.items():
                if departures.get(name, 0) != count:
                    self._waiting.pop(name, None)
            self._seen |= {n for n in self.charter.names if self.seat.endpoint.parties().get(n) == "present"}
            if came is not None:
                self._take(came)
        return None

    def _all_left(self, expected: set[str]) -> bool:
        """Whether all who came have left; nobody else need have come yet."""
        if self._waiting:
            return False
        gone = self.seat.gone.keys() & set(self.charter.names)
        if gone and self._seen <= gone:
            return True
        return bool(self._seen) and not expected

    def _expected(self, start: float) -> set[str]:
        now = time.monotonic()
        patience = self.seat.patience
        parties = self.seat.endpoint.parties()
        expected = {name for name in self.charter.names if name not in self.seat.gone}
        for name in sorted(expected - self._waiting.keys()):
            here = parties.get(name) == "present"
            silent = here and now - max(start, self.seat.endpoint.progress(name)) > patience.silence
            if silent or now - start > patience.work:
                expected.discard(name)
        return expected

    def _take(self, delivery: Delivery) -> None:
        if claimed_protocol(delivery.payload) != rollcall.PROTOCOL:
            self.seat.note(delivery, "?", b"", "late")
            return
        try:
            opened = open_frame(
                delivery.payload,
                bearings=rollcall.bearings(self.charter.digest, self.session),
                keys=self.charter.keys,
                kinds={Present.__name__: Present},
                recipients=frozenset({EVERYBODY}),
                limit=rollcall.PRESENT_LIMIT,
                came_from=delivery.sender,
            )
            if opened.sender != delivery.sender:
                return
        except ProtocolViolation as problem:
            self.seat.note(delivery, "?", b"", problem.code)
            return
        channel, position = opened.message.channel, opened.message.position
        last_channel, last_position = self._newest.get(opened.sender, (b"", 0))
        if channel == last_channel and position < last_position:
            # One process never goes back: this is an older word of it, late or sent again.
            self.seat.note(delivery, Present.__name__, opened.receipt.digest, "replayed")
            return
        self._newest[opened.sender] = (channel, position)
        self.seat.note(delivery, Present.__name__, opened.receipt.digest, "taken")
        self._waiting[opened.sender] = opened

    def _round(self, presents: dict[str, Opened[Present]]) -> None:
        self.last_round += 1
        begun = time.monotonic()
        who = tuple(presents)
        begin = Begin(self.last_round, tuple(bytes(one.frame) for one in presents.values()))
        said = {name: one.message for name, one in presents.items()}
        self.seat.send(
            Outgoing(who, begin, _PUBLIC, public=True), rollcall.bearings(self.charter.digest, self.session)
        )
        drive: Drive | None = None
        closed = Closed(frozenset())
        problem: SiloError | None = None
        try:
            rollcall.compare(said)
            round_ = Round(self.charter, self.session, self.last_round, said)
            if round_.sums:
                drive = Drive(self.seat, round_.bearings(), self.charter.keys)
                closed = drive.run(aggregator_role(round_, threads=self.threads))
                self._tell(drive, set(drive.lost), None)
        except SiloError as ended:
            problem = ended
            # Without a drive nothing was begun: each member finds the same fault in the roll call for itself.
            if drive is not None:
                self._tell(drive, set(who), ended)
        lost = dict(drive.lost) if drive else {}
        self.told(
            Finished(
                self.last_round,
                begin_tag(said),
                tuple(sorted(closed.survivors)),
                lost,
                tuple(sorted(closed.liars)),
                problem,
                time.monotonic() - begun,
            )
        )

    def _tell(self, drive: Drive, names: set[str], problem: SiloError | None) -> None:
        """Tell members that the round is over for them; they may be gone already."""
        few = problem if isinstance(problem, TooFewParties) else None
        codes = {name: self.seat.gone.get(name, "") for name in (few.missing if few else ())} | drive.lost
        lost = tuple(Lost(name, code) for name, code in sorted(codes.items()))
        abort = Abort(
            problem.code if problem else GivenUp.code,
            few.step if few else "the round",
            few.required if few else 0,
            few.present if few else (),
            lost,
        )
        here = tuple(sorted(name for name in names if name not in self.seat.gone))
        if here:
            with contextlib.suppress(TransportError):  # whoever cannot be told sees that nothing comes
                self.seat.send(Outgoing(here, abort, "signed", public=True), drive.bearings)


def begin_tag(said: dict[str, Present]) -> str:
    """The tag of a round, for people."""
    return next(iter(said.values())).tag
