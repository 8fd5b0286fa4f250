"""A split network's modules from a Python file of this organisation, as the part of a model holds weights only."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from silo.errors import ParameterError, SiloError

NAMES: Final = ("bottom", "top", "middle", "activations")


def read(path: str) -> dict[str, Any]:
    """Run a file, and take those of `NAMES` that it makes. Raises `ParameterError`."""
    source = Path(path)
    if not source.is_file():
        raise ParameterError(
            f"there is no file {path}: --modules names the Python file that makes the modules"
        )
    before = list(sys.path)
    # What stands beside the file may be imported by it, and by nothing that comes later.
    sys.path.insert(0, str(source.resolve().parent))
    try:
        made = runpy.run_path(path)
    except SiloError as problem:
        raise ParameterError(f"{path}: {problem}") from problem
    except (Exception, SystemExit) as problem:
        lines = [one.lineno for one in traceback.extract_tb(problem.__traceback__) if one.filename == path]
        where = f" at line {lines[-1]}" if lines else ""
        first = (str(problem).splitlines() or [""])[0]
        raise ParameterError(f"{path} ended with {type(problem).__name__}{where}: {first}") from problem
    finally:
        sys.path[:] = before
    found = {name: made[name] for name in NAMES if made.get(name) is not None}
    if not found.keys() - {"activations"}:
        raise ParameterError(
            f"{path} makes none of the modules: let it set bottom, top or middle, as they were for the fit"
        )
    return found
