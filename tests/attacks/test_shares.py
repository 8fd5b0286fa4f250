"""Share packages and shares that somebody changed, swapped, withheld or made up."""

from __future__ import annotations

import msgspec
import pytest

from silo.crypto import shamir
from silo.protocols.errors import (
    InconsistentSets,
    MalformedMessage,
    ProtocolViolation,
    TooFewParties,
    UnexpectedMessage,
)
from silo.protocols.secagg import directory as keys
from silo.protocols.secagg import recovery, server
from silo.protocols.secagg.messages import Delivery, Package, Revealed, Sealed, Shares, Unmasking
from tests.attacks.scene import Scene, m
from tests.protocols.secagg.federation import RELAY, Federation


def scene(until: str = "delivery", n: int = 5, **options: object) -> Scene:
    return Scene(Federation(n, length=n, **options), until)  # type: ignore[arg-type]


def flip(raw: bytes, place: int) -> bytes:
    bent = bytearray(raw)
    bent[place] ^= 1
    return bytes(bent)


def test_a_flipped_bit_anywhere_in_a_package_is_found() -> None:
    s = scene()
    box = s.told["m0000"].packages
    sealed = box[1].ciphertext
    for place in (*range(0, len(sealed), 9), 11, 12, len(sealed) - 17, len(sealed) - 1):
        bent = (box[0], Sealed(box[1].peer, flip(sealed, place)), *box[2:])
        s.refuses("m0000", Delivery(bent), MalformedMessage, RELAY, box[1].peer, match="does not open")
    for wrong in (b"", sealed[:-1], sealed + b"\0", sealed[:27]):
        bent = (box[0], Sealed(box[1].peer, wrong), *box[2:])
        s.refuses("m0000", Delivery(bent), MalformedMessage, RELAY, box[1].peer)
    s.finish()


def test_a_package_handed_to_another_or_under_another_name_does_not_open() -> None:
    s = scene()
    box = s.told["m0000"].packages
    for_another = s.told["m0001"].packages
    swapped = (*box[:3], next(p for p in for_another if p.peer == "m0004"))
    s.refuses("m0000", Delivery(swapped), MalformedMessage, RELAY, "m0004")
    renamed = (*box[:3], Sealed("m0004", box[2].ciphertext))
    s.refuses("m0000", Delivery(renamed), MalformedMessage, RELAY, "m0004")
    # One's own package to a peer, reflected as if that peer had made it: the pair has one key.
    own = s.past["Shares"]["m0000"].message.packages
    reflected = (*box[:3], next(p for p in own if p.peer == "m0004"))
    s.refuses("m0000", Delivery(reflected), MalformedMessage, RELAY, "m0004")
    s.finish()


def test_a_package_of_another_round_does_not_open_even_under_the_same_keys() -> None:
    s, other = scene(), scene(round=2)
    assert s.states["m0001"].share_key.public == other.states["m0001"].share_key.public
    told = (*s.told["m0000"].packages[:3], other.told["m0000"].packages[3])
    s.refuses("m0000", Delivery(told), MalformedMessage, RELAY, "m0004")
    s.finish()


def test_a_package_of_a_stranger_of_oneself_or_a_second_one_is_refused() -> None:
    s = scene()
    box = s.told["m0000"].packages
    for extra in (box[0], Sealed("mallory", box[0].ciphertext), Sealed("m0000", box[0].ciphertext)):
        told = Delivery((*box, extra))
        s.refuses("m0000", told, UnexpectedMessage, RELAY, match="a stranger, or a second one")
    s.finish()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc0",
        msgspec.msgpack.encode([b"s" * 33, b"k" * 33]),
        msgspec.msgpack.encode([b"s" * 32, b"k" * 33, b""]),
        msgspec.msgpack.encode([b"\0" * 33, b"\0" * 33, b"", b""]),
        msgspec.msgpack.encode([b"\x01" + b"\xff" * 32, b"\0" * 33, b""]),
        msgspec.msgpack.encode([b"\0" * 33, shamir.PRIME.to_bytes(33, "big"), b""]),
        msgspec.msgpack.encode([b"\0" * 33, b"\0" * 33, b"b" * 1025]),
    ],
)
def test_a_malicious_owner_that_seals_nonsense_is_named(raw: bytes) -> None:
    s = scene()
    forged = Sealed("m0004", _package(s, "m0004", "m0000", raw))
    told = Delivery((*s.told["m0000"].packages[:3], forged))
    s.refuses("m0000", told, MalformedMessage, "m0004")
    s.finish()


