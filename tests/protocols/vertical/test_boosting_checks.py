"""What a host holds a label party's words against: how many rows, which columns, and which splits it hears of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.protocols.errors import UnlikeTerms
from silo.protocols.vertical.boosting import sampling
from silo.protocols.vertical.boosting.columns import Shape
from silo.protocols.vertical.boosting.messages import Level, Start, Turn
from silo.protocols.vertical.boosting.parameters import Goss, Terms
from silo.protocols.vertical.boosting.routing import Split
from silo.protocols.vertical.context import BOOSTING, Parameters
from tests.protocols.vertical.boosting_circle import LABEL, Circle
from tests.protocols.vertical.test_boosting_attacks import (
    AGREED,
    DATA,
    HOST,
    LEVEL,
    START,
    TURN,
    codes,
    refused,
    written,
)

HELD_OUT = Terms(trees=1, depth=1, patience=1, held_out=0.25)
DRAWN = Terms(trees=1, depth=1, goss=Goss(0.5, 0.4))


@pytest.mark.parametrize(
    ("agreed", "stage", "change", "words"),
    [
        (HELD_OUT, START, written(Start, training=memoryview(b"\xff" * 7 + b"\xf8")), "holds out 0 of 61"),
        (HELD_OUT, START, written(Start, training=memoryview(b"\xff" * 4 + bytes(4))), "holds out 29 of 61"),
        (HELD_OUT, TURN, written(Turn, sample=memoryview(b"\xff" * 7 + b"\xf8")), "not trained on"),
        (DRAWN, TURN, written(Turn, sample=memoryview(bytes(8))), "has 0 of 61 rows, and at least 30"),
        (Terms(min_samples_leaf=31), LEVEL, written(Level, add=(0,)), "adds up 61 rows, which are too few"),
    ],
)
def test_rows_are_as_many_as_agreed(agreed: Terms, stage: int, change: Any, words: str) -> None:
    refused(LABEL, stage, change, words, agreed=agreed)


def test_a_split_does_not_tell_a_host_where_few_rows_without_order_go() -> None:
    """Categories, missing values, and what is left of a column; `counts` end with the rows without a value."""
    text, number = Shape((3,), (True,)), Shape((3,), (False,))
    for shape, left, counts, good in (
        (text, (0,), (20, 20, 3, 0), True),
        (text, (0,), (19, 20, 20, 0), False),
        (text, (0, 2), (20, 20, 19, 0), False),
        (text, (0, 3), (20, 20, 0, 20), True),
        (text, (0, 3), (20, 20, 0, 19), False),
        (text, (0, 3), (20, 20, 0, 0), True),
        (text, (0, 1), (20, 20, 10, 9), False),
        (text, (0, 1), (20, 20, 10, 10), True),
        (number, (0,), (1, 1, 1, 0), True),
        (number, (0, 3), (1, 1, 1, 0), True),
        (number, (0, 3), (1, 1, 1, 1), False),
        (number, (0, 3), (1, 1, 1, 20), True),
        (number, (0, 1, 2), (30, 1, 1, 19), False),
        (number, (0, 1, 2), (30, 1, 1, 20), True),
        (number, (0, 1), (30, 1, 0, 19), False),
    ):
        split = Split(0, codes(*left))
        split.check(shape)
        if good:
            split.check_rows(shape, np.array(counts), 20)
        else:
            with pytest.raises(ParameterError, match="fewer than 20 rows"):
                split.check_rows(shape, np.array(counts), 20)


@pytest.mark.parametrize("columns", [0, 32_769, 10**9 - 1])
@pytest.mark.parametrize("who", [LABEL, HOST])
def test_whoever_says_that_it_has_more_columns_than_fit_is_named(columns: int, who: str) -> None:
    circle = Circle(DATA, AGREED)
    said = {**circle.context.parameters.columns, who: columns}
    circle.context = replace(circle.context, parameters=Parameters(BOOSTING, LABEL, 61, said, bytes(32)))
    for name in circle.names:
        with pytest.raises(UnlikeTerms, match="1 to 32768 columns") as caught:
            next(circle.role(name))
        assert caught.value.culprits == (who,)


@pytest.mark.parametrize(
    ("agreed", "least"), [(Terms(subsample=0.5), 4433), (Terms(goss=Goss(0.2, 0.1)), 2746)]
)
def test_a_drawn_sample_is_not_far_smaller_than_agreed(agreed: Terms, least: int) -> None:
    every = np.ones(10_000, bool)
    sampling.check(np.arange(10_000) < least, every, agreed)
    with pytest.raises(ParameterError, match=f"at least {least} were agreed"):
        sampling.check(np.arange(10_000) < least - 1, every, agreed)
