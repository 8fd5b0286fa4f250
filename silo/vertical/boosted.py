"""What the boosted classifier and regressor have in common: a fit alone or among members, scores, what is kept."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from silo.crypto.rng import SystemRng
from silo.crypto.secret import Secret
from silo.errors import NotAllowed, ParameterError
from silo.protocols.step import Role
from silo.protocols.vertical.boosting import far, host, label, scoring
from silo.protocols.vertical.boosting.ciphers import ciphers
from silo.protocols.vertical.boosting.columns import Columns
from silo.protocols.vertical.boosting.gradients import Objective
from silo.protocols.vertical.boosting.growing import Grown
from silo.protocols.vertical.boosting.host import Holding, Part
from silo.protocols.vertical.boosting.label import Model, Run, Training
from silo.protocols.vertical.boosting.line import Line
from silo.protocols.vertical.boosting.parameters import CATEGORY_ROWS, MOST_CLASSES, Goss, Terms
from silo.protocols.vertical.context import BOOSTING, Context
from silo.vertical import boosted_share, foreseen, share, trees, workers
from silo.vertical.base import VerticalEstimator, column
from silo.vertical.binning import Binning
from silo.vertical.checkpoints import fingerprint
from silo.vertical.meeting import Meeting, meet, nothing_to_settle, order, require
from silo.vertical.trees import Kept

if TYPE_CHECKING:
    from silo.session import Session

Floats = npt.NDArray[np.float64]
_ALONE = "alone"
_GROUPS = "trees of an iteration"


class BoostedTrees(VerticalEstimator):
    """The parameters are those of `silo.vertical.GradientBoosting`, which says what each means."""

    kind = ""

    def __init__(
        self,
        session: Session | None = None,
        *,
        n_estimators: int = 50,
        learning_rate: float = 0.3,
        max_depth: int = 4,
        max_bins: int = 32,
        l2: float = 1.0,
        gamma: float = 0.0,
        min_child_weight: float = 1.0,
        min_samples_leaf: int = 1,
        min_category_rows: int = CATEGORY_ROWS,
        subsample: float = 1.0,
        goss: tuple[float, float] | None = None,
        first_tree_alone: bool = False,
        n_iter_no_change: int | None = None,
        validation_fraction: float = 0.1,
        scheme: str = "okamoto-uchiyama",
        key_bits: int = 3072,
        random_state: Any = None,
        checkpoint: str | Path | None = None,
    ) -> None:
        self.session = session
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.max_bins = max_bins
        self.l2 = l2
        self.gamma = gamma
        self.min_child_weight = min_child_weight
        self.min_samples_leaf = min_samples_leaf
        self.min_category_rows = min_category_rows
        self.subsample = subsample
        self.goss = goss
        self.first_tree_alone = first_tree_alone
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.scheme = scheme
        self.key_bits = key_bits
        self.random_state = random_state
        self.checkpoint = checkpoint

    def _target(self, y: npt.NDArray[Any]) -> tuple[Floats, Objective]:
        """Labels as numbers, and what is minimised. Raises `ParameterError`."""
        raise NotImplementedError  # pragma: no cover

    def fit(self, X: Any, y: Any = None, *, ids: Any = None) -> BoostedTrees:
        """Grow the trees; y (rows,) are the labels, None at all members but one.

        Rows are the same and in the same order at all members, as `session.intersect` gives them. `ids`: the
        identifiers of the rows, compared as a digest, so that a member with another order is noticed.
        """
        frame = self._frame(X, reset=True)
        if self.session is None and y is None:
            raise ParameterError(
                f"{self._who} has no labels: requires y to be passed, but the target y is None"
            )
        terms = self._terms()
        target = None if y is None else self._target(column(y, rows=frame.rows, who=self._who))
        self.binning_ = Binning.of(frame, terms.bins, who=self._who, least=terms.least_rows)
        columns = self.binning_.codes(frame, who=self._who)
        far.require_room(columns.shape)
        if self.session is not None:
            aligned = b"" if ids is None else order(ids, who=self._who, rows=columns.rows)
            self._together(self.session, terms, columns, target, aligned)
        elif target is not None:
            self._alone(terms, columns, *target)
        return self

    def _alone(self, terms: Terms, columns: Columns, y: Floats, objective: Objective) -> None:
        kept = self._kept(_ALONE, terms, columns, y)
        what = self._training(kept, kept.trees, terms, columns, y, objective, self._run())
        model = _finished(label.label(None, what, ciphers(terms), rng=SystemRng()))
        self._remember(None)
        self._take(model, None)
        kept.done()

    def _together(
        self,
        session: Session,
        terms: Terms,
        columns: Columns,
        target: tuple[Floats, Objective] | None,
        aligned: bytes,
    ) -> None:
        if self.random_state is not None:
            raise ParameterError(
                "random_state is for a training without others: among members the seed is secret"
            )
        allowed = require(session, BOOSTING, rows=columns.rows, labelled=target is not None)
        y, said = (None, "") if target is None else (target[0], str(target[1].groups))
        kept = self._kept(session.me, terms, columns, y, members=session.members)

        def coming(groups: int) -> int:
            """The bytes that will leave. Raises `NotAllowed` for more trees than the charter's."""
            if terms.trees * groups > allowed.trees:
                raise NotAllowed("the trees of a boosted model", allowed.trees, terms.trees * groups)
            return foreseen.boosted(terms, columns, len(session.members), groups, labelled=target is not None)

        def settle(agreed: Mapping[str, str], context: Context) -> int:
            """Trees of an iteration, which only the label party knows before: the caps are held against them."""
            groups = _groups(agreed[_GROUPS])
            session.check_leaving(coming(groups))
            far.require_columns(context)
            return groups

        meeting = meet(
            session,
            BOOSTING,
            labelled=target is not None,
            rows=columns.rows,
            columns=len(columns.shape),
            terms=terms.told(),
            left_open=((_GROUPS, said),),
            aligned=aligned,
            coming=coming(target[1].groups if target else 1),
            reached=kept.trees,
            settle=settle,
        )
        reached = min(meeting.reached.values())
        line = Line(meeting.context, session.me, session.channel_key, rng=session.rng)
        given: dict[str, Any] = {"rng": session.rng, "work": workers.work(session.threads, columns.rows)}
        if target is None:
            holding = self._holding(kept, reached, terms, columns, meeting.settled, allowed.trees)
            self._join(meeting, line, holding, given)
        else:
            run = Run.new(rng=session.rng)
            what = self._training(kept, reached, terms, columns, *target, run)
            model = meeting.drive(label.label(line, what, ciphers(terms), **given))
            self._remember(meeting)
            self._take(model, None)
        kept.done()

    def _join(self, meeting: Meeting[int], line: Line, what: Holding, given: dict[str, Any]) -> None:
        part = meeting.drive(host.host(line, what, ciphers(what.terms), **given))
        self._remember(meeting)
        self._take(None, part)

    def _kept(
        self, name: str, terms: Terms, columns: Columns, y: Floats | None, members: Iterable[str] = ()
    ) -> Kept:
        """What is there of this fit: the same terms, members, bins and rows."""
        said = repr((terms.told(), tuple(members), self.kind, self.binning_.told()))
        tables: list[Any] = [columns.codes] if y is None else [columns.codes, y]
        return Kept(self.checkpoint, name, fingerprint(said, *tables))

    def _training(
        self,
        kept: Kept,
        reached: int,
        terms: Terms,
        columns: Columns,
        y: Floats,
        objective: Objective,
        run: Run,
    ) -> Training:
        """What the label party brings; a training that goes on has the name and the seed that it began with."""
        before = kept.take(reached, trees.grown_read)
        if any(len(grown.leaves) != columns.rows for grown in before):
            raise ParameterError("the checkpoint has other rows: move it away to begin again")
        if before:
            run = Run(kept.named("run"), Secret(kept.named("seed")))
        kept.cut({"run": run.name, "seed": run.seed.reveal()}, reached)

        def after(grown: Grown) -> None:
            kept.add(trees.grown_told(grown))

        return Training(columns, y, objective, terms, run, before, after)

    def _holding(
        self, kept: Kept, reached: int, terms: Terms, columns: Columns, groups: int, most: int
    ) -> Holding:
        before = kept.take(reached, trees.part_read)
        named = kept.named("run")

        def after(run: bytes, place: int, splits: host.Splits) -> None:
            if kept.named("run") != run or kept.trees != place:
                kept.cut({"run": run}, place)
            kept.add(trees.part_told(splits))

        return Holding(columns, terms, named, before, after, groups, most)

    def _take(self, model: Model | None, part: Part | None) -> None:
        self.model_, self.part_ = model, part
        grown = model.trees if model else part.splits if part else ()
        groups = model.groups if model else part.groups if part else 1
        self.n_iter_ = len(grown) // groups

    def _run(self) -> Run:
        """The seed of samples in a training without others."""
        if self.random_state is None:
            return Run.new(rng=SystemRng())
        from sklearn.utils import check_random_state

        drawn = check_random_state(self.random_state)
        return Run(bytes(32), Secret(drawn.bytes(32)))

    def _terms(self) -> Terms:
        """The parameters as the protocol takes them. Raises `ParameterError`."""
        patience = self._whole("n_iter_no_change") if self.n_iter_no_change is not None else 0
        try:
            goss = None if self.goss is None else Goss(*map(float, self.goss))
        except TypeError:
            raise ParameterError(f"goss is a pair of fractions, top and rest, not {self.goss!r}") from None
        return Terms(
            trees=self._whole("n_estimators"),
            learning_rate=float(self.learning_rate),
            depth=self._whole("max_depth"),
            l2=float(self.l2),
            gamma=float(self.gamma),
            min_child_weight=float(self.min_child_weight),
            min_samples_leaf=self._whole("min_samples_leaf"),
            min_category_rows=self._whole("min_category_rows"),
            bins=self._whole("max_bins"),
            scheme=self.scheme,
            key_bits=self._whole("key_bits"),
            subsample=float(self.subsample),
            goss=goss,
            alone=int(bool(self.first_tree_alone)),
            patience=patience,
            held_out=float(self.validation_fraction) if patience else 0.0,
        )

    def _whole(self, name: str) -> int:
        value = getattr(self, name)
        try:
            return operator.index(value)
        except TypeError:
            raise ParameterError(f"{name} is a whole number, not {value!r}") from None

    def _margins(self, X: Any) -> Floats | None:
        """The sums of leaves, (rows, groups); None at members without labels."""
        self._require_part()
        frame = self._frame(X, reset=False)
        columns = self.binning_.codes(frame, who=self._who)
        if self.session is None:
            if self.model_ is None:
                raise ParameterError(
                    "this part of a model has no leaves: it scores in a session with the others"
                )
            alone: Floats = _finished(scoring.label(None, self.model_, columns))
            return alone
        session = self.session
        meeting = meet(
            session,
            BOOSTING,
            labelled=self.model_ is not None,
            rows=columns.rows,
            columns=len(columns.shape),
            terms=(("scored by", self.model_id_),),
            coming=foreseen.boosted_scoring(columns.rows, self._own_splits()),
            scoring=True,
            settle=nothing_to_settle,
        )
        line = Line(meeting.context, session.me, session.channel_key, rng=session.rng)
        if self.model_ is not None:
            return meeting.drive(scoring.label(line, self.model_, columns))
        return meeting.drive(scoring.host(line, self.part_.splits if self.part_ else (), columns))

    def _own_splits(self) -> int:
        part = self.model_ or self.part_
        return sum(map(len, part.splits)) if part else 0

    def save(self, path: str | Path) -> None:
        """Write this member's part of the model to a file that `silo.vertical.load` reads."""
        self._require_fitted()
        classes = getattr(self, "classes_", None)
        told = boosted_share.told(self.binning_, self.model_, self.part_, classes)
        share.write(path, {"kind": self.kind, **self._identity(), **told})

    def _restore(self, found: share.Share) -> None:
        """Take what `save` wrote. Raises `ParameterError`."""
        self._identify(found)
        owners = max(1, len(self.members_))
        self.binning_, model, part, classes = boosted_share.read(found, owners)
        if len(self.binning_.columns) != self.n_features_in_:
            raise ParameterError(
                "the part of a model has bins of other columns: it was changed after it was saved"
            )
        self._take(model, part)
        if classes is not None:
            self.classes_ = classes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _groups(said: str) -> int:
    """The trees of an iteration as they were said in the roll call. Raises `ParameterError`."""
    if not (said.isascii() and said.isdecimal() and len(said) <= 3 and 1 <= int(said) <= MOST_CLASSES):
        raise ParameterError(f"a boosted model has 1 to {MOST_CLASSES} trees an iteration, not {said[:40]!r}")
    return int(said)


def _finished(role: Role[Any]) -> Any:
    """The result of a role that has nobody to write to."""
    try:
        next(role)
    except StopIteration as end:
        return end.value
    raise ParameterError("a training without others has nothing to send")
