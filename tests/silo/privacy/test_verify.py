"""What an auditor finds, from the records alone and with one honest witness."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from silo.crypto import labels
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.signing import SigningKey
from silo.errors import ParameterError
from silo.identity import Identity
from silo.privacy import export, record
from silo.privacy.budget import Budget
from silo.privacy.errors import LedgerCorrupt, LedgerError, LedgerForked
from silo.privacy.head import Witnessed
from silo.privacy.ledger import Ledger
from silo.privacy.record import Record
from silo.privacy.verify import recompute, verify
from tests.silo.privacy.books_of import STEP, identity, ledger


@pytest.fixture
def mercy(tmp_path: Path) -> Identity:
    return identity(tmp_path, "mercy")


@pytest.fixture
def partner(tmp_path: Path) -> Identity:
    return identity(tmp_path, "lakeside")


@pytest.fixture
def written(tmp_path: Path, mercy: Identity) -> Path:
    with ledger(tmp_path, identity=mercy) as one:
        account = one.account()
        for number in range(4):
            with account.reserve(STEP, 3, purpose=f"run {number}") as reservation:
                reservation.token().use(STEP)
        account.commit(b"d" * 32, purpose="a model")
    return tmp_path / "ledger.db"


def rows(path: Path) -> list[Record]:
    return list(export.read(path))


def rewrite(path: Path, changed: list[Record]) -> None:
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM records")
        for one in changed:
            other.execute(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
                (one.sequence, one.previous, one.body, one.hash, one.signature),
            )


def resign(bodies: list[str], key: SigningKey) -> list[Record]:
    """A chain of these bodies that is whole in itself, under this key."""
    ledger_id = bytes.fromhex(json.loads(bodies[0])["ledger"])
    made: list[Record] = []
    previous = record.genesis(ledger_id)
    for sequence, body in enumerate(bodies, 1):
        digest = record.digest(ledger_id, sequence, previous, body)
        signature = key.sign(labels.LEDGER_SIGNATURE, record.signed(ledger_id, sequence, digest))
        made.append(Record(sequence, previous, body, digest, signature))
        previous = digest
    return made


def seen_by(partner: Identity, path: Path, mercy: Identity) -> str:
    """The line of a partner that saw the ledger as it is now."""
    with Ledger.open(path, mercy) as one:
        sealed = one.head
    signature = partner.sign(labels.LEDGER_WITNESS, sealed.head.witness_bytes("mercy"))
    return str(Witnessed("mercy", "lakeside", sealed, signature))


def test_a_whole_ledger_and_its_export_verify_alike(written: Path, tmp_path: Path, mercy: Identity) -> None:
    text = tmp_path / "export.jsonl"
    assert export.write(export.read(written), text) == len(rows(written))
    for path in (written, text):
        found = verify(path, key=mercy.public)
        assert found.records == 11
        (one,) = recompute(found.books)
        assert one.pld is not None
        assert one.prv is not None
        assert one.rdp is not None
        assert 0 < one.pld <= one.rdp <= one.filter <= 1.0
        assert abs(one.pld - one.prv) < 0.02


def edited(found: list[Record]) -> list[Record]:
    body = found[4].body.replace('"count":"3"', '"count":"1"')
    return [*found[:4], Record(5, found[4].previous, body, found[4].hash, found[4].signature), *found[5:]]


def edited_with_its_hash(found: list[Record]) -> list[Record]:
    ledger_id = bytes.fromhex(found[0].fields()["ledger"])
    body = found[4].body.replace('"count":"3"', '"count":"1"')
    digest = record.digest(ledger_id, 5, found[4].previous, body)
    return [*found[:4], Record(5, found[4].previous, body, digest, found[4].signature), *found[5:]]


def dropped(found: list[Record]) -> list[Record]:
    return [*found[:4], *found[5:]]


def reordered(found: list[Record]) -> list[Record]:
    a, b = found[4], found[6]
    return [
        *found[:4],
        Record(5, b.previous, b.body, b.hash, b.signature),
        found[5],
        Record(7, a.previous, a.body, a.hash, a.signature),
        *found[7:],
    ]


def signature_of_another(found: list[Record]) -> list[Record]:
    one = found[4]
    return [*found[:4], Record(5, one.previous, one.body, one.hash, found[5].signature), *found[5:]]


@pytest.mark.parametrize(
    ("change", "first_bad"),
    [(edited, 5), (edited_with_its_hash, 5), (dropped, 5), (reordered, 5), (signature_of_another, 5)],
)
def test_the_first_bad_record_is_named(
    written: Path, change: Callable[[list[Record]], list[Record]], first_bad: int
) -> None:
    rewrite(written, change(rows(written)))
    with pytest.raises(LedgerCorrupt) as problem:
        verify(written)
    assert problem.value.sequence == first_bad


def test_every_bit_flip_of_an_export_is_found(written: Path, tmp_path: Path, mercy: Identity) -> None:
    text = tmp_path / "export.jsonl"
    export.write(export.read(written), text)
    whole = bytearray(text.read_bytes())
    begin = whole.index(b"\n") + 1
    for at in range(begin, len(whole), 37):
        for bit in (1, 4):
            changed = bytearray(whole)
            changed[at] ^= bit
            if changed[at : at + 1] in (b"\n", b"\r", b" ") or bytes(whole[at : at + 1]) in (b" ", b"\n"):
                continue  # white space between two values changes nothing
            text.write_bytes(changed)
            try:
                found = verify(text, key=mercy.public)
            except (LedgerCorrupt, LedgerError):
                continue
            # Hexadecimal in capitals is the same value.
            assert [one.hash for one in export.read(text)] == [one.hash for one in rows(written)]
            assert found.records == 11


def test_a_record_under_another_key_is_found_with_the_card(written: Path, mercy: Identity) -> None:
    thief = SigningKey.generate(rng=InsecureSeededRng(1))
    bodies = [one.body for one in rows(written)]
    bodies[0] = bodies[0].replace(mercy.public.hex(), thief.public.hex())
    rewrite(written, resign(bodies, thief))
    verify(written)
    with pytest.raises(LedgerCorrupt, match="another key for mercy"):
        verify(written, key=mercy.public)


@pytest.mark.parametrize("kept", [1, 2, 5, 10])
def test_a_truncation_is_found_with_one_witness(
    written: Path, mercy: Identity, partner: Identity, kept: int
) -> None:
    line = seen_by(partner, written, mercy)
    rewrite(written, rows(written)[:kept])
    assert verify(written, key=mercy.public).witnessed == 0
    with pytest.raises(LedgerForked, match="record 11 as lakeside saw it"):
        verify(written, key=mercy.public, witnesses=[line], cards={"lakeside": partner.public})


def test_a_rollback_that_grew_again_is_found_with_one_witness(
    written: Path, tmp_path: Path, mercy: Identity, partner: Identity
) -> None:
    old = tmp_path / "old.db"
    rewrite_target = rows(written)[:6]
    line = seen_by(partner, written, mercy)
    shutil.copy(written, old)
    rewrite(old, rewrite_target)
    with Ledger.open(old, mercy) as one:
        for number in range(9):
            one.account().reserve(STEP, 1, purpose=f"another history {number}")
    assert verify(old, key=mercy.public).records > 11
    with pytest.raises(LedgerForked, match="record 11"):
        verify(old, key=mercy.public, witnesses=[line], cards={"lakeside": partner.public})


def test_a_history_that_the_owner_signed_anew_is_found_with_one_witness(
    written: Path, mercy: Identity, partner: Identity
) -> None:
    line = seen_by(partner, written, mercy)
    bodies = [one.body for one in rows(written)]
    bodies[2] = bodies[2].replace('"purpose":"run 0"', '"purpose":"run X"')
    rewrite(written, resign(bodies, mercy.signing))
    verify(written, key=mercy.public)
    with pytest.raises(LedgerForked, match="as lakeside saw it"):
        verify(written, key=mercy.public, witnesses=[line], cards={"lakeside": partner.public})


def test_an_old_line_of_a_partner_does_not_fit_a_history_that_was_written_anew(
    written: Path, mercy: Identity, partner: Identity
) -> None:
    line = seen_by(partner, written, mercy)
    with Ledger.open(written, mercy) as one:
        one.witness([line], {})
    bodies = [one.body for one in rows(written)]
    verify(written, key=mercy.public)
    bodies[2] = bodies[2].replace('"purpose":"run 0"', '"purpose":"run X"')
    rewrite(written, resign(bodies, mercy.signing))
    with pytest.raises(LedgerForked, match="record 11 as lakeside saw it"):
        verify(written, key=mercy.public)


def test_the_rules_hold_whoever_signs(written: Path, mercy: Identity) -> None:
    """The owner itself cannot write a history that breaks the ledger's rules."""
    bodies = [one.body for one in rows(written)]

    def refused(changed: list[str]) -> int:
        rewrite(written, resign(changed, mercy.signing))
        with pytest.raises(LedgerCorrupt) as problem:
            verify(written, key=mercy.public)
        return problem.value.sequence

    assert refused([*bodies[:2], bodies[2].replace('"count":"3"', '"count":"300"'), *bodies[3:]]) == 3
    assert refused([*bodies[:3], bodies[3].replace('"executed":"1"', '"executed":"-1"'), *bodies[4:]]) == 4
    assert refused([*bodies[:3], bodies[3], bodies[3], *bodies[4:]]) == 5
    assert refused([*bodies[:2], bodies[1], *bodies[2:]]) == 3
    assert refused([bodies[0], bodies[2], *bodies[1:]]) == 2
    assert refused([*bodies, bodies[0]]) == 12
    assert refused([*bodies, bodies[4].replace('"schema":"1"', '"schema":"2"')]) == 12
    assert refused([*bodies, bodies[4].replace("Z", "+00:00", 1) + " "]) == 12
    later = [*bodies[:4], bodies[4].replace('"time":"20', '"time":"10', 1), *bodies[5:]]
    assert refused(later) == 5


