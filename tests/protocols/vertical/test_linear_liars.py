"""Members of a linear model that lie, go on, or are lost: each is named, and nobody gets anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.crypto.lattice.budget import Budget
from silo.crypto.lattice.products import PUBLIC_BYTES
from silo.crypto.lattice.residues import COEFFICIENT_BYTES, POLYNOMIAL_BYTES
from silo.crypto.products import TAG_BYTES
from silo.protocols import codec
from silo.protocols.errors import MalformedMessage, ProtocolAborted, ProtocolViolation, UnexpectedMessage
from silo.protocols.roster import Roster
from silo.protocols.transit import Piece
from silo.protocols.vertical.context import Context, Parameters
from silo.protocols.vertical.linear.messages import MOST_PASSES, Pass
from silo.protocols.vertical.linear.terms import LATTICE, PAILLIER, Terms, cap, product_terms
from silo.protocols.vertical.masks import Masks
from tests.protocols.vertical.joint import BANK, GaveUp, allow_small_keys, data, fit, model
from tests.protocols.vertical.table import Table

HELD = data("logistic", (2, 5, 3), rows=60)
HOST = "cards"
KEY = 0
PASS, REQUEST, REPLY, OPENED, SCORES = range(6, 11)
"""The stages of the second pass."""
BY_BANK, BY_HOST = (KEY, PASS, REQUEST, OPENED), (REPLY, SCORES)
Change = Callable[[Piece], Piece]


def lie(stage: int, change: Change, **options: Any) -> Table:
    """A fit in which one side changes what it sends to the other at this stage."""
    liar, victim = (BANK, HOST) if stage in BY_BANK else (HOST, BANK)

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        return change(piece) if (sender, recipient, piece.stage) == (liar, victim, stage) else None

    return fit(HELD, "logistic", hand=hand, **({"passes": 3} | options))


def caught(done: Table, stage: int, error: type[ProtocolViolation] = MalformedMessage) -> str:
    """Check that whoever was lied to names the liar, and that nobody has a model; returns what is said."""
    liar, victim = (BANK, HOST) if stage in BY_BANK else (HOST, BANK)
    problem = done.errors[victim]
    assert type(problem) is error
    assert problem.culprits == (liar,)
    assert not done.found
    assert set(done.errors) == set(done.names)
    assert all(isinstance(done.errors[name], ProtocolAborted) for name in done.names if name != victim)
    return str(problem)


def entries(piece: Piece, raw: bytes, total: int = -1) -> Piece:
    return Piece(piece.stage, piece.total if total < 0 else total, piece.at, memoryview(raw))


def patched(piece: Piece, at: int, raw: bytes) -> Piece:
    """Other bytes from this place on."""
    whole = bytearray(piece.entries)
    at %= len(whole)
    whole[at : at + len(raw)] = raw
    return entries(piece, bytes(whole))


LENGTHS: list[Change] = [
    lambda piece: entries(piece, bytes(piece.entries)[:-1]),
    lambda piece: entries(piece, bytes(piece.entries) + b"\0"),
    lambda piece: entries(piece, bytes(piece.entries), piece.total + 1),
    lambda piece: entries(piece, b"", 10**9),
    lambda piece: entries(piece, b"", 0),
    lambda piece: Piece(piece.stage, piece.total, 1, piece.entries),
]


@pytest.mark.parametrize("stage", [*BY_BANK, *BY_HOST])
def test_a_wrong_length_at_any_stage_is_refused(stage: int) -> None:
    for change in LENGTHS:
        caught(lie(stage, change), stage)


@pytest.mark.parametrize("stage", [*BY_BANK, *BY_HOST])
def test_a_piece_of_another_stage_is_refused(stage: int) -> None:
    done = lie(stage, lambda piece: Piece(piece.stage + 1, piece.total, piece.at, piece.entries))
    assert "another list" in caught(done, stage, UnexpectedMessage)


@pytest.mark.parametrize("stage", [PASS, REQUEST, REPLY, OPENED, SCORES])
def test_what_was_said_in_another_pass_is_not_taken_again(stage: int) -> None:
    seen: dict[tuple[str, str, int], Piece] = {}
    ends = (BANK, HOST) if stage in BY_BANK else (HOST, BANK)

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        seen[sender, recipient, piece.stage] = piece
        return seen[*ends, stage - 5] if (sender, recipient, piece.stage) == (*ends, stage) else None

    caught(fit(HELD, "logistic", hand=hand, passes=3), stage, UnexpectedMessage)
    if stage in (REQUEST, OPENED):
        return  # with the number as it should be these are the label party's own lies of residuals
    old = seen[*ends, stage - 5]
    caught(lie(stage, lambda piece: entries(piece, bytes(old.entries), old.total)), stage)


def test_ciphertexts_under_another_key_are_refused() -> None:
    other = {
        piece.stage: piece for s, t, piece in fit(HELD, "logistic", seed=9, passes=3).said if HOST in (s, t)
    }
    done = lie(
        REQUEST, lambda piece: patched(piece, PUBLIC_BYTES, bytes(other[REQUEST].entries)[PUBLIC_BYTES:])
    )
    assert "another key" in caught(done, REQUEST)
    assert "another key" in caught(
        lie(REPLY, lambda piece: entries(piece, bytes(other[REPLY].entries))), REPLY
    )


@pytest.mark.parametrize(
    ("stage", "place", "raw"),
    [
        (KEY, -POLYNOMIAL_BYTES, b"\xff" * 26),
        (REQUEST, PUBLIC_BYTES - POLYNOMIAL_BYTES, b"\xff" * 26),
        (REQUEST, PUBLIC_BYTES + TAG_BYTES + 32, b"\xff" * COEFFICIENT_BYTES),
        (REPLY, TAG_BYTES, b"\xff" * 26),
        (REPLY, -COEFFICIENT_BYTES, b"\xff" * COEFFICIENT_BYTES),
    ],
)
def test_residues_beyond_the_primes_are_refused(stage: int, place: int, raw: bytes) -> None:
    caught(lie(stage, lambda piece: patched(piece, place, raw)), stage)


def test_a_reply_that_anybody_could_read_is_refused() -> None:
    done = lie(REPLY, lambda piece: patched(piece, TAG_BYTES, bytes(POLYNOMIAL_BYTES)))
    assert "transparent" in caught(done, REPLY)


@pytest.mark.parametrize("place", [32, PUBLIC_BYTES])
def test_an_all_zero_key_is_refused_at_first_and_in_a_pass(place: int) -> None:
    stage = KEY if place == 32 else REQUEST
    done = lie(stage, lambda piece: patched(piece, 32, bytes(PUBLIC_BYTES - 32)))
    assert "all zeros" in caught(done, stage)


def test_a_bad_key_under_paillier_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_small_keys(monkeypatch)
    for change in (
        lambda piece: entries(piece, bytes(len(piece.entries))),
        lambda piece: patched(piece, 10, b"\xaa" * 8),
        lambda piece: patched(piece, -8, b"\xaa" * 8),
    ):
        caught(lie(KEY, change, scheme=PAILLIER), KEY)
    caught(lie(REPLY, lambda piece: patched(piece, -128, b"\xff" * 128), scheme=PAILLIER), REPLY)


def test_an_opened_number_beyond_the_modulus_or_the_terms_is_refused() -> None:
    width = len(next(p for _, to, p in fit(HELD, "logistic", passes=1).said if p.stage == 4).entries) // 5
    beyond = lie(OPENED, lambda piece: patched(piece, 0, b"\xff" * width))
    assert "not below the modulus" in caught(beyond, OPENED)

    def halfway(piece: Piece) -> Piece:
        # Half a modulus away: below it, and no product that these terms allow.
        number = int.from_bytes(bytes(piece.entries)[:width], "little")
        return patched(piece, 0, (number ^ 1 << 8 * width - 8).to_bytes(width, "little"))

    caught(lie(OPENED, halfway), OPENED)


def told(**changes: Any) -> Change:
    """Another message of the label party in place of its own."""

    def change(piece: Piece) -> Piece:
        said = codec.decode(Pass, bytes(piece.entries), sender=BANK, round=1)
        raw = codec.encode(msgspec.structs.replace(said, **changes))
        return entries(piece, raw, len(raw))

    return change


@pytest.mark.parametrize(
    "changes",
    [
        {"coefficients": ()},
        {"coefficients": (1.0, 1.0)},
        {"coefficients": (1.0,) * (MOST_PASSES + 1)},
        {"coefficients": (float("nan"),)},
        {"coefficients": (float("-inf"),)},
        {"coefficients": (1e300,)},
        {"curvature": float("nan")},
        {"curvature": float("inf")},
        {"curvature": 1e300},
        {"curvature": -1.0},
        {"point": 65},
        {"point": -65},
        {"coefficients": (), "last": True},
        {"coefficients": (float("nan"),), "last": True},
    ],
    ids=str,
)
def test_weights_that_are_none_are_refused(changes: dict[str, Any]) -> None:
    caught(lie(PASS, told(**changes)), PASS)


def test_no_weight_that_passes_makes_a_hosts_own_numbers_overflow() -> None:
    """What is allowed goes through, or the host says that its scores would be too large; it never breaks."""
    for changes in (
        {"coefficients": (2.0**64,)},
        {"coefficients": (-(2.0**64),), "curvature": 0.0},
        {"curvature": 2.0**64},
        {"curvature": 0.0, "point": -64},
        {"point": 64},
    ):
        for l1, l2 in ((0.0, 0.0), (1.0, 5.0)):
            done = lie(PASS, told(**changes), l1=l1, l2=l2)
            assert HOST in done.found or isinstance(done.errors[HOST], ParameterError | ProtocolAborted)


@pytest.mark.parametrize("passes", [2, 3])
def test_a_label_party_that_goes_on_past_the_cap_is_refused(passes: int) -> None:
    end = 1 + 5 * passes

    def hand(sender: str, recipient: str, piece: Piece) -> Piece | None:
        return told(last=False)(piece) if piece.stage == end else None

    done = fit(HELD, "logistic", passes=passes, tol=0.0, hand=hand)
    for name in (HOST, "lender"):
        problem = done.errors[name]
        assert isinstance(problem, UnexpectedMessage)
        assert (problem.culprits, problem.expected, problem.found) == ((BANK,), passes, passes + 1)
        assert name not in done.found


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), bytes.fromhex("ec" + "ff" * 30 + "7f")])
def test_a_channel_key_of_small_order_is_refused(point: bytes) -> None:
    done = fit(HELD, "logistic", channels={"lender": point})
    problem = done.errors[BANK]
    assert isinstance(problem, UnexpectedMessage)
    assert problem.culprits == ("lender",)
    assert not done.said
    assert not done.found
    with pytest.raises(UnexpectedMessage, match="channel key") as found:
        Masks(done.context, HOST, done.channels[HOST])
    assert found.value.culprits == ("lender",)


@pytest.mark.parametrize("name", [BANK, HOST, "lender"])
def test_a_member_that_is_lost_at_any_stage_is_named(name: str) -> None:
    # A fit of two passes has eleven steps before the last word, and hosts are not waited for after the last of them.
    for steps in range(12 if name == BANK else 11):
        done = fit(HELD, "logistic", passes=2, tol=0.0, lost={name: steps})
        assert not done.found, steps
        assert isinstance(done.errors.pop(name), GaveUp)
        assert all(isinstance(problem, ProtocolAborted) for problem in done.errors.values())
        waited = (HOST, "lender") if name == BANK else (BANK,)
        for one in waited:
            assert done.errors[one].missing == (name,)  # type: ignore[attr-defined]
            assert f"{name} was lost" in str(done.errors[one])


def test_a_host_that_lies_of_its_scores_changes_the_model_and_shows_nothing() -> None:
    """Nobody proves its columns: what a liar spoils is the model, its own part too."""
    done = lie(SCORES, lambda piece: entries(piece, bytes(len(piece.entries))))
    assert not done.errors
    assert np.isfinite(model(done).scores).all()


# The caps.


def context(rows: int, *hosts: int) -> Context:
    names = (BANK, "cards", "lender", "telecom")[: len(hosts) + 1]
    keys = {name: bytes(31) + bytes([at]) for at, name in enumerate(names)}
    columns = dict(zip(names, (2, *hosts), strict=True))
    return Context(bytes(32), 1, Roster.of(keys), Parameters("linear", BANK, rows, columns, bytes(32)), keys)


@pytest.mark.parametrize(
    ("rows", "hosts", "asked", "most"),
    [
        (1000, (8,), 100, 7),
        (1000, (8,), 3, 3),
        (1000, (1, 2), 100, 2),
        (1000, (8, 5), 100, 12),
        (40, (8,), 100, 5),
        (47, (8, 3), 100, 5),
        (10**6, (4000, 4000), 10**6, 250),
        (10**7, (4096, 4096), 10**6, 2441),
        (8, (8,), 100, 1),
    ],
)
def test_passes_stay_below_the_hidden_columns_and_the_rows(
    rows: int, hosts: tuple[int, ...], asked: int, most: int
) -> None:
    assert cap(context(rows, *hosts), asked) == most
    assert most < sum(hosts)
    assert most * max(hosts) <= rows


@pytest.mark.parametrize(("rows", "hosts"), [(1000, (1,)), (7, (8,)), (2, (2, 3))])
def test_where_no_pass_is_left_one_sentence_says_why(rows: int, hosts: tuple[int, ...]) -> None:
    with pytest.raises(
        ParameterError, match="allow no pass: the others bring at least 2 independent columns"
    ) as found:
        cap(context(rows, *hosts), 10)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("columns", [0, 4097])
def test_a_host_with_no_columns_or_too_many_is_named(columns: int) -> None:
    with pytest.raises(ParameterError, match=f"lender brings {columns} columns"):
        cap(context(10**6, 5, columns), 10)


@pytest.mark.parametrize(
    "wrong",
    [
        {"l2": -1.0},
        {"l1": float("nan")},
        {"tol": float("inf")},
        {"passes": 0},
        {"scheme": "plain"},
        {"family": "probit"},
    ],
)
def test_terms_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        Terms(
            **({"family": "linear", "l2": 1.0, "l1": 0.0, "scheme": LATTICE, "passes": 3, "tol": 0.0} | wrong)
        )


def test_products_fit_for_every_number_of_rows() -> None:
    for rows in (1, 2, 3, 100, 4096, 4097, 1 << 15, (1 << 15) + 1, 10**6, 1_053_203, 1 << 21, 1 << 24):
        plan = product_terms(rows)
        assert plan.value_bits >= 4
        Budget.of(plan)
