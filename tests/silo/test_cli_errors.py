"""Errors under `--json`: one object on standard output, the same exit codes, and no value of a record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from silo import cli as module
from silo.cli import COMMANDS, cli, complaint
from silo.cli.party import take_part
from silo.errors import ParameterError, UpdateReused
from silo.progress import Progress
from silo.protocols.errors import ProtocolAborted
from silo.transport.base import TransportError
from silo.transport.errors import MessageTooLarge, RelayLost, TakenOver


def commands(group: click.Group = cli, *words: str) -> Iterator[tuple[str, ...]]:
    """Every command that takes `--json`, as its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, *words, name)
        elif command is not None and any("--json" in one.opts for one in command.params):
            yield (*words, name)


JSON = list(commands())


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def error(result: Result) -> dict[str, Any]:
    """The one object on standard output."""
    document = json.loads(result.stdout)
    assert list(document) == ["error"]
    assert {"code", "message", "help"} <= set(document["error"])
    found: dict[str, Any] = document["error"]
    return found


def test_the_commands_are_found() -> None:
    assert {words[0] for words in JSON} == set(COMMANDS)
    assert ("charter", "new") in JSON


@pytest.mark.parametrize("words", JSON, ids=" ".join)
def test_a_mistake_is_one_object_at_every_command(words: tuple[str, ...]) -> None:
    plain, told = run(*words, "--nonsense"), run(*words, "--json", "--nonsense")
    assert plain.exit_code == told.exit_code == 2
    assert plain.stdout == ""
    found = error(told)
    assert found["code"] == "SILO-102"
    assert "--nonsense" in found["message"]
    assert found["help"].endswith(f"{' '.join(words)} --help")
    assert told.stderr == plain.stderr


def test_a_refusal_is_one_object_with_the_page_that_explains_it(tmp_path: Path) -> None:
    path = str(tmp_path / "absent.toml")
    plain, told = run("charter", "verify", path), run("charter", "verify", path, "--json")
    assert plain.exit_code == told.exit_code == 2
    assert plain.stdout == ""
    found = error(told)
    assert (found["code"], found["help"]) == ("SILO-401", "silo explain SILO-401")
    assert told.stderr == plain.stderr == f"error [SILO-401]: {found['message']}\n"


def test_a_surprise_is_one_object_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def broken(as_json: bool) -> None:
        raise KeyError("patient 4711")

    monkeypatch.setattr(module, "COMMANDS", {"keygen": "…"})
    monkeypatch.setattr("silo.cli.keygen.keygen", broken)
    told = run("keygen", "--json")
    assert told.exit_code == 1
    assert "4711" not in told.output
    found = error(told)
    assert found["code"] == "SILO-000"
    assert found["message"].startswith("KeyError, which Silo did not foresee, at tests")
    assert "silo --debug" in found["help"]


def test_who_stops_a_command_is_no_error_code(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def stopped(as_json: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("silo.cli.keygen.keygen", stopped)
    told = run("keygen", "--json")
    assert told.exit_code == 130
    assert error(told) == {"code": None, "message": "stopped by the user", "help": None}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["join", "a.py", "--json"], True),
        (["join", "a.py", "--json", "--", "x"], True),
        (["join", "a.py", "--", "--json"], False),
        (["join", "a.py"], False),
    ],
)
def test_what_stands_behind_two_dashes_is_the_script_s(words: list[str], wanted: bool) -> None:
    assert complaint.asks_for_json(words) is wanted


class Session:
    """As much of a session as the command line asks."""

    me = "mercy"
    charter = SimpleNamespace(names=("clinic", "mercy"))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def ended(problem: BaseException, folder: Path, *, as_json: bool) -> int:
    def work() -> Any:
        raise problem

    session: Any = Session()
    return take_part(session, work, progress=Progress(), what="train.py", folder=folder, as_json=as_json).code


@pytest.mark.parametrize(
    ("problem", "code", "exit_code", "next_"),
    [
        (ParameterError("no such column"), "SILO-101", 2, "do what the sentence says"),
        (ProtocolAborted("clinic left", ("clinic",)), "SILO-210", 1, "ask clinic what its last lines say"),
        (RelayLost("relay.example", 443, 15.0, "closed"), "SILO-303", 1, "when the relay is back"),
        (TransportError("the relay has ended the session"), "SILO-301", 1, "when the relay is back"),
        (TakenOver("mercy"), "SILO-302", 1, "look where else `silo` runs as mercy"),
        (MessageTooLarge(5, 4), "SILO-316", 1, "do what the sentence says"),
        (UpdateReused("it left before"), "SILO-431", 2, "these values cannot be summed again here"),
        (KeyError("patient 4711"), "SILO-000", 1, "less "),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_member_s_last_words_are_one_object_too(
    problem: Exception,
    code: str,
    exit_code: int,
    next_: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(problem, tmp_path, as_json=False) == exit_code
    plain = capsys.readouterr()
    assert plain.out == ""
    assert [line.split(":")[0] for line in plain.err.splitlines()] == ["who", "what", "why", "next"]
    assert ended(problem, tmp_path, as_json=True) == exit_code
    told = capsys.readouterr()
    assert told.err == plain.err
    found = json.loads(told.out)["error"]
    assert (found["code"], found["help"]) == (code, f"silo explain {code}")
    assert next_ in found["next"]
    assert f"next: {found['next']}" in plain.err
    assert "4711" not in told.out + told.err


def test_the_relay_s_word_is_called_its_word() -> None:
    assert str(TakenOver("mercy")).startswith("the relay says that mercy is already connected")


def test_the_page_of_surprises_says_where_the_traceback_is() -> None:
    text = run("explain", "SILO-000").stdout
    assert "`--debug` between `silo` and the command" in text
    assert "last-error.txt" in text
    broken = run("--debug", "charter", "show", "absent.toml")
    assert broken.exception is not None
    assert not isinstance(broken.exception, SystemExit)


def test_a_traceback_is_where_the_page_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended(KeyError("patient 4711"), tmp_path, as_json=False)
    path = tmp_path / "last-error.txt"
    assert f"next: less {path}" in capsys.readouterr().err
    assert "KeyError: 'patient 4711'" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
