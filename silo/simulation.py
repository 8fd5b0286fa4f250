"""All parties in one process, for notebooks and tests: the same session, the same protocol, no network."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from silo.aggregator import Aggregator
from silo.charter import SUMS, Charter, Intersection, Privacy, Relay, SumTerms, Task, Times, Vertical
from silo.crypto.errors import ParameterError, SiloError
from silo.crypto.rng import SystemRng
from silo.driver import Seat
from silo.identity import Identity
from silo.journal import Journal
from silo.outbox import Outbox
from silo.privacy.budget import Budget
from silo.privacy.ledger import Ledger
from silo.privacy.policy import Policy
from silo.protocols.errors import ProtocolAborted
from silo.protocols.psi.context import MOST_MEMBERS, REVEALS
from silo.protocols.vertical.context import MODELS, MOST_ROWS
from silo.session import Session
from silo.sum_key import SumKey
from silo.transport.base import Patience
from silo.transport.memory import Hub

T = TypeVar("T")
_RELAY = "relay"
_ROWS = 100_000


def simulate(
    parties: int | Sequence[str],
    function: Callable[..., T],
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    rows: int = _ROWS,
    hub: Hub | None = None,
    threads: int = 1,
    budget: Budget | Mapping[str, Budget] | None = None,
    vertical: Vertical | None = None,
    **sum_terms: Any,
) -> dict[str, T]:
    """Run `function(session, input)` once per party, each in its own thread; returns each one's result.

    `parties` is a number or names; `inputs` one per party (none: `function(session)`). `sum_terms` are those
    of a charter's [sum], such as protocol, clip, bits, blinded; two parties need two_party=silo.TWO_PARTY_WORDS.
    Under paillier and ckks the first party holds the key, or the one named by `key_holder`.
    `threads` is what each party's long work may take.
    With a `budget`, for all or by name, each party has a privacy policy and a ledger, which is gone at the end.
    `vertical` is what vertical models may ask; without it everything, and nothing must be noised.
    Raises the error of the party that failed first, with its name in a note.
    """
    names = _names(parties)
    given = _given(names, inputs)
    with tempfile.TemporaryDirectory(prefix="silo-") as folder:
        policies = _policies(names, budget)
        charter, identities = _agree(names, Path(folder), rows, sum_terms, policies, vertical)
        hub = hub or Hub()
        patience = Patience(charter.time.reconnect, charter.time.silence, charter.time.work)
        stop = threading.Event()
        relay = identities[_RELAY]
        aggregator = Aggregator(
            Seat(hub.endpoint(_RELAY), _RELAY, relay.signing, patience), charter, stop, once=True
        )
        serving = threading.Thread(target=aggregator.serve, name="silo-relay", daemon=True)
        runs = [
            _Party(name, charter, identities[name], hub, patience, Path(folder), threads) for name in names
        ]
        parties_at_work = [
            threading.Thread(
                target=run.run, args=(function, given[run.name]), name=f"silo-{run.name}", daemon=True
            )
            for run in runs
        ]
        for run in runs:
            if charter.sum.key_holder == run.name:
                run.sum_key = _sum_key(charter.sum.protocol)
            run.connect()
        serving.start()
        for thread in parties_at_work:
            thread.start()
        for thread in parties_at_work:
            thread.join()
        stop.set()
        serving.join()
    _raise_first(runs)
    return {run.name: run.result for run in runs}


class _Party:
    def __init__(
        self,
        name: str,
        charter: Charter,
        identity: Identity,
        hub: Hub,
        patience: Patience,
        folder: Path,
        threads: int,
    ) -> None:
        self.name, self.charter, self.identity, self.hub = name, charter, identity, hub
        self.patience, self.folder, self.threads = patience, folder, threads
        self.sum_key: SumKey | None = None
        self.session: Session | None = None
        self.result: Any = None
        self.error: BaseException | None = None

    def connect(self) -> None:
        home = self.folder / self.name
        self.session = Session(
            seat=Seat(self.hub.endpoint(self.name), self.name, self.identity.signing, self.patience),
            charter=self.charter,
            identity=self.identity,
            task=self.charter.task(),
            journal=Journal.open(home / "journal.db"),
            outbox=Outbox.open(home / "outbox.db", self.name),
            policy=self._policy(home),
            sum_key=self.sum_key,
            rng=SystemRng(),
            threads=self.threads,
        )

    def _policy(self, home: Path) -> Policy | None:
        terms = self.charter.policy(self.name)
        return Policy.open(terms, Ledger.open(home / "ledger.db", self.identity)) if terms else None

    def run(self, function: Callable[..., Any], given: tuple[Any, ...]) -> None:
        try:
            if self.session is not None:
                with self.session as session:
                    self.result = function(session, *given)
        except BaseException as error:
            self.error = error


def _raise_first(runs: Sequence[_Party]) -> None:
    failed = [run for run in runs if run.error is not None]
    # Whoever failed by itself comes before those who failed because it did.
    failed.sort(key=lambda run: (isinstance(run.error, ProtocolAborted), isinstance(run.error, SiloError)))
    for run in failed:
        if run.error is not None:
            run.error.add_note(f"raised by party {run.name}")
            raise run.error


def _names(parties: int | Sequence[str]) -> list[str]:
    if isinstance(parties, int):
        width = len(str(parties))
        return [f"party-{number:0{width}d}" for number in range(1, parties + 1)]
    return list(parties)


def _given(
    names: Sequence[str], inputs: Sequence[Any] | Mapping[str, Any] | None
) -> dict[str, tuple[Any, ...]]:
    if inputs is None:
        return {name: () for name in names}
    if isinstance(inputs, Mapping):
        missing = [name for name in names if name not in inputs]
        if missing:
            raise ParameterError(f"there is no input for {', '.join(missing)}")
        return {name: (inputs[name],) for name in names}
    if len(inputs) != len(names):
        raise ParameterError(f"{len(names)} parties need {len(names)} inputs, not {len(inputs)}")
    return {name: (one,) for name, one in zip(names, inputs, strict=True)}


def _policies(names: Sequence[str], budget: Budget | Mapping[str, Budget] | None) -> list[Privacy]:
    if budget is None:
        return []
    budgets = dict.fromkeys(names, budget) if isinstance(budget, Budget) else budget
    return [Privacy(name, "rows", one.epsilon, one.delta) for name, one in budgets.items()]


def _agree(
    names: Sequence[str],
    folder: Path,
    rows: int,
    sum_terms: Mapping[str, Any],
    policies: Sequence[Privacy],
    vertical: Vertical | None,
) -> tuple[Charter, dict[str, Identity]]:
    now = datetime.now(UTC)
    rng = SystemRng()
    identities = {
        name: Identity.create(name, folder / name, passphrase=None, rng=rng, now=now)
        for name in (*names, _RELAY)
    }
    soon = now + timedelta(days=1)
    charter = Charter.new(
        "simulation",
        relay=Relay(identities[_RELAY].card, "wss://localhost:1"),
        members=[identities[name].card for name in names],
        tasks=[Task("simulation", rounds=10**9, rows=rows, bytes=10**15, expires=soon)],
        sum=SumTerms.for_members(len(names), **_held(names, sum_terms)),
        time=Times(),
        privacy=policies,
        intersection=Intersection(REVEALS, rows=rows, queries=10**9) if len(names) <= MOST_MEMBERS else None,
        vertical=vertical or (_vertical(rows) if len(names) <= MOST_MEMBERS else None),
        now=now,
        expires=soon,
    )
    for name in names:
        charter = charter.sign(identities[name])
    return charter, identities


def _vertical(rows: int) -> Vertical:
    """Everything that vertical models may ask: a simulation protects nobody."""
    return Vertical(MODELS, rows=min(rows, MOST_ROWS), passes=10**6, trees=10**6, fits=10**9, noised=())


def _held(names: Sequence[str], sum_terms: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the key of a sum that one member holds."""
    terms = dict(sum_terms)
    kind = SUMS.get(str(terms.get("protocol", "masking")))
    if kind is not None and kind.holder and "key" not in terms:
        terms.setdefault("key_holder", names[0])
        terms["key"] = _sum_key(str(terms["protocol"])).digest
    return terms


@lru_cache(maxsize=2)
def _sum_key(protocol: str) -> SumKey:
    """One key for all simulations of this process: it protects nobody there."""
    return SumKey.generate(protocol, rng=SystemRng(), bits=2048)
