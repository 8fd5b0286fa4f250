"""`silo ledger` and the charter's budgets, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from silo.cli import cli
from silo.privacy import events
from silo.privacy.ledger import Ledger
from tests.silo.privacy.books_of import identity


def run(*arguments: str, code: int = 0) -> Result:
    found = CliRunner().invoke(cli, list(arguments))
    assert found.exit_code == code, found.output
    return found


def document(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    path = str(tmp_path / "ledger.db")
    run(
        "ledger",
        "open",
        path,
        "--dataset",
        "admissions",
        "--epsilon",
        "2",
        "--delta",
        "1e-5",
        "--unit",
        "patient",
    )
    with Ledger.open(path) as book:
        with book.account().reserve(events.Gaussian(10.0), 4, purpose="training") as reservation:
            reservation.token().use(events.Gaussian(10.0))
        book.account().reserve(events.Gaussian(20.0), 1, purpose="a run that died")
    return path


def test_show_tells_budget_spend_and_what_for(ledger: str) -> None:
    text = run("ledger", "show", ledger).stdout
    assert "admissions: budget epsilon 2 at delta 1e-05 per patient; " in text
    assert "% used, the filter stands at epsilon 0." in text
    assert "Shares of a budget add up; epsilons do not" in text
    assert "training: 1 charged" in text
    assert "a run that died: 1 charged, 1 open" in text
    found = document("ledger", "show", ledger)
    assert found["datasets"][0]["epsilon"] == 2.0
    assert [row["charged"] for row in found["releases"]] == [1, 1]


def test_an_export_verifies_and_says_what_it_cannot_see(ledger: str, tmp_path: Path) -> None:
    pytest.importorskip("dp_accounting")
    pytest.importorskip("opacus")
    out = str(tmp_path / "export.jsonl")
    assert document("ledger", "export", ledger, "-o", out)["records"] == 5
    assert "name another file" in run("ledger", "export", ledger, "-o", out, code=2).stderr
    text = run("ledger", "verify", out).stdout
    assert "5 records of local hold together" in text
    assert "cannot be seen without a witness" in text
    found = document("audit", "ledger", out)
    (one,) = found["datasets"]
    assert found["valid"]
    assert 0 < one["epsilon"] <= one["rdp"]
    assert one["epsilon"] <= one["filter"] <= 2.0
    assert found["witnessed_record"] == 0


def test_a_kept_head_finds_a_cut_end(ledger: str, tmp_path: Path) -> None:
    head = document("ledger", "witness", ledger)["head"]
    out = tmp_path / "export.jsonl"
    run("ledger", "export", ledger, "-o", str(out))
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:-1]))
    said = run("audit", "ledger", str(out), "--witness", head, code=2).stderr
    assert "SILO-443" in said
    assert "does not hold record 5" in said


def test_a_changed_byte_is_named_by_its_record(ledger: str, tmp_path: Path) -> None:
    out = tmp_path / "export.jsonl"
    run("ledger", "export", ledger, "-o", str(out))
    out.write_text(out.read_text().replace("a run that died", "a run that lied"))
    said = run("ledger", "verify", str(out), code=2).stderr
    assert "error [SILO-442]: record 5 was edited" in said


def test_an_adjustment_is_charged_for_good(ledger: str) -> None:
    before = document("ledger", "show", ledger)["datasets"][0]["filter_epsilon"]
    run(
        "ledger",
        "adjust",
        ledger,
        "--dataset",
        "admissions",
        "--epsilon",
        "0.5",
        "--reason",
        "a paper of 2024",
    )
    assert document("ledger", "show", ledger)["datasets"][0]["filter_epsilon"] > before


def test_an_adjustment_that_uses_all_up_is_asked_for_twice(ledger: str) -> None:
    given = ["ledger", "adjust", ledger, "--dataset", "admissions", "--epsilon", "100", "--reason", "a typo"]
    before = document("ledger", "show", ledger)
    assert "for good: run it again with --yes" in run(*given, code=2).stderr
    assert document("ledger", "show", ledger) == before
    run(*given, "--yes")
    assert document("ledger", "show", ledger)["datasets"][0]["filter_epsilon"] > 100


def test_a_large_delta_is_warned_of(tmp_path: Path) -> None:
    given = ["ledger", "open", str(tmp_path / "l.db"), "--dataset", "a", "--epsilon", "1", "--delta"]
    assert "publish 5% of all records" in run(*given, "0.05").stderr
    given[4] = "b"
    assert not run(*given, "1e-3").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("open", "L", "--dataset", "admissions", "--epsilon", "9", "--delta", "1e-5"), "never refills"),
        (("open", "L", "--dataset", "more", "--epsilon", "-1", "--delta", "1e-5"), "epsilon of a budget"),
        (("open", "L", "--dataset", "more", "--epsilon", "1", "--delta", "2"), "delta of a budget"),
        (("open", "L", "--dataset", "More!", "--epsilon", "1", "--delta", "1e-5"), "name"),
        (("show", "absent.db"), "No such file"),
        (("verify", "absent.db"), "No such file"),
        (("adjust", "L", "--dataset", "absent", "--reason", "x"), "has no data set 'absent'"),
        (("adjust", "L", "--dataset", "admissions", "--reason", " "), "states its reason"),
        (("verify", "L", "--witness", "rubbish"), "give the whole line"),
    ],
)
def test_mistakes_are_one_sentence(ledger: str, arguments: tuple[str, ...], said: str) -> None:
    given = [ledger if one == "L" else one for one in arguments]
    found = run("ledger", *given, code=2)
    assert said in found.stderr
    assert found.stderr.startswith("error [SILO-")
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["show", "verify", "witness", "report"])
def test_an_identity_without_a_budget_says_so(command: str, tmp_path: Path) -> None:
    identity(tmp_path, "mercy")
    home = str(tmp_path / "mercy")
    said = run("ledger", command, home, code=2).stderr
    assert said.startswith(
        f"error [SILO-440]: there is no ledger in {home}: no data set was given a privacy budget here"
    )
    assert "`silo charter new --privacy" in said
    assert "No such file" not in said
    assert len(said.splitlines()) == 1


def test_the_same_file_gets_no_second_budget(ledger: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("1,2\n")
    given = ("--epsilon", "1", "--delta", "1e-5", "--content", str(rows))
    run("ledger", "open", ledger, "--dataset", "first", *given)
    said = run("ledger", "open", ledger, "--dataset", "second", *given, code=2).stderr
    assert "already have a budget, under the name first" in said


def charter(tmp_path: Path, *options: str, code: int = 0) -> Result:
    cards = []
    for name in ("mercy", "lakeside", "clinic", "relay"):
        if not (tmp_path / name).exists():
            identity(tmp_path, name)
        cards.append(str(tmp_path / name / f"{name}.card.toml"))
    members = [one for card in cards[:3] for one in ("--member", card)]
    out = str(tmp_path / "charter.toml")
    given = [
        "charter",
        "new",
        "Trial",
        "--relay",
        cards[3],
        "--url",
        "wss://localhost:1",
        *members,
        "-o",
        out,
    ]
    return run(*given, *options, code=code)


def test_a_charter_holds_and_shows_the_budgets(tmp_path: Path) -> None:
    charter(tmp_path, "--privacy", "mercy:admissions:1.0:1e-3:patient", "--privacy", "clinic:visits:2:1e-5")
    path = str(tmp_path / "charter.toml")
    shown = run("charter", "show", path).stdout
    assert (
        "mercy                admissions: epsilon 1, delta 0.001 per patient; without noise: refuse" in shown
    )
    found = document("charter", "show", path)
    assert [one["member"] for one in found["privacy"]] == ["clinic", "mercy"]
    first = found["digest"]
    Path(path).write_text(Path(path).read_text().replace("epsilon = 1.0", "epsilon = 9.0"))
    assert document("charter", "show", path)["digest"] != first


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("mercy:admissions:1.0", "is not MEMBER:DATASET:EPSILON:DELTA"),
        ("mercy:admissions:one:1e-3", "is not MEMBER:DATASET:EPSILON:DELTA"),
        ("stranger:admissions:1:1e-3", "who is not a member"),
        ("mercy:Admissions!:1:1e-3", "the privacy policy of mercy"),
        ("mercy:admissions:0:1e-3", "epsilon of a budget"),
        ("mercy:admissions:1:1", "delta of a budget"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_when_it_is_written(
    tmp_path: Path, policy: str, said: str
) -> None:
    assert said in charter(tmp_path, "--privacy", policy, code=2).stderr


def test_one_member_has_one_policy(tmp_path: Path) -> None:
    given = ("--privacy", "mercy:a:1:1e-3", "--privacy", "mercy:b:1:1e-3")
    assert "is there twice" in charter(tmp_path, *given, code=2).stderr
