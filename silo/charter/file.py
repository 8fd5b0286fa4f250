"""The charter as a TOML file: read strictly, written with a word of explanation.

Reading: at most 2 MiB, UTF-8, every key known, every value of its type; an error names the key.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from silo import private_file
from silo.card import Card
from silo.charter.terms import (
    NOISED,
    Intersection,
    Privacy,
    Relay,
    Signature,
    SumTerms,
    Task,
    Times,
    Vertical,
)
from silo.errors import CharterError, ParameterError

if TYPE_CHECKING:
    from silo.charter.model import Charter

MAX_FILE: Final = 2 * 1024 * 1024
T = TypeVar("T")


class _Table:
    """One TOML table, from which every key is taken exactly once; what is left over is unknown."""

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, dict):
            raise CharterError(f"[{where}] is missing or not a table")
        self._values = dict(values)
        self._where = where

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        value = self._values.pop(key, default)
        if value is None:
            raise CharterError(f"{self._where}.{key} is missing")
        if kind is float and type(value) is int:
            try:
                value = float(value)
            except OverflowError:
                raise CharterError(f"{self._where}.{key} is too large") from None
        # `type`, not isinstance: for TOML true is no number.
        if type(value) is not kind:
            raise CharterError(f"{self._where}.{key} must be {_WORDS[kind]}")
        return value

    def optional(self, key: str, kind: type[T]) -> T | None:
        """A word that older charters do not have."""
        return self.take(key, kind) if key in self._values else None

    def hexadecimal(self, key: str, size: int) -> bytes:
        text = self.take(key, str)
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(raw) != size or text != raw.hex():
            raise CharterError(f"{self._where}.{key} must be {2 * size} hexadecimal digits in lower case")
        return raw

    def moment(self, key: str) -> datetime:
        value = self.take(key, datetime)
        if value.tzinfo is None or value.microsecond:
            raise CharterError(
                f"{self._where}.{key} must be a date in whole seconds with a zone: 2027-01-31T12:00:00Z"
            )
        return value.astimezone(UTC)

    def tables(self, key: str) -> list[_Table]:
        rows = self.take(key, list, [])
        return [_Table(row, f"{key}.{place}") for place, row in enumerate(rows, start=1)]

    def table(self, key: str) -> _Table:
        return _Table(self._values.pop(key, None), key)

    def end(self) -> None:
        for key in self._values:
            raise CharterError(
                f"{self._where} has the unknown key {key[:60]!r}: remove it, or use a newer Silo"
            )


_WORDS: Final[dict[type[Any], str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    datetime: "a date with time and zone",
}


def read(path: str | Path) -> Charter:
    """Read and check a charter. Raises a `CharterError` that names the file and the key."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as problem:
        raise CharterError(f"the charter {path} cannot be read: {problem.strerror}") from None
    if len(raw) > MAX_FILE:
        raise CharterError(f"the charter {path} is larger than {MAX_FILE} bytes")
    return parse(raw, str(path))


def parse(raw: bytes, source: str = "charter.toml") -> Charter:
    """Read a charter from the bytes of a TOML file."""
    try:
        document = tomllib.loads(raw.decode())
    except tomllib.TOMLDecodeError as problem:
        raise CharterError(f"{source} is not TOML: {str(problem)[:120]}") from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise CharterError(f"{source} is not TOML: it is not readable text") from None
    try:
        return _charter(_Table(document, "the file"), source)
    except ParameterError as problem:
        raise CharterError(f"{source}: {problem}") from None
    except CharterError as problem:
        if type(problem) is CharterError:
            raise CharterError(f"{source}: {problem}") from None
        raise


