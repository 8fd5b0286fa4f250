"""The leak meter: how well the label of each record can be read off the gradients that were returned so far.

Adversary: the party that receives the gradients of the cut layer, one row per record and epoch, and follows the
protocol. It knows which record each row belongs to and the ratio of the classes, and no label. Three attacks:

- norm (Li et al. 2022, section 3.1): the rarer class has the larger residual, so the longer gradient;
- cosine (section 3.2): the angle to a direction, which is estimated (`silo.leak.direction`);
- spectral (Sun et al. 2022): the projection on the top singular direction of the batch around its mean.

Figures of single batches flatter every defence: an attacker sums over epochs. Each attack therefore comes in two ways,
as the sum of a record's scores and as the score of the sum of its gradients, and the better one counts. Which end of a
score is the positive one is a single bit, which one known record betrays: it is given to the attacker. The intervals
hold for all three attacks, both ways and both signs at once, so the best of them is no better than it is.

What is measured deviates from the papers in one point. A gradient is a residual times a slope that depends on the
features, so it can say of the label what the features say anyway, and that is no leak of the label. With a `prior`,
a score of each record that does not depend on its own label, only records of a like prior are compared; the verdict
rests on that. Nothing here protects anything, and no randomness is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError
from silo.leak.auc import Area, area, quick, strata
from silo.leak.direction import Direction, centred_top, leading
from silo.leak.reading import Attack, Reading

Array = npt.NDArray[Any]

ATTACKS: Final = ("norm", "cosine", "spectral")
LIVE: Final = 2048
"""Records to follow beside a training, so that a batch costs some .07 ms and a reading 3; a leak that lies .05 beyond
the bound is found. `end_epoch` need not follow every epoch: the sums go on without it."""
_CHOICES: Final = 2 * 2 * len(ATTACKS)
_TINY: Final = 1e-30
_FEWEST: Final = 2
_WHOLE: Final = 32
"""Of a meter that follows some records only, one batch of so many is looked at in full."""


class Meter:
    """Measures one direction of one job; the holder of the labels feeds it what it returns.

    `labels`: (records,), above 0 is positive. `most`: follow only so many records, of each class half where it has as
    many, to be cheap (`LIVE` beside a training). `confidence` is that of the intervals. Raises `ParameterError`.
    """

    def __init__(self, labels: Array, *, most: int | None = None, confidence: float = 0.95) -> None:
        self._labels = np.asarray(labels) > 0
        if self._labels.ndim != 1 or self._labels.all() or not self._labels.any():
            raise ParameterError("the leak meter needs one label per record, of both kinds")
        if not 0 < confidence < 1:
            raise ParameterError(f"a confidence lies between 0 and 1, not at {confidence}")
        self._confidence = confidence
        count = len(self._labels)
        self._all = most is None or most >= count
        chosen = np.arange(count) if self._all else _evenly(self._labels, max(most or 0, 2))
        self._chosen = chosen
        self._place = np.full(count, -1, np.int64)
        self._place[chosen] = np.arange(len(chosen))
        self._sums: Array = np.zeros((len(chosen), len(ATTACKS)), np.float32)
        self._seen: Array = np.zeros(len(chosen), np.int32)
        self._gradients: Array | None = None
        self._direction: Direction | None = None
        self._batches: list[list[float]] = []
        self._turn = 0
        self._waiting: list[tuple[Array, Array]] = []
        self._epoch = 0

    def saw(self, rows: Array, gradients: Array) -> None:
        """Take in one batch: the records' numbers, each once, and the gradients (records, width) as returned.

        Scale does not matter. Raises `ParameterError`.
        """
        given = np.asarray(gradients, np.float32)
        if len(given) != len(rows):
            raise ParameterError(f"one gradient per row is needed: {len(given)} came for {len(rows)} rows")
        if not len(given):
            return
        given, places = given.reshape(len(given), -1), self._place[rows]
        if not self._all:
            followed = np.flatnonzero(places >= 0)
            self._turn += 1
            if self._turn % _WHOLE != 1:
                # Few rows of each batch are followed: they wait, to be looked at together.
                self._waiting.append((places[followed], given[followed]))
                return
            self._catch_up()
        direction, _ = self._memory(given.shape[1])
        given, scores = _scores(given, direction)
        self._look(self._labels[rows], scores)
        if not self._all:
            given, scores, places = given[followed], scores[followed], places[followed]
        self._add(places, given, scores)

    def end_epoch(self, prior: Array | None = None) -> Reading:
        """Say how well the attacks do by now. Raises `ParameterError` when nothing was seen.

        `prior`: (records,) a score that does not depend on the record's own label, such as the guide's logits.
        """
        self._catch_up()
        if self._gradients is None or self._direction is None:
            raise ParameterError("the leak meter has seen no gradient yet")
        self._epoch += 1
        seen = self._seen > 0
        rows = self._chosen[seen]
        labels, sums, gradients = self._labels[rows], self._sums[seen], self._gradients[seen]
        if labels.all() or not labels.any():
            raise ParameterError("the leak meter has seen records of one label only: let it see more")
        groups = None if prior is None else strata(np.asarray(prior)[rows])
        ways = _of_sums(gradients, self._direction.axis)
        means, largest = self._per_batch()
        found = []
        for place, name in enumerate(ATTACKS):
            both = (sums[:, place], ways[place])
            fair = _best([area(score, labels, groups) for score in both])
            plain = fair.value if groups is None else max(_turned(quick(score, labels)) for score in both)
            low, high = fair.interval(self._confidence, _CHOICES)
            found.append(Attack(name, means[place], largest[place], plain, fair.value, low, high))
        self._batches = []
        return Reading(self._epoch, tuple(found), self._confidence, groups is not None)

    def arrays(self) -> dict[str, Array]:
        """All that is needed to go on after an epoch's reading, in another process."""
        if self._gradients is None or self._direction is None:
            return {}
        found = {"sums": self._sums, "seen": self._seen, "gradients": self._gradients}
        return {
            **{name: value.copy() for name, value in found.items()},
            **self._direction.arrays(),
            "epoch": np.array(self._epoch),
        }

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Take `arrays` of a meter of the same labels back. Raises `ParameterError` for those of another."""
        if not arrays:
            return
        if arrays["sums"].shape != self._sums.shape or len(arrays["gradients"]) != len(self._chosen):
            raise ParameterError("what a leak meter kept is of other records: begin again without it")
        direction, _ = self._memory(arrays["gradients"].shape[1])
        self._sums, self._seen = arrays["sums"].copy(), arrays["seen"].copy()
        self._gradients, self._epoch = arrays["gradients"].copy(), int(arrays["epoch"])
        direction.load(arrays)

    def _catch_up(self) -> None:
        """Score the rows that wait, as one batch."""
        if not self._waiting:
            return
        places = np.concatenate([one for one, _ in self._waiting])
        for _, each in self._waiting:
            direction, _ = self._memory(each.shape[1])
        given = np.concatenate([given for _, given in self._waiting])
        self._waiting = []
        if len(given):
            self._add(places, *_scores(given, direction))

    def _add(self, places: Array, given: Array, scores: Array) -> None:
        """Add to what each followed record has; a record may come again, in another epoch."""
        _, gradients = self._memory(given.shape[1])
        if len(np.unique(places)) == len(places):
            gradients[places] += given
            self._sums[places] += scores
        else:
            np.add.at(gradients, places, given)
            np.add.at(self._sums, places, scores)
        self._seen[places] += 1

    def _memory(self, width: int) -> tuple[Direction, Array]:
        if self._gradients is None or self._direction is None:
            self._gradients = np.zeros((len(self._chosen), width), np.float32)
            self._direction = Direction(width)
        if width != self._gradients.shape[1]:
            raise ParameterError(
                f"the cut layer is {self._gradients.shape[1]} wide, and gradients of width {width} came"
            )
        return self._direction, self._gradients

    def _look(self, labels: Array, scores: Array) -> None:
        positive = int(labels.sum())
        if min(positive, len(labels) - positive) >= _FEWEST:
            self._batches.append([quick(scores[:, place], labels) for place in range(len(ATTACKS))])

    def _per_batch(self) -> tuple[list[float], list[float]]:
        """Mean and largest areas over the batches of this epoch, under one sign for all."""
        if not self._batches:
            return [0.5] * len(ATTACKS), [0.5] * len(ATTACKS)
        each = np.array(self._batches)
        each = np.where(each.mean(axis=0) >= 0.5, each, 1 - each)
        return each.mean(axis=0).tolist(), each.max(axis=0).tolist()


def _evenly(labels: Array, most: int) -> Array:
    """So many records of both classes, evenly spaced in each; a class that lacks some leaves them to the other."""
    each = [np.flatnonzero(labels == kind) for kind in (False, True)]
    fewer = min(len(one) for one in each)
    counts = [min(len(one), max(most - fewer, most // 2)) for one in each]
    picked = [
        one[np.linspace(0, len(one) - 1, count).astype(np.int64)]
        for one, count in zip(each, counts, strict=True)
    ]
    return np.sort(np.concatenate(picked))


def _scores(given: Array, direction: Direction) -> tuple[Array, Array]:
    """The batch in units of its typical length, and the scores (records, attacks). Raises `ParameterError`."""
    squares = np.einsum("ij,ij->i", given, given)
    size = float(squares.mean()) ** 0.5
    if not np.isfinite(size):
        raise ParameterError("a gradient is not finite: look for NaN in the inputs of the training")
    given = given / np.float32(max(size, _TINY))
    moment = given.T @ given
    axis = direction.follow(given, moment)
    mean = given.mean(axis=0)
    own = leading(moment - len(given) * np.outer(mean, mean), axis)
    scores = np.empty((len(given), len(ATTACKS)), np.float32)
    np.sqrt(squares, out=scores[:, 0])
    scores[:, 0] /= max(size, _TINY)
    scores[:, 1] = given @ axis / np.maximum(scores[:, 0], _TINY)
    scores[:, 2] = given @ own - mean @ own
    return given, scores


def _of_sums(gradients: Array, axis: Array) -> tuple[Array, Array, Array]:
    """The score of each attack on the sums of gradients."""
    norms = np.sqrt(np.einsum("ij,ij->i", gradients, gradients))
    return norms, gradients @ axis / np.maximum(norms, _TINY), gradients @ centred_top(gradients)


def _best(areas: Sequence[Area]) -> Area:
    """The largest area, each taken with the sign that suits it."""
    return max((one if one.value >= 0.5 else one.flipped() for one in areas), key=lambda one: one.value)


def _turned(value: float) -> float:
    return max(value, 1 - value)
