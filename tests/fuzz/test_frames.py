"""Malformed frames end in a named violation, wherever they arrive, and in nothing else.

Three depths: bytes that no signature holds; bodies that a malicious member signed; and messages that decode,
with contents that no honest party sends.
"""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from silo.protocols import codec
from silo.protocols.envelope import EVERYBODY, Header, open_frame
from silo.protocols.errors import MalformedMessage, ProtocolViolation, TooFewParties
from silo.protocols.secagg.messages import Package
from tests.attacks.scene import STAGES, Scene
from tests.fuzz.frames import malformed, mutate, real, regular, signed
from tests.protocols.secagg.federation import KINDS, RELAY, Federation

EACH = 250
# 2 MiB is some hundred times the largest frame here.
MEMORY = 2 << 20


def refused(call: Callable[[], Any]) -> ProtocolViolation | TooFewParties | None:
    """What a call raises of these two; anything else ends the test."""
    try:
        call()
    except (ProtocolViolation, TooFewParties) as problem:
        return problem
    return None


def opening(fed: Federation) -> dict[str, Any]:
    return {
        "bearings": fed.context.bearings,
        "keys": {**fed.context.roster.keys, RELAY: fed.relay_key.public},
        "kinds": KINDS,
        "recipients": frozenset({EVERYBODY, RELAY, *fed.names}),
        "limit": 1 << 16,
    }


@pytest.mark.parametrize("count", [100_000])
def test_malformed_frames_do_not_open(count: int) -> None:
    fed = regular()
    options, honest = opening(fed), {frame for _, _, frame in real()}
    everybody = {*fed.names, RELAY}
    verdicts: Counter[str] = Counter()
    for raw in malformed(1, count):
        if raw in honest:
            continue
        problem = refused(partial(open_frame, raw, came_from="m0001", **options))
        assert isinstance(problem, ProtocolViolation), raw.hex()
        verdicts[type(problem).__name__] += 1
        assert problem.culprits
        assert set(problem.culprits) <= everybody
    assert set(verdicts) >= {"MalformedMessage", "BadSignature", "UnexpectedMessage"}


def test_malformed_frames_take_no_memory() -> None:
    options = opening(regular())
    tracemalloc.start()
    try:
        for raw in malformed(2, 10_000):
            refused(partial(open_frame, raw, came_from="m0001", **options))
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_mutated_bodies_decode_or_are_malformed(count: int) -> None:
    rand = random.Random(2)
    bodies: list[tuple[str, bytes]] = []
    for _, kind, frame in real():
        start = 7 + int.from_bytes(frame[5:7], "big")
        bodies.append((kind, frame[start + 64 :]))
        bodies.append(("Header", frame[7:start]))
    bodies.append(("Package", codec.encode(Package(b"s" * 33, b"k" * 33, b""))))
    kinds = {**KINDS, "Header": Header, "Package": Package}
    others = [body for _, body in bodies]
    verdicts: Counter[str] = Counter()
    tracemalloc.start()
    try:
        for _ in range(count):
            kind, body = rand.choice(bodies)
            raw = mutate(rand, body, others)
            try:
                got = codec.decode(kinds[kind], raw, sender="m0001", round=1)
            except MalformedMessage:
                verdicts["refused"] += 1
                continue
            verdicts["decoded"] += 1
            assert codec.decode(kinds[kind], codec.encode(got), sender="", round=1) == got
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert min(verdicts["refused"], verdicts["decoded"]) > count // 50


def strange(rand: random.Random, value: Any, names: list[str]) -> Any:
    """A value of the same type with other contents, for fields of decoded messages."""
    if isinstance(value, str):
        return rand.choice([*names, "mallory", RELAY, "a" * 32])
    if isinstance(value, (bytes, memoryview)):
        raw = bytearray(value)
        choice = rand.randrange(5)
        if choice == 0:
            raw = bytearray(rand.randbytes(len(raw)))
        elif choice == 1:
            raw = bytearray(len(raw))
        elif choice == 2:
            raw = bytearray(b"\xff" * len(raw))
        elif choice == 3 and raw:
            raw[rand.randrange(len(raw))] ^= 1 << rand.randrange(8)
        elif choice == 4 and len(raw) not in (32, 33, 64):
            raw = raw[: rand.randrange(len(raw) + 1)]
        return memoryview(bytes(raw)) if isinstance(value, memoryview) else bytes(raw)
    if isinstance(value, tuple):
        items = list(value)
        choice = rand.randrange(6)
        if choice == 0 or not items:
            return tuple(items[: rand.randrange(len(items) + 1)])
        if choice == 1:
            items.append(rand.choice(items))
        elif choice == 2:
            rand.shuffle(items)
        elif choice == 3:
            del items[rand.randrange(len(items))]
        else:
            place = rand.randrange(len(items))
            items[place] = strange(rand, items[place], names)
        return tuple(items)
    if isinstance(value, msgspec.Struct):
        field = rand.choice(value.__struct_fields__)
        return msgspec.structs.replace(value, **{field: strange(rand, getattr(value, field), names)})
    return value


