"""How commands speak: text for people, one JSON document for programs, a passphrase without an echo."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from silo.errors import IdentityError
from silo.plain_table import table as table

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Add `--json`, passed as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def passphrase_options(command: F) -> F:
    """Add `--passphrase-env` and `--passphrase-prompt`; read them with `passphrase`."""
    command = click.option("--passphrase-prompt", is_flag=True, help="Ask for the identity's passphrase.")(
        command
    )
    return click.option(
        "--passphrase-env",
        metavar="VAR",
        help="Take the identity's passphrase from this environment variable.",
    )(command)


def passphrase(variable: str | None, prompt: bool, *, confirm: bool = False) -> str | None:
    """The passphrase, or None when neither option was given. Raises `IdentityError` for a missing variable.

    It is never an argument of its own: arguments are seen by every process of the machine.
    """
    if variable and prompt:
        raise IdentityError("--passphrase-env and --passphrase-prompt exclude each other: give one")
    if variable:
        value = os.environ.get(variable)
        if not value:
            raise IdentityError(
                f"the environment variable {variable} is not set, or empty: set it to the passphrase"
            )
        return value
    if prompt:
        return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
    return None


def emit_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: object) -> object:
    """Arrays, tensors and their scalars as lists and numbers; paths and the like as text."""
    for method in ("tolist", "item"):
        convert = getattr(value, method, None)
        if callable(convert):
            return convert()
    return str(value)


def amount(count: int) -> str:
    """Bytes for people: 1.5 MB."""
    if count < 1000:
        return f"{count} B"
    value, units = count / 1000, ["kB", "MB", "GB", "TB", "PB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.1f} {units[0]}"