def test_witnesses_that_are_none(written: Path, mercy: Identity, partner: Identity) -> None:
    line = seen_by(partner, written, mercy)
    cards = {"lakeside": partner.public}
    verify(written, key=mercy.public, witnesses=[line], cards=cards)
    broken = line[:-4] + ("0000" if line[-4:] != "0000" else "1111")
    for lines, given, said in (
        ([line], {}, "give lakeside's card"),
        ([broken], cards, "not signed by lakeside"),
        ([line.replace(":mercy:", ":other:")], cards, "witnesses the ledger of other"),
        (["rubbish"], cards, "give the whole line"),
        ([line[:60]], cards, "give the whole line"),
    ):
        with pytest.raises(ParameterError, match=said):
            verify(written, key=mercy.public, witnesses=lines, cards=given)


def test_the_owner_cannot_be_accused_of_a_head_that_it_never_had(
    written: Path, mercy: Identity, partner: Identity
) -> None:
    line = Witnessed.parse(seen_by(partner, written, mercy))
    head = type(line.head)(line.head.ledger, line.head.sequence, b"x" * 32)
    forged = Witnessed(
        "mercy",
        "lakeside",
        type(line.sealed)(head, line.sealed.signature),
        partner.sign(labels.LEDGER_WITNESS, head.witness_bytes("mercy")),
    )
    with pytest.raises(ParameterError, match="not signed by"):
        verify(written, key=mercy.public, witnesses=[str(forged)], cards={"lakeside": partner.public})


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x00" * 100, b"SQLite format 3\x00" + b"x" * 4000, b'{"format":"silo-ledger-1"}\n[1]\n'],
)
def test_what_is_no_ledger(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "what"
    path.write_bytes(garbage)
    with pytest.raises(LedgerError):
        verify(path)
    with pytest.raises(LedgerError, match="No such file"):
        verify(tmp_path / "absent")


def test_a_release_without_noise_is_infinite_and_visible(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        one.account().release_unprotected("a mean of all rows")
        assert one.account().epsilon() == math.inf
    (found,) = recompute(verify(tmp_path / "ledger.db").books)
    assert found.unprotected == 1


def test_two_data_sets_are_recomputed_apart(tmp_path: Path) -> None:
    with ledger(tmp_path) as one:
        one.add("more", Budget(2.0, 1e-6))
        one.account("more").reserve(STEP, 5, purpose="training")
    found: dict[str, Any] = {one.dataset: one for one in recompute(verify(tmp_path / "ledger.db").books)}
    assert found["rows"].pld == 0.0
    assert found["more"].pld > 0
    assert found["more"].delta == 1e-6
