"""`silo ledger`: open a budget, see what was spent, and let others check it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from silo.cli import output

if TYPE_CHECKING:
    from silo.privacy.ledger import Ledger
    from silo.privacy.verify import Recomputed, Verified

_LARGE_DELTA = 1e-2
F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def ledger() -> None:
    """The ledger of privacy spent: LEDGER is its file, or an identity's directory."""


def _owned(command: F) -> F:
    command = output.passphrase_options(command)
    return click.option(
        "--identity", metavar="DIR", help="Whose ledger it is; without, the key beside the file."
    )(command)


def _checked(command: F) -> F:
    for option in (
        click.option(
            "--witness", "witnesses", multiple=True, metavar="LINE", help="A head that was kept elsewhere."
        ),
        click.option(
            "--witness-card", "partners", multiple=True, metavar="CARD", help="The card of a witness."
        ),
        click.option(
            "--card", metavar="CARD", help="The owner's card; without it the ledger's own word counts."
        ),
    ):
        command = option(command)
    return command


@ledger.command("open")
@click.argument("path", metavar="LEDGER")
@click.option("--dataset", required=True, metavar="NAME", help="A name for the records.")
@click.option("--epsilon", required=True, type=float, help="For all that is ever released of them.")
@click.option("--delta", required=True, type=float, help="Well below 1 / (number of units).")
@click.option("--unit", default="record", show_default=True, help="Whose privacy counts: record, patient, …")
@click.option("--parent", default="", metavar="NAME", help="The data set that it descends from.")
@click.option(
    "--relation", type=click.Choice(["derived", "part"]), help="Derived from it, or a disjoint part."
)
@click.option("--content", metavar="FILE", help="The records: the same file is never given a second budget.")
@_owned
@output.json_option
def open_(path: str, dataset: str, as_json: bool, **options: Any) -> None:
    """Open the budget of a data set; it is never raised or refilled."""
    from silo.privacy.budget import Budget
    from silo.privacy.dataset import Description

    with _write(path, options) as book:
        description = Description(
            unit=options["unit"],
            parent=options["parent"],
            relation=options["relation"] or "",
            content=book.commitment(options["content"]) if options["content"] else b"",
        )
        account = book.add(dataset, Budget(options["epsilon"], options["delta"]), description)
        head = str(book.head)
        budget = account.budget
    if budget.delta > _LARGE_DELTA:
        click.echo(
            f"warning: delta {budget.delta:g} allows to publish {budget.delta:.0%} of all records whole; take one "
            "well below 1 / (number of units)",
            err=True,
        )
    if as_json:
        output.emit_json({"dataset": dataset, "epsilon": budget.epsilon, "delta": budget.delta, "head": head})
        return
    click.echo(
        f"{dataset}: epsilon {budget.epsilon:g}, delta {budget.delta:g} per {description.unit}, in {path}"
    )


@ledger.command()
@click.argument("path", metavar="LEDGER")
@output.json_option
def show(path: str, as_json: bool) -> None:
    """Show what was spent of each data set, and on what."""
    from silo.privacy import summary
    from silo.privacy.verify import verify

    facts = summary.of(verify(_there(path)))
    if as_json:
        output.emit_json(facts)
    else:
        click.echo(summary.screen(facts), nl=False)


