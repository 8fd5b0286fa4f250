"""What a partner installs holds what the folders hold, under `silo` alone, and runs away from the sources."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.floors import ROOT

SOURCES = ("crypto", "protocols", "silo", "docs/errors", "pyproject.toml", "README.md", "LICENSE")


def run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that an old build/ cannot add to the wheel and building leaves nothing behind."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            hidden = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, target, symlinks=True, ignore=hidden)
        else:
            shutil.copy2(ROOT / name, target)
    return copy


def build(source: Path, out: Path) -> Path:
    flags = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    run("-m", "pip", "wheel", *flags, "--wheel-dir", out, source, cwd=out)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel, cwd=target)
    return target


def contents(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if not name.endswith("/")]


def expected(source: Path) -> set[str]:
    """Where each file belongs, seen from the folders: the links inside silo/ are not followed."""
    wanted = {
        f"silo/{path.relative_to(source)}"
        for floor in ("crypto", "protocols")
        for path in _files(source / floor)
    }
    wanted |= {f"silo/{path.relative_to(source / 'silo')}" for path in _files(source / "silo")}
    return wanted | {f"silo/pages/{path.name}" for path in _files(source / "docs/errors")}


def _files(folder: Path) -> list[Path]:
    # Whether rglob follows links depends on the version of Python.
    links = [entry for entry in folder.iterdir() if entry.is_symlink()]
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.name.startswith(".")
        and not any(link in path.parents for link in links)
    ]


def test_the_wheel_holds_every_file_of_the_three_folders_once(sources: Path, wheel: Path) -> None:
    packed = [name for name in contents(wheel) if ".dist-info/" not in name]
    assert len(packed) == len(set(packed))
    missing, surplus = expected(sources) - set(packed), set(packed) - expected(sources)
    assert not missing, f"not in the wheel (data files are named in pyproject.toml): {sorted(missing)}"
    assert not surplus, f"in the wheel and in no folder: {sorted(surplus)}"


def test_nothing_but_silo_stands_at_the_top(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in contents(wheel)}
    assert "silo" in tops
    assert all(top == "silo" or top.endswith(".dist-info") for top in tops), tops


def test_a_source_distribution_gives_the_same_wheel(
    sources: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out, unpacked = tmp_path_factory.mktemp("sdist"), tmp_path_factory.mktemp("unpacked")
    run("-c", f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})", cwd=sources)
    (archive,) = out.glob("*.tar.gz")
    shutil.unpack_archive(archive, unpacked, filter="data")
    (tree,) = unpacked.iterdir()
    assert sorted(contents(build(tree, out))) == sorted(contents(wheel))


def test_the_wheel_runs_away_from_its_sources(installed: Path, tmp_path: Path) -> None:
    # The path entry comes first: an editable install's finder stands behind it.
    program = f"""
import importlib, json, pkgutil, sys
sys.path.insert(0, {str(installed)!r})
import silo, silo.crypto, silo.protocols, silo.cli
for floor in (silo.crypto, silo.protocols):
    for module in pkgutil.walk_packages(floor.__path__, floor.__name__ + "."):
        importlib.import_module(module.name)
ours = {{name: module for name, module in sys.modules.items() if name.split(".")[0] == "silo"}}
print(json.dumps({{name: module.__file__ for name, module in ours.items()}}))
"""
    loaded: dict[str, str] = json.loads(run("-I", "-c", program, cwd=tmp_path))
    assert {"silo", "silo.cli", "silo.crypto.shamir", "silo.protocols.envelope"} <= loaded.keys()
    astray = {name: file for name, file in loaded.items() if not Path(file).is_relative_to(installed)}
    assert not astray


def test_the_command_of_the_wheel_answers(installed: Path, tmp_path: Path) -> None:
    start = f"import sys; sys.path.insert(0, {str(installed)!r}); from silo.cli import main; main()"
    assert run("-I", "-c", start, "--version", cwd=tmp_path).startswith("silo ")
    assert "keygen" in run("-I", "-c", start, "--help", cwd=tmp_path)
