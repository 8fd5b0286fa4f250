"""The sum that even the aggregator does not learn."""

from __future__ import annotations

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from silo.protocols.errors import ProtocolViolation
from silo.protocols.secagg.context import Context
from silo.protocols.secagg.messages import Result
from tests.attacks.scene import Scene, m
from tests.protocols.secagg.federation import RELAY, Federation


def test_the_aggregator_is_no_member_of_a_blinded_sum() -> None:
    fed = Federation(4, blinded=True)
    with pytest.raises(ParameterError, match="the aggregator is not a member"):
        Context(fed.session, 1, fed.context.roster, "m0001", fed.context.parameters)
    Context(fed.session, 1, fed.context.roster, "m0001", Federation(4).context.parameters)


def _results(value: int, count: int) -> np.ndarray:
    """The payloads of `count` blinded rounds in which everybody sends the same value."""
    seen = []
    for seed in range(1, count + 1):
        fed = Federation(3, blinded=True, length=64, seed=seed)
        plains = fed.plains({name: np.full(64, value, np.int64) for name in fed.names})
        seen.append(np.frombuffer(fed.run(plains).payload, np.uint8))
    return np.concatenate(seen)


def test_what_the_aggregator_unmasks_does_not_depend_on_the_inputs() -> None:
    none, much = _results(0, 30), _results(2**28, 30)
    # Chi-square over the 256 byte values, 255 degrees of freedom: mean 255, deviation 22.6. The generators
    # are seeded, so that this neither flickers nor depends on luck.
    for payload in (none, much):
        counts = np.bincount(payload, minlength=256)
        even = payload.size / 256
        assert ((counts - even) ** 2 / even).sum() < 255 + 5 * 22.6
    for value, (first, second) in enumerate(zip(_bits(none), _bits(much), strict=True)):
        assert abs(first - second) < 0.12, value
    open_ = Federation(3, length=64)
    zero = open_.run(open_.plains({name: np.zeros(64, np.int64) for name in open_.names})).payload
    assert set(zero[24:]) == {0}


def _bits(payload: np.ndarray) -> np.ndarray:
    words = payload[: payload.size // 280 * 280].reshape(-1, 280)
    return np.unpackbits(words.ravel()).reshape(-1, 8).mean(axis=0)


def test_a_blinded_result_hides_head_and_words_from_who_lacks_the_key() -> None:
    s = Scene(Federation(4, blinded=True, length=4), "result")
    payload = bytes(s.told["m0000"].payload)
    assert int.from_bytes(payload[:8], "little") != 4
    assert int.from_bytes(payload[8:16], "little") != 4 << 20
    blinds = {s.states[name].blind.reveal() for name in s.here}
    assert len(blinds) == 1
    assert not any(blind in frame for blind in blinds for _, _, frame in s.fed.wire)
    s.finish()


def test_one_member_with_another_part_of_the_key_is_found_by_the_canary() -> None:
    s = Scene(Federation(4, blinded=True, length=4), "delivery")
    # m0003 masks under another part than the one it gave to the others.
    object.__setattr__(s.states["m0003"], "blind", Secret.random(32, rng=InsecureSeededRng(9)))
    s.until("result")
    for name in s.here:
        s.refuses(name, s.told[name], ProtocolViolation, RELAY, match="the canary is not 4")


def test_a_result_of_another_round_or_of_other_survivors_is_found_by_the_canary() -> None:
    s = Scene(Federation(5, blinded=True, length=5), "result")
    other = Scene(Federation(5, blinded=True, length=5, round=2), "result")
    s.refuses("m0000", other.told["m0000"], ProtocolViolation, RELAY, match="canary")
    unblinded = Scene(Federation(5, length=5), "result")
    s.refuses("m0000", unblinded.told["m0000"], ProtocolViolation, RELAY, match="canary")
    s.refuses("m0000", Result(memoryview(bytes(len(s.told["m0000"].payload)))), ProtocolViolation, RELAY)
    s.finish()


def test_a_member_lost_before_its_upload_leaves_the_blinding_whole() -> None:
    s = Scene(Federation(6, blinded=True, length=6), "delivery")
    s.advance(without=m(5)).finish()
    assert s.totals["m0000"].survivors == m(0, 1, 2, 3, 4)
