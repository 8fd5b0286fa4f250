"""Uploads that do not fit, and results that are not the sum."""

from __future__ import annotations

import numpy as np
import pytest

from silo.crypto.errors import ParameterError, ValueOutOfRange
from silo.crypto.masking import Plain
from silo.protocols.errors import InconsistentSets, MalformedMessage, ProtocolViolation, ReplayedMessage
from silo.protocols.secagg.context import bitmap
from silo.protocols.secagg.messages import Result, Upload
from tests.attacks.scene import Scene, m
from tests.protocols.secagg.federation import RELAY, Federation


def scene(until: str = "delivery", n: int = 5, **options: object) -> Scene:
    return Scene(Federation(n, length=n, **options), until)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [-1, 1, -24, 4])
def test_an_upload_of_another_length_is_refused(change: int) -> None:
    s = scene()
    s.states["m0000"], upload, note = s.call("m0000")
    raw = bytes(upload.payload)
    wrong = raw[:change] if change < 0 else raw + bytes(change)
    total = s.collecting.total.payload()
    with pytest.raises(MalformedMessage, match="a payload has 44 bytes") as caught:
        s.post("m0000", Upload(memoryview(wrong)), note)
    assert caught.value.culprits == ("m0000",)
    assert s.collecting.total.payload() == total
    s.post("m0000", upload, note)
    for name in m(1, 2, 3, 4):
        s.step(name)
    s.close().finish()


def test_a_note_that_claims_other_peers_is_refused() -> None:
    s = scene(n=6)
    s.states["m0000"], upload, note = s.call("m0000")
    roster = s.context.roster
    for peers in (m(1, 2, 3, 4), m(0, 1, 2, 3, 4, 5), ()):
        with pytest.raises(InconsistentSets) as caught:
            s.post("m0000", upload, bitmap(roster, frozenset(peers)))
        assert caught.value.culprits == ("m0000",)
        assert caught.value.found == sorted(peers)
    for odd in (b"", note + b"\0", b"\xff"):
        with pytest.raises(MalformedMessage) as other:
            s.post("m0000", upload, odd)
        assert other.value.culprits == ("m0000",)
    s.post("m0000", upload, note)
    with pytest.raises(ReplayedMessage):
        s.post("m0000", upload, note)
    for name in s.here[1:]:
        s.step(name)
    s.close().finish()


def test_a_second_upload_is_not_added() -> None:
    s = scene()
    s.step("m0000")
    total = bytes(s.collecting.total.payload())
    with pytest.raises(ReplayedMessage) as caught:
        s.collecting.accept(s.sent["m0000"])
    assert caught.value.culprits == ("m0000",)
    assert bytes(s.collecting.total.payload()) == total
    for name in s.here[1:]:
        s.step(name)
    s.close().finish()


def test_an_input_of_another_length_or_out_of_range_leaves_the_state_usable() -> None:
    s = scene()
    good = s.plains["m0000"]
    for parts, error in (
        ((np.zeros(4, np.int64),), ParameterError),
        ((np.zeros(6, np.int64),), ParameterError),
        ((np.full(5, good.encoder.limit + 1, np.int64),), ValueOutOfRange),
    ):
        s.plains["m0000"] = Plain(parts, good.encoder)
        s.refuses("m0000", s.told["m0000"], error)
    for weight in (-1.0, float("nan"), float("inf"), 2.0**31 + 1):
        s.plains["m0000"] = Plain(good.parts, good.encoder, weight=weight)
        s.refuses("m0000", s.told["m0000"], ParameterError, match="a weight is between")
    s.plains["m0000"] = good
    s.finish()


@pytest.mark.parametrize("canary", [0, 4, 6, 2**63])
def test_a_result_with_a_wrong_canary_is_refused(canary: int) -> None:
    s = scene("result")
    payload = bytes(s.told["m0000"].payload)
    wrong = Result(memoryview(canary.to_bytes(8, "little") + payload[8:]))
    s.refuses("m0000", wrong, ProtocolViolation, RELAY, match="the canary is not 5")
    s.finish()


@pytest.mark.parametrize("change", [-1, 1, 20])
def test_a_result_of_another_length_is_refused(change: int) -> None:
    s = scene("result")
    payload = bytes(s.told["m0000"].payload)
    wrong = payload[:change] if change < 0 else payload + bytes(change)
    s.refuses(
        "m0000", Result(memoryview(wrong)), ProtocolViolation, RELAY, match="not a sum over the survivors"
    )
    s.refuses("m0000", Result(memoryview(b"\0")), ProtocolViolation, RELAY)
    s.finish()


def test_a_sum_that_leaves_a_survivor_out_is_refused() -> None:
    # Four uploads and five survivors: masks are left on it, and the canary is no 5.
    s = scene("result")
    from silo.protocols.secagg.vector import Accumulator

    total = Accumulator(s.context.parameters)
    for name in m(0, 1, 2, 3):
        total.add(s.past["Upload"][name].message.payload)
    s.refuses("m0000", Result(total.payload()), ProtocolViolation, RELAY, match="canary")
    s.finish()


def test_the_relay_does_not_decide_who_receives() -> None:
    s = scene("result")
    with pytest.raises(ProtocolViolation) as caught:
        s.call("m0000", Result(memoryview(b"")))
    assert caught.value.culprits == (RELAY,)
    assert s.states["m0001"].finish(s.told["m0001"], receives=False) is None


def test_the_result_is_exact_at_the_limits_of_the_ring() -> None:
    for bits in (16, 24, 32, 40):
        fed = Federation(3, bits=bits, length=3)
        limit = fed.plains({"m0000": np.zeros(0, np.int64)})["m0000"].encoder.limit
        for sign in (1, -1):
            plains = fed.plains({name: np.full(3, sign * limit) for name in fed.names})
            total = fed.run(plains).totals["m0000"]
            assert list(plains["m0000"].encoder.decode(total.words)) == [3 * sign * limit] * 3
