"""The member with labels in a vertical boosting: SecureBoost (Cheng et al., "SecureBoost: A Lossless Federated
Learning Framework", IEEE Intelligent Systems 2021, arXiv 1901.08755), algorithms 1 and 2.

It encrypts each row's gradient g and hessian h under a key of its own. The hosts add up the rows of a node in each
bin of their columns; it decrypts the sums, finds the best split among all columns, and asks its owner which rows go
left.

Adversary: semi-honest members, and a malicious relay, which learns sizes only. Whatever does not fit is refused and
its sender named, but a member that lies consistently spoils the model, and is not found out by cryptography.

The label party learns of each host: how many columns it has, and how many bins each; per node, column and bin the
number of rows and the sums of g and h, exactly, from which it can work out which rows are in a bin where these are
few (`min_samples_leaf` bounds nodes, not bins); and which rows of a node go left at a split of that host's. It
learns no threshold and no category. A host learns which rows are trained on, which are in a tree's sample (see
`sampling`), and which rows are in each node that is still divided (the instance sets: the leak that SecureBoost's
authors state, and the reason for their "completely secure" first tree, `Terms.alone`); and of its own splits that
were taken, which bins go left. Those of a split's side have gradients that are alike: so it learns which of its
categories, and which sides of its thresholds, go together with the label. `Terms.least_rows` keeps that to categories
with enough rows, and `Terms.min_samples_leaf` to sides with enough; it is told no gradient, label, leaf value or
score, and of others' splits only the instance sets.

A host that does not follow the protocol can do more than spoil the model: if it adds up in one bin what it likes, the
split that is then chosen tells about the labels of those rows.

Deviations: hosts' counts travel beside the encrypted sums, so that both can be held against what the node holds; of
siblings the smaller one only is added up; a level's nodes travel together; each leaf's value stays with the label
party. Of the tree's last level a host is told its own splits only.
The rule for rare categories is not the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.step import Role
from silo.protocols.vertical.boosting import sampling
from silo.protocols.vertical.boosting.ciphers import Ciphers
from silo.protocols.vertical.boosting.columns import Columns
from silo.protocols.vertical.boosting.far import Far
from silo.protocols.vertical.boosting.gradients import Floats, Objective, Table, fix
from silo.protocols.vertical.boosting.growing import Grower, Grown
from silo.protocols.vertical.boosting.line import Line
from silo.protocols.vertical.boosting.parameters import Terms
from silo.protocols.vertical.boosting.routing import Split
from silo.protocols.vertical.boosting.splits import Finder
from silo.protocols.vertical.boosting.tree import Tree
from silo.protocols.vertical.work import Work


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """One training: its name, 32 bytes that all members keep, and the seed of its samples, which only the label party
    has."""

    name: bytes
    seed: Secret

    @classmethod
    def new(cls, *, rng: Rng) -> Run:
        return cls(rng.bytes(32), Secret.random(32, rng=rng))

    def __repr__(self) -> str:
        return "Run(<withheld>)"


@dataclass(frozen=True, slots=True, repr=False)
class Model:
    """What the label party has afterwards: the trees with their leaves, and its own splits, tree by tree."""

    groups: int
    base: Floats
    trees: tuple[Tree, ...]
    splits: tuple[tuple[Split, ...], ...]

    def __repr__(self) -> str:
        return f"Model(<{len(self.trees)} trees>)"


@dataclass(frozen=True, slots=True, repr=False)
class Training:
    """What the label party brings: columns and labels of the same rows, and the trees that it has `before`.

    `after` is called with each new tree, and keeps it for a later training that goes on from there.
    """

    columns: Columns
    y: Floats
    objective: Objective
    terms: Terms
    run: Run
    before: Sequence[Grown] = ()
    after: Callable[[Grown], None] = lambda grown: None


def label(
    line: Line | None, what: Training, ciphers: Ciphers, *, rng: Rng, work: Work | None = None
) -> Role[Model]:
    """Train; without a line, on the own columns alone. Raises `ProtocolViolation`, `ProtocolAborted`."""
    training = _Label(line, what, ciphers, work or Work(), rng=rng)
    return (yield from training.run())


class _Label:
    def __init__(self, line: Line | None, what: Training, ciphers: Ciphers, work: Work, *, rng: Rng) -> None:
        rows = what.columns.rows
        if what.y.shape != (rows,) or (line is not None and line.rows != rows):
            raise ParameterError(f"{rows} rows of columns, and {len(what.y)} labels: give one of each")
        self._what = what
        self._far = Far(line, ciphers, work, rng=rng)
        self._nobody = Far(None, ciphers, work, rng=rng)
        self._grown: list[Grown] = []
        strata = what.y.astype(np.int64) if what.objective.classes else np.zeros(rows, np.int64)
        self._held = (
            sampling.held_out(strata, what.terms.held_out, what.run.seed)
            if what.terms.held_out
            else np.empty(0, np.int64)
        )
        if what.terms.held_out and not len(self._held):
            raise ParameterError(
                f"a fraction of {what.terms.held_out} holds out none of {rows} rows: take a larger one"
            )
        training = np.ones(rows, bool)
        training[self._held] = False
        self._bits, self._rows = training, np.flatnonzero(training)
        self._base = what.objective.base(what.y[self._rows])
        self._margins: Table = np.tile(self._base, (rows, 1))
        self._best, self._best_loss = -1, np.inf

    def run(self) -> Role[Model]:
        what, groups = self._what, self._what.objective.groups
        yield from self._far.open(what.run.name, len(what.before), groups, self._bits)
        finder = Finder(what.columns.shape.joined(self._far.shapes), what.terms)
        alone = Finder(what.columns.shape, what.terms)
        for iteration in range(what.terms.trees):
            yield from self._iteration(iteration, alone if iteration < what.terms.alone else finder)
            if self._enough(iteration):
                break
        kept = groups * (self._best + 1) if what.terms.patience else len(self._grown)
        yield from self._far.end(kept)
        grown = self._grown[:kept]
        return Model(groups, self._base, tuple(one.tree for one in grown), tuple(one.splits for one in grown))

    def _iteration(self, iteration: int, finder: Finder) -> Role[None]:
        """One tree for each group, all from the gradients at the iteration's beginning; those from before are taken."""
        what, objective = self._what, self._what.objective
        groups = objective.groups
        new = range(max(len(what.before), iteration * groups), (iteration + 1) * groups)
        if new:
            gradient, hessian = objective.derivatives(what.y[self._rows], self._margins[self._rows])
            sample = sampling.drawn(
                self._rows, gradient, what.terms, iteration, what.run.seed, what.columns.rows
            )
            within = np.searchsorted(self._rows, sample.rows)
        added = np.zeros_like(self._margins)
        for group in range(groups):
            place = iteration * groups + group
            if place < len(what.before):
                grown = what.before[place]
            else:
                weighted = [part[within, group] * sample.weights for part in (gradient, hessian)]
                grown = yield from self._tree(iteration, finder, sample.rows, weighted[0], weighted[1])
                what.after(grown)
            self._grown.append(grown)
            added[:, group] = grown.tree.values[grown.leaves]
        self._margins += added

    def _tree(
        self, iteration: int, finder: Finder, sample: npt.NDArray[np.int64], g: Floats, h: Floats
    ) -> Role[Grown]:
        what = self._what
        fixed = fix(g, h)
        far = self._nobody if iteration < what.terms.alone else self._far
        yield from far.begin(sample, fixed.words, what.columns.rows)
        grower = Grower(far, what.columns, finder, what.terms, sample, fixed)
        return (yield from grower.grow())

    def _enough(self, iteration: int) -> bool:
        """Whether the loss of the held-out rows has not become better for long enough."""
        what = self._what
        if not what.terms.patience:
            return False
        loss = what.objective.loss(what.y[self._held], self._margins[self._held])
        if loss < self._best_loss:
            self._best, self._best_loss = iteration, loss
        return iteration - self._best >= what.terms.patience
