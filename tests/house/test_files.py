"""The shape of the tree: links, sizes, names, and nothing in it that is secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.floors import ROOT, files

LONGEST = 400
SAYS_NOTHING = frozenset({"common", "helper", "helpers", "manager", "misc", "util", "utils"})
LINKS = {"silo/crypto": "../crypto", "silo/protocols": "../protocols", "silo/pages": "../docs/errors"}

SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{40}"),
    "an access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a token": re.compile(r"\b(?:gh[oprsu]|glpat|pypi|hf|xox[abp])[-_][A-Za-z0-9_-]{30,}"),
}
KEY_FILES = frozenset({".key", ".p12", ".pem", ".pfx"})


def ours() -> Iterator[Path]:
    """The files of the project, without what tools leave among them."""
    for top in sorted(ROOT.iterdir()):
        if top.is_file():
            if not top.name.startswith(".coverage"):
                yield top
        elif top.name in ("benchmarks", "crypto", "docs", "examples", "protocols", "silo", "tests", ".ci"):
            for folder, folders, names in os.walk(top):
                folders[:] = sorted(one for one in folders if one != "__pycache__")
                yield from (Path(folder, name) for name in sorted(names))


def secrets_in(text: str) -> list[str]:
    return [what for what, pattern in SECRETS.items() if pattern.search(text)]


@pytest.mark.parametrize(("link", "target"), sorted(LINKS.items()))
def test_the_links_inside_silo_are_links(link: str, target: str) -> None:
    path = ROOT / link
    assert path.is_symlink(), f"{link} is a copy, or git was told not to make links (core.symlinks)"
    assert path.readlink() == Path(target)
    assert path.is_dir()


def test_no_other_link_is_in_the_tree() -> None:
    tops = [
        ROOT / name for name in ("crypto", "protocols", "silo", "tests", "docs", "examples", "benchmarks")
    ]
    links = {str(p.relative_to(ROOT)) for top in tops for p in [top, *top.rglob("*")] if p.is_symlink()}
    assert {
        link for link in links if not link.startswith(("silo/pages/", "silo/crypto/", "silo/protocols/"))
    } == {*LINKS}


@pytest.mark.parametrize(("place", "path"), sorted(files()))
def test_a_file_is_one_idea(place: str, path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{place} has {lines} lines: a file beyond {LONGEST} is two files"


@pytest.mark.parametrize("place", sorted(dict(files())))
def test_a_name_says_what_is_inside(place: str) -> None:
    words = {word for part in place.removesuffix(".py").split("/") for word in part.split("_")}
    assert not words & SAYS_NOTHING


def test_nothing_secret_is_in_the_tree() -> None:
    found = []
    for path in ours():
        if path.suffix in KEY_FILES:
            found.append(f"{path.relative_to(ROOT)} looks like a key file")
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)} holds {what}" for what in secrets_in(text)]
    assert not found, "\n".join(found)


def test_nothing_says_where_this_checkout_lies() -> None:
    if len(ROOT.parts) < 3:
        pytest.skip("the checkout's path is too short to search for")
    here = str(ROOT).encode()
    assert not [str(path) for path in ours() if here in path.read_bytes()]


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN " + "PRIVATE KEY-----\n" + "MC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "-----BEGIN ENCRYPTED " + "PRIVATE KEY-----\n" + "A" * 64,
        "key = 'AKIA" + "A" * 16 + "'",
        "ghp_" + "a" * 36,
    ],
)
def test_a_secret_is_seen(text: str) -> None:
    assert secrets_in(text)


def test_what_runs_in_ci_is_executable() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
