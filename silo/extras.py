"""What to install where an optional part is missing."""

from __future__ import annotations

import importlib.util

from silo.crypto.errors import ParameterError


def install(extra: str) -> str:
    """The command that brings an extra, and where it works: no package index has Silo, only its source.

    The lower floors, which cannot import this, and all other texts say the same words; a test compares them.
    """
    return f"`pip install '.[{extra}]'` in Silo's source folder"


def need(what: str, extra: str, *modules: str) -> None:
    """Raise `ParameterError`, which says what to install, unless all modules are there."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ParameterError(f"{what} needs {', '.join(missing)}: run {install(extra)}, then try again")
