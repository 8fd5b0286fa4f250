"""A relay that drops, repeats, corrupts, replays or delays messages: right results or an abort by name.

The parties run over the memory hub, which is told what arrives instead of a message.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest

from silo.charter import Times
from silo.crypto.errors import SiloError
from silo.protocols import codec
from silo.protocols.envelope import Header
from silo.simulation import simulate
from silo.transport.memory import Hub

NAMES = ("ash", "birch", "cedar", "dogwood")
VICTIM = NAMES[0]
UP = ("Present", "Advertise", "Shares", "Upload", "Vote", "Unmasking")
DOWN = ("Begin", "Directory", "Delivery", "Survivors", "Votes", "Result")
FAULTS = (
    "twice",
    "with the last one",
    "behind the last one",
    "never",
    "with one bit changed",
    "as the last one",
    "too late",
)
FAST = {
    ("twice", "Upload"),
    ("with the last one", "Present"),
    ("with the last one", "Vote"),
    ("behind the last one", "Unmasking"),
    ("behind the last one", "Begin"),
    ("never", "Present"),
    ("never", "Upload"),
    ("never", "Begin"),
    ("never", "Result"),
    ("with one bit changed", "Shares"),
    ("with one bit changed", "Upload"),
    ("with one bit changed", "Directory"),
    ("with one bit changed", "Result"),
    ("as the last one", "Advertise"),
    ("as the last one", "Votes"),
    ("too late", "Vote"),
    ("too late", "Delivery"),
}


class Tamper:
    """Does one thing to the second message of a kind between the relay and the victim."""

    def __init__(self, fault: str, kind: str) -> None:
        self.fault, self.kind = fault, kind
        self.seen: Counter[str] = Counter()
        self.last: dict[str, bytes] = {}
        self.held: dict[tuple[str, str], bytes] = {}
        self.done = False

    def __call__(self, sender: str, recipient: str, payload: bytes) -> list[bytes] | None:
        if VICTIM not in (sender, recipient):
            return None
        way = (sender, recipient)
        length = int.from_bytes(payload[5:7], "big")
        kind = codec.decode(Header, payload[7 : 7 + length], sender=sender, round=0).kind
        self.seen[kind] += 1
        last, self.last[kind] = self.last.get(kind, b""), payload
        if kind == self.kind and self.seen[kind] == 2:
            self.done = True
            return self._instead(way, payload, last)
        if way in self.held:
            return [payload, self.held.pop(way)]
        return None

    def _instead(self, way: tuple[str, str], payload: bytes, last: bytes) -> list[bytes]:
        if self.fault == "too late":
            self.held[way] = payload
            return []
        place = len(payload) - 1 - len(payload) // 8
        changed = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
        return {
            "twice": [payload, payload],
            "with the last one": [payload, last],
            "behind the last one": [last, payload],
            "never": [],
            "with one bit changed": [changed],
            "as the last one": [last],
        }[self.fault]


def two_sums(session: Any, value: Any) -> list[tuple[Any, ...]]:
    """What became of two collectives at one party."""
    became: list[tuple[Any, ...]] = []
    for number in range(2):
        try:
            mean = session.mean(value + 0.01 * number)
        except SiloError as problem:
            return [*became, (problem.code, str(problem))]
        became.append(("sum", mean, session.last.survivors))
    return became


def run(fault: str, kind: str) -> tuple[dict[str, Any], dict[str, list[tuple[Any, ...]]]]:
    tamper = Tamper(fault, kind)
    inputs = {name: np.linspace(-0.5, 0.5, 50) * (place + 1) / 4 for place, name in enumerate(NAMES)}
    became = simulate(NAMES, two_sums, inputs, hub=Hub(tamper))
    assert tamper.done, f"no second {kind} was seen"
    return inputs, became


def check_sums(inputs: dict[str, Any], became: dict[str, list[tuple[Any, ...]]], number: int) -> int:
    """All that one collective gave is right, and the same everywhere; says how many got it."""
    given = [lines[number] for lines in became.values() if len(lines) > number and lines[number][0] == "sum"]
    for _, mean, survivors in given:
        right = np.mean([inputs[name] + 0.01 * number for name in survivors], axis=0)
        np.testing.assert_allclose(mean, right, atol=1e-6)
        np.testing.assert_array_equal(mean, given[0][1])
        assert survivors == given[0][2]
    return len(given)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        pytest.param(fault, kind, marks=() if (fault, kind) in FAST else pytest.mark.slow)
        for fault in FAULTS
        for kind in (*UP, *DOWN)
    ],
)
def test_tampered_messages_give_right_sums_or_named_aborts(
    monkeypatch: pytest.MonkeyPatch, fault: str, kind: str
) -> None:
    times = Times(reconnect=1.0, silence=1.0, work=1.0)
    monkeypatch.setattr(sys.modules["silo.simulation"], "Times", lambda: times)
    inputs, became = run(fault, kind)
    assert check_sums(inputs, became, 0) == len(NAMES), became
    check_sums(inputs, became, 1)
    for name, lines in became.items():
        if lines[1][0] == "sum":
            continue
        code, said = lines[1]
        assert code.startswith("SILO-2"), (name, code, said)
        assert any(party in said for party in (VICTIM, "relay", "aggregator")), (name, code, said)
    if kind == "Present" and fault.endswith("the last one"):
        # What the victim asked for before is asked for again: nobody is misled. Either the old word is passed
        # over, or all refuse and say who differs.
        others = [lines[1] for name, lines in became.items() if name != VICTIM]
        assert all(one[0] == "sum" for one in others) or all(VICTIM in one[1] for one in others), became
    else:
        # Enough are left without the victim, so what is done to it alone costs the others nothing.
        assert all(became[name][1][0] == "sum" for name in NAMES[1:]), became
