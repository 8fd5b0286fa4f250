"""Every error has a code of its own and a page."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import Counter
from pathlib import Path

import pytest

import silo
from silo.crypto.errors import SiloError

PAGES = Path(__file__).parents[2] / "docs" / "errors"
EXTRAS = {"torch", "sklearn", "matplotlib", "jinja2", "flwr", "opacus", "dp_accounting"}


def errors() -> list[type[SiloError]]:
    for module in pkgutil.walk_packages(silo.__path__, "silo."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as absent:
            if (absent.name or "").split(".")[0] not in EXTRAS:
                raise
    found: list[type[SiloError]] = [SiloError]
    for kind in found:
        found += [one for one in kind.__subclasses__() if one.__module__.startswith("silo.")]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def kinds() -> list[type[SiloError]]:
    return errors()


def test_codes_are_unique_and_not_inherited(kinds: list[type[SiloError]]) -> None:
    assert len(kinds) > 20
    assert not [kind for kind in kinds if "code" not in vars(kind)]
    assert not [code for code, count in Counter(kind.code for kind in kinds).items() if count > 1]
    assert all(re.fullmatch(r"SILO-\d{3}", kind.code) for kind in kinds)


def test_every_code_has_a_page_and_every_page_a_code(kinds: list[type[SiloError]]) -> None:
    assert {kind.code for kind in kinds} == {page.stem for page in PAGES.glob("*.md")}


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_to_do_and_shows_its_code(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}: ")
    assert "**What happened.**" in text
    assert "**What to do.**" in text
    assert f"error [{page.stem}]: " in text
