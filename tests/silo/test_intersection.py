"""`session.intersect` and `session.intersect_sum`: what they give, what the charter refuses, and what noise costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import silo
from silo.crypto.errors import ParameterError
from silo.errors import Expired, NotAllowed, QueriesSpent, UsageError
from silo.journal import Journal
from silo.privacy.errors import NotCovered, PrivacyBudgetExceeded
from silo.protocols.errors import UnlikeTerms
from silo.simulation import simulate


class StoppedHere(Exception):
    """Ends a party once it has looked."""


BANK = [f"person {number}" for number in range(60)]
TELECOM = [f"person {number}" for number in range(20, 100)]
SPENT = np.arange(80.0).reshape(40, 2).repeat(2, axis=0) / 10
BOTH = 40
EXACT = SPENT[:BOTH].sum(axis=0)


def two(work: Any, one: Any, other: Any, **options: Any) -> dict[str, Any]:
    inputs = {"bank": one, "telecom": other}
    return simulate(["bank", "telecom"], work, inputs, two_party=silo.TWO_PARTY_WORDS, **options)


def test_three_members_find_the_same_rows_in_one_order() -> None:
    held = {"ash": list(range(9)), "birch": [5, 3, 11, 4], "cedar": ["4", "5", "70"]}
    found = simulate(list(held), lambda session, ids: session.intersect(ids), held)
    people = [[str(held[name][place]) for place in found[name]] for name in held]
    assert people[0] == people[1] == people[2]
    assert sorted(people[0]) == ["4", "5"]
    sizes = simulate(list(held), lambda session, ids: session.intersect(ids, reveal="size"), held)
    assert set(sizes.values()) == {2}


@pytest.mark.parametrize("reveal", ["all", "ROWS", "", "sum"])
def test_what_cannot_be_revealed_is_refused(reveal: str) -> None:
    with pytest.raises(ParameterError, match="reveal is 'rows' or 'size'"):
        two(lambda session, ids: session.intersect(ids, reveal=reveal), BANK, TELECOM)


def test_more_rows_than_agreed_are_refused() -> None:
    with pytest.raises(NotAllowed, match="60 rows"):
        two(lambda session, ids: session.intersect(ids), BANK, TELECOM, rows=59)


def test_the_journal_counts_queries_for_good(tmp_path: Path) -> None:
    path, charter = tmp_path / "journal.db", b"c" * 32
    with Journal.open(path) as journal:
        for number in range(3):
            journal.ask(charter, b"s" * 32, number, 3)
        journal.ask(b"d" * 32, b"s" * 32, 0, 1)
    with Journal.open(path) as journal, pytest.raises(QueriesSpent, match="3 intersections") as caught:
        journal.ask(charter, b"t" * 32, 9, 3)
    assert caught.value.code == "SILO-406"


@pytest.mark.parametrize("holder", ["bank", "telecom"])
def test_a_sum_is_exact_for_both_whoever_has_the_values(holder: str) -> None:
    def work(session: silo.Session, given: Any) -> Any:
        ids, values = given
        return session.intersect_sum(ids, values, columns=2, clip=10.0)

    with_values, without = (TELECOM, SPENT), (BANK, None)
    found = two(work, without, with_values) if holder == "telecom" else two(work, with_values, without)
    for one in found.values():
        assert one.count == BOTH
        assert one.noise == 0.0
        np.testing.assert_allclose(one.sums, EXACT, rtol=0, atol=1e-9)


def asked(session: silo.Session, given: Any) -> Any:
    ids, options = given
    return session.intersect_sum(ids, **options)


@pytest.mark.parametrize(
    ("bank", "telecom", "error", "words"),
    [
        ({}, {}, UnlikeTerms, "who has the values"),
        ({"values": np.ones(60)}, {"values": np.ones(80)}, UnlikeTerms, "who has the values"),
        ({"columns": 2}, {"values": np.ones(80)}, UnlikeTerms, "columns of values"),
        ({"clip": 2.0}, {"values": np.ones(80)}, UnlikeTerms, "steps"),
        ({}, {"values": np.ones(79)}, ParameterError, "need values of shape"),
        ({}, {"values": np.full(80, 2.0)}, ParameterError, "row 0, column 0 holds 2.0"),
        ({}, {"values": np.full(80, np.nan)}, ParameterError, "row 0, column 0 holds nan"),
        ({}, {"values": ["much"] * 80}, ParameterError, "numbers, not of type"),
        ({"columns": 0}, {"values": np.ones(80)}, ParameterError, "1 to 31 columns"),
        ({"clip": -1.0}, {"values": np.ones(80)}, ParameterError, "above 0"),
        ({"clip": 1.0, "noise": silo.Skellam(1.0, 2.0)}, {}, ParameterError, "not both"),
    ],
)
def test_what_does_not_fit_is_named(bank: Any, telecom: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        two(asked, (BANK, bank), (TELECOM, telecom))


def test_three_members_have_no_sum() -> None:
    held = {name: ([1, 2], {}) for name in ("ash", "birch", "cedar")}
    with pytest.raises(ParameterError, match="between 2 members, not 3"):
        simulate(list(held), asked, held)


NOISE = silo.Skellam(clip=12.0, epsilon=1.0, delta=1e-6)


def noised(session: silo.Session, given: Any) -> Any:
    ids, values = given
    found = session.intersect_sum(ids, values, columns=2, noise=NOISE)
    return found, session.policy.account.epsilon() if session.policy else 0.0


def test_noise_is_paid_by_who_has_no_values_and_hides_the_number_as_well() -> None:
    budget = {"bank": silo.Budget(epsilon=1.5, delta=1e-5)}
    found = two(noised, (BANK, None), (TELECOM, SPENT), budget=budget)
    (one, spent), (other, nothing) = found["bank"], found["telecom"]
    assert one.count == other.count != BOTH
    np.testing.assert_array_equal(one.sums, other.sums)
    assert 0 < abs(one.sums - EXACT).max() < 10 * one.noise
    assert abs(one.count - BOTH) < 10 * one.noise / NOISE.clip
    assert 0.5 < spent <= 1.01
    assert nothing == 0.0


def test_without_a_ledger_or_a_budget_no_noise_is_drawn() -> None:
    with pytest.raises(UsageError, match="no privacy policy for bank"):
        two(noised, (BANK, None), (TELECOM, SPENT))
    budget = {"bank": silo.Budget(epsilon=0.1, delta=1e-5)}
    with pytest.raises(PrivacyBudgetExceeded):
        two(noised, (BANK, None), (TELECOM, SPENT), budget=budget)


@pytest.mark.parametrize("who", ["bank", "telecom"])
def test_an_exact_number_from_a_data_set_with_a_budget_is_refused(who: str) -> None:
    budget = {who: silo.Budget(epsilon=1.0, delta=1e-5)}
    with pytest.raises(NotCovered):
        two(asked, (BANK, {}), (TELECOM, {"values": np.ones(80)}), budget=budget)
    with pytest.raises(NotCovered):
        two(lambda session, ids: session.intersect(ids), BANK, TELECOM, budget=budget)


@pytest.mark.parametrize("work", ["sum", "intersect", "intersect_sum"])
def test_what_this_site_refuses_by_itself_is_not_charged(work: str) -> None:
    later = datetime.now(UTC) + timedelta(days=400)

    def late(session: silo.Session, ids: Any) -> Any:
        session._now = lambda: later
        with pytest.raises(Expired):
            getattr(session, work)(np.ones(3) if work == "sum" else ids)
        records = session.policy.account.ledger.records() if session.policy else []
        raise StoppedHere(len(list(records)))

    budget = silo.Budget(epsilon=1.0, delta=1e-5)
    with pytest.raises(StoppedHere) as caught:
        two(late, BANK, TELECOM, budget=budget)
    assert caught.value.args == (2,), "the ledger and its data set, and nothing else"
