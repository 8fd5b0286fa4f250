"""`silo score` among real processes: who gets scores, and what is refused before and after others see anything."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import silo
from silo.charter import TWO_PARTY_WORDS, Charter, Intersection, Vertical
from tests.e2e.conftest import Found
from tests.e2e.site import MEMBERS, Process, Site
from tests.e2e.test_mistakes import refused, refused_in_session, sent

TRIO = MEMBERS[:3]
PAIR = MEMBERS[:2]
ROWS = 60


def tables(names: tuple[str, ...], rows: int = ROWS) -> dict[str, pd.DataFrame]:
    """Each member's columns of the same people."""
    rng = np.random.default_rng(3)
    made = {}
    for name in names:
        columns = {f"{name} {place}": rng.normal(size=rows) for place in range(3)}
        made[name] = pd.DataFrame({"id": [f"p{row}" for row in range(rows)], **columns})
    return made


def labels(held: dict[str, pd.DataFrame]) -> Any:
    return (sum(frame.iloc[:, 1] for frame in held.values()) > 0).astype(int).to_numpy()


def fitted(kind: str, held: dict[str, pd.DataFrame], folder: Path, *, arrays: bool = False) -> Any:
    """Fit among these members in one process, save each one's part; returns the first member's own predictions."""
    y = labels(held)
    first = next(iter(held))

    def party(session: silo.Session, frame: pd.DataFrame) -> Any:
        x = frame.drop(columns="id").to_numpy() if arrays else frame.drop(columns="id")
        if kind == "boosting":
            model = silo.vertical.GradientBoosting(session, n_estimators=2, max_depth=2, key_bits=2048)
        else:
            model = getattr(silo.vertical, kind)(session, tol=1e-3)
        model.fit(x, y if session.me == first else None)
        model.save(folder / f"{session.me}.json")
        return model.predict(x) if kind == "LinearRegression" else model.predict_proba(x)

    words = {"two_party": TWO_PARTY_WORDS} if len(held) == 2 else {}
    found = silo.simulate(list(held), party, held, **words)
    return found[first]


def federation(
    found: Found, names: tuple[str, ...], vertical: Vertical | None = None, **options: Any
) -> Site:
    """A site whose charter allows vertical models of the first member's labels."""
    words = {"two_party": TWO_PARTY_WORDS} if len(names) == 2 else {}
    site = found(names=names, script=None, terms=words, **options)
    old = site.charter
    charter = Charter.new(
        old.name,
        relay=old.relay,
        members=old.members,
        tasks=old.tasks,
        sum=old.sum,
        time=old.time,
        privacy=old.privacy,
        intersection=Intersection(("rows",), rows=500),
        vertical=vertical or Vertical(label=names[0], rows=500),
        now=old.created,
        expires=old.expires,
    )
    for name in names:
        charter = charter.sign(site.people[name])
    charter.save(site.charter_path)
    return site


def score(
    site: Site, name: str, *words: str, model: Path | None = None, table: Path | None = None
) -> Process:
    part, rows = model or site.home / f"{name}.json", table or site.home / f"{name}.csv"
    given = ("--charter", str(site.charter_path), "--identity", str(site.keys(name)), "--quiet", *words)
    return site.silo(name, "score", str(part), str(rows), *given)


def write(site: Site, held: dict[str, pd.DataFrame]) -> None:
    for name, frame in held.items():
        frame.to_csv(site.home / f"{name}.csv", index=False)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(("kind", "names"), [("LogisticRegression", TRIO), ("LinearRegression", PAIR)])
@pytest.mark.filterwarnings("ignore:after")
def test_who_had_the_labels_gets_the_scores_beside_its_rows(
    found: Found, kind: str, names: tuple[str, ...]
) -> None:
    site, held = federation(found, names), tables(names)
    expected = fitted(kind, held, site.home)
    write(site, held)
    site.relay()
    members = [score(site, name) for name in names]
    for process in members:
        assert process.end() == 0, process.stderr
    assert (
        members[0].stdout
        == f"{ROWS} rows scored with {', '.join(names)}, written to {_scores(site, names[0])}; "
        "all tables were taken to have the same rows in the same order\n"
    )
    assert members[1].stdout == f"{names[1]} took part in scoring {ROWS} rows; {names[0]} has the scores\n"
    rows = read(_scores(site, names[0]))
    assert [row["id"] for row in rows] == held[names[0]]["id"].tolist()
    heading = "value" if kind == "LinearRegression" else "probability"
    wanted = expected if heading == "value" else expected[:, 1]
    np.testing.assert_allclose([float(row[heading]) for row in rows], wanted, atol=1e-9)
    assert not any(_scores(site, name).exists() for name in names[1:])


@pytest.mark.filterwarnings("ignore:after")
def test_rows_in_other_orders_are_intersected_first(found: Found) -> None:
    site, held = federation(found, PAIR), tables(PAIR)
    expected = dict(zip(held[PAIR[0]]["id"], fitted("boosting", held, site.home)[:, 1], strict=True))
    rng = np.random.default_rng(5)
    held = {
        name: frame.iloc[rng.permutation(len(frame))[: ROWS - 10 * place]]
        for place, (name, frame) in enumerate(held.items(), 1)
    }
    write(site, held)
    site.relay()
    common = set(held[PAIR[0]]["id"]) & set(held[PAIR[1]]["id"])
    members = [
        score(site, name, "--column", "id", "--json", "-o", str(site.home / f"{name}-out.csv"))
        for name in PAIR
    ]
    for process, name in zip(members, PAIR, strict=True):
        assert process.end() == 0, process.stderr
        facts = json.loads(process.stdout)
        assert (facts["member"], facts["label_party"], facts["rows"]) == (name, PAIR[0], len(common))
        assert (facts["file"] is not None) == (name == PAIR[0])
    rows = {row["id"]: float(row["probability"]) for row in read(site.home / f"{PAIR[0]}-out.csv")}
    assert set(rows) == common
    for one, value in rows.items():
        assert value == pytest.approx(expected[one], abs=1e-9)


