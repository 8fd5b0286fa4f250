"""`silo score` with parts of split networks: modules from a file, and members without a table or without columns."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

import silo  # noqa: E402
from silo.charter import TWO_PARTY_WORDS, Privacy, Vertical  # noqa: E402
from silo.cli import modules  # noqa: E402
from silo.privacy import events  # noqa: E402
from silo.privacy.verify import verify  # noqa: E402
from tests.e2e.conftest import Found  # noqa: E402
from tests.e2e.site import Site  # noqa: E402
from tests.e2e.test_mistakes import refused, sent  # noqa: E402
from tests.e2e.test_score import PAIR, ROWS, fitted, labels, read, score, tables, write  # noqa: E402
from tests.e2e.test_score import federation as agreed  # noqa: E402

ASH, BIRCH = PAIR
HEAD = "import torch\nfrom torch import nn\ntorch.manual_seed(1)\n"
BOTTOM = "bottom = nn.Sequential(nn.Linear(3, 4), nn.Tanh())\n"
FILES = {
    "joint": (f"{BOTTOM}top = nn.Linear(8, 1)\n", BOTTOM),
    "labels": ("top = nn.Linear(4, 1)\n", BOTTOM),
    "ushaped": (f"{BOTTOM}top = nn.Linear(5, 1)\n", "middle = nn.Linear(4, 5)\n"),
}


OPEN = Vertical(("linear", "split"), ASH, rows=500, noised=())
"""Nothing is noised, so that scores can be compared."""


def federation(found: Found, vertical: Vertical = OPEN, **options: Any) -> Site:
    return agreed(found, PAIR, vertical, **options)


def trained(how: str, site: Site) -> Any:
    """Write each one's modules and table, fit, and save the parts; the label party's probabilities."""
    held = tables(PAIR)
    y = labels(held)
    if how == "labels":
        held[ASH] = held[ASH][["id"]]
    write(site, held)
    for name, text in zip(PAIR, FILES[how], strict=True):
        (site.home / f"{name}.py").write_text(HEAD + text, encoding="utf-8")

    def party(session: silo.Session) -> Any:
        own = modules.read(str(site.home / f"{session.me}.py"))
        leads, bare = session.me == ASH, "bottom" not in own
        x = None if bare else held[session.me].drop(columns="id")
        cut = {"cut": 4} if "middle" in own else {}
        model = silo.vertical.SplitNetwork(
            session, epochs=2, batch=20, u_shaped=how == "ushaped", watch=False, **own, **cut
        )
        model.fit(x, y if leads else None)
        model.save(site.home / f"{session.me}.json")
        return model.predict_proba(x)

    return silo.simulate(list(PAIR), party, two_party=TWO_PARTY_WORDS, vertical=OPEN)[ASH]


def given(site: Site, name: str) -> tuple[str, str]:
    return "--modules", str(site.home / f"{name}.py")


@pytest.mark.parametrize("how", list(FILES))
def test_each_brings_its_modules_and_who_had_the_labels_gets_the_scores(how: str, found: Found) -> None:
    site = federation(found)
    expected = trained(how, site)
    words = ("--charter", str(site.charter_path), "--identity", str(site.keys(BIRCH)), *given(site, BIRCH))
    part = str(site.home / f"{BIRCH}.json")
    if how == "ushaped":
        # Before anybody waits for it.
        refused(site.silo(BIRCH, "score", part, *words, "--column", "id"), "SILO-101", "leave --column out")
        refused(score(site, BIRCH, *given(site, BIRCH)), "SILO-101", "a compute partner has no TABLE")
    site.relay()
    members = [score(site, ASH, *given(site, ASH))]
    if how == "ushaped":
        members.append(site.silo(BIRCH, "score", part, "--json", *words))
    else:
        members.append(score(site, BIRCH, *given(site, BIRCH)))
    for process in members:
        assert process.end() == 0, process.stderr
    if how == "ushaped":
        facts = json.loads(members[1].stdout)
        assert (facts["member"], facts["rows"], facts["file"]) == (BIRCH, None, None)
    else:
        assert members[1].stdout == f"{BIRCH} took part in scoring {ROWS} rows; {ASH} has the scores\n"
    rows = read(site.home / f"{ASH}-scores.csv")
    np.testing.assert_allclose([float(row["probability"]) for row in rows], expected[:, 1], atol=1e-6)
    assert [row["id"] for row in rows] == [f"p{row}" for row in range(ROWS)]


def test_a_member_without_columns_that_counts_other_rows_is_named(found: Found) -> None:
    site = federation(found)
    trained("labels", site)
    fewer = site.home / "fewer.csv"
    tables(PAIR)[ASH][["id"]].iloc[:-1].to_csv(fewer, index=False)
    site.relay()
    members = [
        score(site, ASH, *given(site, ASH), table=fewer),
        score(site, BIRCH, *given(site, BIRCH)),
    ]
    for process in members:
        assert process.end() != 0
        assert f"{ROWS - 1}" in process.stderr
        assert f"{ROWS}" in process.stderr
    assert "Activations" not in sent(site, BIRCH)
    assert not list(site.home.glob("*-scores.csv"))


def test_noise_that_a_file_names_is_paid_for_and_drawn(found: Found) -> None:
    strict = replace(OPEN, noised=("activations",))
    site = federation(found, strict, privacy=[Privacy(BIRCH, "rows", 50.0, 1e-5)])
    expected = trained("joint", site)
    path = site.home / f"{BIRCH}.py"
    text = "from silo.vertical import Noise\nactivations = Noise(noise_multiplier=1.0)\n"
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
    site.relay()
    members = [score(site, name, *given(site, name)) for name in PAIR]
    assert [process.end() for process in members] == [0, 0], members[0].stderr + members[1].stderr
    charged = verify(site.keys(BIRCH) / "state" / "ledger.db").books.datasets["rows"].events
    assert dict(charged) == {events.dumps(events.Gaussian(0.5)): 1}
    rows = read(site.home / f"{ASH}-scores.csv")
    assert np.abs(np.array([float(row["probability"]) for row in rows]) - expected[:, 1]).mean() > 0.01


@pytest.mark.parametrize(
    ("more", "vertical", "said"),
    [
        ("activations = 4.0\n", OPEN, "activations is a silo.vertical.Noise, or None, not a float"),
        ("", replace(OPEN, noised=("activations",)), "activations of split learning without noise"),
    ],
    ids=["no noise", "noise that was agreed on"],
)
def test_what_cannot_score_asks_nobody_for_identifiers(
    more: str, vertical: Vertical, said: str, found: Found
) -> None:
    site = federation(found, vertical)
    trained("joint", site)
    path = site.home / f"{BIRCH}.py"
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    site.relay()
    members = [score(site, name, *given(site, name), "--column", "id") for name in PAIR]
    assert all(process.end() != 0 for process in members)
    assert said in members[1].stderr
    assert "Present" not in sent(site, BIRCH)


@pytest.mark.filterwarnings("ignore:after")
def test_mistakes_with_modules_are_told_before_anybody_is_called(found: Found) -> None:
    site = federation(found)
    trained("joint", site)
    refused(
        score(site, ASH),
        "SILO-101",
        "weights of bottom and top, and bottom and top were not passed",
        "--modules",
    )
    refused(
        score(site, ASH, *given(site, BIRCH)), "SILO-101", "weights of bottom and top, and top was not passed"
    )
    other = site.home / f"{BIRCH}.json"
    refused(
        score(site, ASH, *given(site, ASH), model=other),
        "SILO-101",
        f"is the part of {BIRCH}, and {ASH} takes",
    )
    none = site.home / "none.py"
    refused(score(site, ASH, "--modules", str(none)), "SILO-101", "there is no file", "--modules names")
    wide = site.home / "wide.py"
    wide.write_text(HEAD + BOTTOM + "top = nn.Linear(9, 1)\n", encoding="utf-8")
    refused(
        score(site, ASH, "--modules", str(wide)),
        "SILO-101",
        "another top module: weight is (1, 8) there, and (1, 9) here",
    )
    words = ("--charter", str(site.charter_path), "--identity", str(site.keys(BIRCH)), *given(site, BIRCH))
    refused(site.silo(BIRCH, "score", str(site.home / f"{BIRCH}.json"), *words), "SILO-101", "name a TABLE")
    leaving = site.home / "leaving.py"
    leaving.write_text(HEAD + "raise SystemExit(0)\n", encoding="utf-8")
    refused(
        score(site, ASH, "--modules", str(leaving)),
        "SILO-101",
        "leaving.py ended with SystemExit at line 4: 0",
    )
    fitted("LogisticRegression", tables(PAIR), site.home)
    refused(score(site, ASH, *given(site, ASH)), "SILO-101", "kind logistic", "takes no modules")
    assert "Present" not in sent(site, ASH)
