"""Budgets across runs of real processes: what was spent stays spent, whatever file is put back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from silo.charter import Privacy
from silo.privacy.verify import verify
from tests.e2e.conftest import Found
from tests.e2e.site import SCRIPTS, Process, Site

pytest.importorskip("opacus")

NAMES = ("ash", "birch", "cedar")


def federation(found: Found) -> Site:
    return found(
        names=NAMES,
        script=SCRIPTS / "private_party.py",
        terms={"clip": 8.0},
        privacy=[Privacy(name, "rows", 3.0, 1e-3) for name in NAMES],
    )


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


def copy_ledger(site: Site, name: str, to: Path) -> None:
    for end in ("", "-wal", "-shm"):
        source = ledger(site, name).with_name(f"ledger.db{end}")
        target = to.with_name(to.name + end)
        target.unlink(missing_ok=True)
        if source.exists():
            shutil.copy(source, target)


def restore_ledger(site: Site, name: str, copy: Path) -> None:
    for end in ("", "-wal", "-shm"):
        target = ledger(site, name).with_name(f"ledger.db{end}")
        target.unlink(missing_ok=True)
        source = copy.with_name(copy.name + end)
        if source.exists():
            shutil.copy(source, target)


def ok(members: dict[str, Process]) -> None:
    for process in members.values():
        assert process.child.returncode == 0, process.stderr


def test_a_restored_checkpoint_never_lowers_epsilon(found: Found) -> None:
    site = federation(found)
    ok(run(site))
    first = {name: spent(site, name) for name in NAMES}
    assert all(0 < one < 3 for one in first.values())
    for name in NAMES:
        checkpoint(site, name).unlink()
    ok(run(site))
    for name in NAMES:
        assert spent(site, name) > first[name]
        assert json.loads(json.dumps(spent(site, name))) <= 3.0


def test_a_ledger_that_was_put_back_is_frozen_by_the_newer_checkpoint(found: Found, tmp_path: Path) -> None:
    site = federation(found)
    ok(run(site, rounds=1))
    old = tmp_path / "old.db"
    copy_ledger(site, "cedar", old)
    # A second run of more rounds goes on from the checkpoint of the first.
    ok(run(site, rounds=2))
    restore_ledger(site, "cedar", old)
    said = run(site, rounds=3)["cedar"]
    assert said.child.returncode == 2
    assert "SILO-443" in said.stderr
    assert verify(ledger(site, "cedar")).books.frozen


def test_partners_notice_a_ledger_that_was_put_back(found: Found, tmp_path: Path) -> None:
    site = federation(found)
    ok(run(site, rounds=1))
    old = tmp_path / "old.db"
    copy_ledger(site, "cedar", old)
    ok(run(site, rounds=2))
    restore_ledger(site, "cedar", old)
    for name in NAMES:
        checkpoint(site, name, ".ledger").unlink()
    members: dict[str, Any] = run(site, rounds=3)
    for name in ("ash", "birch"):
        assert members[name].child.returncode != 0
        assert "SILO-447" in members[name].stderr
        assert "cedar" in members[name].stderr
