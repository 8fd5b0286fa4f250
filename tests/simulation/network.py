"""A round over a faulty network and a lying relay: what is done to it is a list of operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
import numpy as np

from silo.crypto.errors import StateReused
from silo.protocols.codec import Message
from silo.protocols.cohort import Survivors, Votes
from silo.protocols.envelope import EVERYBODY, Opened, open_frame
from silo.protocols.errors import ProtocolAborted, ProtocolViolation, TooFewParties
from silo.protocols.secagg import client, server
from silo.protocols.secagg.messages import Delivery, Directory, Result, Upload
from tests.protocols.secagg.federation import KINDS, RELAY, Federation

STEPS = ("advertise", "reveal", "share", "upload", "vote", "unmask", "result")
TO_MEMBERS = {
    "Directory": "reveal",
    "Reveals": "share",
    "Delivery": "upload",
    "Survivors": "vote",
    "Votes": "unmask",
    "Result": "result",
}


@dataclass(frozen=True)
class Operation:
    """`what` happens to `who` in a step, in the direction from the member (`up`) or to it.

    `number` picks the bit, the place or the other message that it takes.
    """

    what: str
    step: str
    who: int
    up: bool = True
    number: int = 0


@dataclass
class Ended:
    """How a round ended for one party: a sum, nothing (it was cut off), or a named problem."""

    total: Any = None
    problem: Exception | None = None


@dataclass
class Simulation:
    """Members, the relay's honest states, and whatever the operations make of them."""

    fed: Federation
    operations: Sequence[Operation]
    states: dict[str, Any] = field(default_factory=dict)
    ends: dict[str, Ended] = field(default_factory=dict)
    late: list[tuple[str, bytes]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    relay: Ended = field(default_factory=Ended)

    def run(self) -> Simulation:
        fed = self.fed
        self.plains = fed.plains(fed.one_hot())
        collecting: Any = server.open_round(fed.context, frozenset(fed.names))
        answers: dict[str, tuple[Message, bytes]] = {}
        for name in fed.names:
            self.states[name], message = client.advertise(fed.context, name, rng=fed.rngs[name])
            answers[name] = message, b""
        step = "advertise"
        while True:
            self._up(collecting, step, answers)
            names = sorted(collecting.inbox)
            try:
                closed = collecting.close_round()
            except (ProtocolViolation, ProtocolAborted) as problem:
                self.relay.problem = problem
                return self
            told: Any
            collecting, told = (None, closed[0]) if isinstance(closed[0], Result) else closed
            each = told if isinstance(told, dict) else dict.fromkeys(names, told)
            step = TO_MEMBERS[type(next(iter(each.values()))).__name__]
            answers = self._down(step, each)
            if step == "result":
                return self

    def _operations(self, step: str, name: str, up: bool) -> list[Operation]:
        place = self.fed.names.index(name)
        return [o for o in self.operations if (o.step, o.who % self.fed.n, o.up) == (step, place, up)]

    def _up(self, collecting: Any, step: str, answers: dict[str, tuple[Message, bytes]]) -> None:
        """What members send; the operations fall on the frames."""
        arriving: list[tuple[str, bytes]] = self.late
        self.late = []
        for name, (message, note) in answers.items():
            to = RELAY if type(message).__name__ in ("Shares", "Upload", "Unmasking") else EVERYBODY
            opened = self.fed.sealed(name, message, to=to, note=note)
            if isinstance(message, Upload):
                self.uploads[name] = opened.receipt.digest
            frames = [(name, bytes(opened.frame))]
            for operation in self._operations(step, name, True):
                frames = self._bend(operation, frames, step)
            arriving += frames
        if any(o.what == "reorder" and o.step == step for o in self.operations):
            arriving.reverse()
        for sender, frame in arriving:
            try:
                collecting.accept(self._open(frame, sender))
            except (ProtocolViolation, StateReused):
                continue

    def _bend(self, o: Operation, frames: list[tuple[str, bytes]], step: str) -> list[tuple[str, bytes]]:
        if not frames:
            return frames
        name, frame = frames[0]
        if o.what == "drop":
            return []
        if o.what == "delay":
            self.late += frames
            return []
        if o.what == "duplicate":
            return frames * 2
        if o.what == "corrupt":
            return [(name, _flip(frame, o.number))]
        if o.what == "replay":
            old = earlier(self.fed.degree)
            mine = [one for sender, _, one in old if sender == name]
            return [(name, mine[o.number % len(mine)]), *frames]
        return frames

    def _open(self, frame: bytes, came_from: str) -> Opened[Any]:
        context = self.fed.context
        return open_frame(
            frame,
            bearings=context.bearings,
            keys={**context.roster.keys, RELAY: self.fed.relay_key.public},
            kinds=KINDS,
            recipients=frozenset({EVERYBODY, RELAY, *self.fed.names}),
            limit=1 << 20,
            came_from=came_from,
        )

    def _down(self, step: str, each: dict[str, Message]) -> dict[str, tuple[Message, bytes]]:
        """What the relay says; the operations make it lie."""
        answers: dict[str, tuple[Message, bytes]] = {}
        for name, honest in each.items():
            if name in self.ends:
                continue
            messages: list[Message] = [honest]
            for operation in self._operations(step, name, False):
                messages = self._lie(operation, messages)
            for message in messages:
                frame = self.fed.sealed(RELAY, message, to=name).frame
                for operation in self._operations(step, name, False):
                    if operation.what == "corrupt":
                        frame = _flip(bytes(frame), operation.number)
                self._hear(step, name, bytes(frame), answers)
        return answers

    def _lie(self, o: Operation, messages: list[Message]) -> list[Message]:
        if not messages:
            return messages
        told = messages[0]
        if o.what in ("drop", "delay"):
            return []
        if o.what == "duplicate":
            return messages * 2
        (name,) = told.__struct_fields__
        items = getattr(told, name)
        if not isinstance(items, tuple):
            if o.what == "lie":
                return [Result(memoryview(_flip(bytes(items), o.number)))]
            return messages
        if o.what == "lie" and items:
            kept = [one for place, one in enumerate(items) if not o.number >> place & 1]
            return [msgspec.structs.replace(told, **{name: tuple(kept)})]
        if o.what == "twice" and items:
            return [msgspec.structs.replace(told, **{name: (*items, items[o.number % len(items)])})]
        if o.what == "replay" and isinstance(told, (Directory, Votes)):
            kind = "Advertise" if isinstance(told, Directory) else "Vote"
            old = [frame for _, one, frame in earlier(self.fed.degree) if one == kind]
            place = o.number % len(items)
            mixed = (*items[:place], old[place % len(old)], *items[place + 1 :])
            return [msgspec.structs.replace(told, **{name: mixed})]
        if isinstance(told, (Delivery, Survivors)) and o.what == "reorder":
            return [msgspec.structs.replace(told, **{name: tuple(reversed(items))})]
        return messages

    def _hear(self, step: str, name: str, frame: bytes, answers: dict[str, tuple[Message, bytes]]) -> None:
        state = self.states[name]
        if name in self.ends:
            return
        try:
            message = self._open(frame, RELAY).message
            if step == "result":
                self.ends[name] = Ended(total=state.finish(message))
                return
            if TO_MEMBERS[type(message).__name__] != step or name in answers:
                return
            result = self._answer(step, name, state, message)
        except (ProtocolViolation, TooFewParties) as problem:
            self.ends[name] = Ended(problem=problem)
            return
        self.states[name] = result[0]
        answers[name] = result[1], (result[2] if len(result) > 2 else b"")

    def _answer(self, step: str, name: str, state: Any, message: Any) -> Any:
        rng = self.fed.rngs[name]
        if step == "reveal" and self.fed.degree:
            return state.reveal(message)
        if step in ("reveal", "share"):
            return state.share(message, rng=rng)
        if step == "upload":
            return state.mask(message, self.plains[name], rng=rng)
        if step == "vote":
            return state.agree(message, self.uploads[name])
        return state.unmask(message)

    def sums(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """The survivors and the decoded sum of every member that got one."""
        decode = next(iter(self.plains.values())).encoder.decode
        return {
            name: (end.total.survivors, decode(end.total.words))
            for name, end in self.ends.items()
            if end.total is not None
        }


def _flip(raw: bytes, number: int) -> bytes:
    bent = bytearray(raw)
    if bent:
        bent[number // 8 % len(bent)] ^= 1 << number % 8
    return bytes(bent)


@cache
def earlier(degree: int) -> list[tuple[str, str, bytes]]:
    """Every frame of an earlier round of the same members in the same session."""
    fed = federation(degree, 1, round=99)
    Simulation(fed, ()).run()
    return fed.wire


def federation(degree: int, seed: int, round: int = 100, n: int = 0, blinded: bool = False) -> Federation:
    """Five members who all mask with each other, or nine on a drawn graph."""
    n = n or (9 if degree else 5)
    threshold = 3 if degree else 0
    return Federation(
        n, threshold=threshold, degree=degree, length=n, seed=seed, round=round, blinded=blinded
    )
