"""Attacks on the privacy budget: to spend more than it, to hide what was spent, to freeze who is honest."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import silo
from silo.crypto import labels
from silo.crypto.rng import SystemRng
from silo.crypto.signing import SigningKey
from silo.errors import ParameterError, SiloError
from silo.privacy import events, record
from silo.privacy.dataset import Description
from silo.privacy.errors import LedgerCorrupt, NotCovered, PrivacyBudgetExceeded
from silo.privacy.head import SealedHead, Witnessed
from silo.privacy.verify import verify
from silo.protocols.errors import MalformedMessage
from tests.silo.privacy.books_of import STEP, ledger
from tests.silo.privacy.test_witness import Pair


@pytest.mark.parametrize("lost", [events.NoPrivacy(), events.Gaussian(1e-200), events.Gaussian(1e-10)])
def test_a_budget_that_is_gone_beyond_all_measure_admits_nothing_more(
    tmp_path: Path, lost: events.Event
) -> None:
    with ledger(tmp_path) as one:
        one.adjust("rows", lost, 1, reason="a table was published")
        assert not one.account().affords(STEP)
        with pytest.raises(PrivacyBudgetExceeded):
            one.account().reserve(STEP, 1, purpose="training")


@pytest.mark.parametrize("asked", [events.NoPrivacy(), events.Gaussian(1e-200)])
def test_a_question_about_something_without_privacy_spoils_no_budget(
    tmp_path: Path, asked: events.Event
) -> None:
    with ledger(tmp_path) as one:
        account = one.account()
        assert not account.affords(asked)
        with pytest.raises(PrivacyBudgetExceeded):
            account.reserve(asked, 1, purpose="a table")
        assert account.used == 0
        account.reserve(STEP, 1, purpose="training").close()


def _forged_close(path: Path, identifier: str) -> None:
    """Somebody who may write the file, and has no key, gives a reservation back."""
    with sqlite3.connect(path) as file:
        last = file.execute("SELECT * FROM records ORDER BY sequence DESC LIMIT 1").fetchone()
        first = record.Record(*file.execute("SELECT * FROM records WHERE sequence = 1").fetchone())
        number, fields = last[0] + 1, record.Record(*last).fields()
        body = record.canonical(
            {
                "schema": "1",
                "kind": "close",
                "time": fields["time"],
                "reservation": identifier,
                "executed": "0",
            }
        )
        digest = record.digest(bytes.fromhex(first.fields()["ledger"]), number, last[3], body)
        thief = SigningKey.generate(rng=SystemRng()).sign(labels.LEDGER_SIGNATURE, digest)
        file.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?)", (number, last[3], body, digest, thief))


def test_a_forged_record_is_refused_at_the_second_look_too(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        account = one.account()
        spent = account.reserve(STEP, 20, purpose="training")
        _forged_close(tmp_path / "ledger.db", spent.identifier)
        for _ in range(2):
            with pytest.raises(LedgerCorrupt, match="not signed"):
                account.reserve(STEP, 20, purpose="training")


@pytest.fixture
def pair(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Pair(tmp_path)
    yield made
    for one in made.ledgers.values():
        one.close()


@pytest.mark.parametrize("what", ["number", "ledger"])
def test_no_partner_can_freeze_a_ledger_by_the_owners_own_signature_beside_another_number(
    pair: Pair, what: str
) -> None:
    pair.spend("ash")
    pair.meet()
    seen = pair.ledgers["birch"].books.seen["ash"]
    moved = (
        replace(seen.head, sequence=900)
        if what == "number"
        else replace(seen.head, ledger=b"another ledger!!")
    )
    sealed = SealedHead(moved, seen.signature)
    lie = Witnessed("ash", "birch", sealed, pair.ledgers["birch"].countersign("ash", moved))
    with pytest.raises(MalformedMessage):
        pair.meet(birch=replace_witnesses(pair, "birch", (str(lie),)))
    assert not pair.ledgers["ash"].books.frozen
    pair.spend("ash")


def replace_witnesses(pair: Pair, name: str, lines: tuple[str, ...]):  # type: ignore[no-untyped-def]
    said = pair.present(name)
    return type(said)(said.tag, said.position, said.terms, said.state, said.channel, said.ledger, lines)


def test_a_forked_process_has_no_second_set_of_tokens(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        reservation = one.account().reserve(STEP, 1, purpose="training")
        token = reservation.token()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                token.use(STEP)
                os.write(writer, b"drawn")
            except SiloError:
                os.write(writer, b"refused")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 10) == b"refused"
        token.use(STEP)


def test_a_unit_of_several_records_is_not_taken_for_one() -> None:
    with pytest.raises(ParameterError, match="join the records of a unit"):
        Description(unit="patient", contribution=50)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_none_makes_a_corrupt_record_and_no_crash(tmp_path: Path, number: str) -> None:
    with ledger(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "ledger.db") as file:
        body = file.execute("SELECT body FROM records WHERE sequence = 2").fetchone()[0]
        file.execute("UPDATE records SET body = ? WHERE sequence = 2", (body[:-1] + f',"z":{number}}}',))
    with pytest.raises(LedgerCorrupt, match="record 2"):
        verify(tmp_path / "ledger.db")


def test_a_charge_covers_one_release_and_nobody_elses() -> None:
    def party(session: silo.Session) -> None:
        assert session.policy is not None
        ledger, account = session.policy.account.ledger, session.policy.account
        other = ledger.add("other", silo.Budget(1.0, 1e-3)).reserve(STEP, 1, purpose="training").identifier
        own = account.reserve(STEP, 1, purpose="training").identifier
        with account.reserve(STEP, 1, purpose="training") as unused:
            pass
        for charges in (("made up",), (other,), (own, other), (unused.identifier,)):
            with pytest.raises(NotCovered, match="a charge that the ledger does not hold"):
                session.collect(np.arange(3), tag="sum", charges=charges)
        session.collect(np.arange(3), tag="sum", charges=(own,))
        with pytest.raises(NotCovered):
            session.collect(np.arange(4), tag="sum", charges=(own,))

    silo.simulate(3, party, budget=silo.Budget(1.0, 1e-3))
