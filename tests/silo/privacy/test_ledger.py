"""The ledger reserves before noise, remembers, and refuses."""

from __future__ import annotations

import copy
import math
import pickle
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from silo.errors import ParameterError
from silo.privacy import events, planning
from silo.privacy.budget import Budget
from silo.privacy.dataset import Description
from silo.privacy.errors import (
    LedgerCorrupt,
    LedgerError,
    LedgerForked,
    PrivacyBudgetExceeded,
    TokenUsed,
)
from silo.privacy.ledger import Ledger
from tests.silo.privacy.books_of import STEP, Clock, identity, ledger


def kinds(one: Ledger) -> list[str]:
    return [record.fields()["kind"] for record in one.records()]


def test_a_reservation_is_on_the_disk_before_a_token_exists(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        reservation = one.account("rows").reserve(STEP, 3, purpose="training")
        with sqlite3.connect(tmp_path / "ledger.db") as other:
            rows = other.execute("SELECT body FROM records ORDER BY sequence").fetchall()
        assert '"kind":"reserve"' in rows[-1][0]
        reservation.token().use(STEP)


def test_a_token_is_good_once_and_for_its_event_only(tmp_path: Path) -> None:
    with ledger(tmp_path) as one, one.account().reserve(STEP, 1, purpose="training") as reservation:
        token = reservation.token()
        with pytest.raises(ParameterError, match="was not reserved"):
            token.use(events.Gaussian(2.0))
        token.use(STEP)
        with pytest.raises(TokenUsed):
            token.use(STEP)
        with pytest.raises(TokenUsed, match="used up"):
            reservation.token()
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                attempt(token)


def test_a_closed_reservation_gives_no_token(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        reservation = one.account().reserve(STEP, 2, purpose="training")
        reservation.close()
        with pytest.raises(TokenUsed, match="closed"):
            reservation.token()
        reservation.close()
        assert kinds(one).count("close") == 1


def test_unused_steps_come_back_and_what_was_not_closed_stays_spent(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        account = one.account()
        with account.reserve(STEP, 10, purpose="training") as reservation:
            reservation.token().use(STEP)
        assert account.filter_epsilon() == account.budget.filter_epsilon(one.books.spent("rows"))
        once = account.used
        account.reserve(STEP, 10, purpose="a run that dies")
    with ledger(tmp_path) as again:
        assert again.account().used == pytest.approx(11 * once)


def test_what_does_not_fit_is_refused_and_written_down(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        account = one.account()
        granted = 0
        while account.affords(STEP):
            account.reserve(STEP, 1, purpose="training")
            granted += 1
        with pytest.raises(PrivacyBudgetExceeded, match=r"epsilon 1: 0\.9") as refusal:
            account.reserve(STEP, 1, purpose="one too many")
        assert granted > 10
        assert refusal.value.asked > 1.0 >= refusal.value.spent
        assert kinds(one)[-1] == "refuse"
        assert account.filter_epsilon() <= 1.0
        assert account.epsilon() <= account.filter_epsilon()
    with ledger(tmp_path) as again, pytest.raises(PrivacyBudgetExceeded):
        again.account().reserve(STEP, 1, purpose="after a restart")


def test_a_budget_is_opened_once(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        with pytest.raises(ParameterError, match="never refills"):
            one.add("rows", Budget(9.0, 1e-3))
        one.add("more", Budget(1.0, 1e-3), Description(content=b"c" * 32))
        with pytest.raises(ParameterError, match="already have a budget, under the name more"):
            one.add("same-rows", Budget(1.0, 1e-3), Description(content=b"c" * 32))
        with pytest.raises(ParameterError, match="has no data set 'absent'"):
            one.account("absent")
        assert len(kinds(one)) == 3


def test_a_release_without_noise_makes_epsilon_infinite(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        account = one.account()
        account.reserve(STEP, 2, purpose="training")
        spent = account.epsilon()
        account.release_unprotected("a table of counts")
        assert account.epsilon() == math.inf
        assert account.protected_epsilon() == spent
        assert account.affords(STEP)


def test_a_derived_data_set_inherits_and_parts_take_the_largest(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        small, large = Budget(1.0, 1e-3), Budget(3.0, 1e-3, order=10)
        small = Budget(1.0, 1e-3, order=10)
        one.add("all", large)
        for name, relation in (("men", "part"), ("women", "part"), ("features", "derived")):
            one.add(name, small, Description(parent="all", relation=relation))  # type: ignore[arg-type]
        one.account("men").reserve(STEP, 10, purpose="training")
        one.account("women").reserve(STEP, 4, purpose="training")
        cost = one.books.spent("women").divergence / 4
        spent = {
            name: one.books.spent(name).divergence / cost for name in ("all", "men", "women", "features")
        }
        assert spent == pytest.approx({"all": 10, "men": 10, "women": 4, "features": 10})
        one.account("features").reserve(STEP, 5, purpose="training")
        one.account("all").reserve(STEP, 1, purpose="training")
        spent = {
            name: one.books.spent(name).divergence / cost for name in ("all", "men", "women", "features")
        }
        assert spent == pytest.approx({"all": 16, "men": 16, "women": 10, "features": 16})
        epsilons = {name: one.account(name).protected_epsilon() for name in spent}
        assert epsilons["all"] == pytest.approx(epsilons["men"]) == pytest.approx(epsilons["features"])
        assert epsilons["women"] < epsilons["men"]


def test_a_child_cannot_spend_what_its_parent_lacks(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        one.add("copy", Budget(3.0, 1e-3), Description(parent="rows", relation="derived"))
        with pytest.raises(PrivacyBudgetExceeded) as refusal:
            one.account("copy").reserve(STEP, 200, purpose="training on a copy")
        assert refusal.value.dataset == "rows"


def test_another_identity_cannot_write(tmp_path: Path) -> None:
    mercy, other = identity(tmp_path, "mercy"), identity(tmp_path, "lakeside")
    with ledger(tmp_path, identity=mercy):
        pass
    with pytest.raises(LedgerError, match="belongs to mercy"):
        Ledger.open(tmp_path / "ledger.db", other)
    with pytest.raises(LedgerError, match="give the identity"):
        Ledger.open(tmp_path / "ledger.db")


def test_the_key_beside_a_local_ledger_is_private(tmp_path: Path) -> None:
    with ledger(tmp_path):
        pass
    key = tmp_path / "ledger.db.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    with pytest.raises(LedgerError, match="chmod 600"):
        Ledger.open(tmp_path / "ledger.db")


def test_an_edit_is_found_when_the_ledger_is_opened(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        one.account().reserve(STEP, 7, purpose="training")
    with sqlite3.connect(tmp_path / "ledger.db") as other:
        other.execute("""UPDATE records SET body = replace(body, '"count":"7"', '"count":"1"')""")
    with pytest.raises(LedgerCorrupt, match="record 3 was edited"):
        Ledger.open(tmp_path / "ledger.db")


def test_two_copies_that_both_grew_are_a_fork(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        seen = one.head.head
        one.account().reserve(STEP, 1, purpose="training")
        later = one.head.head
        one.check_continues(seen, "the checkpoint")
        one.check_continues(later, "the checkpoint")
        with sqlite3.connect(tmp_path / "ledger.db") as other:
            other.execute("DELETE FROM records WHERE sequence > 2")
        with pytest.raises(LedgerForked, match="record 3 as this process saw it"):
            one.account().reserve(STEP, 1, purpose="training")
    with ledger(tmp_path) as again:
        with pytest.raises(LedgerForked, match="record 3 as the checkpoint saw it"):
            again.check_continues(later, "the checkpoint")
        with pytest.raises(LedgerForked):
            again.account().reserve(STEP, 1, purpose="training")
    with ledger(tmp_path) as again:
        with pytest.raises(LedgerForked):
            again.account().reserve(STEP, 1, purpose="still frozen after a restart")
        said = planning.verdict(STEP, 1, 1e-3, again.account())
        assert "the ledger is frozen (record 3 is not as the checkpoint saw it): it does NOT fit" in said
        again.adjust("rows", STEP, 1, reason="the lost reservation", lift=True)
        assert planning.verdict(STEP, 1, 1e-3, again.account()).endswith("it fits")
        again.account().reserve(STEP, 1, purpose="training")


def test_a_clock_that_ran_backwards(tmp_path: Path) -> None:
    clock = Clock()
    with ledger(tmp_path, now=clock) as one:
        clock.time -= timedelta(seconds=30)
        one.account().reserve(STEP, 1, purpose="a clock that was corrected")
        before = kinds(one)
        clock.time -= timedelta(days=2)
        with pytest.raises(LedgerError, match="set the clock; nothing was spent"):
            one.account().reserve(STEP, 1, purpose="a clock that is wrong")
        assert kinds(one) == before
        assert one.account().affords(STEP)


def reserve_much(one: Ledger) -> None:
    for _ in range(200):
        one.account().reserve(STEP, 1, purpose="training", details={"x": "y" * 1000})


def test_a_full_disk_spends_nothing(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        pages = one._chain._connection.execute("PRAGMA page_count").fetchone()[0]
        one._chain._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(LedgerError, match="full; nothing was spent"):
            reserve_much(one)
        used = one.account().used
        one._chain._connection.execute("PRAGMA max_page_count = 100000")
        one.account().reserve(STEP, 1, purpose="training")
        assert one.account().used > used


@pytest.mark.parametrize("garbage", [b"", b"not a ledger at all" * 100])
def test_what_is_no_ledger(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(garbage)
    if not garbage:
        with Ledger.open(path) as empty:
            assert kinds(empty) == ["ledger"]
        return
    with pytest.raises(LedgerError, match=r"give the identity|cannot be opened"):
        Ledger.open(path)


def test_a_ledger_that_was_taken_away_is_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(LedgerError, match=r"is gone, and its key is there: put the newest ledger back"):
        Ledger.open(path)
    assert not path.exists()
    path.write_bytes(kept)
    Ledger.open(path).close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file"):
        Ledger.open(tmp_path / "absent" / "ledger.db")


@pytest.mark.parametrize(
    ("epsilon", "delta", "order", "said"),
    [
        (0, 1e-5, 0, "epsilon"),
        (math.nan, 1e-5, 0, "epsilon"),
        (1, 0, 0, "delta"),
        (1, 1.0, 0, "delta"),
        (1, 1e-5, 1, "orders"),
        (0.01, 1e-30, 2, "leaves order 2 nothing"),
    ],
)
def test_a_budget_that_is_none(epsilon: float, delta: float, order: int, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        Budget(epsilon, delta, order)


def test_the_share_used_counts_what_has_an_epsilon_of_its_own(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        account = one.account()
        for epsilon, share in ((0.5, 0.5), (0.4, 0.9)):
            one.adjust("rows", events.EpsilonDelta(epsilon, 1e-9), 1, reason="an older release")
            assert account.used == pytest.approx(share)
        before = account.filter_epsilon()
        # Where there is room by epsilon but no longer for noise, the share says so.
        assert not account.affords(STEP)
        assert account.affords(events.EpsilonDelta(0.05, 1e-9))
        assert account.filter_epsilon() == before