def scenes() -> Iterator[Scene]:
    for stage in STAGES[:-1]:
        yield Scene(Federation(7, threshold=3, degree=6, length=7), stage)
    for stage in STAGES[:-1]:
        if stage != "reveals":
            yield Scene(Federation(5, length=5, blinded=True), stage)


def test_a_member_survives_whatever_the_aggregator_says() -> None:
    rand = random.Random(3)
    verdicts: Counter[str] = Counter()
    for s in scenes():
        name, state = "m0001", s.states["m0001"]
        before, honest = dict(vars(state)), s.told["m0001"]
        frames = [frame for _, kind, frame in s.fed.wire if kind not in ("Upload", "Result")]
        for _ in range(EACH):
            told = strange(rand, honest, s.fed.names)
            if rand.random() < 0.3 and isinstance(getattr(told, told.__struct_fields__[0]), tuple):
                (field,) = told.__struct_fields__
                items = getattr(told, field)
                if items and isinstance(items[0], bytes):
                    spoilt = mutate(rand, rand.choice(frames), frames)
                    told = msgspec.structs.replace(told, **{field: (*items[1:], spoilt)})
            problem = refused(partial(s.call, name, told))
            if problem is None:
                # What passes is what an honest aggregator could have said as well.
                verdicts["passed"] += 1
                del state.__dict__["_spent"]
                continue
            verdicts[type(problem).__name__] += 1
            assert vars(state) == before
            if isinstance(problem, ProtocolViolation):
                assert problem.culprits
                assert set(problem.culprits) <= {RELAY, *s.fed.names}
        s.finish()
    assert verdicts["passed"] < sum(verdicts.values()) // 2
    assert len(verdicts) >= 6


ANSWERS = {
    "directory": "Reveal",
    "reveals": "Shares",
    "delivery": "Upload",
    "survivors": "Vote",
    "votes": "Unmasking",
}


def _hand_over(s: Scene, raw: bytes, options: dict[str, Any]) -> None:
    waits = s.collecting.waits
    waits.accept(open_frame(raw, came_from="m0001", **(options | {"limit": waits.limit})))


def test_the_aggregator_survives_whatever_a_member_signs() -> None:
    rand = random.Random(4)
    verdicts: Counter[str] = Counter()
    for stage, kind in ANSWERS.items():
        s = Scene(Federation(7, threshold=3, degree=6, length=7), stage)
        name = "m0001"
        result = s.call(name)
        s.states[name], answer, note = result[0], result[1], (result[2] if len(result) > 2 else b"")
        bodies = [codec.encode(answer)]
        options = opening(s.fed)
        for number in range(EACH):
            if number % 2:
                body = codec.encode(strange(rand, answer, s.fed.names))
                other = rand.choice((note, b"", rand.randbytes(1)))
            else:
                body, other = mutate(rand, bodies[0], bodies), note
            as_kind = kind if number % 9 else rand.choice(list(KINDS))
            raw = signed(body, as_kind, s.context.bearings, name, s.fed.keys[name], other)
            problem = refused(partial(_hand_over, s, raw, options))
            if problem is None:
                # A member may send another vector, or wrong shares; they only must not break anything.
                verdicts["taken"] += 1
                assert kind in ("Upload", "Unmasking", "Shares") or s.collecting.inbox[name].message == answer
                s.collecting.inbox.clear()
                if kind == "Upload":
                    s = Scene(Federation(7, threshold=3, degree=6, length=7), stage)
                    s.states[name] = s.call(name)[0]
                continue
            verdicts[type(problem).__name__] += 1
            assert isinstance(problem, ProtocolViolation)
            assert name in problem.culprits
            assert set(problem.culprits) <= {name, RELAY}
            assert s.collecting.inbox == {}
        s.post(name, answer, note)
        for other_name in s.here:
            if other_name != name:
                s.step(other_name)
        s.close().finish()
    assert len(verdicts) >= 4


def test_the_aggregator_waits_for_nothing_larger_than_its_limit() -> None:
    for stage in ("directory", "delivery", "survivors", "votes"):
        s = Scene(Federation(5, length=5), stage)
        waits = s.collecting.waits
        kind = "Shares" if stage == "directory" else ANSWERS[stage]
        raw = signed(bytes(waits.limit), kind, s.context.bearings, "m0001", s.fed.keys["m0001"])
        with pytest.raises(MalformedMessage, match="too large"):
            open_frame(raw, came_from="m0001", **(opening(s.fed) | {"limit": waits.limit}))
        for name in s.here:
            s.step(name)
            assert len(s.sent[name].frame) <= waits.limit
