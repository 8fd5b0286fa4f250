"""A relay that lies about who survived: no member signs it, and none answers on it."""

from __future__ import annotations

import msgspec
import pytest

from silo.crypto.errors import StateReused
from silo.protocols.cohort import Survivors, Vote, Votes
from silo.protocols.errors import (
    BadSignature,
    InconsistentSets,
    ReplayedMessage,
    TooFewParties,
    UnexpectedMessage,
)
from silo.protocols.secagg import survivors
from silo.protocols.secagg.messages import Unmasking, Upload
from tests.attacks.scene import Scene, m
from tests.protocols.secagg.federation import RELAY, Federation


def scene(until: str = "survivors", n: int = 5, **options: object) -> Scene:
    return Scene(Federation(n, length=n, **options), until)  # type: ignore[arg-type]


def test_a_party_listed_twice_is_refused() -> None:
    s = scene()
    told = Survivors((*s.told["m0000"].uploads, s.past["Upload"]["m0001"].receipt))
    s.refuses("m0000", told, InconsistentSets, RELAY, "m0001", match="listed twice")
    s.finish()


def test_the_same_party_is_never_alive_and_lost_in_one_answer() -> None:
    s = scene("delivery", 6)
    s.advance(without=m(5)).advance().advance()
    for opened in s.past["Unmasking"].values():
        answer: Unmasking = opened.message
        alive, lost = {one.owner for one in answer.seed_shares}, {one.owner for one in answer.key_shares}
        assert alive == set(m(0, 1, 2, 3, 4))
        assert lost == set(m(5))
    s.finish()


def test_a_member_left_out_of_the_survivors_signs_nothing() -> None:
    s = scene(n=6)
    s.refuses(
        "m0005", Survivors(s.receipts(*m(0, 1, 2, 3, 4))), InconsistentSets, RELAY, match="m0005's upload"
    )
    s.finish()


def test_another_upload_under_ones_own_name_is_refused() -> None:
    s = scene()
    upload = s.past["Upload"]["m0000"]
    other = msgspec.structs.replace(upload.receipt, digest=bytes(32))
    told = Survivors((other, *s.told["m0000"].uploads[1:]))
    s.refuses("m0000", told, BadSignature, RELAY, "m0000")
    # Even with a good signature (a second process with the same key): it is not what this member sent.
    twin = s.fed.sealed("m0000", Upload(memoryview(b"other")), to=RELAY, note=bytes([0b11110]))
    s.refuses(
        "m0000",
        Survivors((twin.receipt, *s.told["m0000"].uploads[1:])),
        InconsistentSets,
        RELAY,
        match="as it was",
    )
    s.finish()


def test_a_receipt_that_is_no_upload_or_was_made_for_another_is_refused() -> None:
    s = scene()
    rest = s.told["m0000"].uploads[:4]
    share = s.past["Shares"]["m0004"].receipt
    s.refuses("m0000", Survivors((*rest, share)), UnexpectedMessage, RELAY, match="not of an upload")
    aside = s.fed.sealed("m0004", Upload(memoryview(b"")), to="m0001", note=bytes([0b01111])).receipt
    s.refuses("m0000", Survivors((*rest, aside)), UnexpectedMessage, RELAY, match="not of an upload")
    s.finish()


@pytest.mark.parametrize("note", [b"", b"\x01\x00", b"\xff", bytes([0b100000])])
def test_a_note_that_is_no_set_of_members_is_refused(note: bytes) -> None:
    s = scene()
    odd = s.fed.sealed("m0004", Upload(memoryview(b"")), to=RELAY, note=note).receipt
    told = Survivors((*s.told["m0000"].uploads[:4], odd))
    s.refuses("m0000", told, UnexpectedMessage, "m0004", match="no set of members")
    s.finish()


def test_a_survivor_outside_the_directory_is_refused() -> None:
    s = Scene(Federation(6, length=6), "survivors", silent=m(5))
    late = s.fed.sealed("m0005", Upload(memoryview(b"")), to=RELAY, note=bytes([0b11111])).receipt
    told = Survivors((*s.told["m0000"].uploads, late))
    s.refuses("m0000", told, InconsistentSets, RELAY, match="not in the directory")
    s.finish()


def test_an_upload_of_another_round_session_or_terms_is_refused() -> None:
    s = scene()
    for fed, error, culprit in (
        (Federation(5, length=5, round=2), ReplayedMessage, RELAY),
        (Federation(5, length=5, session=b"t" * 32), ReplayedMessage, RELAY),
        (Federation(5, length=5, binding=b"t" * 32), UnexpectedMessage, "m0004"),
    ):
        receipt = Scene(fed, "survivors").past["Upload"]["m0004"].receipt
        told = Survivors((*s.told["m0000"].uploads[:4], receipt))
        with pytest.raises(error) as caught:
            s.call("m0000", told)
        assert culprit in caught.value.culprits
    s.finish()


def test_too_few_survivors_are_refused_by_every_member() -> None:
    s = scene()
    for name in m(0, 1, 2):
        few = s.refuses(name, Survivors(s.receipts(*m(0, 1, 2))), TooFewParties)
        assert (few.required, few.present, few.missing) == (4, m(0, 1, 2), m(3, 4))
    s.refuses("m0000", Survivors(()), TooFewParties)
    s.finish()


