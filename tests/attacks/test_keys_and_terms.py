"""A relay that tells members different things before they mask: other models, other keys, another graph."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from silo.crypto.errors import UsageError
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.signing import SigningKey
from silo.protocols.envelope import seal
from silo.protocols.errors import (
    BadSignature,
    InconsistentSets,
    MalformedMessage,
    ProtocolViolation,
    ReplayedMessage,
    TooFewParties,
    UnexpectedMessage,
)
from silo.protocols.secagg import client
from silo.protocols.secagg.messages import Delivery, Directory, Reveal, Reveals
from tests.attacks.scene import Scene, m
from tests.protocols.secagg.federation import RELAY, Federation

OTHER_TERMS: list[dict[str, Any]] = [
    {"binding": hashlib.sha256(b"another model").digest()},
    {"length": 6},
    {"bits": 16},
    {"minimum_cohort": 3},
    {"threshold": 5},
    {"colluders": 1},
]


def stranger(number: int = 1) -> SigningKey:
    return SigningKey.generate(rng=InsecureSeededRng(10**9 + number))


def replaced(s: Scene, name: str, frame: bytes) -> Directory:
    """The honest directory with another frame in the place of `name`'s."""
    own = s.past["Advertise"]
    return Directory(tuple(frame if n == name else bytes(own[n].frame) for n in s.states))


@pytest.mark.parametrize("change", OTHER_TERMS, ids=lambda change: next(iter(change)))
def test_members_under_other_terms_verify_nothing_of_each_other(change: dict[str, Any]) -> None:
    s = Scene(Federation(5, length=5))
    other = s.fed.make_context(**change)
    assert other.parameters.digest() != s.context.parameters.digest()
    _, message = client.advertise(other, "m0004", rng=s.fed.rngs["m0004"])
    told = replaced(s, "m0004", s.signed("m0004", message, context=other))
    with pytest.raises(UnexpectedMessage, match="under other parameters") as caught:
        s.call("m0000", told)
    assert "m0004" in caught.value.culprits
    assert caught.value.expected != caught.value.found
    s.finish()


@pytest.mark.parametrize("change", OTHER_TERMS, ids=lambda change: next(iter(change)))
def test_packages_under_other_terms_do_not_open(change: dict[str, Any]) -> None:
    # The strongest case: the same advertised keys in both worlds, signed anew by members that were fooled.
    s = Scene(Federation(5, length=5), "delivery")
    twin = Federation(5, length=5)
    twin.context = twin.make_context(**change)
    packages = Scene(twin, "delivery").told["m0000"].packages
    ours = s.past["Advertise"]["m0001"].message.share_key
    assert ours == AgreementKey.from_secret(s.states["m0001"].share_key.secret).public
    mixed = Delivery((*s.told["m0000"].packages[:3], packages[3]))
    s.refuses("m0000", mixed, MalformedMessage, RELAY, "m0004", match="does not open")
    s.finish()


def test_two_directories_told_to_two_members_open_no_package_between_them() -> None:
    s = Scene(Federation(5, threshold=3, length=5))
    frames = s.told["m0000"].advertisements
    s.told["m0000"] = Directory(frames[:4])
    shares = {name: s.call(name) for name in s.here}
    for name in s.here:
        s.states[name] = shares[name][0]
    s.stage = "delivery"
    from_others = []
    for name in m(1, 2, 3):
        package = next(p for p in shares[name][1].packages if p.peer == "m0000")
        from_others.append(msgspec.structs.replace(package, peer=name))
    s.refuses("m0000", Delivery(tuple(from_others)), MalformedMessage, RELAY, "m0001", match="does not open")
    back = next(p for p in shares["m0000"][1].packages if p.peer == "m0001")
    s.refuses(
        "m0001", Delivery((msgspec.structs.replace(back, peer="m0000"),)), MalformedMessage, RELAY, "m0000"
    )


def test_ones_own_advertisement_replaced_dropped_or_old_is_refused() -> None:
    s = Scene(Federation(6, length=6))
    _, again = client.advertise(s.context, "m0000", rng=InsecureSeededRng(77))
    told = replaced(s, "m0000", s.signed("m0000", again))
    s.refuses("m0000", told, InconsistentSets, RELAY, match="own advertisement")
    without = Directory(s.told["m0000"].advertisements[1:])
    s.refuses("m0000", without, InconsistentSets, RELAY, match="own advertisement")
    old = Scene(Federation(6, length=6, round=2)).past["Advertise"]["m0000"].frame
    s.refuses("m0000", replaced(s, "m0000", bytes(old)), ReplayedMessage, RELAY)
    s.finish()


