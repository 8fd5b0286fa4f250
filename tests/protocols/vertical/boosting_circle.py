"""Members of a boosted model in memory, with a hand in between that may change what travels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from silo.crypto.errors import SiloError
from silo.crypto.keys import AgreementKey
from silo.crypto.okamoto_uchiyama import histograms as ou
from silo.crypto.okamoto_uchiyama import keys as ou_keys
from silo.crypto.paillier import histograms as paillier
from silo.crypto.paillier import keys as paillier_keys
from silo.crypto.rng import InsecureSeededRng, Rng
from silo.crypto.signing import SigningKey
from silo.protocols import codec
from silo.protocols.private import Private
from silo.protocols.roster import Roster
from silo.protocols.transit import Piece
from silo.protocols.vertical.boosting import host, label
from silo.protocols.vertical.boosting.ciphers import terms
from silo.protocols.vertical.boosting.columns import Columns, Shape
from silo.protocols.vertical.boosting.gradients import Logistic, Objective
from silo.protocols.vertical.boosting.host import Holding, Part
from silo.protocols.vertical.boosting.label import Model, Run, Training
from silo.protocols.vertical.boosting.line import Line
from silo.protocols.vertical.boosting.parameters import Terms
from silo.protocols.vertical.context import BOOSTING, Context, Parameters

Hand = Callable[[str, str, Piece], Piece | None]
LABEL = "bank"


class PlainOwner:
    """Encrypts nothing: words as they are."""

    width = 16
    public = b"plain"

    def encrypt(self, values: Any, *, rng: Rng, parts: int = 1, run: Any = map) -> memoryview:
        return memoryview(values.astype("<i8").tobytes())

    def decrypt(self, payload: Any, bins: int) -> Any:
        return np.frombuffer(payload, "<i8").reshape(bins, 2)


class PlainAdder:
    def check(self, payload: Any, n: int) -> None:
        assert len(payload) == 16 * n

    def sums(
        self, rows: Any, node: Any, codes: Any, bins: Any, *, rng: Rng, parts: int = 1, run: Any = map
    ) -> memoryview:
        words = np.frombuffer(rows, "<i8").reshape(-1, 2)[node]
        out = []
        for column, width in enumerate(bins):
            part = np.zeros((width, 2), np.int64)
            np.add.at(part, codes[node, column], words)
            out.append(part)
        return memoryview(np.concatenate(out).astype("<i8").tobytes())


class Plain:
    """A stand-in for a scheme, where the trees matter and not how they travel."""

    def owner(self, rows: int, *, rng: Rng) -> Any:
        return PlainOwner()

    def adder(self, public: bytes, rows: int) -> Any:
        return PlainAdder()


class SmallOkamotoUchiyama:
    """The real scheme, under a key that protects nothing."""

    def owner(self, rows: int, *, rng: Rng) -> Any:
        return ou.Owner(ou_key(), terms(rows))

    def adder(self, public: bytes, rows: int) -> Any:
        return ou.Adder(ou_keys.PublicKey(int.from_bytes(public[2:], "big")), terms(rows))


class SmallPaillier:
    def owner(self, rows: int, *, rng: Rng) -> Any:
        return paillier.Owner(paillier_key(), terms(rows))

    def adder(self, public: bytes, rows: int) -> Any:
        return paillier.Adder(paillier_key().public, terms(rows))


@cache
def ou_key() -> ou_keys.PrivateKey:
    return ou_keys.insecure_small_key(512, rng=InsecureSeededRng(6))


@cache
def paillier_key() -> paillier_keys.PrivateKey:
    return paillier_keys.insecure_small_key(512, rng=InsecureSeededRng(7))


@dataclass(frozen=True)
class Opened:
    """As the driver hands it over."""

    sender: str
    message: Any


@dataclass
class Table:
    """Codes of several members' columns, and labels."""

    columns: Mapping[str, Columns]
    y: Any
    objective: Objective = field(default_factory=Logistic)

    @property
    def rows(self) -> int:
        return len(self.y)

    def pooled(self) -> Columns:
        """All columns in the order of owners."""
        order = [LABEL, *sorted(name for name in self.columns if name != LABEL)]
        first, *rest = (self.columns[name] for name in order)
        return Columns(
            np.concatenate([first.codes, *(one.codes for one in rest)]),
            first.shape.joined([one.shape for one in rest]),
        )


