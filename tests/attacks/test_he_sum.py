"""Who lies in a homomorphic sum is refused, or nothing is released; nobody's own input ever is."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import silo
from silo.charter import SUMS as CHARTER_SUMS
from silo.crypto.errors import ParameterError
from silo.crypto.secret import Secret
from silo.errors import CharterError
from silo.protocols.errors import (
    InconsistentSets,
    MalformedMessage,
    ProtocolViolation,
    ReplayedMessage,
    TooFewParties,
    UnexpectedMessage,
)
from silo.protocols.he_sum import tag, vector
from silo.protocols.he_sum.context import Context
from silo.protocols.he_sum.errors import NotDecrypted
from silo.protocols.he_sum.joint import board
from silo.protocols.he_sum.messages import (
    Ciphertext,
    HolderKey,
    JointParts,
    KeyFrame,
    Missing,
    Part,
    Partial,
    Release,
    Released,
    Summed,
    Upload,
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


def lying(fed: Federation, change: Any) -> Any:
    """A hand by which m1 encrypts other words than it should, with the tag that belongs to them."""
    boxes: list[Any] = []

    def hand(who: str, to: str, message: Any) -> Any:
        if isinstance(message, HolderKey):
            boxes.extend(message.boxes)
        if not isinstance(message, Upload) or who != "m1":
            return message
        terms = fed.context.parameters
        key = Secret(fed.context.unbox("m1", "m0", fed.channels["m1"], boxes))
        words = words_of(fed, np.eye(6, dtype=np.int64)[1])
        change(words, terms)
        mask = (1 << terms.limb_bits) - 1
        value = tag.of(words, key, "m1")
        words[terms.tag] = [value >> terms.limb_bits * place & mask for place in range(terms.limbs)]
        return Upload(memoryview(encrypted(fed, words)))

    return hand


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

    def change(words: Any, terms: Any) -> None:
        if lie == "no canary":
            words[0] = 0
        elif lie == "two canaries":
            words[0] = 2
        elif lie == "weight":
            words[terms.limbs : 2 * terms.limbs] = (1 << terms.limb_bits) - 1
        else:
            words[terms.head + 2 :] = terms.ring.mask

    found = fed.run(hand=lying(fed, change))
    _nothing_released(found)


@pytest.mark.parametrize("protocol", HELD)
def test_a_word_beyond_the_range_is_refused_or_stays_within_the_sum_of_honest_ones(protocol: str) -> None:
    """One slot may run over into the next: what is released is still a sum that honest members can have."""
    fed = Federation(protocol)
    terms = fed.context.parameters

    def change(words: Any, terms: Any) -> None:
        words[terms.head + 2] = terms.ring.mask

    found = fed.run(hand=lying(fed, change))
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
        hand=swap(HolderKey, "m0", lambda m: HolderKey(memoryview(other.public), m.boxes))
    )
    assert isinstance(found.refused["m0"], UnexpectedMessage)
    assert found.totals == {}

    fed = Federation(protocol)
    forged = fed.sealed("m0", HolderKey(memoryview(other.public), ()))
    found = fed.run(hand=swap(KeyFrame, RELAY, lambda m: KeyFrame(memoryview(forged.frame))))
    assert {type(one) for one in found.errors.values()} == {UnexpectedMessage}
    assert not any(once == "upload" for _, once in found.steps)


@pytest.mark.parametrize("protocol", HELD)
def test_a_key_that_another_member_signed_is_refused(protocol: str) -> None:
    fed = Federation(protocol)
    stolen = fed.sealed("m1", HolderKey(memoryview(sum_key(protocol).public), ()))
    found = fed.run(hand=swap(KeyFrame, RELAY, lambda m: KeyFrame(memoryview(stolen.frame))))
    assert {type(one) for one in found.errors.values()} == {UnexpectedMessage}


@pytest.mark.parametrize("protocol", HELD)
def test_the_holder_decrypts_nothing_without_a_quorum(protocol: str) -> None:
    fed = Federation(protocol)
    found = fed.run(hand=swap(Ciphertext, RELAY, lambda m: Ciphertext(m.votes[:2], m.payload)))
    assert isinstance(found.errors["m0"], TooFewParties)
    assert "decrypt" not in {once for _, once in found.steps}


@pytest.mark.parametrize("protocol", HELD)
def test_an_honest_tag_passes_and_any_other_does_not(protocol: str) -> None:
    fed = Federation(protocol)
    assert fed.run(hand=lying(fed, lambda words, terms: None)).totals["m2"] is not None
    words = words_of(fed, np.eye(6, dtype=np.int64)[1])  # without a tag
    found = fed.run(hand=swap(Upload, "m1", lambda m: Upload(memoryview(encrypted(fed, words)))))
    _nothing_released(found)
    assert found.errors["m0"].args[0].count("its tag is not that") == 1


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


def test_more_members_than_there_is_room_for_are_refused_when_the_charter_is_written() -> None:
    from silo.protocols.he_sum.parameters import require_room

    for protocol, parties, bits in (("lattice", 800, 32), ("paillier", 257, 16), ("ckks", 1025, 32)):
        with pytest.raises(ParameterError, match="parties, not"):
            require_room(protocol, parties, bits)
    require_room("lattice", 700, 32)


def test_the_lattice_refuses_40_bits() -> None:
    with pytest.raises(CharterError, match="choose one of 16, 24, 32 for lattice"):
        simulate(3, lambda s: s.sum(1), protocol="lattice", bits=40)


def test_secrets_are_not_shown(tmp_path: Any) -> None:
    key = sum_key("paillier")
    assert "redacted" in repr(key) or len(repr(key)) < 60
    with pytest.raises(TypeError):
        key.__reduce__()


class TestLattice:
    """The joint key: every member checks and signs what it decrypts."""

    def test_a_single_ciphertext_is_refused_by_every_member(self) -> None:
        """The relay gives one upload for the sum of all: nobody decrypts, nobody even votes."""
        fed = Federation("lattice")
        single: list[bytes] = []

        def hand(who: str, to: str, message: Any) -> Any:
            if isinstance(message, Upload) and who == "m1":
                single.append(bytes(message.payload))
            return Summed(message.uploads, memoryview(single[0])) if isinstance(message, Summed) else message

        found = fed.run(hand=hand)
        assert {type(one) for one in found.errors.values()} == {InconsistentSets}
        assert len(found.errors) == 4
        assert not {"vote", "partial"} & {once for _, once in found.steps}

    def test_fewer_receipts_than_a_quorum_are_refused(self) -> None:
        fed = Federation("lattice")
        found = fed.run(hand=swap(Summed, RELAY, lambda m: Summed(m.uploads[1:2], m.payload)))
        assert {type(one) for one in found.errors.values()} == {TooFewParties}
        assert "vote" not in {once for _, once in found.steps}

    @pytest.mark.parametrize("lie", ["twice", "none of one", "shifted", "short"])
    def test_another_combination_than_the_sum_is_refused(self, lie: str) -> None:
        fed = Federation("lattice")
        lattice = board.lattice_of(fed.context)
        raw: list[bytes] = []

        def hand(who: str, to: str, message: Any) -> Any:
            if isinstance(message, Upload):
                raw.append(bytes(message.payload))
            if not isinstance(message, Summed):
                return message
            if lie == "short":
                return Summed(message.uploads, message.payload[:-1])
            total = lattice.sum()
            for one in raw[: 3 if lie == "none of one" else 4] + raw[:1] * (lie == "twice"):
                total.add(one)
            changed = bytearray(total.payload())
            changed[0] ^= lie == "shifted"
            return Summed(message.uploads, memoryview(bytes(changed)))

        found = fed.run(hand=hand)
        kind = MalformedMessage if lie == "short" else InconsistentSets
        assert {type(one) for one in found.errors.values()} == {kind}
        assert all(RELAY in one.culprits for one in found.errors.values())  # type: ignore[attr-defined]
        assert "vote" not in {once for _, once in found.steps}

    def test_a_sum_given_to_some_only_is_signed_by_no_quorum(self) -> None:
        """Two sets never both get a quorum: the one that fewer were told is refused with its votes."""
        fed = Federation("lattice")

        def hand(who: str, to: str, message: Any) -> Any:
            if isinstance(message, Summed) and to in ("m0", "m1"):
                return Summed(message.uploads[:3], message.payload)
            return message

        found = fed.run(hand=hand)
        assert all(total is None for total in found.totals.values())
        assert "partial" not in {once for _, once in found.steps}

    def test_a_member_sees_no_ciphertext_but_the_sum(self) -> None:
        """A key of the round in one member's hands opens nothing there but what it learns anyway."""
        fed = Federation("lattice")
        uploads: list[bytes] = []

        def hand(who: str, to: str, message: Any) -> Any:
            if isinstance(message, Upload):
                uploads.append(bytes(message.payload))
            return message

        found = fed.run(hand=hand)
        assert len(uploads) == 4
        for who, _, message in found.said:
            if who == RELAY:
                for field in (getattr(message, name) for name in message.__struct_fields__):
                    pieces = field if isinstance(field, tuple) else (field,)
                    raw = [bytes(one) for one in pieces if isinstance(one, (bytes, memoryview))]
                    assert not any(one[1000:1064] in part for one in uploads for part in raw)

    def test_a_fingerprint_of_something_else_is_refused_before_the_decryption(self) -> None:
        """A member's note that is not of its upload, or is another's: nothing is decrypted."""
        fed = Federation("lattice")
        whole = fed.sealed

        def other(name: str, message: Any, *args: Any, note: bytes = b"", **options: Any) -> Any:
            changed = bytes(len(note)) if name == "m1" else note
            return whole(name, message, *args, note=changed, **options)

        fed.sealed = other  # type: ignore[method-assign]
        found = fed.run()
        assert {type(one) for one in found.errors.values()} == {MalformedMessage}
        assert {one.culprits for one in found.errors.values()} == {("m1",)}  # type: ignore[attr-defined]
        assert "partial" not in {once for _, once in found.steps}

    def test_parts_told_apart_are_never_decrypted_together(self) -> None:
        """Members that were shown different parts of the key find out: votes and notes bind the directory."""
        fed = Federation("lattice")

        def hand(who: str, to: str, message: Any) -> Any:
            if isinstance(message, JointParts) and to in ("m0", "m1"):
                return JointParts(message.parts[:3])
            return message

        found = fed.run(hand=hand)
        assert all(total is None for total in found.totals.values())
        assert "partial" not in {once for _, once in found.steps}

    def test_a_part_that_is_no_polynomial_is_refused(self) -> None:
        """By the aggregator, and by the members when the aggregator lets it pass."""
        fed = Federation("lattice")
        bad = b"\xff" * board.lattice_of(fed.context).part_bytes
        found = fed.run(hand=swap(Part, "m1", lambda m: Part(memoryview(bad), m.boxes)))
        assert found.refused["m1"].culprits == ("m1",)
        total = found.totals["m2"]
        assert total is not None
        assert set(total.survivors) == {"m0", "m2", "m3"}

        def hand(who: str, to: str, message: Any) -> Any:
            if not isinstance(message, JointParts):
                return message
            forged = fed.sealed("m1", Part(memoryview(bad), ()))
            return JointParts((message.parts[0], memoryview(forged.frame), *message.parts[2:]))

        found = fed.run(hand=hand)
        assert {type(found.errors[name]) for name in ("m0", "m2", "m3")} == {MalformedMessage}
        assert all(found.errors[name].culprits == ("m1",) for name in ("m0", "m2", "m3"))  # type: ignore[attr-defined]

    def test_a_changed_part_of_ones_own_is_noticed(self) -> None:
        fed = Federation("lattice")
        other = Federation("lattice", round=2)

        def hand(who: str, to: str, message: Any) -> Any:
            if not isinstance(message, JointParts) or to != "m1":
                return message
            part = board.lattice_of(other.context).part(Secret(bytes(32)))
            forged = fed.sealed("m1", Part(memoryview(part.public), ()))
            return JointParts((message.parts[0], memoryview(forged.frame), *message.parts[2:]))

        problem = fed.run(hand=hand).errors["m1"]
        assert isinstance(problem, InconsistentSets)
        assert "left out or changed" in str(problem)

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

    def test_the_whole_sum_is_decrypted_once(self) -> None:
        fed = Federation("lattice")
        found = fed.run()
        assert [once for name, once in found.steps if name == "m1"].count("partial") == 1


def test_public_names_are_there() -> None:
    assert issubclass(NotDecrypted, silo.ProtocolAborted)
