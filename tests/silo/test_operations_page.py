"""The commands of docs/operations.md exist with the options that the page gives them."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from silo.cli import COMMANDS, cli

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S)).replace("\\\n", " ")
LINES = [line for line in BLOCKS.splitlines() if line.startswith("silo ")]
INLINE = [words for words in re.findall(r"`(silo [^`]+)`", PAGE) if "…" not in words]


@pytest.mark.parametrize("line", [*LINES, *INLINE])
def test_a_command_of_the_page_is_understood(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    assert words[0] in COMMANDS
    if importlib.util.find_spec(f"silo.cli.{words[0]}") is None:
        pytest.skip(f"silo {words[0]} is not in this build")
    context = click.Context(cli)
    command = cli.get_command(context, words.pop(0))
    if isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0))
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_nobody_needs_more_than_four_commands() -> None:
    coordinator, member = PAGE.split("## Each member")
    member = member.split("\n## ")[0]
    for part in (coordinator, member):
        numbers = [int(number) for number in re.findall(r"# (\d)(?::|\n)", part)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert 3 <= len(numbers) <= 4
