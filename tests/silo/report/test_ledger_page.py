"""The auditor's page: all that the ledger says is on it, in order, and no text of a ledger becomes markup."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from silo.errors import ParameterError
from silo.privacy import events
from silo.privacy.accountants.rdp import RDP
from silo.privacy.books import Books
from silo.privacy.budget import Budget
from silo.privacy.ledger import Ledger
from silo.privacy.verify import Recomputed, Verified, verify
from silo.report import ledger, ledger_history
from silo.report.ledger_history import history
from silo.report.ledger_markup import epsilon, exact, flowing, lower, table, text
from tests.silo.privacy.books_of import Clock
from tests.silo.report.ledger_of import STEP, rich, witness_of
from tests.silo.report.page import Page

NOW = datetime(2026, 11, 23, tzinfo=UTC)
REAL_PLD = ledger_history._pld
ATTACK = "<script>alert('x')</script>\"&"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """RDP stands in for PLD, which takes seconds; the accountants have tests of their own."""
    monkeypatch.setattr(ledger_history, "_pld", lambda: RDP().epsilon)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rich(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="module")
def verified(path: Path) -> Verified:
    return verify(path)


def recomputed(books: Books) -> list[Recomputed]:
    """As `recompute` gives it, by RDP alone."""
    found = []
    for name, one in books.datasets.items():
        pld = max(RDP().epsilon(world, one.budget.delta) for world in books.worlds(name))
        spent = one.budget.filter_epsilon(books.spent(name))
        prv = None if one.description.parent else pld + 0.01
        bare = len(books.unprotected(name))
        found.append(Recomputed(name, one.budget.delta, one.budget.epsilon, spent, pld, pld, prv, bare))
    return found


def page(verified: Verified, **options: Any) -> str:
    return ledger.page(verified, recomputed(verified.books), history(verified), now=NOW, **options)


def read(verified: Verified, **options: Any) -> Page:
    return Page(page(verified, **options))


def empty(folder: Path) -> Verified:
    with Ledger.open(folder / "empty.db", now=Clock()):
        return verify(folder / "empty.db")


def test_the_page_is_written_whole(verified: Verified, tmp_path: Path) -> None:
    found = recomputed(verified.books)
    ledger.write(verified, found, tmp_path / "page.html", title="An audit of 2026", now=lambda: NOW)
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert written == page(verified, title="An audit of 2026")
    assert "<h1>An audit of 2026</h1>" in written
    assert sorted(one.name for one in tmp_path.iterdir()) == ["page.html"]


def test_a_file_that_cannot_be_written_is_one_sentence(verified: Verified, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="cannot be written: No such file or directory; name another"):
        ledger.write(verified, recomputed(verified.books), tmp_path / "no" / "page.html")


def test_the_page_needs_nothing_from_elsewhere(verified: Verified) -> None:
    written = page(verified)
    found = Page(written)
    assert found.open == []
    assert not set(found.tags) & {"script", "link", "img", "iframe", "object", "base", "form", "a"}
    assert not found.attributes & {"src", "href", "action", "onload", "onclick", "xlink:href", "style"}
    assert "default-src &#x27;none&#x27;" in written
    for sign in ("://", "url(", "@import"):
        assert sign not in written


def test_headings_go_down_step_by_step(verified: Verified) -> None:
    levels = [int(tag[1]) for tag in read(verified).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_sections_stand_in_the_checklists_order(verified: Verified) -> None:
    assert re.findall(r'<section id="(\w+)">', page(verified)) == [
        "unit", "budget", "unprotected", "releases", "refusals", "changes", "lineage", "accountants", "audits",
        "assumptions", "witnesses", "check",
    ]  # fmt: skip


def test_every_table_has_its_caption_and_scrolls_by_itself(verified: Verified) -> None:
    written = page(verified)
    tables = written.count("<table")
    assert tables > 15
    assert written.count("<caption>") == tables
    assert (
        len(re.findall(r'<div class="scroll" role="region" aria-label="[^"]+" tabindex="0"><table', written))
        == tables
    )


def test_unit_neighbours_and_contribution_come_first(verified: Verified) -> None:
    found = read(verified)
    row = found.row("clinic", after="Unit of privacy, neighbouring relation and contribution bound")
    assert row[:4] == ["clinic", "patient", "add or remove one unit, or what a release states", "1"]
    assert "source: the heart clinic" in row[4]


def test_budget_and_spend_stand_with_their_delta_and_unit(verified: Verified) -> None:
    books, found = verified.books, read(verified)
    for name, one in books.datasets.items():
        row = found.row(name, after="Budget and spend of each data set")
        spent = one.budget.filter_epsilon(books.spent(name))
        assert row[1:5] == [
            exact(one.budget.epsilon), exact(one.budget.delta), one.description.unit, epsilon(spent),
        ]  # fmt: skip
    assert "no two rows are to be added" in found.text


def test_a_release_without_noise_makes_epsilon_infinite_for_the_family(verified: Verified) -> None:
    found = read(verified)
    last = {
        name: found.row(name, after="Budget and spend of each data set")[-1]
        for name in verified.books.datasets
    }
    assert {name for name, value in last.items() if value == "infinite"} == {"ward", "east", "west"}
    row = found.row("25", after="Releases without differential privacy")
    assert row[2:] == ["ward", "number of rows", "why: agreed by telephone", "infinite"]
    assert "so that epsilon in all is infinite: ward, east, west." in found.text


def test_a_plan_in_chunks_is_one_release_with_its_parameters(verified: Verified) -> None:
    found = read(verified)
    caption = "Releases of clinic: mechanism and cost, at delta 0.001"
    row = found.row("1", after=caption)
    assert "train a model of the heart" in row[1]
    assert "plan plan-a" in row[1]
    assert row[3] == "Gaussian noise, sigma = 2 × L2 sensitivity; Poisson sample, q = 0.1"
    assert row[4:6] == ["20", "20"]
    whole = events.Repeated(STEP, 20)
    assert row[6] == row[8] == epsilon(RDP().epsilon(whole, 1e-3))
    assert found.row("2", after=caption)[4:6] == ["10", "2"]
    declared = found.row("1", after="Releases of clinic: what was declared, and what was released")
    for said in ("clip C: 1.0", "normaliser L: 30.0", "steps T: 20", "sampling q: 0.1"):
        assert declared[1].count(said) == 1
    assert declared[3] == bytes(range(32)).hex()


def test_what_was_never_closed_is_said_to_be_spent(verified: Verified) -> None:
    row = read(verified).row("4", after="Releases of ward: mechanism and cost, at delta 1e-05")
    assert "1 open: spent" in row[5]
    assert "Skellam noise on integers, variance = 4000000, L2 = 400, L1 = 1600" in row[3]


def test_refusals_have_their_figures(verified: Verified) -> None:
    row = read(verified).row("13", after="Refused reservations")
    fields = dict(verified.bodies)[13]
    assert row[3].startswith("500 times: Gaussian noise")
    assert row[4:] == ["clinic", epsilon(float(fields["spent"])), epsilon(float(fields["asked"])), "1"]


def test_adjustments_and_freezes_are_told(verified: Verified) -> None:
    found = read(verified)
    row = found.row("32", after="Adjustments")
    assert row[2:] == [
        "clinic", "a mechanism proven (0.05, 1e-06)-DP", "a table that was published in 2024", "yes",
    ]  # fmt: skip
    assert found.row("31", after="Freezes")[2] == "record 9999 is not as northside saw it"


def test_lineage_is_told(verified: Verified) -> None:
    found = read(verified)
    assert found.row("ages", after="Where each data set comes from")[2:4] == [
        "clinic", "derived: it shares its parent's units, and what is spent of one counts for the other",
    ]  # fmt: skip
    assert found.row("ward", after="Where each data set comes from")[-1] == "00" * 32


def test_three_accountants_stand_side_by_side(verified: Verified) -> None:
    found = read(verified)
    assert found.row("ages", after="Epsilon by each accountant")[-1] == "n/a"
    row = found.row("scans", after="Epsilon by each accountant")
    order = verified.books.dataset("scans").budget.order
    assert [row[1], row[4]] == ["1e-05", str(order)]
    assert "ask why" not in found.text


def test_accountants_that_differ_are_pointed_at(verified: Verified) -> None:
    one = Recomputed("scans", 1e-5, 3.0, 1.3, 0.7, 0.9, 0.5, 0)
    written = ledger.page(verified, [one], history(verified), now=NOW)
    assert "PLD and PRV differ by 0.200 on scans" in written


def test_without_a_witness_it_says_plainly_what_cannot_be_seen(verified: Verified) -> None:
    found = read(verified)
    assert (
        found.text.count("A rollback of the whole file to an older copy cannot be seen without a witness.")
        == 2
    )
    assert f"none of the {verified.records} records is covered" in found.text
    assert found.row("northside", after="Who has seen which record")[1:] == [
        "11", "a copy in the ledger itself: it would go with the file; ask for the partner's own",
    ]  # fmt: skip


def test_with_a_witness_it_says_which_records_are_not_covered(path: Path) -> None:
    lines, cards = witness_of(path)
    found = read(verify(path, witnesses=lines, cards=cards))
    assert "Records 1 to 11 are as they were when they were witnessed." in found.text
    assert (
        "Records 12 to 32 are newer than the highest witnessed one and are not covered: 20 of them"
        in found.text
    )
    assert "A rollback of the whole file to an older copy cannot be seen without a witness." in found.text
    assert found.row("northside", after="Who has seen which record")[2].startswith("given to this check")


def test_a_kept_line_of_the_newest_record_covers_all(path: Path) -> None:
    kept = str(verify(path).sealed)
    found = read(verify(path, witnesses=[kept]))
    assert "No record is newer than that." in found.text
    assert "covered by no witness" not in found.text


def test_the_head_and_the_command_are_on_the_page(verified: Verified) -> None:
    found = read(verified)
    assert found.text.count(str(verified.sealed)) == 2
    assert f"silo ledger verify FILE --card OWNER.card.toml --witness '{verified.sealed}'" in found.text
    assert verified.books.key.hex() in found.text


def test_the_assumptions_of_the_checklist_are_answered(verified: Verified) -> None:
    found = read(verified)
    for asked in (
        "Trust model",
        "Observer",
        "Sampling",
        "Generator",
        "Floating point",
        "Timing",
        "Query model",
        "Refusals",
    ):
        assert asked in found.text
    assert "Stated by the releases: whoever sees the model after every step." in found.text


AUDITS = [
    {
        "audit": "one run",
        "claimed": 0.89,
        "lower": 0.0919,
        "delta": 1e-5,
        "confidence": 0.95,
        "canaries": 1000,
    },
    {"delta": 1e-6, "audits": [{"name": "two worlds", "claimed_epsilon": 1.0, "lower_bound": 0.5}]},
]


def test_an_audit_stands_beside_the_claim(verified: Verified) -> None:
    found = read(verified, audits=AUDITS)
    caption = "Measured lower bound beside the claimed upper bound"
    assert found.row("one run", after=caption)[1:] == [
        "0.091", "0.890", "1e-05", "0.95", "below the claim", "canaries: 1000",
    ]  # fmt: skip
    assert found.row("two worlds", after=caption)[1:5] == ["0.500", "1.000", "1e-06", "–"]
    assert "measured more loss" not in found.text


def test_an_audit_above_the_claim_is_the_first_thing_said(verified: Verified) -> None:
    found = read(verified, audits=[{"audit": "one run", "claimed": 0.89, "lower": 1.28}])
    said = "An audit (one run) measured more loss than was claimed"
    assert found.text.count(said) == 2
    assert found.text.index(said) < found.text.index("Whose privacy is counted")
    assert (
        found.row("one run", after="Measured lower bound beside the claimed upper bound")[5]
        == "above the claim"
    )


@pytest.mark.parametrize(
    "audit",
    [{}, {"claimed": "x", "lower": math.nan}, {"claimed": math.inf, "lower": True}, {"rows": [1, None]}],
)
def test_an_audit_that_says_little_breaks_nothing(verified: Verified, audit: dict[str, Any]) -> None:
    found = read(verified, audits=[audit])
    assert found.open == []
    assert "nan" not in found.text.split("Audits: the claim")[1].split("What the figures")[0]


def test_no_text_of_a_ledger_becomes_markup(verified: Verified, tmp_path: Path) -> None:
    hostile = verify(rich(tmp_path, ATTACK))
    written = page(hostile, audits=[{ATTACK: ATTACK, "name": ATTACK}], title=ATTACK)
    found = Page(written)
    assert found.open == []
    assert "script" not in found.tags
    assert found.attributes == read(verified, audits=AUDITS).attributes
    assert "<script" not in written
    assert written.count("&lt;script&gt;") > 20


@pytest.mark.parametrize("letter", ["\u202e", "\x00", "\u200b", "\ud800"])
def test_what_cannot_be_seen_is_written_out(letter: str) -> None:
    assert text(f"a{letter}b") == f"a⟨U+{ord(letter):04X}⟩b"
    text(f"a{letter}b").encode()


def test_a_word_that_is_too_long_for_a_line_may_be_broken() -> None:
    word = "&" + "x" * 99
    assert flowing(f"a {word}") == f"a &amp;{'x' * 23}<wbr>{'x' * 24}<wbr>{'x' * 24}<wbr>{'x' * 24}<wbr>xxxx"
    assert flowing("x" * 39) == "x" * 39
    assert "<wbr>" not in text(word)


def test_fields_that_no_rule_checks_may_be_anything(path: Path, verified: Verified, tmp_path: Path) -> None:
    odd: tuple[tuple[int, dict[str, Any]], ...] = tuple(
        (number, {key: value for key, value in fields.items() if key in KEPT[fields["kind"]]} | ODD)
        if fields["kind"] in KEPT
        else (number, fields)
        for number, fields in verified.bodies
    )
    found = read(replace(verified, bodies=odd))
    assert found.open == []
    assert "an event that cannot be read" in found.text


KEPT = {
    "refuse": ("kind", "time", "dataset"),
    "release": ("kind", "time", "dataset"),
    "freeze": ("kind", "time", "reason"),
}
ODD: dict[str, Any] = {
    "details": [1],
    "purpose": 7,
    "event": {"x": []},
    "spent": "much",
    "asked": None,
    "limit": {},
}


def test_an_empty_ledger_has_a_page(tmp_path: Path) -> None:
    found = read(empty(tmp_path))
    assert found.open == []
    assert "No budget has been opened." in found.text


def test_figures_are_never_rounded_down() -> None:
    assert [epsilon(one) for one in (0.7401, 0.74, 1e-9, 0.0, math.inf, None)] == [
        "0.741", "0.740", "0.001", "0.000", "infinite", "n/a",
    ]  # fmt: skip
    assert lower(0.9999) == "0.999"


def test_a_table_says_what_it_leaves_out() -> None:
    made = table("many", ("a", "b"), [(number, "x") for number in range(2003)])
    assert made.count("<tr>") == 2001
    assert "3 more rows are in the ledger" in made


def test_pld_is_asked_some_twenty_times_however_many_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[events.Event] = []

    def bound(event: events.Event, delta: float) -> float:
        asked.append(event)
        return RDP().epsilon(event, delta)

    monkeypatch.setattr(ledger_history, "_pld", lambda: bound)
    course = history(verify(_many(tmp_path, 50))).courses["rows"]
    assert len(course.pld) == len(asked) == 21
    assert course.alone_by == "RDP"
    assert course.pld[-1].sequence == 102
    assert len(course.filter) == 101


def test_pld_over_time_ends_at_the_reported_figure(verified: Verified) -> None:
    found = history(verified)
    for one in recomputed(verified.books):
        course = found.courses[one.dataset]
        assert course.pld[-1].epsilon == pytest.approx(one.pld)
        assert course.filter[-1].epsilon == one.filter


def test_the_real_accountant_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dp_accounting")
    from silo.privacy.accountants.pld import PLD

    monkeypatch.setattr(ledger_history, "_pld", REAL_PLD)
    found = history(verify(_many(tmp_path, 2)))
    both = events.Composed((events.Gaussian(100.0), events.Gaussian(101.0)))
    assert found.courses["rows"].pld[-1].epsilon == PLD().epsilon(both, 1e-5)
    assert found.releases[1].alone == PLD().epsilon(events.Gaussian(101.0), 1e-5)
    assert found.courses["rows"].alone_by == "PLD"


def test_without_the_accountant_the_page_says_so(verified: Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_history, "_pld", lambda: None)
    found = read(verified)
    assert "PLD is not drawn: this page was made without Silo's extra audit." in found.text
    assert "epsilon by PLD" not in found.text


def _many(folder: Path, runs: int) -> Path:
    path = folder / "many.db"
    with Ledger.open(path, now=Clock()) as book:
        account = book.add("rows", Budget(5.0, 1e-5))
        for number in range(runs):
            event = events.Gaussian(100.0 + number)
            with account.reserve(event, purpose="count") as reserved:
                reserved.token().use(event)
    return path
