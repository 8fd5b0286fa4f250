"""Private set intersection: the work of both parties against another library, and a million rows over the relay.

What counts is work on one core. A side is held to its cores by the operating system, and both parties of it share them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final

from silo.bench import Row, Settings
from silo.bench.measure import Side, Timing, alternate, timed
from silo.bench.processes import INTERSECT, federation
from silo.charter import TWO_PARTY_WORDS
from silo.errors import ParameterError
from silo.session import Session
from silo.simulation import simulate

_SHARED: Final = 2
"""One row in so many is in common."""


def lists(rows: int) -> list[list[str]]:
    """Two lists of identifiers of which half are alike."""
    return [[f"person {number}" for number in range(start, start + rows)] for start in (0, rows // _SHARED)]


def against_openmined(settings: Settings) -> Iterator[Row]:
    """Both parties' work over equal lists of `settings.identifiers`, in one run."""
    rows, cores = settings.identifiers, sorted(os.sched_getaffinity(0))
    held = lists(rows)
    try:
        peer = _openmined(held)
    except ModuleNotFoundError:
        yield from _not_measured("openmined-psi is not installed: run `make bench BENCH=psi`")
        return
    sides = [
        _on(cores[:1], peer),
        _on(cores[:1], lambda: _ours(held, 1)),
        _on(cores[:2], lambda: _ours(held, 2)),
    ]
    theirs, one, two = alternate(sides, repeats=settings.slow_repeats, warm_up=0)
    note = f"{rows:,} rows each, both parties, revealed to both here and to the client there"
    yield _ratio("an intersection on one core", theirs, one, 1.3, note)
    if len(cores) > 1:
        yield _ratio("an intersection on two threads", theirs, two, 2.3, note)
    else:
        yield _short("an intersection on two threads", 2.3, "this machine has one core")


def over_the_relay(settings: Settings) -> Iterator[Row]:
    """Two member processes and a relay on loopback, mutual TLS, a thread of work for each member."""
    rows = settings.rows
    told = federation(2, rows, 1, protocol=INTERSECT)
    ((begun, ended),) = told.spans.values()
    members = [name for name in told.memory if name.startswith("member")]
    sent = sum(told.sent.values())
    against = f"two lists of {rows:,} rows, half of them in common"
    seconds = ended - begun
    bound = 120.0 * rows / 1_000_000
    yield Row("an intersection over the relay", seconds, "s", against, bound, "at most")
    yield Row("rows of each party a second and core", rows / seconds, "rows", against, 8000, "at least")
    bound = 100.0 * rows / 1_000_000
    yield Row("exchanged by both", sent / 1e6, "MB", against, bound, "at most")
    most = max(told.memory[name] for name in members) / 2**30
    yield Row("memory of a member at its most", most, "GiB", against, 1.0, "at most")


def _openmined(held: Sequence[Sequence[str]]) -> Callable[[], object]:
    library: Any = import_module("private_set_intersection.python")

    def work() -> object:
        server, client = library.server.CreateWithNewKey(True), library.client.CreateWithNewKey(True)
        setup = server.CreateSetupMessage(1e-9, len(held[1]), held[0], library.DataStructure.RAW)
        answer = server.ProcessRequest(client.CreateRequest(held[1]))
        return _as_many(client.GetIntersection(setup, answer), held)

    return work


def _ours(held: Sequence[Sequence[str]], threads: int) -> object:
    def work(session: Session, ids: Sequence[str]) -> Any:
        return session.intersect(ids)

    found = simulate(2, work, held, rows=len(held[0]), threads=threads, two_party=TWO_PARTY_WORDS)
    return [_as_many(places, held) for places in found.values()]


def _as_many(found: Any, held: Sequence[Sequence[str]]) -> Any:
    expected = len(held[0]) - len(held[0]) // _SHARED
    if len(found) != expected:
        raise ParameterError(f"an intersection of the benchmark has {len(found)} rows, not {expected}")
    return found


def _on(cores: Sequence[int], work: Callable[[], object]) -> Side:
    """A side that has these cores only; threads that it starts inherit them."""
    measured = timed(work)

    def side() -> Any:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            return measured()
        finally:
            os.sched_setaffinity(0, before)

    return side


def _ratio(name: str, theirs: Timing, ours: Timing, bound: float, note: str) -> Row:
    return Row(
        name,
        theirs.median / ours.median,
        "times as fast",
        "openmined-psi 2.0.6 on one core, which threads cannot share",
        bound,
        "at least",
        {"openmined-psi": theirs, "Silo": ours},
        note,
    )


def _not_measured(why: str) -> Iterator[Row]:
    yield _short("an intersection on one core", 1.3, why)
    yield _short("an intersection on two threads", 2.3, why)


def _short(name: str, bound: float, why: str) -> Row:
    return Row(name, None, "times as fast", "openmined-psi", bound, "at least", note=why)


MEASUREMENTS = (against_openmined, over_the_relay)
