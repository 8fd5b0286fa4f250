"""Partners hold each other's ledgers: what they show must continue what they showed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import silo
from silo.identity import Identity
from silo.privacy import witness
from silo.privacy.errors import LedgerForked, LedgerRolledBack
from silo.privacy.head import SealedHead, Witnessed
from silo.privacy.ledger import Ledger
from silo.protocols.errors import MalformedMessage
from silo.protocols.rollcall import Present
from silo.session import Session
from tests.silo.privacy.books_of import STEP, identity

NAMES = ("ash", "birch")


class Pair:
    """Two members with a ledger each, who show and take."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.people: dict[str, Identity] = {name: identity(folder, name) for name in NAMES}
        self.keys = {name: one.public for name, one in self.people.items()}
        self.ledgers = {name: self.open(name) for name in NAMES}
        for one in self.ledgers.values():
            one.add("rows", silo.Budget(3.0, 1e-3))

    def open(self, name: str) -> Ledger:
        return Ledger.open(self.folder / f"{name}.db", self.people[name])

    def reopen(self, name: str) -> None:
        self.ledgers[name] = self.open(name)

    def spend(self, name: str) -> None:
        self.ledgers[name].account().reserve(STEP, 1, purpose="training")

    def present(self, name: str) -> Present:
        shown, lines = witness.show(self.ledgers[name])
        return Present("step", 0, (), b"", b"c" * 32, shown, lines)

    def meet(self, **changed: Present) -> None:
        presents = {name: changed.get(name) or self.present(name) for name in NAMES}
        for name, one in self.ledgers.items():
            witness.take(one, name, self.keys, presents, owners=NAMES, round=7)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    for one in made.ledgers.values():
        one.close()


def test_after_two_roll_calls_each_holds_the_others_word(pair: Pair) -> None:
    pair.spend("ash")
    pair.meet()
    pair.meet()
    kept = pair.ledgers["ash"].books.witnessed["birch"]
    kept.check(pair.keys["ash"], pair.keys["birch"])
    assert kept.head.sequence == 3
    assert pair.ledgers["birch"].books.seen["ash"].head == kept.head


def test_ledgers_at_rest_stay_at_rest(pair: Pair) -> None:
    pair.spend("ash")
    for _ in range(3):
        pair.meet()
    lengths = [one.head.head.sequence for one in pair.ledgers.values()]
    for _ in range(5):
        pair.meet()
    assert [one.head.head.sequence for one in pair.ledgers.values()] == lengths


def test_an_older_copy_is_noticed_at_once(pair: Pair, tmp_path: Path) -> None:
    pair.ledgers["ash"].close()
    shutil.copy(tmp_path / "ash.db", tmp_path / "old.db")
    pair.reopen("ash")
    pair.spend("ash")
    pair.meet()
    pair.ledgers["ash"].close()
    for end in ("", "-wal", "-shm"):
        (tmp_path / f"ash.db{end}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "old.db", tmp_path / "ash.db")
    pair.reopen("ash")
    with pytest.raises(
        LedgerRolledBack, match=r"^ash: showed record 3 of its ledger before, and shows record 2"
    ):
        witness.take(
            pair.ledgers["birch"],
            "birch",
            pair.keys,
            {name: pair.present(name) for name in NAMES},
            owners=NAMES,
            round=8,
        )
    with pytest.raises(LedgerForked, match="record 3 as birch saw it"):
        witness.take(
            pair.ledgers["ash"],
            "ash",
            pair.keys,
            {name: pair.present(name) for name in NAMES},
            owners=NAMES,
            round=8,
        )
    assert pair.ledgers["ash"].books.frozen


def test_a_new_ledger_for_old_rows_is_noticed(pair: Pair, tmp_path: Path) -> None:
    pair.meet()
    pair.ledgers["ash"].close()
    for end in ("", "-wal", "-shm"):
        (tmp_path / f"ash.db{end}").unlink(missing_ok=True)
    pair.reopen("ash")
    pair.ledgers["ash"].add("rows", silo.Budget(3.0, 1e-3))
    presents = {name: pair.present(name) for name in NAMES}
    with pytest.raises(LedgerRolledBack, match="shows another ledger"):
        witness.take(pair.ledgers["birch"], "birch", pair.keys, presents, owners=NAMES, round=8)


def test_a_ledger_that_is_no_longer_shown_is_noticed(pair: Pair) -> None:
    hidden = Present("step", 0, (), b"", b"c" * 32, "", ())
    with pytest.raises(LedgerRolledBack, match="shows no ledger"):
        pair.meet(ash=hidden)


def test_two_twins_of_one_ledger_are_noticed(pair: Pair, tmp_path: Path) -> None:
    pair.ledgers["ash"].close()
    shutil.copy(tmp_path / "ash.db", tmp_path / "twin.db")
    pair.reopen("ash")
    pair.spend("ash")
    pair.meet()
    with Ledger.open(tmp_path / "twin.db", pair.people["ash"]) as twin:
        twin.account().reserve(STEP, 2, purpose="elsewhere")
        shown, _ = witness.show(twin)
    other = Present("step", 0, (), b"", b"c" * 32, shown, ())
    with pytest.raises(LedgerRolledBack, match="shows another 3 now"):
        pair.meet(ash=other)


def test_a_lie_of_a_partner_freezes_nobody(pair: Pair) -> None:
    """A partner cannot make a member freeze by witnessing a head that it never had."""
    true = pair.ledgers["ash"].head
    head = type(true.head)(true.head.ledger, 9, b"x" * 32)
    forged = Witnessed(
        "ash", "birch", SealedHead(head, true.signature), pair.ledgers["birch"].countersign("ash", head)
    )
    lying = pair.present("birch")
    lying = Present(lying.tag, 0, (), b"", lying.channel, lying.ledger, (str(forged),))
    with pytest.raises(MalformedMessage, match=r"^birch: witnesses a head that ash did not sign"):
        pair.meet(birch=lying)
    assert not pair.ledgers["ash"].books.frozen


@pytest.mark.parametrize("field", ["rubbish", "silo-ledger-head:00:1:00:00"])
def test_lines_that_are_none(pair: Pair, field: str) -> None:
    with pytest.raises(MalformedMessage, match=r"^birch: shows a head"):
        pair.meet(birch=Present("step", 0, (), b"", b"c" * 32, field, ()))
    shown = pair.present("birch").ledger
    with pytest.raises(MalformedMessage, match=r"^birch: witnesses a ledger"):
        pair.meet(birch=Present("step", 0, (), b"", b"c" * 32, shown, (field,)))


def test_where_the_charter_says_record_a_release_is_written_down_first() -> None:
    from silo.charter import Privacy
    from silo.privacy.policy import Policy

    def party(session: Session) -> tuple[int, float, list[str]]:
        assert session.policy is not None
        terms = Privacy(session.me, "rows", 1.0, 1e-3, without_noise="record")
        session.policy = Policy(terms, session.policy.account)
        total = int(session.sum([2])[0])
        account = session.policy.account
        kinds = [record.fields()["kind"] for record in account.ledger.records()]
        return total, account.epsilon(), kinds

    for total, epsilon, kinds in silo.simulate(3, party, budget=silo.Budget(1.0, 1e-3)).values():
        assert total == 6
        assert epsilon == float("inf")
        assert kinds.count("release") == 1
