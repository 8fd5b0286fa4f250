"""`silo psi` among real processes: who finds what, and what is refused before and after others see anything."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from silo.charter import TWO_PARTY_WORDS, Intersection
from tests.e2e.conftest import Found
from tests.e2e.site import MEMBERS, Site, wait_until
from tests.e2e.test_mistakes import refused, refused_in_session, sent

TRIO = MEMBERS[:3]
PAIR = MEMBERS[:2]


def people(site: Site, name: str, ids: Iterable[object]) -> Path:
    """A member's table: its identifiers, and a column that only it has."""
    path = site.home / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", f"of {name}"])
        rows.writerows([one, f"{name} knows {one}"] for one in ids)
    return path


def common(path: Path) -> list[str]:
    with path.with_name(f"{path.stem}-common.csv").open(newline="", encoding="utf-8") as stream:
        return [row["id"] for row in csv.DictReader(stream)]


def two(found: Found, **options: Any) -> Site:
    terms = Intersection(**({"rows": 500, "queries": 2} | options))
    return found(names=PAIR, script=None, intersection=terms, terms={"two_party": TWO_PARTY_WORDS})


@pytest.mark.parametrize("names", [PAIR, TRIO])
def test_everybody_finds_the_same_people_in_the_same_order(found: Found, names: tuple[str, ...]) -> None:
    words = {"two_party": TWO_PARTY_WORDS} if len(names) == 2 else {}
    site = found(names=names, script=None, intersection=Intersection(rows=500), terms=words)
    site.relay()
    held = {name: range(place * 40, 200 - place * 10) for place, name in enumerate(names)}
    files = {name: people(site, name, held[name]) for name in names}
    members = [site.psi(name, files[name], "--json") for name in names]
    expected = {str(one) for one in set.intersection(*map(set, held.values()))}
    for process, name in zip(members, names, strict=True):
        assert process.end() == 0, process.stderr
        facts = json.loads(process.stdout)
        assert (facts["member"], facts["rows"], facts["common"]) == (name, len(held[name]), len(expected))
        assert set(common(files[name])) == expected
    assert len({tuple(common(path)) for path in files.values()}) == 1
    assert common(files[names[0]]) != sorted(expected, key=int), "the order tells nothing of anybody's list"


def test_a_size_writes_no_file(found: Found) -> None:
    site = two(found)
    site.relay()
    files = [people(site, name, range(place * 40, 100)) for place, name in enumerate(PAIR)]
    members = [site.psi(name, path, "--reveal", "size") for name, path in zip(PAIR, files, strict=True)]
    for process, rows in zip(members, (100, 60), strict=True):
        assert process.end() == 0, process.stderr
        assert process.stdout == f"60 of {rows} rows are in common to {', '.join(PAIR)}\n"
    assert not list(site.home.glob("*-common.csv"))


def test_a_table_that_does_not_fit_is_refused_before_anybody_is_called(found: Found) -> None:
    site = two(found)
    ash = PAIR[0]
    twice = people(site, ash, [1, 2, 3, 2])
    refused(site.psi(ash, site.home / "none.csv"), "SILO-101", "none.csv cannot be read")
    short = site.home / "short.csv"
    short.write_text("id,of ash\n1,a\n2\n")
    refused(site.psi(ash, short), "SILO-101", "row 2", "1 values under 2 columns")
    other = site.home / "other.csv"
    other.write_text("number\n1\n")
    refused(site.psi(ash, other), "SILO-101", "'id'", "not among number")
    kept = site.home / "kept.csv"
    kept.write_text("what was found before")
    refused(site.psi(ash, twice, "-o", str(kept)), "SILO-101", "already there")
    assert kept.read_text() == "what was found before"
    refused(site.psi(ash, twice), "SILO-101", "column id of ash.csv", "row 3")
    refused(site.psi(ash, people(site, ash, [1, None])), "SILO-101", "row 1", "0 bytes")
    site.relay()
    refused_in_session(site.psi(ash, people(site, ash, range(501))), "SILO-403", "501", "500")
    assert set(sent(site, ash)) == {"link"}


def test_a_task_with_a_script_runs_nothing_else(found: Found) -> None:
    site = found(names=TRIO, intersection=Intersection(rows=500))
    refused(site.psi(TRIO[0], people(site, TRIO[0], [1])), "SILO-403", "runs one script only")


def test_too_few_in_common_release_nothing_and_count_as_a_query(found: Found) -> None:
    site = two(found, minimum=20)
    site.relay()
    for _ in range(2):
        files = [people(site, name, range(place * 90, 100 + place)) for place, name in enumerate(PAIR)]
        for process in [site.psi(name, path) for name, path in zip(PAIR, files, strict=True)]:
            assert process.end() == 1
            assert "SILO-218" in process.stderr
            assert process.stdout == ""
    for process in [site.psi(name, path) for name, path in zip(PAIR, files, strict=True)]:
        assert process.end() in (1, 2)
        assert "SILO-406" in process.stderr
    assert not list(site.home.glob("*-common.csv"))


def test_unlike_wishes_are_named_with_the_member(found: Found) -> None:
    site = two(found)
    site.relay()
    files = [people(site, name, range(10)) for name in PAIR]
    members = [site.psi(PAIR[0], files[0], "--reveal", "size"), site.psi(PAIR[1], files[1])]
    for process in members:
        assert process.end() == 1
        assert "SILO-212" in process.stderr
    assert "Private" not in sent(site, PAIR[0])


def test_a_member_that_is_killed_is_named_and_the_same_command_works_again(found: Found) -> None:
    site = two(found, rows=200_000, queries=3)
    site.relay()
    files = {name: people(site, name, range(60_000)) for name in PAIR}
    members = {name: site.psi(name, files[name]) for name in PAIR}
    wait_until(lambda: sent(site, PAIR[1]).count("Private") > 1, "the first pieces are under way")
    members[PAIR[1]].kill()
    assert members[PAIR[0]].end() == 1
    assert members[PAIR[0]].last_lines[0] == f"who:  {PAIR[1]}"
    assert not list(site.home.glob("*-common.csv"))
    files = {name: people(site, name, range(300)) for name in PAIR}
    for process in [site.psi(name, files[name]) for name in PAIR]:
        assert process.end() == 0, process.stderr
    assert len(common(files[PAIR[0]])) == 300