def _charter(document: _Table, source: str) -> Charter:
    from silo.charter.model import VERSION, Charter

    head = document.table("charter")
    name, version = head.take("name", str), head.take("version", int)
    if version != VERSION:
        raise CharterError(
            f"charter.version is {version} and this Silo knows {VERSION}: use the same version everywhere"
        )
    created, expires = head.moment("created"), head.moment("expires")
    relay = document.table("relay")
    relay_terms = Relay(_card(relay), relay.take("url", str), relay.take("allow_interception", bool, False))
    member_tables = document.tables("members")
    members = tuple(_card(table) for table in member_tables)
    terms, time, results = document.table("sum"), document.table("time"), document.table("results")
    sum_terms = _sum(terms)
    times = Times(time.take("reconnect", float), time.take("silence", float), time.take("work", float))
    receivers = results.take("receivers", list)
    if not all(isinstance(name, str) for name in receivers):
        raise CharterError("results.receivers must be a list of names")
    task_tables, signature_tables = document.tables("tasks"), document.tables("signatures")
    privacy_tables = document.tables("privacy")
    tasks = tuple(_task(table) for table in task_tables)
    privacy = tuple(_privacy(table) for table in privacy_tables)
    intersections = document.table("intersection") if "intersection" in document._values else None
    signed = tuple(
        Signature(table.take("member", str), table.hexadecimal("signature", 64)) for table in signature_tables
    )
    asked = _intersection(intersections) if intersections else None
    verticals = document.table("vertical") if "vertical" in document._values else None
    together = _vertical(verticals) if verticals else None
    for table in (
        head,
        relay,
        *member_tables,
        terms,
        time,
        results,
        *task_tables,
        *privacy_tables,
        *signature_tables,
        *([intersections] if intersections else []),
        *([verticals] if verticals else []),
        document,
    ):
        table.end()
    return Charter(
        name,
        created,
        expires,
        relay_terms,
        members,
        sum_terms,
        times,
        tuple(receivers),
        tasks,
        signed,
        privacy,
        asked,
        together,
        source,
    )


def _card(table: _Table) -> Card:
    return Card(table.take("name", str), table.hexadecimal("key", 32), table.take("certificate", str))


def _sum(table: _Table) -> SumTerms:
    graph = table._values.get("graph")
    kind: type[str] | type[int] = str if isinstance(graph, str) else int
    degree = table.take("graph", kind)
    if isinstance(degree, str) and degree != "complete":
        raise CharterError('sum.graph must be "complete" or an even number')
    return SumTerms(
        protocol=table.take("protocol", str),
        blinded=table.take("blinded", bool),
        graph=cast(Any, degree),
        bits=table.take("bits", int),
        clip=table.take("clip", float),
        overflow=cast(Any, table.take("overflow", str)),
        minimum_cohort=table.take("minimum_cohort", int),
        threshold=table.take("threshold", int),
        colluders=table.take("colluders", int),
        changed_cohort=cast(Any, table.take("changed_cohort", str)),
        two_party=table.take("two_party", str, ""),
        key_holder=table.take("key_holder", str, ""),
        key=table.take("key", str, ""),
    )


def _task(table: _Table) -> Task:
    return Task(
        name=table.take("name", str),
        rounds=table.take("rounds", int),
        rows=table.take("rows", int),
        bytes=table.take("bytes", int),
        expires=table.moment("expires"),
        script=table.take("script", str, ""),
        model=table.take("model", str, ""),
    )


def _intersection(table: _Table) -> Intersection:
    reveal = table.take("reveal", list)
    if not all(isinstance(one, str) for one in reveal):
        raise CharterError("intersection.reveal must be a list of words")
    return Intersection(
        tuple(reveal), table.take("rows", int), table.take("queries", int), table.take("minimum", int)
    )


def _vertical(table: _Table) -> Vertical:
    models, noised = table.take("models", list), table.take("noised", list, list(NOISED))
    for key, words in (("models", models), ("noised", noised)):
        if not all(isinstance(one, str) for one in words):
            raise CharterError(f"vertical.{key} must be a list of words")
    return Vertical(
        tuple(models),
        table.take("label", str),
        table.take("rows", int),
        table.take("passes", int),
        table.take("trees", int),
        table.take("fits", int),
        tuple(noised),
        scorings=table.optional("scorings", int),
        classes=table.optional("classes", int),
    )


