"""With the core dependencies alone: what is missing is said in one sentence, with what to install."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from silo.errors import ParameterError
from silo.extras import install, need
from silo.privacy import events
from silo.privacy.budget import Budget
from silo.privacy.ledger import Ledger
from tests.house.floors import ROOT

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
        ParameterError,
        match=r"a dream needs no_such_thing: run `pip install '\.\[x\]'` in Silo's source folder",
    ):
        need("a dream", "x", "json", "no_such_thing")


def texts(source: str) -> Iterator[str]:
    """Every string of a module, as far as it is fixed, without docstrings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) for one in node.values if isinstance(one, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def odd_commands(text: str) -> list[str]:
    """The commands of a text that install an extra by other words than `install` has, or from an index."""
    named = re.findall(r"silo-privacy\[[^\]]*", text)
    # The pieces of an f-string are strings of their own as well; one that ends in the command is such a piece.
    told = re.finditer(r"`pip install '\.\[([a-z,-]*)\]'`(?=.)", text)
    return named + [one[0] for one in told if not text[one.start() :].startswith(install(one[1]))]


def test_all_texts_say_the_same_that_works_from_a_checkout() -> None:
    found = {
        str(path.relative_to(ROOT)): odd
        for floor in ("crypto", "protocols", "silo")
        for path in sorted((ROOT / floor).rglob("*.py"))
        for text in texts(path.read_text(encoding="utf-8"))
        if (odd := odd_commands(text))
    }
    assert found == {}
    assert "silo-privacy" not in install("dp")
    examples = [path for path in (ROOT / "examples").rglob("*.py") if "silo-privacy[" in path.read_text()]
    assert examples == []


@pytest.mark.parametrize(
    ("text", "odd"),
    [
        (f"run {install('he')}, then try again", []),
        ("install silo-privacy[he]", ["silo-privacy[he"]),
        ("run `pip install '.[he]'` somewhere", ["`pip install '.[he]'`"]),
    ],
)
def test_another_wording_is_seen(text: str, odd: list[str]) -> None:
    assert odd_commands(text) == odd


def test_a_ledger_is_shown_with_the_core_alone(ledger: Path) -> None:
    code, out, err = without(("scipy", "dp_accounting", "opacus", "torch"), "ledger", "show", str(ledger))
    assert (code, err) == (0, "")
    assert "budget epsilon 2" in out


@pytest.mark.parametrize("command", [("ledger", "verify"), ("audit", "ledger"), ("ledger", "report")])
def test_an_auditor_is_told_what_to_install(command: tuple[str, str], ledger: Path, tmp_path: Path) -> None:
    gone = ("scipy", "dp_accounting", "opacus", "torch")
    code, _, err = without(gone, *command, str(ledger))
    assert code == 2
    assert (
        "accounting by PLD needs scipy, dp_accounting: run `pip install '.[audit]'` in Silo's source folder"
        in err
    )
    assert "Traceback" not in err


def test_an_auditor_needs_neither_torch_nor_opacus(ledger: Path) -> None:
    pytest.importorskip("dp_accounting")
    code, out, err = without(("opacus", "torch"), "audit", "ledger", str(ledger))
    assert (code, err) == (0, "")
    assert "hold together" in out
