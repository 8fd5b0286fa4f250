"""The command line: `silo COMMAND`. Each command is a module of this package, imported when it is used.

Exit codes: 0 done; 1 it failed, or a check did not hold; 2 the user's mistake or a refusal, in one sentence.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from silo.cli import complaint
from silo.crypto.errors import SiloError

COMMANDS: Final = {
    "demo": "Run an example with several parties on this machine.",
    "keygen": "Make an identity: a signing key and a TLS certificate.",
    "charter": "Write, sign, verify or show the agreement.",
    "relay": "Run the process that all members dial.",
    "join": "Run an agreed script as a member.",
    "psi": "Find the rows that all members have in common.",
    "score": "Score rows under a model of which every member has a part.",
    "ledger": "See what was spent of each data set's privacy, and check it.",
    "audit": "Show what left this site, and whether the noise is what it claims.",
    "doctor": "Find out what keeps this machine from taking part.",
    "bench": "Measure, against a peer or a physical limit.",
    "explain": "Explain an error code.",
}
"""Help of one line each, here so that `silo --help` imports no command."""

MISTAKE: Final = 2
FAILURE: Final = 1


class Silo(click.Group):
    """The group that finds its commands lazily, and turns every error into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # The name comes from the table above, never from the user.
        module = importlib.import_module(f"silo.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        as_json = complaint.asks_for_json(given)
        try:
            result = super().main(given, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as mistake:
            click.echo(mistake.format_message(), err=True)
            sys.exit(MISTAKE)
        except click.ClickException as mistake:
            context = mistake.ctx if isinstance(mistake, click.UsageError) else None
            told, help_ = complaint.one_line(mistake.format_message()), _help(context)
            where = f" (try `{help_}`)" if help_ else ""
            complaint.say(
                f"error [SILO-102]: {told}{where}", as_json=as_json, code="SILO-102", message=told, help=help_
            )
            sys.exit(MISTAKE)
        except (click.Abort, KeyboardInterrupt):
            told = "stopped by the user"
            complaint.say(told, as_json=as_json, code=None, message=told)
            sys.exit(130)
        except SiloError as refusal:
            if "--debug" in given:
                raise
            told = complaint.one_line(str(refusal))
            complaint.say(f"error [{refusal.code}]: {told}", as_json=as_json, code=refusal.code, message=told)
            sys.exit(MISTAKE)
        except BrokenPipeError:
            # The reader of our output has left (`silo … | head`): there is nobody to tell.
            sys.exit(FAILURE)
        except Exception as surprise:
            if "--debug" in given:
                raise
            # Only the class: the text of an unforeseen exception can hold a value of a record.
            told, place = f"{type(surprise).__name__}, which Silo did not foresee", f"at {_place(surprise)}"
            remedy = "run it again as `silo --debug …` to see the traceback; it may hold values of records"
            complaint.say(
                f"error [SILO-000]: {told}",
                place,
                remedy,
                as_json=as_json,
                code=SiloError.code,
                message=f"{told}, {place}",
                help=remedy,
            )
            sys.exit(FAILURE)
        sys.exit(result if isinstance(result, int) else 0)


@click.command(cls=Silo, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="silo-privacy", message="silo %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Silo: learn something together, and show nobody your records."""


def main() -> None:
    """Entry point of the `silo` command."""
    cli()


def _help(context: click.Context | None) -> str | None:
    return f"{context.command_path} --help" if context else None


def _place(problem: BaseException) -> str:
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}, line {trace.tb_lineno}"
