"""What to install where an optional part is missing."""

from __future__ import annotations

import importlib.util

from silo.crypto.errors import ParameterError


def need(what: str, extra: str, *modules: str) -> None:
    """Raise `ParameterError`, which says what to install, unless all modules are there."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ParameterError(
            f"{what} needs {', '.join(missing)}: run `pip install 'silo-privacy[{extra}]'`, then try again"
        )
