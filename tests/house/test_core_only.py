"""`import silo` works with the core dependencies alone, and stays light."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

from tests.house.floors import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

GUARD = """
import json, sys

class Closed:
    allowed = frozenset(json.loads({allowed!r}))

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in self.allowed or top.startswith("__editable__"):
            return None
        raise ModuleNotFoundError(f"{{name}} is no core dependency", name=name)

for name in [name for name in sys.modules if name.partition(".")[0] == "silo"]:
    del sys.modules[name]
sys.meta_path.insert(0, Closed())
"""

LATE = ("flwr", "jinja2", "matplotlib", "opacus", "pandas", "scipy", "sklearn", "tenseal", "torch")
"""Extras: imported by the function that needs them."""


def distributions(names: list[str]) -> set[str]:
    """The named distributions and all that they need without extras, normalised."""
    found: set[str] = set()
    waiting = [normal(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting += [normal(need) for need in needs if "extra ==" not in need]
    return found


def normal(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def guarded(body: str, *arguments: str) -> str:
    core = distributions(PROJECT["dependencies"])
    tops = {
        top for top, owners in metadata.packages_distributions().items() if {normal(o) for o in owners} & core
    }
    program = GUARD.format(allowed=json.dumps(sorted(tops | {"silo"}))) + body
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=ROOT.anchor
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(body: str) -> set[str]:
    """The modules in a fresh interpreter, without the guard, once `body` has run."""
    program = body + "\nimport json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT.anchor)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", ["torch", "sklearn", "matplotlib", "pytest", "scipy"])
def test_the_guard_closes_what_is_no_core_dependency(name: str) -> None:
    assert "closed" in guarded(f"try: import {name}\nexcept ModuleNotFoundError: print('closed')")


def test_the_core_dependencies_stay_few() -> None:
    names = {normal(one) for one in PROJECT["dependencies"]}
    assert names == {"numpy", "cryptography", "msgspec", "websockets", "click", "rich", "tomlkit"}


def test_silo_is_imported_with_the_core_alone() -> None:
    guarded("import silo")


def test_both_lower_floors_are_imported_with_the_core_alone() -> None:
    guarded(
        "import importlib, pkgutil, silo.crypto, silo.protocols\n"
        "for floor in (silo.crypto, silo.protocols):\n"
        "    for module in pkgutil.walk_packages(floor.__path__, floor.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
    )


def test_every_public_name_is_there_with_the_core_alone() -> None:
    # Names may come late (a module's __getattr__); asking for one must not ask for an extra.
    guarded("import silo\nfor name in getattr(silo, '__all__', ()):\n    getattr(silo, name)\n")


def test_every_command_is_imported_with_the_core_alone() -> None:
    guarded(
        "import importlib, pkgutil, silo.cli\n"
        "for module in pkgutil.iter_modules(silo.cli.__path__, 'silo.cli.'):\n"
        "    importlib.import_module(module.name)\n"
    )


def test_importing_silo_is_light() -> None:
    seen = loaded("import silo")
    heavy = [name for name in (*LATE, "rich", "numpy.random") if name in seen]
    assert not heavy


def test_help_draws_and_computes_nothing() -> None:
    seen = loaded(
        "import sys\n"
        "from silo.cli import main\n"
        "sys.argv = ['silo', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
    )
    assert "silo.cli" in seen
    heavy = [
        name for name in (*LATE, "rich", "numpy", "cryptography", "websockets", "asyncio") if name in seen
    ]
    assert not heavy


def test_a_public_name_is_never_hidden_by_a_module_of_the_same_name() -> None:
    import importlib
    import pkgutil

    modules = {module.name for module in pkgutil.iter_modules(importlib.import_module("silo").__path__)}
    assert not modules & set(importlib.import_module("silo").__all__)
