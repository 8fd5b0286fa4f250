"""With the core dependencies alone: what is missing is said in one sentence, with what to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from silo.errors import ParameterError
from silo.extras import need
from silo.privacy import events
from silo.privacy.budget import Budget
from silo.privacy.ledger import Ledger

BLOCK = """
import importlib.util, sys
gone = {gone!r}
true = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.split(".")[0] in gone else true(name, *rest)
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in gone:
            raise ModuleNotFoundError("No module named " + name, name=name)
sys.meta_path.insert(0, Gone())
from silo.cli import main
sys.argv[0] = "silo"
main()
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    with Ledger.open(tmp_path / "ledger.db") as book:
        account = book.add("rows", Budget(2.0, 1e-5))
        with account.reserve(events.Gaussian(9.0), purpose="a count") as reservation:
            reservation.token().use(events.Gaussian(9.0))
    return tmp_path / "ledger.db"


def without(gone: tuple[str, ...], *arguments: str) -> tuple[int, str, str]:
    found = subprocess.run(
        [sys.executable, "-c", BLOCK.format(gone=gone), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "200"},
    )
    return found.returncode, found.stdout, found.stderr


def test_what_is_missing_is_named_with_its_extra() -> None:
    need("nothing", "core", "json", "sqlite3")
    with pytest.raises(
        ParameterError, match=r"a dream needs no_such_thing: run `pip install 'silo-privacy\[x\]'`"
    ):
        need("a dream", "x", "json", "no_such_thing")


def test_a_ledger_is_shown_with_the_core_alone(ledger: Path) -> None:
    code, out, err = without(("scipy", "dp_accounting", "opacus", "torch"), "ledger", "show", str(ledger))
    assert (code, err) == (0, "")
    assert "budget epsilon 2" in out


@pytest.mark.parametrize("command", [("ledger", "verify"), ("audit", "ledger"), ("ledger", "report")])
def test_an_auditor_is_told_what_to_install(command: tuple[str, str], ledger: Path, tmp_path: Path) -> None:
    gone = ("scipy", "dp_accounting", "opacus", "torch")
    code, _, err = without(gone, *command, str(ledger))
    assert code == 2
    assert "accounting by PLD needs scipy, dp_accounting: run `pip install 'silo-privacy[audit]'`" in err
    assert "Traceback" not in err


def test_an_auditor_needs_neither_torch_nor_opacus(ledger: Path) -> None:
    pytest.importorskip("dp_accounting")
    code, out, err = without(("opacus", "torch"), "audit", "ledger", str(ledger))
    assert (code, err) == (0, "")
    assert "hold together" in out
