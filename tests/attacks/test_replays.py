"""Everything of an earlier round, session or agreement is refused, and nothing secret depends on it."""

from __future__ import annotations

from typing import Any

import pytest

from silo.protocols.cohort import Votes
from silo.protocols.envelope import open_frame
from silo.protocols.errors import ProtocolViolation, ReplayedMessage, UnexpectedMessage
from silo.protocols.secagg.messages import Directory, Reveals
from tests.attacks.scene import Scene, m
from tests.protocols.secagg.federation import KINDS, RELAY, Federation

ELSEWHERE: list[tuple[dict[str, Any], type[ProtocolViolation]]] = [
    ({"round": 2}, ReplayedMessage),
    ({"session": b"t" * 32}, ReplayedMessage),
    ({"binding": b"t" * 32}, UnexpectedMessage),
]


def scene(until: str, **options: Any) -> Scene:
    return Scene(Federation(9, threshold=3, degree=6, length=9, **options), until)


@pytest.mark.parametrize(("change", "error"), ELSEWHERE, ids=["round", "session", "terms"])
def test_every_frame_of_another_round_session_or_agreement_is_refused(
    change: dict[str, Any], error: type[ProtocolViolation]
) -> None:
    other = scene("end", **change)
    here = Federation(9, threshold=3, degree=6, length=9)
    keys = {**here.context.roster.keys, RELAY: here.relay_key.public}
    kinds = set()
    for sender, kind, frame in other.fed.wire:
        with pytest.raises(error):
            open_frame(
                frame,
                bearings=here.context.bearings,
                keys=keys,
                kinds=KINDS,
                recipients=frozenset({"everybody", RELAY, *here.names}),
                limit=10**6,
                came_from=sender,
            )
        kinds.add(kind)
    assert len(kinds) == 12


@pytest.mark.parametrize(("change", "error"), ELSEWHERE[:2], ids=["round", "session"])
def test_a_whole_earlier_answer_of_the_aggregator_is_refused(
    change: dict[str, Any], error: type[ProtocolViolation]
) -> None:
    # The relay replays what the members signed then; only the aggregator's own envelope is new.
    for stage, wrap in (("directory", Directory), ("reveals", Reveals), ("votes", Votes)):
        s, old = scene(stage), scene(stage, **change)
        told = old.told["m0000"]
        assert isinstance(told, wrap)
        s.refuses("m0000", told, error, RELAY)
        mine = next(field for field in told.__struct_fields__)
        mixed = wrap((*getattr(s.told["m0000"], mine)[:8], getattr(told, mine)[8]))
        s.refuses("m0000", mixed, error, RELAY)


def test_old_survivors_and_old_packages_are_refused() -> None:
    s, old = scene("survivors"), scene("survivors", round=2)
    s.refuses("m0000", old.told["m0000"], ReplayedMessage, RELAY)
    s, old = scene("delivery"), scene("delivery", round=2)
    with pytest.raises(ProtocolViolation) as caught:
        s.call("m0000", old.told["m0000"])
    assert RELAY in caught.value.culprits
    s.finish()


def test_no_key_seed_or_mask_of_a_round_comes_back_in_the_next() -> None:
    fed = Federation(5, length=5)
    seen: set[bytes] = set()
    for number in (1, 2, 3):
        # One generator per member goes on, as in a real process.
        fed.round, fed.context = number, None  # type: ignore[assignment]
        fed.context = fed.make_context()
        s = Scene(fed, "survivors")
        for name in s.here:
            message = s.past["Advertise"][name].message
            parts = {message.mask_key, message.share_key, message.seed_commitment, message.graph_commitment}
            parts |= {share.to_bytes() for pair in s.states[name].shares.values() for share in pair if share}
            parts.add(bytes(s.past["Upload"][name].message.payload))
            assert not parts & seen
            seen |= parts
        s.finish()


def test_the_same_upload_in_two_rounds_has_nothing_in_common() -> None:
    # The differencing attack on a retry: equal inputs, equal generators, another round number.
    first, second = scene("survivors"), scene("survivors", round=2)
    for name in first.here:
        a, b = (bytes(s.past["Upload"][name].message.payload) for s in (first, second))
        assert sum(x == y for x, y in zip(a, b, strict=True)) < len(a) // 4


@pytest.mark.parametrize("stage", ["directory", "reveals", "delivery", "survivors", "votes"])
def test_the_aggregator_takes_each_answer_once_from_those_it_asked(stage: str) -> None:
    s = scene(stage)
    s.step("m0000")
    before = dict(s.collecting.inbox)
    with pytest.raises(ReplayedMessage) as caught:
        s.collecting.accept(s.sent["m0000"])
    assert caught.value.culprits == ("m0000",)
    wrong = s.past["Advertise"]["m0001"]
    with pytest.raises(UnexpectedMessage) as other:
        s.collecting.accept(wrong)
    assert other.value.culprits == ("m0001",)
    assert s.collecting.inbox == before
    for name in s.here[1:]:
        s.step(name)
    s.close().finish()


def test_who_was_lost_in_one_step_is_not_asked_in_the_next() -> None:
    s = Scene(Federation(6, length=6), "delivery")
    late = s.call("m0005")
    for name in m(0, 1, 2, 3, 4):
        s.step(name)
    s.close()
    s.states["m0005"], upload, note = late
    with pytest.raises(UnexpectedMessage) as caught:
        s.post("m0005", upload, note)
    assert caught.value.culprits == ("m0005",)
    s.finish()
