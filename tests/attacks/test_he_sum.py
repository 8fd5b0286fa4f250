"""Who lies in a homomorphic sum is refused, or nothing is released; nobody's own input ever is."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import silo
from silo.charter import SUMS as CHARTER_SUMS
from silo.crypto.errors import ParameterError
from silo.errors import CharterError
from silo.protocols.errors import (
    InconsistentSets,
    MalformedMessage,
    ProtocolViolation,
    ReplayedMessage,
    TooFewParties,
    UnexpectedMessage,
)
from silo.protocols.he_sum import vector
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.errors import NotDecrypted
from silo.protocols.he_sum.messages import (
    Ciphertext,
    HolderKey,
    KeyFrame,
    Missing,
    Partial,
    Pledge,
    Release,
    Released,
    Reveal,
    Reveals,
    Upload,
    Uploads,
)
from silo.simulation import simulate
from silo.sum_key import SumKey
from tests.protocols.he_sum.federation import RELAY, Federation, sum_key

HELD = ["ckks", "paillier"]


@pytest.fixture(autouse=True)
def _scheme(request: pytest.FixtureRequest) -> None:
    if "protocol" in request.fixturenames and request.getfixturevalue("protocol") == "ckks":
        pytest.importorskip("tenseal")


def swap(kind: type, sender: str, change: Any) -> Any:
    """A hand that changes what one sender says."""

    def hand(who: str, to: str, message: Any) -> Any:
        return change(message) if isinstance(message, kind) and who == sender else message

    return hand


def encrypted(fed: Federation, words: Any) -> bytes:
    """These very words, under the right key."""
    from silo.protocols.he_sum import schemes

    terms = fed.context.parameters
    public = sum_key(fed.protocol).public
    scheme = schemes.encryption(fed.protocol, public, count=terms.count, bits=terms.bits)
    return bytes(scheme.encrypt(words, rng=fed.rngs["m1"], threads=1))


def words_of(fed: Federation, values: Any) -> Any:
    plain = fed.plain("m1", values)
    return vector.encode(plain, fed.context.parameters, rng=fed.rngs["m1"], threads=1)


@pytest.mark.parametrize("protocol", HELD)
@pytest.mark.parametrize(
    "cut", [lambda raw: raw[:-1], lambda raw: raw + b"0", lambda raw: b"", lambda raw: bytes(len(raw))]
)
def test_bytes_that_are_no_ciphertext_are_refused_by_name(protocol: str, cut: Any) -> None:
    """Another length, zeros (not a unit), nothing: the sender is left out, the others get their sum."""
    fed = Federation(protocol)
    found = fed.run(hand=swap(Upload, "m1", lambda m: Upload(memoryview(cut(bytes(m.payload))))))
    assert isinstance(found.refused["m1"], MalformedMessage)
    assert found.refused["m1"].culprits == ("m1",)
    total = found.totals["m2"]
    assert total is not None
    assert set(total.survivors) == {"m0", "m2", "m3"}


@pytest.mark.parametrize("protocol", HELD)
def test_a_ciphertext_under_another_key_is_never_released(protocol: str) -> None:
    fed = Federation(protocol)
    other = SumKey.generate(protocol, rng=fed.rngs["m1"], bits=2048)
    from silo.protocols.he_sum import schemes

    terms = fed.context.parameters
    scheme = schemes.encryption(protocol, other.public, count=terms.count, bits=terms.bits)
    foreign = bytes(scheme.encrypt(words_of(fed, np.eye(6)[1]), rng=fed.rngs["m1"], threads=1))
    found = fed.run(hand=swap(Upload, "m1", lambda m: Upload(memoryview(foreign))))
    if "m1" in found.refused:  # its numbers do not fit under the right key
        assert set(found.totals["m2"].survivors) == {"m0", "m2", "m3"}  # type: ignore[union-attr]
        return
    _nothing_released(found)


@pytest.mark.parametrize("protocol", HELD)
@pytest.mark.parametrize("lie", ["no canary", "two canaries", "beyond the last slot", "weight"])
def test_words_that_no_honest_member_has_are_never_released(protocol: str, lie: str) -> None:
    fed = Federation(protocol)
    words = words_of(fed, np.eye(6, dtype=np.int64)[1])
    terms = fed.context.parameters
    if lie == "no canary":
        words[0] = 0
    elif lie == "two canaries":
        words[0] = 2
    elif lie == "weight":
        words[terms.limbs : 2 * terms.limbs] = (1 << terms.limb_bits) - 1
    else:
        words[terms.head + 2 :] = terms.ring.mask
    found = fed.run(hand=swap(Upload, "m1", lambda m: Upload(memoryview(encrypted(fed, words)))))
    _nothing_released(found)


@pytest.mark.parametrize("protocol", HELD)
def test_a_word_beyond_the_range_is_refused_or_stays_within_the_sum_of_honest_ones(protocol: str) -> None:
    """One slot may run over into the next: what is released is still a sum that honest members can have."""
    fed = Federation(protocol)
    words = words_of(fed, np.eye(6, dtype=np.int64)[1])
    terms = fed.context.parameters
    words[terms.head + 2] = terms.ring.mask
    found = fed.run(hand=swap(Upload, "m1", lambda m: Upload(memoryview(encrypted(fed, words)))))
    for total in found.totals.values():
        if total is not None:
            limit = 4 * terms.ring.limit(4)
            assert np.abs(terms.ring.signed(total.words)).max() <= limit
    if protocol == "ckks":
        _nothing_released(found)


def _nothing_released(found: Any) -> None:
    assert all(total is None for total in found.totals.values())
    assert isinstance(found.errors["m0"], NotDecrypted)
    assert isinstance(found.errors["m2"], NotDecrypted)
    assert "nothing was released" in str(found.errors["m2"])


@pytest.mark.parametrize("protocol", [*HELD, "lattice"])
def test_an_upload_of_an_earlier_round_is_refused(protocol: str) -> None:
    fed = Federation(protocol)
    with pytest.raises(ReplayedMessage):
        fed.sealed("m1", Upload(memoryview(b"x")), RELAY, round=fed.round + 1)


@pytest.mark.parametrize("protocol", HELD)
def test_another_key_than_the_charters_is_refused(protocol: str) -> None:
    other = SumKey.generate(protocol, rng=Federation(protocol).rngs["m1"], bits=2048)
    found = Federation(protocol).run(
        hand=swap(HolderKey, "m0", lambda m: HolderKey(memoryview(other.public)))
    )
    assert isinstance(found.refused["m0"], UnexpectedMessage)
    assert found.totals == {}

    fed = Federation(protocol)
    forged = fed.sealed("m0", HolderKey(memoryview(other.public)))
    found = fed.run(hand=swap(KeyFrame, RELAY, lambda m: KeyFrame(memoryview(forged.frame))))
    assert {type(one) for one in found.errors.values()} == {UnexpectedMessage}
    assert not any(once == "upload" for _, once in found.steps)


@pytest.mark.parametrize("protocol", HELD)
def test_a_key_that_another_member_signed_is_refused(protocol: str) -> None:
    fed = Federation(protocol)
    stolen = fed.sealed("m1", HolderKey(memoryview(sum_key(protocol).public)))
    found = fed.run(hand=swap(KeyFrame, RELAY, lambda m: KeyFrame(memoryview(stolen.frame))))
    assert {type(one) for one in found.errors.values()} == {UnexpectedMessage}


@pytest.mark.parametrize("protocol", HELD)
def test_the_holder_decrypts_nothing_without_a_quorum(protocol: str) -> None:
    fed = Federation(protocol)
    found = fed.run(hand=swap(Ciphertext, RELAY, lambda m: Ciphertext(m.votes[:2], m.payload)))
    assert isinstance(found.errors["m0"], TooFewParties)
    assert "decrypt" not in {once for _, once in found.steps}


@pytest.mark.parametrize("protocol", HELD)
def test_one_members_ciphertext_alone_is_not_released_as_a_sum(protocol: str) -> None:
    """The canary counts the members: one ciphertext in the place of their sum shows itself."""
    fed = Federation(protocol)
    single: list[bytes] = []

    def hand(who: str, to: str, message: Any) -> Any:
        if who == "m1" and isinstance(message, Upload):
            single.append(bytes(message.payload))
        if isinstance(message, Ciphertext):
            return Ciphertext(message.votes, memoryview(single[0]))
        return message

    _nothing_released(fed.run(hand=hand))


@pytest.mark.parametrize("protocol", HELD)
def test_a_release_that_was_changed_or_is_not_the_holders_is_refused(protocol: str) -> None:
    fed = Federation(protocol)

    def other(message: Released) -> Released:
        said = fed.opened(bytes(message.frame), RELAY).message
        sealed = bytearray(said.sealed)
        sealed[40] ^= 1
        return Released(
            memoryview(fed.sealed("m0", Release("", said.boxes, memoryview(bytes(sealed)))).frame)
        )

    found = fed.run(hand=swap(Released, RELAY, other))
    assert {type(one) for one in found.errors.values()} == {ProtocolViolation}
    again = Federation(protocol)

    def mine(message: Released) -> Released:
        said = again.opened(bytes(message.frame), RELAY).message
        return Released(memoryview(again.sealed("m1", said).frame))

    found = again.run(hand=swap(Released, RELAY, mine))
    assert {type(one) for one in found.errors.values()} == {UnexpectedMessage}


@pytest.mark.parametrize("protocol", HELD)
def test_the_aggregator_never_sees_the_sum(protocol: str) -> None:
    fed = Federation(protocol, length=64)
    values = np.arange(64) + 1000
    found = fed.run(dict.fromkeys(fed.names, values))
    ring = fed.context.parameters.ring
    for plain in (values, 4 * values):
        raw = plain.astype(ring.dtype).tobytes()
        for _, _, message in found.said:
            for part in (getattr(message, name) for name in message.__struct_fields__):
                assert not isinstance(part, (bytes, memoryview)) or raw[:32] not in bytes(part)


@pytest.mark.parametrize("protocol", HELD)
def test_the_relay_as_key_holder_is_refused_in_the_charter(protocol: str) -> None:
    with pytest.raises(CharterError, match="would hold the key to what it collects"):
        simulate(3, lambda s: s.sum(1), protocol=protocol, key_holder="relay")
    with pytest.raises(CharterError, match="needs a member that holds the key"):
        simulate(3, lambda s: s.sum(1), protocol=protocol, key_holder="")
    with pytest.raises(CharterError, match="fingerprint"):
        simulate(3, lambda s: s.sum(1), protocol=protocol, key_holder="party-1", key="sha256:12")


def test_the_relay_is_no_member_of_a_homomorphic_sum() -> None:
    context = Federation("lattice").context
    with pytest.raises(ParameterError, match="not a member"):
        dataclasses.replace(context, aggregator="m1")
    with pytest.raises(ParameterError, match="not in the roster"):
        Context(
            context.session, 1, context.roster, RELAY,
            dataclasses.replace(context.parameters, protocol="ckks", holder="zoe", key=bytes(32)), context.channels,
        )  # fmt: skip


@pytest.mark.parametrize("protocol", ["masking", "lattice"])
def test_a_key_holder_where_there_is_none_is_refused(protocol: str) -> None:
    with pytest.raises(CharterError, match="are for paillier and ckks"):
        simulate(3, lambda s: s.sum(1), protocol=protocol, key_holder="party-1")


@pytest.mark.parametrize("protocol", [*HELD, "lattice"])
def test_a_charter_that_does_not_fit_is_refused_when_it_is_written(protocol: str) -> None:
    with pytest.raises(CharterError, match="no blinded form"):
        simulate(3, lambda s: s.sum(1), protocol=protocol, blinded=True)
    with pytest.raises(CharterError, match="graph"):
        simulate(8, lambda s: s.sum(1), protocol=protocol, graph=4, threshold=3)
    with pytest.raises(CharterError, match="bits"):
        simulate(3, lambda s: s.sum(1), protocol=protocol, bits=16, rows=10**6)
    assert all(bits in (16, 24, 32, 40) for bits in CHARTER_SUMS[protocol].bits)


def test_the_lattice_refuses_40_bits() -> None:
    with pytest.raises(CharterError, match="choose one of 16, 24, 32 for lattice"):
        simulate(3, lambda s: s.sum(1), protocol="lattice", bits=40)


def test_secrets_are_not_shown(tmp_path: Any) -> None:
    key = sum_key("paillier")
    assert "redacted" in repr(key) or len(repr(key)) < 60
    with pytest.raises(TypeError):
        key.__reduce__()


class TestLattice:
    """The joint key: every member adds up and signs what it decrypts."""

    def test_a_single_ciphertext_is_refused_by_every_member(self) -> None:
        fed = Federation("lattice")
        found = fed.run(hand=swap(Uploads, RELAY, lambda m: Uploads(m.uploads[1:2])))
        assert {type(one) for one in found.errors.values()} == {TooFewParties}
        assert "vote" not in {once for _, once in found.steps}

    def test_an_upload_given_to_some_only_is_signed_by_none_of_both(self) -> None:
        """Two sets never both get a quorum: members that were told different ones find out from the votes."""
        fed = Federation("lattice")

        def hand(who: str, to: str, message: Any) -> Any:
            return (
                Uploads(message.uploads[:3])
                if isinstance(message, Uploads) and to in ("m0", "m1")
                else message
            )

        found = fed.run(hand=hand)
        assert all(total is None for total in found.totals.values())
        assert "partial" not in {once for _, once in found.steps}

    def test_an_upload_that_was_not_pledged_is_refused(self) -> None:
        fed = Federation("lattice")
        others: list[bytes] = []

        def hand(who: str, to: str, message: Any) -> Any:
            if isinstance(message, Upload) and who == "m1":
                others.append(bytes(message.payload))
            if isinstance(message, Upload) and who == "m2":
                return Upload(memoryview(others[0]))  # another's ciphertext under its own name
            return message

        found = fed.run(hand=hand)
        assert all(isinstance(one, (InconsistentSets, TooFewParties)) for one in found.errors.values())
        assert all(total is None for total in found.totals.values())

    def test_a_part_that_was_not_committed_to_is_refused(self) -> None:
        """The rogue key: a part chosen after the others were seen."""
        fed = Federation("lattice")

        def rogue(message: Reveal) -> Reveal:
            part = bytearray(message.part)
            part[0] ^= 1
            return Reveal(message.nonce, memoryview(bytes(part)), message.boxes)

        found = fed.run(hand=swap(Reveal, "m1", rogue))
        assert isinstance(found.refused["m1"], InconsistentSets)
        total = found.totals["m2"]
        assert total is not None
        assert set(total.survivors) == {"m0", "m2", "m3"}

    def test_a_part_that_is_no_polynomial_is_refused(self) -> None:
        """Committed to as it is, so that only its form is wrong; the aggregator lets it pass."""
        from silo.protocols.he_sum.joint import board
        from silo.protocols.he_sum.messages import Commit, Commits

        fed = Federation("lattice")
        bad, nonce = b"\xff" * board.lattice_of(fed.context).part_bytes, bytes(32)

        def hand(who: str, to: str, message: Any) -> Any:
            if isinstance(message, Commits):
                forged = fed.sealed("m1", Commit(board.commitment(fed.context, "m1", nonce, bad)))
                return Commits((message.commits[0], bytes(forged.frame), *message.commits[2:]))
            if isinstance(message, Reveals):
                forged = fed.sealed("m1", Reveal(nonce, memoryview(bad), ()))
                return Reveals((*message.reveals, memoryview(forged.frame)))
            return message

        found = fed.run(hand=hand)
        assert {type(found.errors[name]) for name in ("m0", "m2", "m3")} == {MalformedMessage}
        assert all(found.errors[name].culprits == ("m1",) for name in ("m0", "m2", "m3"))  # type: ignore[attr-defined]

    def test_a_reveal_that_the_aggregator_changed_is_refused(self) -> None:
        fed = Federation("lattice")

        def hand(who: str, to: str, message: Any) -> Any:
            if not isinstance(message, Reveals):
                return message
            said = fed.opened(bytes(message.reveals[1]), RELAY).message
            forged = fed.sealed("m1", Reveal(bytes(32), said.part, said.boxes))
            return Reveals((message.reveals[0], memoryview(forged.frame), *message.reveals[2:]))

        found = fed.run(hand=hand)
        assert {type(one) for one in found.errors.values()} == {InconsistentSets}

    @pytest.mark.parametrize(
        "names", [(), ("m1",), ("m0", "m1", "m2", "m3"), ("zoe",), ("m2", "m3"), ("m0", "m2")]
    )
    def test_shares_are_given_for_few_and_once(self, names: tuple[str, ...]) -> None:
        """An aggregator that calls members missing, to rebuild their parts of the key."""
        fed = Federation("lattice")

        def hand(who: str, to: str, message: Any) -> Any:
            return Missing(names) if isinstance(message, Missing) else message

        found = fed.run(hand=hand, lose={"m3": "Partial"})
        gave = {name for name, once in found.steps if once == "recovery"}
        assert gave <= ({"m0", "m2"} if names == ("m1",) else set())

    def test_a_wrong_part_of_the_decryption_gives_no_sum(self) -> None:
        fed = Federation("lattice")

        def wrong(message: Partial) -> Partial:
            sealed = bytearray(message.sealed)
            sealed[100] ^= 1
            return Partial(memoryview(bytes(sealed)))

        found = fed.run(hand=swap(Partial, "m1", wrong))
        assert all(total is None for total in found.totals.values())
        assert {type(one) for name, one in found.errors.items() if name != "m1"} == {MalformedMessage}

    def test_a_pledge_binds_the_sender(self) -> None:
        fed = Federation("lattice")
        first: list[bytes] = []

        def hand(who: str, to: str, message: Any) -> Any:
            if isinstance(message, Pledge) and who == "m1":
                first.append(message.digest)
            return Pledge(first[0]) if isinstance(message, Pledge) and who == "m2" else message

        found = fed.run(hand=hand)
        assert isinstance(found.errors["m2"], InconsistentSets)

    def test_the_whole_sum_is_decrypted_once(self) -> None:
        fed = Federation("lattice")
        found = fed.run()
        assert [once for name, once in found.steps if name == "m1"].count("partial") == 1


def test_public_names_are_there() -> None:
    assert issubclass(NotDecrypted, silo.ProtocolAborted)
