"""Budgets across runs of real processes: what was spent stays spent, whatever file is put back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from silo.charter import Privacy
from silo.privacy.verify import verify
from tests.e2e.conftest import Found
from tests.e2e.site import SCRIPTS, Process, Site
from tests.e2e.site import site as running

pytest.importorskip("opacus")

NAMES = ("ash", "birch", "cedar")


OPTIONS: dict[str, Any] = {
    "names": NAMES,
    "script": SCRIPTS / "private_party.py",
    "terms": {"clip": 8.0},
    "privacy": [Privacy(name, "rows", 3.0, 1e-3) for name in NAMES],
}


def run(site: Site, rounds: int = 2) -> dict[str, Process]:
    """One run of all members; the relay serves until they left."""
    relay = site.relay(ready=True)
    members = {name: site.join(name, f"rounds={rounds}") for name in NAMES}
    for process in members.values():
        process.end()
    relay.kill()
    return members


def spent(site: Site, name: str) -> float:
    books = verify(ledger(site, name)).books
    return books.datasets["rows"].budget.filter_epsilon(books.spent("rows"))


def ledger(site: Site, name: str) -> Path:
    return site.keys(name) / "state" / "ledger.db"


def checkpoint(site: Site, name: str, end: str = "") -> Path:
    return site.notes(name) / f"checkpoint.npz{end}"


def copy_ledger(source: Path, target: Path) -> None:
    """Copy a ledger with what SQLite keeps beside it; a file that the source lacks is taken away."""
    for end in ("", "-wal", "-shm"):
        one, other = (path.with_name(path.name + end) for path in (source, target))
        other.unlink(missing_ok=True)
        if one.exists():
            shutil.copy(one, other)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path]]:
    """A federation after a run of one round and another that went on to two, and a copy of all that it holds.

    Cedar has put its ledger back to where it was between the two.
    """
    home = tmp_path_factory.mktemp("two-runs")
    with running(home, **OPTIONS) as site:
        ok(run(site, rounds=1))
        old = home / "old.db"
        copy_ledger(ledger(site, "cedar"), old)
        # The second run goes on from the checkpoint of the first.
        ok(run(site, rounds=2))
        copy_ledger(old, ledger(site, "cedar"))
        kept = tmp_path_factory.mktemp("kept")
        for folder in folders(site):
            shutil.copytree(folder, kept / folder.name)
        yield site, kept


def folders(site: Site) -> list[Path]:
    return [site.home / "keys", *(site.notes(name) for name in NAMES)]


@pytest.fixture
def put_back(two_runs: tuple[Site, Path]) -> Site:
    site, kept = two_runs
    for folder in folders(site):
        shutil.rmtree(folder)
        shutil.copytree(kept / folder.name, folder)
    return site


def ok(members: dict[str, Process]) -> None:
    for process in members.values():
        assert process.child.returncode == 0, process.stderr


def test_a_restored_checkpoint_never_lowers_epsilon(found: Found) -> None:
    site = found(**OPTIONS)
    ok(run(site))
    first = {name: spent(site, name) for name in NAMES}
    assert all(0 < one < 3 for one in first.values())
    for name in NAMES:
        checkpoint(site, name).unlink()
    ok(run(site))
    for name in NAMES:
        assert spent(site, name) > first[name]
        assert json.loads(json.dumps(spent(site, name))) <= 3.0


def test_a_ledger_that_was_put_back_is_frozen_by_the_newer_checkpoint(put_back: Site) -> None:
    said = run(put_back, rounds=3)["cedar"]
    assert said.child.returncode == 2
    assert "SILO-443" in said.stderr
    assert verify(ledger(put_back, "cedar")).books.frozen


def test_partners_notice_a_ledger_that_was_put_back(put_back: Site) -> None:
    for name in NAMES:
        checkpoint(put_back, name, ".ledger").unlink()
    members = run(put_back, rounds=3)
    for name in ("ash", "birch"):
        assert members[name].child.returncode != 0
        assert "SILO-447" in members[name].stderr
        assert "cedar" in members[name].stderr
