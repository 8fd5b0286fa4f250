"""`silo score`: rows under a joint model, of which every member has its own part and its own columns."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silo.cli import output

if TYPE_CHECKING:
    from silo.charter import Charter, Task
    from silo.csv_table import Table

_SHOWN = 200


@click.command()
@click.argument("model_path", metavar="MODEL", type=click.Path())
@click.argument("table_path", metavar="[TABLE]", type=click.Path(), required=False)
@click.option("--charter", "charter_path", required=True, help="The agreement, signed by all.")
@click.option("--identity", "identity_path", required=True, help="Folder of this organisation's keys.")
@click.option("--task", help="Which task of the charter; not needed when there is one.")
@click.option(
    "--column",
    metavar="ID",
    help="Intersect this column of identifiers first.  [default: all tables have the same rows in the same order]",
)
@click.option(
    "--modules",
    "modules_path",
    metavar="FILE",
    help="Of a split network: a Python file that sets bottom, top or middle, and activations where these have noise.",
)
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    help="Where the member with the labels gets the scores; TABLE-scores.csv by default.",
)
@click.option("--quiet", is_flag=True, help="No progress line.")
@output.passphrase_options
@output.json_option
def score(
    model_path: str,
    table_path: str | None,
    charter_path: str,
    identity_path: str,
    task: str | None,
    column: str | None,
    modules_path: str | None,
    out: str | None,
    quiet: bool,
    passphrase_env: str | None,
    passphrase_prompt: bool,
    as_json: bool,
) -> int:
    """Score the rows of the CSV table TABLE with the other members, who run the same command.

    MODEL is this member's part of a joint model, as its `save` wrote it. Who had the labels in the fit gets the scores.
    A compute partner of a split network has no TABLE.
    """
    from silo import csv_table, identifiers
    from silo.charter import Charter
    from silo.cli import MISTAKE
    from silo.cli.party import take_part
    from silo.cli.waiting import follow
    from silo.extras import need
    from silo.identity import Identity
    from silo.joining import join
    from silo.protocols.errors import UnlikeTerms

    need("scoring", "vertical", "sklearn", "narwhals")
    words = output.passphrase(passphrase_env, passphrase_prompt)
    agreed = Charter.load(charter_path)
    _require_no_script(agreed.task(task))
    own = Identity.load(identity_path, words)
    model = _part(model_path, agreed, own.name, modules_path)
    leads = model.member_ == model.label_party_
    table = _table(table_path, model, column)
    names = _columns(model, table, column)
    x = table.matrix(names) if table_path else None
    ids = identifiers.encode(table.text(column), f"column {column} of {table.where}") if column else None
    given = Path(table_path or model_path)
    target = Path(out) if out else given.with_name(f"{given.stem}-scores.csv")
    if leads:
        csv_table.require_new(target, "-o")
        _require_free(table, _headings(model))
    started = time.monotonic()
    session = join(agreed, own, task=task)
    progress = follow(session, rounds=0, shown=not quiet and not as_json)
    differ: list[UnlikeTerms] = []

    def work() -> Any:
        try:
            model.set_params(session=session)
            # An intersection counts as a query at all members.
            model.require_scoring()
            places = None if ids is None else session.intersect(ids, column=f"column {column}")
            predict = model.predict_proba if _classifies(model) else model.predict
            rows = x if places is None or x is None else x[places]
            if names:
                _require_numbers(model, table.where, names, rows)
            return places, predict(rows)
        except UnlikeTerms as problem:
            differ.append(problem)
            raise

    folder = Path(identity_path)
    ended = take_part(session, work, progress=progress, what=model_path, folder=folder, as_json=as_json)
    if ended.code:
        # Where the roll call names this member, its part or its table is the wrong one, as far as anybody can tell.
        return MISTAKE if any(session.me in one.culprits for one in differ) else ended.code
    places, found = ended.result
    rows = table.rows if places is None else [table.rows[place] for place in places]
    if found is not None:
        numbers = found.reshape(len(rows), -1)[:, -len(_headings(model)) :].tolist()
        beside = ([*row, *one] for row, one in zip(rows, numbers, strict=True))
        csv_table.write(target, [*table.names, *_headings(model)], beside)
    traffic = session.seat.endpoint.traffic
    facts = {
        "member": session.me,
        "label_party": model.label_party_,
        "rows": len(rows) if table_path else None,
        "file": str(target) if found is not None else None,
        "bytes_sent": traffic.bytes_sent,
        "bytes_received": traffic.bytes_received,
        "seconds": round(time.monotonic() - started, 3),
    }
    if as_json:
        output.emit_json(facts)
    elif found is None:
        what = f"scoring {len(rows):,} rows" if table_path else "scoring"
        click.echo(f"{session.me} took part in {what}; {model.label_party_} has the scores")
    else:
        order = "" if column else "; all tables were taken to have the same rows in the same order"
        click.echo(f"{len(rows):,} rows scored with {', '.join(session.members)}, written to {target}{order}")
    return 0


def _require_no_script(task: Task) -> None:
    from silo.errors import NotAllowed

    if task.script:
        raise NotAllowed(
            f"task {task.name} runs one script only; have that one load the model and score, or name another task",
            task.script[:19],
            "silo score",
        )


def _part(path: str, charter: Charter, me: str, modules_path: str | None) -> Any:
    """The own part of a model of this charter's members. Raises `ParameterError`."""
    from silo.cli import modules
    from silo.errors import ParameterError
    from silo.vertical import load, share

    found = share.read(path)
    members, owner = found.get("members"), found.get("member")
    if isinstance(members, list) and not members:
        raise ParameterError(f"{path} was fitted on one table: its predict needs nobody else")
    if isinstance(members, list) and tuple(members) != charter.names:
        raise ParameterError(
            f"{path} is a part of a model of {', '.join(map(str, members))[:_SHOWN]}, and the charter is of "
            f"{', '.join(charter.names)}: take the model that these fitted"
        )
    if isinstance(owner, str) and owner != me:
        raise ParameterError(f"{path} is the part of {owner[:_SHOWN]}, and {me} takes part: take your own")
    return load(path, **(modules.read(modules_path) if modules_path else {}))