def test_two_survivor_sets_told_to_two_sides_get_no_quorum() -> None:
    # Each side holds m0001 to m0004; the first also m0000, the second also m0005.
    s = scene(n=6)
    first, second = Survivors(s.receipts(*m(0, 1, 2, 3, 4))), Survivors(s.receipts(*m(1, 2, 3, 4, 5)))
    said: dict[str, bytes] = {}
    for name in m(0, 1, 2):
        said[name] = _vote(s, name, first)
    for name in m(3, 4, 5):
        said[name] = _vote(s, name, second)
    assert len(set(said.values())) == 2
    frames = {name: bytes(s.sent[name].frame) for name in said}
    s.stage = "votes"
    # Votes of both sides together: whoever was told other survivors is named, beside the relay.
    s.refuses("m0000", Votes(tuple(frames[n] for n in m(0, 1, 2, 3))), InconsistentSets, RELAY, "m0003")
    s.refuses("m0005", Votes(tuple(frames[n] for n in m(2, 3, 4, 5))), InconsistentSets, RELAY, "m0002")
    # One side alone is no quorum.
    few = s.refuses("m0000", Votes(tuple(frames[n] for n in m(0, 1, 2))), TooFewParties)
    assert (few.required, few.present) == (5, m(0, 1, 2))
    # Nobody signs the other set as well, so nobody can be talked round.
    for name, other in (("m0001", second), ("m0003", first)):
        assert not hasattr(s.states[name], "agree")
        with pytest.raises(StateReused):
            s.old[name].agree(other, s.uploads[name])


def _vote(s: Scene, name: str, told: Survivors) -> bytes:
    s.__dict__.setdefault("old", {})[name] = s.states[name]
    s.states[name], vote = s.states[name].agree(told, s.uploads[name])
    s.post(name, vote, accept=False)
    return vote.survivors


@pytest.mark.parametrize("colluders", [0, 1, 2, 3])
def test_colluders_who_vote_on_both_sets_do_not_make_two_quorums(colluders: int) -> None:
    # The best split: honest members in halves, colluders on both sides.
    n = 9
    fed = Federation(n, length=n, colluders=colluders, threshold=(n + colluders) // 2 + 1)
    honest = n - colluders
    for left in range(honest + 1):
        sides = left + colluders, honest - left + colluders
        assert not all(side >= fed.context.parameters.quorum for side in sides)
        assert not all(side >= fed.context.parameters.threshold for side in sides)


def test_votes_for_another_set_replayed_doubled_or_forged() -> None:
    s = scene("votes")
    honest = s.told["m0000"].votes
    digest = s.past["Vote"]["m0000"].message.survivors
    other = Scene(Federation(5, length=5, round=2, seed=9), "votes").past["Vote"]["m0004"].frame
    refuse = s.refuses
    refuse("m0000", Votes((*honest[:4], *s.votes(b"x" * 32, "m0004"))), InconsistentSets, RELAY, "m0004")
    refuse("m0000", Votes((*honest[:4], bytes(other))), ReplayedMessage, RELAY)
    refuse("m0000", Votes((*honest[:4], honest[0])), UnexpectedMessage, RELAY, "m0000", match="two messages")
    forged = s.signed("m0004", Vote(digest), signer="m0003")
    refuse("m0000", Votes((*honest[:4], forged)), BadSignature, RELAY, "m0004")
    refuse("m0000", Votes(honest[:3]), TooFewParties)
    refuse("m0000", Votes(()), TooFewParties)
    aside = s.signed("m0004", Vote(digest), to="m0001")
    refuse("m0000", Votes((*honest[:4], aside)), UnexpectedMessage, RELAY, match="somebody else")
    s.finish()


def test_the_vote_of_a_member_that_did_not_survive_does_not_count() -> None:
    s = scene("delivery", 6)
    s.advance(without=m(5)).advance()
    digest = s.past["Vote"]["m0000"].message.survivors
    votes = (*s.told["m0000"].votes[:4], *s.votes(digest, "m0005"))
    s.refuses("m0000", Votes(votes), InconsistentSets, "m0005", match="is no survivor")
    s.finish()


def test_nobody_votes_or_answers_twice() -> None:
    s = scene()
    waiting = s.states["m0000"]
    s.step("m0000")
    for told in (s.told["m0000"], Survivors(s.receipts(*m(0, 1, 2, 3)))):
        with pytest.raises(StateReused):
            waiting.agree(told, s.uploads["m0000"])
    for name in s.here[1:]:
        s.step(name)
    s.close()
    voted = s.states["m0000"]
    s.step("m0000")
    for told in (s.told["m0000"], Votes(s.told["m0000"].votes[:4])):
        with pytest.raises(StateReused):
            voted.unmask(told)
    for name in s.here[1:]:
        s.step(name)
    s.close().finish()


def test_the_digest_that_is_voted_on_holds_names_and_uploads_apart() -> None:
    s = scene()
    state = s.states["m0000"]
    seen = set()
    for told in (
        s.told["m0000"],
        Survivors(s.receipts(*m(0, 1, 2, 3))),
        Survivors(s.receipts(*m(0, 1, 2, 4))),
    ):
        seen.add(survivors.read(s.context, state.directory, state.graph, told).digest)
    backwards = Survivors(tuple(reversed(s.told["m0000"].uploads)))
    assert survivors.read(s.context, state.directory, state.graph, backwards).digest in seen
    assert len(seen) == 3


def test_the_aggregator_refuses_a_vote_on_another_set_and_a_second_vote() -> None:
    s = scene()
    with pytest.raises(InconsistentSets) as caught:
        s.post("m0001", Vote(b"x" * 32))
    assert caught.value.culprits == ("m0001",)
    s.step("m0001")
    with pytest.raises(ReplayedMessage) as again:
        s.collecting.accept(s.sent["m0001"])
    assert again.value.culprits == ("m0001",)
    for name in m(0, 2, 3, 4):
        s.step(name)
    s.close().finish()
