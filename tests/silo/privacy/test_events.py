"""Events: what they refuse, and their one text."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.privacy import events
from silo.privacy.events import (
    Composed,
    EpsilonDelta,
    Event,
    Gaussian,
    Laplace,
    NoPrivacy,
    PoissonSampled,
    RandomizedResponse,
    Repeated,
    Skellam,
)

positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
probability = st.floats(min_value=0, max_value=1, exclude_min=True)
simple: st.SearchStrategy[Event] = st.one_of(
    st.builds(Gaussian, positive),
    st.builds(Laplace, positive),
    st.builds(RandomizedResponse, st.floats(0.5, 1, exclude_max=True), st.integers(2, 10**6)),
    st.tuples(positive, positive, positive).map(lambda t: Skellam(t[0], min(t[1:]), max(t[1:]))),
    st.builds(EpsilonDelta, st.floats(0, 1e300), st.floats(0, 1, exclude_max=True)),
    st.just(NoPrivacy()),
)
any_event = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(PoissonSampled, probability, inner),
        st.builds(Repeated, inner, st.integers(1, events.MAX_COUNT)),
        st.builds(Composed, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@given(any_event)
def test_an_event_and_its_text_are_one(event: Event) -> None:
    text = events.dumps(event)
    again = events.loads(text)
    assert again == event
    assert hash(again) == hash(event)
    assert events.dumps(again) == text
    assert events.from_json(events.to_json(event)) == event


def test_the_text_is_what_the_ledger_writes() -> None:
    from silo.privacy import record

    event = Repeated(PoissonSampled(1e-5, Gaussian(2)), 10)
    text = (
        '{"repeated":{"count":"10","event":{"poisson_sampled":'
        '{"event":{"gaussian":{"noise_multiplier":"2.0"}},"probability":"1e-05"}}}}'
    )
    assert events.dumps(event) == record.canonical(events.to_json(event)) == text


def test_equal_figures_of_any_type_are_one_event() -> None:
    assert events.dumps(Gaussian(2)) == events.dumps(Gaussian(np.float64(2.0)))
    assert events.dumps(Repeated(Gaussian(1), np.int64(3))) == events.dumps(Repeated(Gaussian(1.0), 3))  # type: ignore[arg-type]
    assert events.dumps(EpsilonDelta(-0.0, 0)) == events.dumps(EpsilonDelta(0.0, 0.0))
    assert Composed([Gaussian(1.0)]) == Composed((Gaussian(1.0),))  # type: ignore[arg-type]


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        *(
            (kind, (value,))
            for kind in (Gaussian, Laplace)
            for value in (0.0, -1.0, NAN, INF, True, "1", None)
        ),
        *((RandomizedResponse, values) for values in ((1.0, 2), (0.4, 2), (NAN, 2), (0.9, 1), (0.9, 2.0))),
        *((Skellam, v) for v in ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 2.0, 1.0), (INF, 1.0, 1.0))),
        *((PoissonSampled, (value, Gaussian(1.0))) for value in (0.0, -0.1, 1.1, NAN)),
        *((PoissonSampled, (0.5, value)) for value in (None, "gaussian", Gaussian, ())),
        *((Repeated, (Gaussian(1.0), value)) for value in (0, -1, 1.0, True, 10**13)),
        (Repeated, ("x", 1)),
        (Composed, ((Gaussian(1.0), 1.0),)),
        *(
            (EpsilonDelta, v)
            for v in ((-1.0, 0.0), (INF, 0.0), (NAN, 0.0), (1.0, 1.0), (1.0, -0.1), (1.0, NAN))
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(kind: Any, values: tuple[Any, ...]) -> None:
    with pytest.raises(ParameterError) as refusal:
        kind(*values)
    assert "\n" not in str(refusal.value)


GOOD = '{"gaussian":{"noise_multiplier":"1.0"}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "1",
        GOOD + " ",
        GOOD + GOOD,
        " " + GOOD,
        GOOD.replace(":", ": "),
        GOOD.replace("gaussian", "gauss"),
        GOOD.replace("gaussian", "__class__"),
        GOOD.replace("noise_multiplier", "sigma"),
        GOOD.replace('"1.0"', "1.0"),
        GOOD.replace('"1.0"', "NaN"),
        GOOD.replace('"1.0"', '["1.0"]'),
        *(
            GOOD.replace("1.0", figure)
            for figure in ("1", "1.00", "+1.0", " 1.0", "1_0.0", "nan", "inf", "-1.0")
        ),
        *(GOOD.replace("1.0", figure) for figure in ("0.0", "1e1000", "\\u0031.0", "١.0", "1" * 50 + ".0")),
        '{"gaussian":{"noise_multiplier":"1.0","x":"1.0"}}',
        '{"gaussian":{"noise_multiplier":"1.0","noise_multiplier":"1.0"}}',
        '{"gaussian":{"noise_multiplier":"1.0"},"laplace":{"noise_multiplier":"1.0"}}',
        '{"gaussian":{}}',
        '{"no_privacy":[]}',
        '{"no_privacy":{"x":"1.0"}}',
        '{"composed":{"events":{}}}',
        '{"composed":{"events":[null]}}',
        '{"repeated":{"event":{"no_privacy":{}},"count":"1"}}',
        *(
            '{"repeated":{"count":"N","event":{"no_privacy":{}}}}'.replace("N", count)
            for count in ("0", "-1", "01", "1.0", "1e3", "1_0", "9" * 5000)
        ),
        "[" * 100_000,
        '{"composed":{"events":[' * 1000,
    ],
)
def test_only_the_one_text_is_read(text: str) -> None:
    with pytest.raises(ParameterError):
        events.loads(text)


def test_a_text_has_bounds() -> None:
    deep: Event = Gaussian(1.0)
    for _ in range(events.MAX_DEPTH - 1):
        deep = Repeated(deep, 1)
    assert events.loads(events.dumps(deep)) == deep
    tree = {"repeated": {"count": "1", "event": events.to_json(deep)}}
    with pytest.raises(ParameterError, match="16 levels"):
        events.from_json(tree)
    with pytest.raises(ParameterError, match="16 levels"):
        events.dumps(Repeated(deep, 1))
    wide = Composed((NoPrivacy(),) * (events.MAX_NODES - 1))
    assert events.loads(events.dumps(wide)) == wide
    one = events.to_json(NoPrivacy())
    with pytest.raises(ParameterError, match="10000 parts"):
        events.loads(json.dumps({"composed": {"events": [one] * events.MAX_NODES}}, separators=(",", ":")))
    with pytest.raises(ParameterError, match="10000 parts"):
        events.dumps(Composed((NoPrivacy(),) * events.MAX_NODES))
    with pytest.raises(ParameterError, match="1048576"):
        events.loads(GOOD + " " * events.MAX_TEXT)


def test_events_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Gaussian(1.0).noise_multiplier = 0.1  # type: ignore[misc]