def test_an_advertisement_signed_by_another_or_by_a_stranger_is_refused() -> None:
    s = Scene(Federation(5, length=5))
    key = s.past["Advertise"]["m0004"].message
    mine = msgspec.structs.replace(key, mask_key=AgreementKey.generate(rng=InsecureSeededRng(5)).public)
    s.refuses(
        "m0000", replaced(s, "m0004", s.signed("m0004", mine, signer="m0003")), BadSignature, RELAY, "m0004"
    )
    where = s.context.bearings
    forged = seal(mine, where, sender="m0004", recipient="everybody", signer=stranger())
    s.refuses("m0000", replaced(s, "m0004", bytes(forged.frame)), BadSignature, RELAY, "m0004")
    unknown = seal(mine, where, sender="mallory", recipient="everybody", signer=stranger())
    problem = s.refuses("m0000", replaced(s, "m0004", bytes(unknown.frame)), UnexpectedMessage, RELAY)
    assert problem.found == "mallory"
    by_relay = seal(mine, where, sender=RELAY, recipient="everybody", signer=s.fed.relay_key)
    s.refuses("m0000", replaced(s, "m0004", bytes(by_relay.frame)), UnexpectedMessage, RELAY)
    s.finish()


@pytest.mark.parametrize("field", ["mask_key", "share_key", "seed_commitment", "graph_commitment"])
def test_a_field_of_an_advertisement_that_the_relay_swaps_breaks_its_signature(field: str) -> None:
    s = Scene(Federation(5, length=5))
    frame = bytes(s.past["Advertise"]["m0004"].frame)
    value = getattr(s.past["Advertise"]["m0004"].message, field)
    swapped = AgreementKey.generate(rng=InsecureSeededRng(5)).public
    told = replaced(s, "m0004", frame.replace(value, swapped))
    s.refuses("m0000", told, BadSignature, RELAY, "m0004")
    s.finish()


def test_one_ephemeral_key_in_two_places_is_refused() -> None:
    s = Scene(Federation(5, length=5))
    own = s.past["Advertise"]["m0004"].message
    theirs = s.past["Advertise"]["m0001"].message
    for changed, culprits in (
        ({"mask_key": own.share_key}, ("m0004",)),
        ({"mask_key": theirs.mask_key}, ("m0001", "m0004")),
        ({"share_key": theirs.mask_key}, ("m0001", "m0004")),
        ({"share_key": theirs.share_key}, ("m0001", "m0004")),
    ):
        told = replaced(s, "m0004", s.signed("m0004", msgspec.structs.replace(own, **changed)))
        s.refuses("m0000", told, UnexpectedMessage, *culprits, match="appears twice")
    s.finish()


SMALL_ORDER = [bytes(32), bytes([1]) + bytes(31), bytes([0xEC]) + b"\xff" * 30 + b"\x7f"]


@pytest.mark.parametrize("field", ["mask_key", "share_key"])
@pytest.mark.parametrize("point", SMALL_ORDER, ids=["zero", "one", "minus-one"])
def test_a_key_of_small_order_is_refused_and_its_owner_named(field: str, point: bytes) -> None:
    # Everybody can compute what such a key agrees on: the pair's mask and the packages would be open.
    s = Scene(Federation(5, length=5))
    bad = msgspec.structs.replace(s.past["Advertise"]["m0004"].message, **{field: point})
    told = replaced(s, "m0004", s.signed("m0004", bad))
    with pytest.raises(ProtocolViolation) as caught:
        s.call("m0000", told)
    assert caught.value.culprits == ("m0004",)
    s.finish()


def test_the_same_point_written_twice_is_one_ephemeral_key() -> None:
    # X25519 ignores the highest bit, so that this is m0001's key under another spelling.
    s = Scene(Federation(5, length=5))
    theirs = bytearray(s.past["Advertise"]["m0001"].message.mask_key)
    theirs[31] ^= 0x80
    bad = msgspec.structs.replace(s.past["Advertise"]["m0004"].message, mask_key=bytes(theirs))
    with pytest.raises(ProtocolViolation) as caught:
        s.call("m0000", replaced(s, "m0004", s.signed("m0004", bad)))
    assert "m0004" in caught.value.culprits


