"""Documents that keep their word: links lead somewhere, and what claims to run, runs.

A fenced block `python run` is executed, all of one page in order and in one namespace, in an empty folder.
`python not-run` is shown only. A bare `python` is refused, so that nobody forgets to decide.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from tests.house.floors import ROOT
from tests.house.pages import Block, anchors, blocks, broken_links, links, pages, run

PAGES = {page.relative_to(ROOT).as_posix(): page for page in pages()}
PYTHON = ("python run", "python not-run")


def python_blocks(page: Path) -> list[Block]:
    return [
        block
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.info.startswith(("python", "py "))
    ]


RUNNING = [
    name for name, page in PAGES.items() if any(block.info == "python run" for block in python_blocks(page))
]


def test_the_pages_are_found() -> None:
    assert {"README.md", "SECURITY.md", "CONTRIBUTING.md", "docs/threat-model.md"} <= PAGES.keys()


@pytest.mark.parametrize("name", sorted(PAGES))
def test_links_lead_somewhere(name: str) -> None:
    assert broken_links(PAGES[name]) == []


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_snippet_says_whether_it_runs(name: str) -> None:
    undecided = [block.line for block in python_blocks(PAGES[name]) if block.info not in PYTHON]
    assert not undecided, f"{name}: write `python run` or `python not-run` in lines {undecided}"


@pytest.mark.parametrize("name", sorted(RUNNING))
def test_what_claims_to_run_runs(name: str, tmp_path: Path) -> None:
    done = run(name, [block for block in python_blocks(PAGES[name]) if block.info == "python run"], tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_document_is_reached_from_the_index() -> None:
    index = ROOT / "docs/index.md"
    reached = {
        (index.parent / target.partition("#")[0]).resolve() for target in links(index.read_text("utf-8"))
    }
    docs = {page for page in PAGES.values() if page.parent == index.parent and page != index}
    assert not sorted(page.name for page in docs - reached)


def lost_tests(text: str) -> list[str]:
    """Names of tests in `text` that no file holds."""
    lost = []
    for name in re.findall(r"`(tests/[^`]+)`", text):
        file, _, test = name.partition("::")
        if not (ROOT / file).exists():
            lost.append(name)
        elif test:
            defined = ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
            if test not in {node.name for node in defined if isinstance(node, ast.FunctionDef)}:
                lost.append(name)
    return lost


def lost_names(text: str, package: str) -> list[str]:
    """Dotted names in backquotes that neither `package` nor `silo` has."""
    lost = []
    for name in re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`", text):
        if not _resolves(name if name.startswith("silo.") else f"{package}.{name}"):
            lost.append(name)
    return lost


def _resolves(name: str) -> bool:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        try:
            for attribute in parts[end:]:
                thing = getattr(thing, attribute)
        except AttributeError:
            return False
        return True
    return False


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_tests_that_a_page_names_are_there(name: str) -> None:
    assert lost_tests(PAGES[name].read_text(encoding="utf-8")) == []


def test_the_protocol_map_names_what_is_there() -> None:
    text = PAGES["docs/protocol-map.md"].read_text(encoding="utf-8")
    assert text.count("`server.") >= 6
    assert lost_names(text, "silo.protocols.secagg") == []


def test_a_name_that_is_not_there_is_seen() -> None:
    assert lost_tests("`tests/lost.py` `tests/house/test_documents.py::test_gone` `tests/house`") == [
        "tests/lost.py",
        "tests/house/test_documents.py::test_gone",
    ]
    assert lost_names("`client.Gone` `client.advertise` `silo.crypto.gone`", "silo.protocols.secagg") == [
        "client.Gone",
        "silo.crypto.gone",
    ]


def test_a_snippet_that_fails_is_seen_with_its_line(tmp_path: Path) -> None:
    text = (
        "# Page\n\n```python run\nvalue = 1\n```\n\nand\n\n"
        "```python run\nvalue += 1\nraise SystemExit(f'{value} at')\n```\n"
    )
    found = list(blocks(text))
    assert [(block.info, block.line) for block in found] == [("python run", 3), ("python run", 9)]
    assert "2 at" in run("page.md", found, tmp_path).stderr
    broken = run("page.md", list(blocks("\n```python run\n1 / 0\n```\n")), tmp_path)
    assert broken.returncode != 0
    assert 'File "page.md", line 3' in broken.stderr


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# What is *not* protected\n", encoding="utf-8")
    page.write_text(
        "[a](other.md) [b](other.md#what-is-not-protected) [c](lost.md) [d](other.md#lost) `[e](code.md)`\n"
        "[f](#lost) [g](https://example.org/x)\n\n[h]: gone.md\n```\n[i](fenced.md)\n```\n",
        encoding="utf-8",
    )
    assert broken_links(page) == ["lost.md", "other.md#lost", "#lost", "gone.md"]


def test_anchors_are_spelled_as_the_forges_do() -> None:
    assert anchors("## The sum, four ways\n```\n# no heading\n```\n# `silo doctor`") == {
        "the-sum-four-ways",
        "silo-doctor",
    }
