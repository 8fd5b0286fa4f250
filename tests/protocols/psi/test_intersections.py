"""Intersections of two and more members: exact, in one order, and nothing beyond what docs/leakage.md grants."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.crypto.ristretto import POINT_BYTES, hash_to_group
from silo.protocols.errors import InconsistentSets, MalformedMessage, ProtocolViolation
from silo.protocols.psi import lists
from silo.protocols.psi.context import ROWS, SIZE, Context, Parameters
from silo.protocols.psi.errors import TooFewInCommon
from silo.protocols.transit import PIECE, Intake, Piece
from tests.protocols.psi.circle import Circle

IDENTITY = bytes(POINT_BYTES)


def items(*numbers: int) -> list[bytes]:
    return [b"person-%d" % number for number in numbers]


TWO = {"ada": items(1, 2, 3, 4), "bob": items(9, 4, 8, 2)}
THREE = {"ada": items(1, 2, 3, 4, 5), "bob": items(9, 4, 2, 3), "cyd": items(2, 7, 4)}


@settings(max_examples=25, deadline=None)
@given(
    held=st.lists(st.lists(st.integers(0, 12), unique=True, max_size=10), min_size=2, max_size=4),
    reveal=st.sampled_from([ROWS, SIZE]),
    data=st.data(),
)
def test_what_is_found_is_the_intersection(held: list[list[int]], reveal: str, data: st.DataObject) -> None:
    given_lists = {f"m{place}": items(*numbers) for place, numbers in enumerate(held)}
    receivers = data.draw(st.lists(st.sampled_from(sorted(given_lists)), unique=True, min_size=1))
    done = Circle(given_lists, reveal, receivers).run()
    assert not done.errors
    common = set.intersection(*(set(one) for one in given_lists.values()))
    orders = set()
    for name, match in done.found.items():
        if name not in receivers:
            assert match is None
            continue
        assert match is not None
        assert match.size == len(common)
        if reveal == SIZE:
            assert match.places is None
            continue
        assert match.places is not None
        rows = [given_lists[name][place] for place in match.places]
        assert set(rows) == common
        orders.add(tuple(rows))
    assert len(orders) <= 1, "the receivers' orders differ"


@pytest.mark.parametrize("parties", [2, 3])
def test_lists_of_several_pieces_and_of_none(parties: int) -> None:
    # A cheap stand-in for the group is no use here: the pieces themselves are what is tested.
    many = [b"%d" % number for number in range(PIECE + 3)]
    held = {"ada": many, "bob": many[5 : PIECE // 64], "cyd": many[-PIECE:]}
    chosen = {name: held[name] for name in sorted(held)[:parties]}
    done = Circle(chosen, SIZE, ["ada"], most=2 * PIECE).run()
    assert done.found["ada"] is not None
    assert done.found["ada"].size == len(set.intersection(*map(set, chosen.values())))
    empty = Circle({**chosen, "bob": []}, ROWS, most=2 * PIECE).run() if parties == 2 else None
    assert empty is None or (empty.found["ada"] is not None and empty.found["ada"].size == 0)


@pytest.mark.parametrize("held", [TWO, THREE])
@pytest.mark.parametrize("reveal", [ROWS, SIZE])
def test_no_message_holds_an_identifier_or_its_hash(held: dict[str, list[bytes]], reveal: str) -> None:
    done = Circle(held, reveal).run()
    secrets = {item for one in held.values() for item in one}
    secrets |= set(hash_to_group(done.context.prefix, sorted(secrets)))
    for _, _, piece in done.said:
        raw = bytes(piece.entries)
        assert not any(secret[:16] in raw for secret in secrets)
    for frame in done.frames:
        for _, _, piece in done.said:
            assert not piece.entries or bytes(piece.entries[:16]) not in bytes(frame.ciphertext)


def test_two_rounds_over_the_same_lists_have_no_point_in_common() -> None:
    seen: Counter[bytes] = Counter()
    for number in (1, 2):
        done = Circle(TWO, round=number, seed=number).run()
        points = {
            bytes(piece.entries[at : at + 16])
            for _, _, piece in done.said
            for at in range(0, len(piece.entries), 16)
        }
        seen.update(points)
    assert max(seen.values()) == 1


def test_for_the_size_alone_the_returned_list_is_shuffled() -> None:
    many = {"ada": items(*range(200)), "bob": items(*range(100, 300))}
    orders = {}
    for reveal in (ROWS, SIZE):
        done = Circle(many, reveal, ["ada"]).run()
        assert done.found["ada"] is not None
        (back,) = [piece for sender, _, piece in done.said if (sender, piece.stage) == ("bob", 1)]
        (masked,) = [piece for sender, _, piece in done.said if (sender, piece.stage) == ("ada", 0)]
        assert masked.total == back.total == 200
        orders[reveal] = bytes(back.entries)
        assert done.found["ada"].size == 100
    # The same seed: the same exponents and the same entries, in another order.
    cut = {reveal: [raw[at : at + 16] for at in range(0, len(raw), 16)] for reveal, raw in orders.items()}
    assert len(cut[ROWS]) == len(set(cut[ROWS])) == 200
    assert done.found["bob"] is None


def test_a_member_that_gets_nothing_is_sent_no_list_back() -> None:
    done = Circle(TWO, ROWS, ["ada"]).run()
    assert {sender for sender, _, piece in done.said if piece.stage == 1} == {"bob"}
    assert done.found["bob"] is None


def test_in_a_ring_everything_that_is_compared_was_raised_and_shuffled_by_all() -> None:
    held = {name: items(*range(50)) for name in ("ada", "bob", "cyd")}
    done = Circle(held, SIZE, ["ada"]).run()
    stages = Counter((sender, recipient, piece.stage) for sender, recipient, piece in done.said)
    assert all(
        stages[sender, to, hop] == 1
        for sender, to in (("ada", "bob"), ("bob", "cyd"), ("cyd", "ada"))
        for hop in (1, 2)
    )
    compared = [piece for _, to, piece in done.said if piece.stage == 3]
    assert len(compared) == 2
    one, other = (
        [bytes(piece.entries[at : at + 16]) for at in range(0, len(piece.entries), 16)] for piece in compared
    )
    assert set(one) == set(other)
    assert one != other, "two lists of the same items came in the same order: they were not shuffled"


def test_below_the_minimum_nothing_is_released() -> None:
    for held in (TWO, THREE):
        done = Circle(held, ROWS, minimum=3).run()
        assert isinstance(done.errors["ada"], TooFewInCommon)
        assert not any(done.found.values())
        assert Circle(held, ROWS, minimum=2).run().found["ada"] is not None


# What a member may answer falsely.


def tampered(held: dict[str, list[bytes]], change: object, who: str = "bob", stage: int = -1) -> Circle:
    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        if sender != who or (stage >= 0 and piece.stage != stage):
            return None
        return change(piece)  # type: ignore[operator,no-any-return]

    return Circle(held, hand=hand).run()


def entries(piece: Piece, raw: bytes, total: int = -1) -> Piece:
    return Piece(piece.stage, piece.total if total < 0 else total, piece.at, memoryview(raw))


@pytest.mark.parametrize("held", [TWO, THREE])
@pytest.mark.parametrize("point", [IDENTITY, b"\xff" * 32, b"\x01" + bytes(31)])
def test_what_is_no_point_and_the_identity_are_refused(held: dict[str, list[bytes]], point: bytes) -> None:
    first = 0 if len(held) == 2 else 1
    done = tampered(held, lambda p: entries(p, point + bytes(p.entries[32:])), stage=first)
    victim = "ada" if len(held) == 2 else "cyd"
    problem = done.errors[victim]
    assert isinstance(problem, MalformedMessage)
    assert problem.culprits == ("bob",)
    assert "entry 0 is no point" in str(problem)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: entries(p, bytes(p.entries[:-1])), "does not fit"),
        (lambda p: entries(p, bytes(p.entries) + bytes(32)), "does not fit"),
        (lambda p: entries(p, bytes(p.entries), total=p.total + 1), "does not fit"),
        (lambda p: entries(p, b"", total=10**6), "0 to 1000 are agreed"),
        (lambda p: Piece(p.stage, p.total, 1, p.entries), "at 1 of"),
        (lambda p: Piece(7, p.total, p.at, p.entries), "another list"),
        (lambda p: entries(p, bytes(p.entries[:32]) * p.total), "entries twice"),
    ],
)
def test_a_list_of_another_form_is_refused_and_its_sender_named(change: object, words: str) -> None:
    done = tampered(TWO, change, stage=0)
    problem = done.errors["ada"]
    assert isinstance(problem, ProtocolViolation)
    assert problem.culprits == ("bob",)
    assert words in str(problem)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: entries(p, bytes(p.entries[:16]), total=1),
        lambda p: entries(p, bytes(p.entries) + bytes(16), total=p.total + 1),
        lambda p: entries(p, bytes(p.entries[:16]) * p.total),
    ],
)
def test_a_returned_list_of_another_length_or_with_doubles_is_refused(change: object) -> None:
    problem = tampered(TWO, change, stage=1).errors["ada"]
    assert isinstance(problem, MalformedMessage)
    assert problem.culprits == ("bob",)


def test_a_piece_from_an_earlier_round_does_not_open() -> None:
    earlier = Circle(TWO, round=1).run()
    later = Circle(TWO, round=2)
    old = earlier.frames[0]
    later.frames.clear()
    travel = later._travel

    def swapped(sender: str, recipient: str, message: object) -> object:
        travel(sender, recipient, message)
        return old if sender == "ada" else message

    later._travel = swapped  # type: ignore[assignment]
    problem = later.run().errors["bob"]
    assert isinstance(problem, MalformedMessage)
    assert problem.culprits == ("ada",)


def test_common_points_that_are_not_ours_are_noticed() -> None:
    stray = hash_to_group(b"stray", [b"x", b"y"])
    last = 2 * 3 + 2  # the last hop of the way back among three

    def change(piece: Piece) -> Piece:
        return entries(piece, b"".join(stray)[: 32 * piece.total])

    problem = tampered(THREE, change, stage=last).errors["cyd"]
    assert isinstance(problem, InconsistentSets)
    assert problem.culprits[0] == "bob"


def test_a_match_is_not_printed_or_pickled() -> None:
    import pickle

    match = Circle(TWO).run().found["ada"]
    assert match is not None
    assert "places withheld" in repr(match)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(match)


def test_parameters_and_contexts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParameterError, match="rows, size, sum, not"):
        Parameters("all", ("ada",), 10, 0, bytes(32))
    with pytest.raises(ParameterError, match="do not fit"):
        Parameters(ROWS, ("ada",), 10, 11, bytes(32))
    circle = Circle(TWO)
    with pytest.raises(ParameterError, match="channel key"):
        Context(bytes(32), 1, circle.context.roster, circle.context.parameters, {})
    with pytest.raises(ParameterError, match="receivers"):
        Circle(TWO, receivers=["zoe"])


def test_tokens_are_compared_whole_zeros_included() -> None:
    raw = np.zeros((3, 16), np.uint8)
    raw[1, 0] = raw[2, 15] = 1
    table = lists.read_tokens(raw.tobytes())
    assert sorted(lists.matched(table, [table])) == [0, 1, 2]
    assert lists.matched(table[:1], [table[1:]]).size == 0
    lists.require_different(table, "ada", 1)


def test_an_intake_changes_nothing_when_it_refuses() -> None:
    intake = Intake(16, 4)
    with pytest.raises(ParameterError, match="does not fit"):
        intake.take(Piece(0, 2, 0, memoryview(bytes(16))))
    assert (intake.total, intake.count) == (-1, 0)
    intake.take(Piece(0, 1, 0, memoryview(bytes(16))))
    assert intake.complete