def _table(path: str | None, model: Any, identifier: str | None) -> Table:
    """The table; an empty one of a member that has none. Raises `ParameterError`."""
    from silo import csv_table
    from silo.errors import ParameterError

    partner = not model.n_features_in_ and model.member_ != model.label_party_
    if partner and identifier:
        raise ParameterError(
            "a compute partner has no identifiers: leave --column out, at the other member too"
        )
    if partner and path is not None:
        raise ParameterError("a compute partner has no TABLE: leave it out")
    if path is not None:
        return csv_table.read(path)
    if not partner:
        raise ParameterError(
            "name a TABLE of the rows to score: only a compute partner of a split network has none"
        )
    return csv_table.Table("", (), ())


def _columns(model: Any, table: Table, identifier: str | None) -> list[str]:
    """The columns of the fit, by their names; without names all but the identifier. Raises `ParameterError`."""
    from silo import csv_table
    from silo.errors import ParameterError

    known = getattr(model, "feature_names_in_", None)
    if known is not None:
        return [str(name) for name in known]
    if not model.n_features_in_:
        return []
    every = [name for name in table.names if name != identifier]
    if len(every) != model.n_features_in_:
        beside = f" beside {identifier}" if identifier else ""
        raise ParameterError(
            f"{table.where} has {len(every)} columns{beside} ({csv_table.shown(every)}), and the model was fitted "
            f"on an array of {model.n_features_in_} columns without names: keep those of the fit alone, in their "
            "order, or fit on a data frame, whose names are kept"
        )
    return every


def _require_numbers(model: Any, where: str, names: list[str], rows: Any) -> None:
    """Name a gap or a text by its column in the file, before anybody is sent a number. Raises `ParameterError`."""
    from silo.vertical import frames

    if not hasattr(model, "binning_"):  # trees take both
        frames.numeric(replace(frames.read(rows, who=where), names=tuple(names), named=True), who=where)


def _classifies(model: Any) -> bool:
    return hasattr(model, "predict_proba")


def _headings(model: Any) -> list[str]:
    """The new columns: the probability of the second of two classes, of each of more, or the value."""
    if not _classifies(model):
        return ["value"]
    classes = [str(one) for one in model.classes_] if hasattr(model, "classes_") else []
    return ["probability"] if len(classes) <= 2 else [f"probability {one}" for one in classes]


def _require_free(table: Table, headings: list[str]) -> None:
    from silo.errors import ParameterError

    taken = [name for name in headings if name in table.names]
    if taken:
        raise ParameterError(
            f"{table.where} has a column {taken[0]!r} already: rename it, the scores get this name"
        )