def test_a_directory_below_the_cohort_or_with_somebody_twice_is_refused() -> None:
    s = Scene(Federation(6, cohort=6, length=6))
    few = s.refuses("m0000", Directory(s.told["m0000"].advertisements[:5]), TooFewParties)
    assert (few.required, few.missing) == (6, ("m0005",))
    twice = Directory((*s.told["m0000"].advertisements, s.told["m0000"].advertisements[1]))
    s.refuses("m0000", twice, UnexpectedMessage, RELAY, "m0001", match="two messages")
    s.finish()


def test_an_honest_message_in_the_wrong_place_does_not_incriminate_its_sender() -> None:
    # The relay puts a vote, which m0004 did sign for everybody, where an advertisement belongs.
    s = Scene(Federation(5, length=5), "votes")
    vote = bytes(s.past["Vote"]["m0004"].frame)
    fresh = Scene(Federation(5, length=5))
    with pytest.raises(UnexpectedMessage) as caught:
        fresh.call("m0000", replaced(fresh, "m0004", vote))
    assert RELAY in caught.value.culprits


def regular(until: str) -> Scene:
    return Scene(Federation(9, threshold=3, degree=6, length=9), until)


def test_the_graph_is_not_drawn_without_an_opening_or_from_a_wrong_one() -> None:
    s = regular("reveals")
    frames = s.told["m0000"].reveals
    few = s.refuses("m0000", Reveals(frames[:8]), TooFewParties, match="draw of the graph")
    assert few.missing == ("m0008",)
    digest = s.states["m0000"].directory.digest
    other = s.signed("m0008", Reveal(b"n" * 32, digest))
    s.refuses("m0000", Reveals((*frames[:8], other)), InconsistentSets, "m0008", match="committed to")
    nonce = s.past["Reveal"]["m0008"].message.nonce
    elsewhere = s.signed("m0008", Reveal(nonce, b"d" * 32))
    s.refuses(
        "m0000", Reveals((*frames[:8], elsewhere)), InconsistentSets, RELAY, "m0008", match="another dir"
    )
    stolen = s.signed("m0008", Reveal(s.past["Reveal"]["m0001"].message.nonce, digest))
    s.refuses("m0000", Reveals((*frames[:8], stolen)), InconsistentSets, "m0008", match="committed to")
    forged = s.signed("m0008", Reveal(nonce, digest), signer="m0007")
    s.refuses("m0000", Reveals((*frames[:8], forged)), BadSignature, RELAY, "m0008")
    s.refuses("m0000", Reveals((*frames, frames[0])), UnexpectedMessage, RELAY, "m0000", match="two messages")
    s.finish()


def test_openings_do_not_serve_another_round_with_the_same_nonces() -> None:
    s = regular("reveals")
    old = Scene(Federation(9, threshold=3, degree=6, length=9, round=2), "reveals")
    assert old.past["Reveal"]["m0008"].message.nonce == s.past["Reveal"]["m0008"].message.nonce
    ours, theirs = (x.past["Advertise"]["m0008"].message.graph_commitment for x in (s, old))
    assert ours != theirs
    told = Reveals((*s.told["m0000"].reveals[:8], bytes(old.past["Reveal"]["m0008"].frame)))
    s.refuses("m0000", told, ReplayedMessage, RELAY)
    s.finish()


def test_the_aggregator_refuses_the_same_openings() -> None:
    s = regular("directory")
    for name in s.here:
        s.states[name], _ = s.call(name)
    digest = s.states["m0000"].directory.digest
    for message in (Reveal(b"n" * 32, digest), Reveal(b"n" * 32, b"d" * 32)):
        with pytest.raises(InconsistentSets) as caught:
            s.post("m0008", message)
        assert "m0008" in caught.value.culprits
    assert s.collecting.inbox == {}


def test_the_complete_graph_and_the_drawn_one_are_not_mixed_up() -> None:
    s, t = regular("directory"), Scene(Federation(5, length=5))
    with pytest.raises(UsageError, match="draws its graph first"):
        s.states["m0000"].share(s.told["m0000"], rng=InsecureSeededRng(1))
    with pytest.raises(UsageError, match="is not drawn"):
        t.states["m0000"].reveal(t.told["m0000"])
    s.finish()
    t.finish()