def _privacy(table: _Table) -> Privacy:
    return Privacy(
        member=table.take("member", str),
        dataset=table.take("dataset", str),
        epsilon=table.take("epsilon", float),
        delta=table.take("delta", float),
        unit=table.take("unit", str),
        without_noise=cast(Any, table.take("without_noise", str)),
    )


def write(charter: Charter, path: str | Path) -> None:
    """Write the file beside itself and move it into place."""
    try:
        with private_file.replacing(Path(path), mode=0o644) as file:
            file.write(render(charter).encode())
    except OSError as problem:
        raise CharterError(f"the charter {path} cannot be written: {problem.strerror}") from None


def render(charter: Charter) -> str:
    """The TOML text of a charter."""
    import tomlkit

    from silo.charter.model import VERSION

    terms, relay = charter.sum, charter.relay
    document = tomlkit.document()
    document.add(
        tomlkit.comment("A Silo charter. Every member signs it: silo charter sign FILE --identity DIR")
    )
    document.add(
        tomlkit.comment(
            "Whoever changes a value makes all signatures false; comments and layout do not count."
        )
    )
    head = {"name": charter.name, "version": VERSION, "created": charter.created, "expires": charter.expires}
    document["charter"] = head
    document["relay"] = {
        **_card_fields(relay.card),
        "url": relay.url,
        "allow_interception": relay.allow_interception,
    }
    document["members"] = _array([_card_fields(card) for card in charter.members])
    document["sum"] = {
        "protocol": terms.protocol,
        "blinded": terms.blinded,
        "graph": terms.graph,
        "bits": terms.bits,
        "clip": terms.clip,
        "overflow": terms.overflow,
        "minimum_cohort": terms.minimum_cohort,
        "threshold": terms.threshold,
        "colluders": terms.colluders,
        "changed_cohort": terms.changed_cohort,
        "two_party": terms.two_party,
        "key_holder": terms.key_holder,
        "key": terms.key,
    }
    document["time"] = {
        "reconnect": charter.time.reconnect,
        "silence": charter.time.silence,
        "work": charter.time.work,
    }
    document["results"] = {"receivers": list(charter.receivers)}
    tasks = [
        {
            "name": task.name,
            **({"script": task.script} if task.script else {}),
            **({"model": task.model} if task.model else {}),
            "rounds": task.rounds,
            "rows": task.rows,
            "bytes": task.bytes,
            "expires": task.expires,
        }
        for task in charter.tasks
    ]
    document["tasks"] = _array(tasks)
    if charter.privacy:
        policies = [{name: getattr(one, name) for name in Privacy.__slots__} for one in charter.privacy]
        document["privacy"] = _array(policies)
    if charter.intersection:
        asked = charter.intersection
        document["intersection"] = {
            "reveal": list(asked.reveal),
            "rows": asked.rows,
            "queries": asked.queries,
            "minimum": asked.minimum,
        }
    if charter.vertical:
        together = charter.vertical
        document["vertical"] = {
            **together.words(),
            "models": list(together.models),
            "noised": list(together.noised),
        }
    if charter.signatures:
        rows = [{"member": one.member, "signature": one.value.hex()} for one in charter.signatures]
        document["signatures"] = _array(rows)
    return tomlkit.dumps(document)


def _card_fields(card: Card) -> dict[str, Any]:
    import tomlkit

    certificate = tomlkit.string(card.certificate, multiline=True)
    return {"name": card.name, "key": card.key.hex(), "certificate": certificate}


def _array(rows: list[dict[str, Any]]) -> Any:
    import tomlkit

    array = tomlkit.aot()
    for row in rows:
        table = tomlkit.table()
        table.update(row)
        array.append(table)
    return array
