"""A second look at the encrypted sums: what a refusal tells, keys of small order, and numbers that do not fit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.crypto.paillier import keys as paillier_keys
from silo.crypto.paillier import products
from silo.crypto.rng import SystemRng
from silo.protocols.cohort import Vote
from silo.protocols.errors import ProtocolViolation
from silo.protocols.he_sum import schemes
from silo.protocols.he_sum.joint import client, shares
from silo.protocols.he_sum.joint.key import Lattice
from silo.protocols.he_sum.messages import Ciphertext, JointParts, Release, Upload
from silo.protocols.he_sum.parameters import Parameters
from tests.protocols.he_sum.federation import Federation, sum_key

HELD = ["ckks", "paillier"]
LIAR = "m3"


@pytest.fixture(autouse=True)
def _scheme(request: pytest.FixtureRequest) -> None:
    if "protocol" in request.fixturenames and request.getfixturevalue("protocol") == "ckks":
        pytest.importorskip("tenseal")


@pytest.mark.parametrize("protocol", HELD)
def test_a_refused_decryption_does_not_tell_the_relay_of_an_input(protocol: str) -> None:
    """The relay alone puts one member's upload, and constants, in the place of the sum: whether the holder refuses it
    tells whether one value of this member is above a number that the relay chose.
    """
    told = []
    for secret in (0, 1):
        fed = Federation(protocol)
        terms = fed.context.parameters
        place = terms.head + 2
        scheme = schemes.encryption(protocol, sum_key(protocol).public, count=terms.count, bits=terms.bits)
        limit = terms.ring.limit(terms.parties)
        rest = 2 * limit * terms.parties - limit
        single: list[bytes] = []

        def hand(
            who: str,
            to: str,
            message: Any,
            single: list[bytes] = single,
            scheme: Any = scheme,
            terms: Parameters = terms,
            place: int = place,
            rest: int = rest,
        ) -> Any:
            if isinstance(message, Upload) and who == "m1":
                single.append(bytes(message.payload))
            if not isinstance(message, Ciphertext):
                return message
            total = scheme.sum()
            total.add(single[0])
            for piece in (rest // 3, rest // 3, rest - 2 * (rest // 3)):
                words = np.zeros(terms.count, terms.ring.dtype)
                words[0], words[place] = 1, piece
                total.add(scheme.encrypt(words, rng=SystemRng(), threads=1))
            return Ciphertext(message.votes, memoryview(total.payload()))

        inputs = {name: np.zeros(6, np.int64) for name in fed.names}
        inputs["m1"][2] = secret
        found = fed.run(inputs, hand=hand)
        told.append([message.problem for who, _, message in found.said if isinstance(message, Release)])
    assert told[0] == told[1], "the relay saw a value of one member in whether the sum was refused"


def test_a_part_of_who_is_not_in_the_round_is_a_named_error() -> None:
    """The relay shows a colluder's part that the roll call did not show: there is no channel to it."""
    fed, rng = Federation("lattice"), SystemRng()
    channels = {name: key for name, key in fed.context.channels.items() if name != LIAR}
    parts = {name: client.begin(fed.context, name, fed.channels[name], rng=rng)[1] for name in fed.names}
    context = dataclasses.replace(fed.context, channels=channels)
    state, parts["m1"] = client.begin(context, "m1", fed.channels["m1"], rng=rng)
    frames = tuple(memoryview(fed.sealed(name, part).frame) for name, part in parts.items())
    with pytest.raises(ProtocolViolation) as caught:
        state.encrypt(JointParts(frames), fed.plain("m1", np.zeros(6)), rng=rng)
    assert LIAR in caught.value.culprits


@pytest.mark.parametrize("protocol", [*HELD, "lattice"])
def test_a_channel_key_of_small_order_stops_its_owner_only(protocol: str) -> None:
    """One member shows zeros as its channel key: the others get their sum, or are told its name."""
    fed = Federation(protocol)
    fed.context = dataclasses.replace(fed.context, channels={**fed.context.channels, LIAR: bytes(32)})
    found = fed.run()
    for name in ("m1", "m2"):
        problem = found.errors.get(name) or found.ended
        assert found.totals.get(name) is not None or getattr(problem, "culprits", ()) == (LIAR,)


@pytest.mark.parametrize("lie", ["vote", "upload"])
def test_one_liar_does_not_spoil_a_joint_sum_that_can_do_without_it(lie: str) -> None:
    """What every member would refuse is refused by the aggregator, as under a holder's key: the others go on."""
    fed = Federation("lattice")

    def hand(who: str, to: str, message: Any) -> Any:
        if isinstance(message, Vote) and who == LIAR and lie == "vote":
            return Vote(bytes(32))
        if isinstance(message, Upload) and who == LIAR and lie == "upload":
            return Upload(message.payload[:-1])
        return message

    found = fed.run(hand=hand)
    assert LIAR in found.refused
    assert all(found.totals.get(name) is not None for name in ("m0", "m1", "m2")), found.errors


def test_a_lattice_with_more_parties_than_its_noise_allows_is_refused_at_the_start() -> None:
    """Not after everybody uploaded and gave its part of the decryption."""
    with pytest.raises(ParameterError):
        Lattice(bytes(32), count=16, bits=32, parties=1000)


def test_a_share_is_not_shown() -> None:
    shown = repr(shares.Shared("m1", b"\x01" + b"Q" * 32))
    assert "QQQQ" not in shown


@pytest.mark.parametrize("value", [2**64 - 1, 2**63])
def test_a_table_of_unsigned_numbers_beyond_its_bits_is_refused(value: int) -> None:
    """It would wrap to -1, or to a number whose absolute value is negative."""
    public = paillier_keys.insecure_small_key(512, rng=SystemRng()).public
    with pytest.raises(ParameterError):
        products.matrix([public.n + 1], np.array([[value]], np.uint64), public)


def test_a_product_with_what_is_no_unit_is_a_named_error() -> None:
    """n itself lies between 0 and n^2; a negative factor asks for its inverse."""
    public = paillier_keys.insecure_small_key(512, rng=SystemRng()).public
    with pytest.raises(ParameterError):
        products.matrix([public.n], np.array([[-1]], np.int64), public)