def _package(s: Scene, source: str, destination: str, raw: bytes) -> bytes:
    from silo.crypto import aead
    from silo.crypto.rng import InsecureSeededRng

    state = s.states[source]
    key = keys.share_key(s.context, state.directory, state.share_key, destination)
    binding = keys.share_binding(s.context, state.directory, source, destination)
    return aead.seal(key, raw, binding, rng=InsecureSeededRng(4))


def test_too_few_packages_mask_nothing() -> None:
    s = scene()
    few = s.refuses("m0000", Delivery(s.told["m0000"].packages[:2]), TooFewParties)
    assert (few.required, few.present, few.missing) == (4, m(1, 2, 0), m(3, 4))
    s.finish()


def test_the_aggregator_refuses_packages_for_others_than_the_neighbours() -> None:
    s = scene("directory")
    state, shares = s.call("m0000")
    s.states["m0000"] = state
    box = shares.packages
    for wrong in (
        (),
        box[:3],
        (*box, box[0]),
        (*box[:3], Sealed("mallory", b"")),
        (*box, Sealed("m0000", b"")),
    ):
        with pytest.raises(UnexpectedMessage) as caught:
            s.post("m0000", Shares(wrong))
        assert caught.value.culprits == ("m0000",)
    s.post("m0000", shares)
    for name in m(1, 2, 3, 4):
        s.step(name)
    s.close().finish()


def _lies(answer: Unmasking, *, kinds: tuple[str, ...] = ("seed_shares", "key_shares")) -> Unmasking:
    def bend(shares: tuple[Revealed, ...]) -> tuple[Revealed, ...]:
        return tuple(Revealed(one.owner, flip(one.share, 32)) for one in shares)

    return msgspec.structs.replace(answer, **{kind: bend(getattr(answer, kind)) for kind in kinds})


def _unmask(s: Scene, liars: tuple[str, ...]) -> Scene:
    """Everybody answers; the liars with wrong shares."""
    for name in s.here:
        s.states[name], answer = s.call(name)
        s.post(name, _lies(answer) if name in liars else answer)
    return s


@pytest.mark.parametrize("liar", m(0, 3, 6))
@pytest.mark.parametrize("lost", [(), m(5)])
def test_a_holder_that_returns_wrong_shares_does_not_change_the_sum(liar: str, lost: tuple[str, ...]) -> None:
    s = scene("delivery", 9, threshold=6)
    s.advance(without=lost).advance()
    done = _unmask(s, (liar,)).close()
    done.finish()
    # A share of somebody whom nobody had to rebuild is not looked at.
    assert done.liars <= {liar}


@pytest.mark.parametrize("liars", [m(0, 1), m(0, 8), m(3, 4)])
def test_as_many_liars_as_there_are_shares_to_spare(liars: tuple[str, ...]) -> None:
    s = scene("votes", 9, threshold=7)
    _unmask(s, liars).close().finish()


@pytest.mark.parametrize("n", [12, 16, 20])
def test_one_liar_whose_name_sorts_first_does_not_end_a_larger_sum(n: int) -> None:
    s = scene("votes", n)
    _unmask(s, m(0)).close().finish()


