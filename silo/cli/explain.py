"""`silo explain CODE`: the page of an error code."""

from __future__ import annotations

import re
from importlib import resources

import click

from silo.cli import output
from silo.errors import ParameterError


@click.command()
@click.argument("code")
@output.json_option
def explain(code: str, as_json: bool) -> None:
    """Print the page of an error CODE, such as SILO-402."""
    wanted = code.upper()
    if not re.fullmatch(r"SILO-[0-9]{3}", wanted):
        raise ParameterError(f"{code[:20]!r} is not an error code: they look like SILO-402")
    page = resources.files("silo") / "pages" / f"{wanted}.md"
    if not page.is_file():
        raise ParameterError(f"this version has no error {wanted}")
    text = page.read_text(encoding="utf-8")
    if as_json:
        output.emit_json({"code": wanted, "page": text})
    else:
        click.echo(text, nl=False)