def table(
    members: Mapping[str, Sequence[tuple[int, bool]]], rows: int, seed: int, objective: Objective
) -> Table:
    """Random codes, missing ones too, for columns of (bins, categorical), and labels that depend on them."""
    draw = np.random.default_rng(seed)
    columns = {}
    signal = draw.normal(size=rows)
    for name, kinds in members.items():
        codes = np.empty((len(kinds), rows), np.uint8)
        for place, (bins, _) in enumerate(kinds):
            codes[place] = draw.integers(0, bins + (draw.random() < 0.5), rows)
            signal += draw.normal(size=bins + 1)[codes[place]]
        columns[name] = Columns(codes, Shape(tuple(b for b, _ in kinds), tuple(c for _, c in kinds)))
    if not objective.classes:
        return Table(columns, signal * 7, objective)
    classes = max(2, objective.groups)
    ranks = np.argsort(np.argsort(signal))
    return Table(columns, (ranks * classes // rows).astype(np.float64), objective)


def twin(table: Table, agreed: Terms, run: Run) -> Model:
    """The same training with all columns at one party; it yields nothing."""
    what = Training(table.pooled(), table.y, table.objective, agreed, run)
    return finished(label.label(None, what, Plain(), rng=InsecureSeededRng(0)))


def finished(role: Any) -> Any:
    try:
        next(role)
    except StopIteration as end:
        return end.value
    raise AssertionError("something was sent")


@dataclass
class Circle:
    """Runs roles; every piece that travels is kept, in clear, for the test to look at."""

    table: Table
    agreed: Terms = field(default_factory=Terms)
    ciphers: Any = field(default_factory=Plain)
    hand: Hand = lambda sender, recipient, piece: None
    seed: int = 1
    before: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    run_name: Run | None = None
    said: list[tuple[str, str, Piece]] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, SiloError] = field(default_factory=dict)
    kept: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = sorted(self.table.columns)
        rngs = {name: InsecureSeededRng(100 * self.seed + place) for place, name in enumerate(self.names)}
        self.channels = {name: AgreementKey.generate(rng=rngs[name]) for name in self.names}
        keys = {name: SigningKey.generate(rng=rngs[name]).public for name in self.names}
        counts = {name: len(self.table.columns[name].shape) for name in self.names}
        parameters = Parameters(BOOSTING, LABEL, self.table.rows, counts, bytes(32))
        public = {name: channel.public for name, channel in self.channels.items()}
        self.context = Context(bytes(32), 1, Roster.of(keys), parameters, public)
        self.rngs = rngs
        self.run_ = self.run_name or Run.new(rng=InsecureSeededRng(self.seed))
        self.kept = {name: list(self.before.get(name, ())) for name in self.names}

    def line(self, name: str) -> Line:
        return Line(self.context, name, self.channels[name], rng=self.rngs[name])

    def role(self, name: str) -> Any:
        columns, rng = self.table.columns[name], self.rngs[name]
        before = self.before.get(name, ())
        if name == LABEL:
            what = Training(
                columns,
                self.table.y,
                self.table.objective,
                self.agreed,
                self.run_,
                before,
                self.kept[name].append,
            )
            return label.label(self.line(name), what, self.ciphers, rng=rng)

        def after(run: bytes, place: int, splits: Any) -> None:
            self.kept[name] += [()] * (place - len(self.kept[name]))
            self.kept[name].append(splits)

        holding = Holding(
            columns,
            self.agreed,
            self.run_.name if before else b"",
            before,
            after,
            self.table.objective.groups,
        )
        return host.host(self.line(name), holding, self.ciphers, rng=rng)

    def run(self) -> Circle:
        self.move({name: self.role(name) for name in self.names})
        return self

    def move(self, roles: dict[str, Any]) -> None:
        """Move all roles until each has ended, with a result or an error."""
        waiting: dict[str, Any] = {}
        for name in list(roles):
            self._step(roles, waiting, name, None)
        queues: dict[tuple[str, str], deque[Private]] = {
            (one, other): deque() for one in self.names for other in self.names
        }
        sent: set[str] = set()
        moved = True
        while roles and moved:
            moved = False
            for name in list(roles):
                step = waiting[name]
                if name not in sent:
                    sent.add(name)
                    for outgoing in step.send:
                        (to,) = outgoing.to
                        queues[name, to].append(self._travel(name, to, outgoing.message))
                senders = step.wait.senders if step.wait else frozenset()
                if not all(queues[sender, name] or sender in self.errors for sender in senders):
                    continue
                inbox = {s: Opened(s, queues[s, name].popleft()) for s in senders if queues[s, name]}
                moved = True
                sent.discard(name)
                self._step(roles, waiting, name, inbox)
        assert not roles, f"{sorted(roles)} wait for ever"

    def _step(self, roles: dict[str, Any], waiting: dict[str, Any], name: str, inbox: Any) -> None:
        try:
            waiting[name] = roles[name].send(inbox)
        except StopIteration as end:
            self.found[name] = end.value
            del roles[name]
        except SiloError as problem:
            self.errors[name] = problem
            del roles[name]

    def _travel(self, sender: str, recipient: str, message: Any) -> Private:
        inner = self.context.pair(recipient, sender, self.channels[recipient])
        piece = codec.decode(Piece, inner.unseal(message), sender=sender, round=1)
        self.said.append((sender, recipient, piece))
        other = self.hand(sender, recipient, piece)
        if other is None:
            return message
        outer = self.context.pair(sender, recipient, self.channels[sender])
        return outer.seal(codec.encode(other), rng=self.rngs[sender])

    @property
    def model(self) -> Model:
        assert not self.errors, self.errors
        found: Model = self.found[LABEL]
        return found

    def part(self, name: str) -> Part:
        found: Part = self.found[name]
        return found


def as_twin(circle: Circle) -> list[list[Any]]:
    """The trees of all parties put together: nodes with their splits in the order of all columns."""
    model, out = circle.model, []
    hosts = [name for name in circle.names if name != LABEL]
    starts = np.cumsum([0] + [len(circle.table.columns[name].shape) for name in [LABEL, *hosts]])
    for place, tree in enumerate(model.trees):
        nodes = []
        for node in tree.nodes:
            split = None
            if node.owner == 0:
                split = model.splits[place][node.number]
            elif node.owner > 0:
                split = circle.part(hosts[node.owner - 1]).splits[place][node.number]
            told = None if split is None else (int(starts[node.owner]) + split.column, split.left)
            nodes.append((node.value, node.left, told))
        out.append(nodes)
    return out


def as_alone(model: Model) -> list[list[Any]]:
    """The trees of the twin in the same form."""
    out = []
    for place, tree in enumerate(model.trees):
        nodes = []
        for node in tree.nodes:
            split = model.splits[place][node.number] if node.owner == 0 else None
            told = None if split is None else (split.column, split.left)
            nodes.append((node.value, node.left, told))
        out.append(nodes)
    return out