def test_too_many_liars_end_the_round_and_are_among_those_named() -> None:
    s = scene("votes", 5)
    _unmask(s, m(1, 2))
    with pytest.raises(ProtocolViolation, match="do not fit together") as caught:
        s.close()
    assert set(m(1, 2)) <= set(caught.value.culprits)


def test_an_owner_that_shared_another_secret_than_it_committed_to_is_named() -> None:
    s = Scene(Federation(5, length=5))
    from silo.crypto.rng import InsecureSeededRng
    from silo.crypto.secret import Secret

    object.__setattr__(s.states["m0004"], "seed", Secret.random(32, rng=InsecureSeededRng(3)))
    s.until("votes")
    _unmask(s, ())
    with pytest.raises(ProtocolViolation, match="m0004's mask do not fit") as caught:
        s.close()
    assert "m0004" in caught.value.culprits


def test_the_liar_is_told_to_the_caller() -> None:
    s = scene("votes", 9, threshold=6)
    assert _unmask(s, m(3)).close().liars == {"m0003"}


def test_the_recovery_finds_the_liar() -> None:
    s = scene("votes", 9, threshold=6)
    _unmask(s, m(0))
    rebuilding = recovery._Rebuilding(s.context)
    answers = {name: opened.message for name, opened in s.collecting.inbox.items()}
    shares = recovery._by_owner(s.context, answers, lambda answer: answer.seed_shares)["m0002"]
    commitment = s.collecting.directory.entries["m0002"].seed_commitment
    rebuilding.secret(
        "m0002", shares, lambda secret: keys.self_mask_commitment(s.context, "m0002", secret) == commitment
    )
    assert rebuilding.liars == {"m0000"}


def test_the_aggregator_refuses_other_shares_than_it_asked_for() -> None:
    s = scene("delivery", 6)
    s.advance(without=m(5)).advance()
    s.states["m0000"], honest = s.call("m0000")
    seeds, lost = honest.seed_shares, honest.key_shares
    both = Revealed("m0001", lost[0].share)
    for wrong, error in (
        (Unmasking(seeds, (*lost, both)), InconsistentSets),
        (Unmasking((*seeds, Revealed("m0005", seeds[0].share)), lost), InconsistentSets),
        (Unmasking(seeds[1:], lost), InconsistentSets),
        (Unmasking(seeds, ()), InconsistentSets),
        (Unmasking((*seeds, seeds[0]), lost), InconsistentSets),
        (Unmasking((*seeds, Revealed("mallory", seeds[0].share)), lost), InconsistentSets),
        (Unmasking((Revealed("m0000", b"\xff" * 33), *seeds[1:]), lost), MalformedMessage),
    ):
        with pytest.raises(error) as caught:
            s.post("m0000", wrong)
        assert caught.value.culprits == ("m0000",)
        assert s.collecting.inbox == {}
    s.post("m0000", honest)
    for name in s.here[1:]:
        s.step(name)
    s.close().finish()


def test_too_few_answers_unmask_nothing() -> None:
    s = scene("votes")
    for name in m(0, 1, 2):
        s.step(name)
    with pytest.raises(TooFewParties) as caught:
        s.collecting.close_round()
    assert (caught.value.required, caught.value.present, caught.value.missing) == (4, m(0, 1, 2), m(3, 4))
    # The aggregator can still wait for the others.
    for name in m(3, 4):
        s.step(name)
    s.close().finish()


def test_fewer_shares_than_the_threshold_say_nothing_about_the_secret() -> None:
    s = scene("votes")
    shares = [state.shares["m0002"][0] for name, state in sorted(s.states.items()) if name != "m0002"][:3]
    with pytest.raises(Exception, match="cannot recover"):
        shamir.recover(shares, s.context.parameters.threshold)
    seed = Scene(Federation(5, length=5)).states["m0002"].seed.reveal()
    assert shamir.recover(shares, 3).reveal() != seed
    assert isinstance(s.collecting, server.CollectingSharesBack)
    assert Package.__struct_fields__ == ("seed_share", "key_share", "blind")
