"""One member's part of a joint model in a file: JSON, readable by its owner only, of a known version.

Parts of one model carry the same `model` id; a part is of no use without the others. Nothing in it is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from silo import private_file
from silo.errors import ParameterError

FORMAT: Final = "silo vertical model"
VERSION: Final = 1
_MOST: Final = 1 << 28
_LARGEST: Final = 1e300
"""Python's whole numbers know no end, and doubles do."""

Share = dict[str, Any]


def write(path: str | Path, share: Mapping[str, Any]) -> None:
    """Write a part beside itself and move it into place, mode 0600. Raises `ParameterError`."""
    target = Path(path)
    text = json.dumps({"format": FORMAT, "version": VERSION, **share}, allow_nan=False, indent=1)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with private_file.replacing(target) as file:
            file.write(text.encode())
    except OSError as problem:
        raise ParameterError(f"the model {path} cannot be written: {problem.strerror}") from None


def read(path: str | Path, *, kinds: tuple[str, ...] = ()) -> Share:
    """Read a part of one of `kinds`. Raises `ParameterError`."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_MOST + 1)
    except OSError as problem:
        raise ParameterError(f"the model {path} cannot be read: {problem.strerror}") from None
    if len(raw) > _MOST:
        raise ParameterError(f"the model {path} is larger than {_MOST} bytes")
    try:
        share = json.loads(raw.decode())
    except (ValueError, RecursionError):
        raise ParameterError(f"{path} is no part of a model: it is not JSON") from None
    if not isinstance(share, dict) or share.get("format") != FORMAT:
        raise ParameterError(f"{path} is no part of a model that Silo saved")
    if share.get("version") != VERSION:
        raise ParameterError(
            f"{path} is of version {str(share.get('version'))[:20]} and this Silo reads {VERSION}: use a newer Silo"
        )
    if kinds and share.get("kind") not in kinds:
        raise ParameterError(
            f"{path} holds a model of the kind {str(share.get('kind'))[:40]!r}, not {' or '.join(kinds)}"
        )
    return share


def numbers(share: Share, name: str) -> list[float]:
    """A list of finite numbers of a part. Raises `ParameterError`."""
    found = share.get(name)
    if not isinstance(found, list) or not all(
        isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < _LARGEST for one in found
    ):
        raise ParameterError(f"the part of a model has no list of numbers called {name}")
    return [float(one) for one in found]


def words(share: Share, name: str) -> tuple[str, ...]:
    """A list of texts of a part. Raises `ParameterError`."""
    found = share.get(name)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ParameterError(f"the part of a model has no list of words called {name}")
    return tuple(found)
