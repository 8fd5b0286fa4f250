"""Read the published vectors that the `cryptography_vectors` package carries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors

FOLDER = Path(cryptography_vectors.__file__).parent


def cases(path: str) -> Iterator[dict[str, str]]:
    """Yield the cases of a file of `NAME = value` lines; cases begin at COUNT and carry their sections."""
    sections: dict[str, str] = {}
    case: dict[str, str] = {}
    for line in (FOLDER / path).read_text().splitlines():
        line = line.strip()
        if line.startswith("["):
            name, _, value = line.strip("[]").partition("=")
            if case:
                yield sections | case
                case = {}
            sections[name.strip().upper()] = value.strip()
        elif line == "FAIL":
            case["FAIL"] = "yes"
        elif "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            if name.strip().upper() == "COUNT" and case:
                yield sections | case
                case = {}
            case[name.strip().upper()] = value.strip()
    if case:
        yield sections | case