@pytest.mark.filterwarnings("ignore:after")
def test_what_does_not_fit_is_refused_before_anybody_is_called(found: Found) -> None:
    site, held = federation(found, PAIR), tables(PAIR)
    fitted("LogisticRegression", held, site.home)
    write(site, held)
    ash, birch = PAIR
    refused(score(site, ash, model=site.home / "none.json"), "SILO-101", "none.json cannot be read")
    refused(score(site, ash, model=site.charter_path), "SILO-101", "no part of a model")
    refused(
        score(site, ash, model=site.home / f"{birch}.json"),
        "SILO-101",
        f"part of {birch}",
        f"{ash} takes part",
    )
    short = site.home / "short.csv"
    held[ash].drop(columns=f"{ash} 1").to_csv(short, index=False)
    refused(score(site, ash, table=short), "SILO-101", f"column '{ash} 1' is not among id, {ash} 0")
    refused(score(site, ash, "--column", "number"), "SILO-101", "'number'", "not among")
    kept = site.home / "kept.csv"
    kept.write_text("what was there before")
    refused(score(site, ash, "-o", str(kept)), "SILO-101", "already there")
    assert kept.read_text() == "what was there before"
    named = site.home / "named.csv"
    held[ash].assign(probability=1.0).to_csv(named, index=False)
    refused(score(site, ash, table=named), "SILO-101", "'probability' already", "rename")
    assert "Present" not in sent(site, ash)


@pytest.mark.filterwarnings("ignore:after")
def test_a_model_of_arrays_takes_columns_by_their_place(found: Found) -> None:
    site, held = federation(found, PAIR), tables(PAIR)
    expected = fitted("LogisticRegression", held, site.home, arrays=True)
    write(site, held)
    ash = PAIR[0]
    refused(
        score(site, ash), "SILO-101", f"ash.csv has 4 columns (id, {ash} 0, {ash} 1, {ash} 2)",
        "fitted on an array of 3 columns without names", "fit on a data frame",
    )  # fmt: skip
    wide = site.home / "wide.csv"
    held[ash].assign(more=1.0).to_csv(wide, index=False)
    refused(score(site, ash, "--column", "id", table=wide), "SILO-101", f"4 columns beside id ({ash} 0, ")
    site.relay()
    text = site.home / "text.csv"
    held[ash].drop(columns="id").assign(**{f"{ash} 1": "high"}).to_csv(text, index=False)
    refused_in_session(score(site, ash, table=text), "SILO-101", f"text.csv: column {ash} 1 holds text")
    assert "Present" not in sent(site, ash)
    for name in PAIR:
        held[name].drop(columns="id").to_csv(site.home / f"{name}.csv", index=False)
    members = [score(site, name) for name in PAIR]
    assert [process.end() for process in members] == [0, 0], members[0].stderr + members[1].stderr
    got = [float(row["probability"]) for row in read(_scores(site, ash))]
    np.testing.assert_allclose(got, expected[:, 1], atol=1e-9)


@pytest.mark.filterwarnings("ignore:after")
def test_a_gap_is_named_by_the_column_of_the_file(found: Found) -> None:
    site, held = federation(found, PAIR), tables(PAIR)
    fitted("LogisticRegression", held, site.home)
    ash = PAIR[0]
    held[ash].loc[4, f"{ash} 2"] = np.nan
    write(site, held)
    site.relay()
    refused_in_session(score(site, ash), "SILO-101", f"ash.csv: column {ash} 2, row 4, is missing")
    assert "Present" not in sent(site, ash)


@pytest.mark.filterwarnings("ignore:after")
def test_a_model_of_other_members_is_refused(found: Found) -> None:
    site, held = federation(found, TRIO), tables(PAIR)
    fitted("LogisticRegression", held, site.home)
    write(site, held)
    refused(
        score(site, PAIR[0]), "SILO-101", f"of {', '.join(PAIR)}, and the charter is of {', '.join(TRIO)}"
    )


@pytest.mark.filterwarnings("ignore:after")
def test_another_model_or_another_number_of_rows_is_named_with_its_member(found: Found) -> None:
    site, held = federation(found, TRIO), tables(TRIO)
    other = site.home / "other"
    fitted("LogisticRegression", held, other)
    fitted("LogisticRegression", held, site.home)
    write(site, held)
    site.relay()
    ash, birch, cedar = TRIO
    fewer = site.home / "fewer.csv"
    held[cedar].iloc[:-1].to_csv(fewer, index=False)
    for odd, words in (
        ({"model": other / f"{cedar}.json"}, "disagree about scored by"),
        ({"table": fewer}, f"disagree about rows: {cedar} has {ROWS - 1}, the others have {ROWS}"),
    ):
        members = [score(site, ash), score(site, birch), score(site, cedar, **odd)]
        assert [process.end() for process in members] == [1, 1, 2]
        for process in members:
            assert process.last_lines[0] == f"who:  {cedar}"
            assert words in process.last_lines[1]
            assert process.stdout == ""
    assert not list(site.home.glob("*-scores.csv"))


def _scores(site: Site, name: str) -> Path:
    return site.home / f"{name}-scores.csv"