@ledger.command("verify")
@click.argument("path", metavar="LEDGER")
@_checked
@output.json_option
def verify_(
    path: str,
    card: str | None,
    witnesses: tuple[str, ...],
    partners: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check every record and recompute epsilon, offline; LEDGER may be an export."""
    check(path, card, witnesses, partners, as_json)


def check(
    path: str, card: str | None, witnesses: tuple[str, ...], partners: tuple[str, ...], as_json: bool
) -> None:
    """What `ledger verify` and `audit ledger` do."""
    from silo.privacy import summary
    from silo.privacy.verify import recompute

    verified = _verified(path, card, witnesses, partners)
    found = recompute(verified.books)
    if as_json:
        output.emit_json(summary.verification(verified, found))
        return
    click.echo(_screen(path, verified, found), nl=False)


@ledger.command()
@click.argument("path", metavar="LEDGER")
@click.option("--html", "page", default="ledger.html", show_default=True, metavar="FILE")
@click.option("--png", metavar="DIR", help="Also write the plots as PNG files.")
@click.option(
    "--audit", "audits", multiple=True, metavar="FILE", help="JSON of `silo audit noise`, shown beside."
)
@_checked
@output.json_option
def report(
    path: str, page: str, png: str | None, audits: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Write one page that an auditor can read."""
    from silo.privacy.verify import recompute
    from silo.report import ledger as ledger_page

    verified = _verified(path, options["card"], options["witnesses"], options["partners"])
    ledger_page.write(
        verified,
        recompute(verified.books),
        Path(page),
        png=Path(png) if png else None,
        audits=[_json(one) for one in audits],
    )
    if as_json:
        output.emit_json({"html": page, "png": png})
    else:
        click.echo(f"written to {page}")


@ledger.command()
@click.argument("path", metavar="LEDGER")
@click.option("-o", "--out", required=True, metavar="FILE")
@output.json_option
def export(path: str, out: str, as_json: bool) -> None:
    """Write all records into one text file, for whoever verifies them elsewhere."""
    from silo.privacy import export as text

    count = text.write(text.read(_there(path)), Path(out))
    if as_json:
        output.emit_json({"file": out, "records": count})
    else:
        click.echo(f"{count} records written to {out}; check them with `silo ledger verify {out}`")


@ledger.command()
@click.argument("path", metavar="LEDGER")
@output.json_option
def witness(path: str, as_json: bool) -> None:
    """Print the line that partners keep of this ledger, and the lines that they signed."""
    from silo.privacy.verify import verify

    verified = verify(_there(path))
    signed = [str(one) for _, one in sorted(verified.books.witnessed.items())]
    shown = [str(one) for _, heads in sorted(verified.books.heads.items()) for one in heads]
    if as_json:
        output.emit_json({"head": str(verified.sealed), "witnessed": signed, "seen": shown})
        return
    click.echo(f"the head of this ledger, for others to keep:\n{verified.sealed}\n")
    click.echo("signed by partners:" if signed else "no partner has signed a head of this ledger yet")
    for line in signed:
        click.echo(line)
    if shown:
        click.echo("\nheads of partners' ledgers that were seen here, for whoever audits them:")
    for line in shown:
        click.echo(line)


@ledger.command()
@click.argument("path", metavar="LEDGER")
@click.option("--dataset", required=True, metavar="NAME")
@click.option("--epsilon", default=0.0, help="What was spent outside this ledger, or lost from it.")
@click.option("--delta", default=0.0)
@click.option("--reason", required=True, help="For the auditor.")
@click.option("--lift", is_flag=True, help="End a freeze.")
@click.option("--yes", is_flag=True, help="Even if it uses the budget up: nothing is ever taken back.")
@_owned
@output.json_option
def adjust(path: str, dataset: str, epsilon: float, delta: float, as_json: bool, **options: Any) -> None:
    """Charge what was spent elsewhere; nothing is ever taken back."""
    from silo.errors import ParameterError
    from silo.privacy.events import EpsilonDelta

    with _write(path, options) as book:
        event = EpsilonDelta(epsilon, delta)
        count = 1 if epsilon or delta else 0
        if count and not options["yes"] and not book.account(dataset).affords(event):
            raise ParameterError(
                f"epsilon {epsilon:g} at delta {delta:g} uses up the budget of {dataset}, for good: "
                "run it again with --yes if that is so"
            )
        book.adjust(dataset, event, count, reason=options["reason"], lift=options["lift"])
        used = book.account(dataset).used
    if as_json:
        output.emit_json({"dataset": dataset, "used": used})
    else:
        click.echo(f"{dataset}: {_share(used)} of the budget is used")


def _write(path: str, options: dict[str, Any]) -> Ledger:
    from silo.identity import Identity
    from silo.privacy.ledger import Ledger

    words = output.passphrase(options["passphrase_env"], options["passphrase_prompt"])
    own = Identity.load(options["identity"], words) if options["identity"] else None
    return Ledger.open(_file(path), own)


def _file(path: str) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        return folder
    below, beside = folder / "state" / "ledger.db", folder / "ledger.db"
    # A new one goes where a session of this identity looks for it.
    return below if below.exists() or (below.parent.is_dir() and not beside.exists()) else beside


def _there(path: str) -> Path:
    """The file to read. Raises `LedgerError` for an identity without one: it has no budget, which is no damage."""
    from silo.privacy.errors import LedgerError

    file = _file(path)
    if Path(path).is_dir() and not file.exists():
        raise LedgerError(
            f"there is no ledger in {path}: no data set was given a privacy budget here and nothing was counted, "
            "unless the file was taken away; a charter gives budgets, by `silo charter new --privacy …`"
        )
    return file


def _verified(path: str, card: str | None, witnesses: tuple[str, ...], partners: tuple[str, ...]) -> Verified:
    from silo.card import Card
    from silo.privacy.verify import verify

    cards = [Card.load(one) for one in partners]
    key = Card.load(card).key if card else None
    return verify(_there(path), key=key, witnesses=witnesses, cards={one.name: one.key for one in cards})


def _json(path: str) -> dict[str, Any]:
    import json

    from silo.errors import ParameterError

    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ParameterError(f"{path} is not the JSON of an audit: write it with `silo audit noise --json`")
    return found


def _screen(path: str, verified: Verified, found: list[Recomputed]) -> str:
    from silo.privacy import summary

    rows = [
        [
            one.dataset,
            f"{one.limit:g}",
            f"{one.delta:g}",
            "infinite" if one.unprotected else _epsilon(one.pld),
            _epsilon(one.filter),
            _epsilon(one.rdp),
            _epsilon(one.prv),
        ]
        for one in found
    ]
    header = ["data set", "budget", "delta", "epsilon (PLD)", "filter", "RDP", "PRV"]
    lines = [
        f"{path}: {verified.records} records of {verified.books.owner} hold together",
        "",
        output.table(header, rows, right=range(1, 7)),
        "",
        *summary.caveats(verified),
    ]
    return "\n".join(lines) + "\n"


def _epsilon(value: float | None) -> str:
    if value is None:
        return "-"
    return "infinite" if math.isinf(value) else f"{value:.3f}"


def _share(used: float) -> str:
    return "all and more" if math.isinf(used) else f"{used:.1%}"
