"""One round that can be stopped before any message of the aggregator: an attack takes its place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from silo.protocols.codec import Message
from silo.protocols.cohort import Vote
from silo.protocols.envelope import Opened, Receipt, seal
from silo.protocols.errors import ProtocolViolation
from silo.protocols.secagg import client, server
from silo.protocols.secagg.context import Context
from silo.protocols.secagg.messages import Upload
from tests.protocols.secagg.federation import RELAY, Federation, expected

STAGES = ("directory", "reveals", "delivery", "survivors", "votes", "result", "end")


class Scene:
    """Members that wait for the aggregator; `told` is what an honest one would send to each."""

    def __init__(self, fed: Federation, until: str = "directory", silent: Iterable[str] = ()) -> None:
        self.fed, self.context = fed, fed.context
        self.plains = fed.plains(fed.one_hot())
        self.states: dict[str, Any] = {}
        self.told: dict[str, Any] = {}
        self.liars: frozenset[str] = frozenset()
        self.sent: dict[str, Opened[Any]] = {}
        self.past: dict[str, dict[str, Opened[Any]]] = {}
        self.uploads: dict[str, bytes] = {}
        self.totals: dict[str, Any] = {}
        self.masked_with: dict[str, frozenset[str]] = {}
        self.stage = "directory"
        self.collecting: Any = server.open_round(self.context, frozenset(fed.names))
        for name in fed.names:
            if name in silent:
                continue
            self.states[name], message = client.advertise(self.context, name, rng=fed.rngs[name])
            self.post(name, message)
        self._close()
        self.until(until)

    @property
    def here(self) -> list[str]:
        return sorted(self.told)

    def until(self, stage: str) -> Scene:
        while self.stage != stage:
            self.advance()
        return self

    def call(self, name: str, message: Any = None) -> Any:
        """What the member does with the aggregator's message (by default the honest one)."""
        state, message = self.states[name], self.told[name] if message is None else message
        rng = self.fed.rngs[name]
        if self.stage == "directory":
            return state.reveal(message) if self.fed.degree else state.share(message, rng=rng)
        if self.stage == "reveals":
            return state.share(message, rng=rng)
        if self.stage == "delivery":
            return state.mask(message, self.plains[name], rng=rng)
        if self.stage == "survivors":
            self.masked_with[name] = state.peers
            return state.agree(message, self.uploads[name])
        if self.stage == "votes":
            return state.unmask(message)
        return state.finish(message)

    def step(self, name: str, message: Any = None) -> Any:
        """Let one member go on and send its answer; returns the answer."""
        result = self.call(name, message)
        if self.stage == "result":
            self.totals[name] = result
            return result
        self.states[name], answer = result[:2]
        self.post(name, answer, result[2] if len(result) > 2 else b"")
        return answer

    def post(self, name: str, message: Message, note: bytes = b"", *, accept: bool = True) -> Opened[Any]:
        kind = type(message).__name__
        to = RELAY if kind in ("Shares", "Upload", "Unmasking") else "everybody"
        opened = self.fed.sealed(name, message, to=to, note=note, context=self.context)
        self.sent[name] = opened
        self.past.setdefault(kind, {})[name] = opened
        if isinstance(message, Upload):
            self.uploads[name] = opened.receipt.digest
        if accept:
            self.collecting.accept(opened)
        return opened

    def advance(self, without: Iterable[str] = ()) -> Scene:
        """Everybody goes on with what it was told, except those who stop here."""
        for name in self.here:
            if name not in without:
                self.step(name)
        return self.close()

    def close(self) -> Scene:
        """The aggregator goes on."""
        if self.stage == "result":
            self.stage = "end"
            return self
        self.stage = STAGES[STAGES.index(self.stage) + 1]
        if self.stage == "reveals" and not self.fed.degree:
            self.stage = "delivery"
        self._close()
        return self

    def _close(self) -> None:
        if self.stage == "result":
            result, closed = self.collecting.close_round()
            self.liars = closed.liars
            self.told = {name: self.fed.over_the_wire(result) for name in self.collecting.inbox}
            return
        who = sorted(self.collecting.inbox)
        self.collecting, told = self.collecting.close_round()
        each = told if isinstance(told, dict) else dict.fromkeys(who, told)
        self.told = {name: self.fed.over_the_wire(each[name]) for name in who}

    def refuses(
        self, name: str, message: Any, error: type[Exception], *culprits: str, match: str = "."
    ) -> Any:
        """The member refuses, names just these, sends nothing and has not changed."""
        state, before = self.states[name], dict(vars(self.states[name]))
        wire = len(self.fed.wire)
        with pytest.raises(error, match=match) as caught:
            self.call(name, message)
        assert type(caught.value) is error
        if isinstance(caught.value, ProtocolViolation):
            assert set(caught.value.culprits) == set(culprits)
            assert caught.value.round == self.context.round
        assert vars(state) == before
        assert not state.__dict__.get("_spent")
        assert len(self.fed.wire) == wire
        return caught.value

    def finish(self) -> Scene:
        """Everybody goes on honestly; the sum is exactly that of the survivors."""
        self.until("end")
        assert self.totals
        for total in self.totals.values():
            got = next(iter(self.plains.values())).encoder.decode(total.words)
            assert np.array_equal(got, expected(self.plains, total.survivors))
        return self

    def signed(self, name: str, message: Message, *, to: str = "everybody", **where: Any) -> bytes:
        """A frame that `name` signs; `signer`, `context` and `note` may be others than they should be."""
        signer = self.fed.keys[where.pop("signer", name)]
        context: Context = where.pop("context", self.context)
        sealed = seal(message, context.bearings, sender=name, recipient=to, signer=signer, **where)
        return bytes(sealed.frame)

    def receipts(self, *names: str) -> tuple[Receipt, ...]:
        return tuple(self.past["Upload"][name].receipt for name in names)

    def votes(self, digest: bytes, *names: str) -> tuple[bytes, ...]:
        """Votes that these members would sign if they lied."""
        return tuple(self.signed(name, Vote(digest)) for name in names)


def m(*places: int) -> tuple[str, ...]:
    """Names of members by their place."""
    return tuple(f"m{place:04d}" for place in places)
