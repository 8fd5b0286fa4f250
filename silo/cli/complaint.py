"""How every command says that it failed: lines for people on standard error, and with `--json` one object for programs.

The object goes where a result would have gone, to standard output, in one line:

    {"error": {"code": "SILO-402", "message": "the charter is not signed by …", "help": "silo explain SILO-402"}}

So a program that reads standard output finds one JSON document in any case; the exit code is the same with and without.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; what stands behind `--` belongs to a script."""
    own = words[: words.index("--")] if "--" in words else words
    return "--json" in own


def say(
    *lines: str, as_json: bool, code: str | None, message: str, help: str | None = None, **more: Any
) -> None:
    """Print `lines` for people, and the error as JSON if that was asked for.

    `code` is None where nothing of Silo failed, as when the user stopped it. `help` is a command, or a sentence.
    """
    for line in lines:
        click.echo(line, err=True)
    if as_json:
        told = {"code": code, "message": message, "help": help or (f"silo explain {code}" if code else None)}
        click.echo(json.dumps({"error": told | more}, ensure_ascii=False))


def one_line(text: str) -> str:
    """A sentence without line breaks."""
    return " ".join(text.split())
