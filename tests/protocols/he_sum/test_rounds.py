"""A homomorphic sum ends with the exact sum over who is left, or with one clear error."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.protocols.errors import ProtocolAborted, TooFewParties
from silo.protocols.he_sum.parameters import Parameters
from tests.protocols.he_sum.federation import Federation, Outcome

HELD = ["ckks", "paillier"]
ALL = [*HELD, "lattice"]
STEPS = {
    "ckks": ("Upload", "Vote"),
    "paillier": ("Upload", "Vote"),
    "lattice": ("Part", "Upload", "Vote", "Partial", "Recovery"),
}


@pytest.fixture(autouse=True)
def _scheme(request: pytest.FixtureRequest) -> None:
    if "protocol" in request.fixturenames and request.getfixturevalue("protocol") == "ckks":
        pytest.importorskip("tenseal")


def expected(fed: Federation, names: Any) -> Any:
    hot = fed.one_hot()
    return sum(hot[name] for name in names)


def check(fed: Federation, found: Outcome, survivors: set[str], there: set[str]) -> None:
    assert found.ended is None
    assert not found.errors
    for name in there:
        total = found.totals[name]
        assert total is not None
        assert set(total.survivors) == survivors
        assert np.array_equal(fed.context.parameters.ring.signed(total.words), expected(fed, survivors))
        assert total.weight == len(survivors)


@pytest.mark.parametrize("protocol", ALL)
def test_an_honest_round(protocol: str) -> None:
    fed = Federation(protocol)
    found = fed.run()
    check(fed, found, set(fed.names), set(fed.names))
    steps = [once for name, once in found.steps if name == "m1"]
    assert steps == (["upload", "vote"] if protocol in HELD else ["upload", "vote", "partial"])


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("bits", [16, 24, 32])
def test_the_edges_of_the_headroom(protocol: str, bits: int) -> None:
    """Every member at the limit: no slot carries into the next one."""
    fed = Federation(protocol, n=3, bits=bits, length=9)
    limit = ((1 << (bits - 1)) - 1) // 3
    pattern = np.array([limit, -limit, 0, limit, limit, -limit, 1, -1, limit])
    found = fed.run(dict.fromkeys(fed.names, pattern))
    total = found.totals["m1"]
    assert total is not None
    assert np.array_equal(fed.context.parameters.ring.signed(total.words), 3 * pattern)


@pytest.mark.parametrize("protocol", ALL)
def test_one_member_may_be_lost_at_every_step(protocol: str) -> None:
    for step in STEPS[protocol]:
        if step == "Recovery":
            continue
        fed = Federation(protocol, n=4)
        found = fed.run(lose={"m2": step})
        uploaded = step in ("Vote", "Partial")
        survivors = set(fed.names) if uploaded else set(fed.names) - {"m2"}
        check(fed, found, survivors, set(fed.names) - {"m2"})


@pytest.mark.parametrize("protocol", ALL)
def test_two_of_six_may_be_lost_anywhere(protocol: str) -> None:
    steps = STEPS[protocol][:-1] if protocol == "lattice" else STEPS[protocol]
    pairs = list(itertools.product(steps, repeat=2))
    for first, second in pairs if protocol != "lattice" else pairs[::3]:
        fed = Federation(protocol, n=6, threshold=4)
        found = fed.run(lose={"m2": first, "m4": second})
        gone = {name for name, step in (("m2", first), ("m4", second)) if step not in ("Vote", "Partial")}
        check(fed, found, set(fed.names) - gone, set(fed.names) - {"m2", "m4"})


@pytest.mark.parametrize("protocol", ALL)
def test_too_few_is_an_error_with_the_figures(protocol: str) -> None:
    for step in STEPS[protocol][: 2 if protocol in HELD else 3]:
        fed = Federation(protocol, n=4)
        found = fed.run(lose={"m2": step, "m3": step})
        assert isinstance(found.ended, TooFewParties)
        assert (found.ended.required, set(found.ended.present)) == (3, {"m0", "m1"})
        assert found.totals == {}


@pytest.mark.parametrize("protocol", HELD)
@pytest.mark.parametrize("step", ["HolderKey", "Release"])
def test_without_the_key_holder_the_round_ends_clearly(protocol: str, step: str) -> None:
    found = Federation(protocol).run(lose={"m0": step})
    assert isinstance(found.ended, ProtocolAborted)
    assert "m0 was given up" in str(found.ended)
    assert found.totals == {}


@pytest.mark.parametrize("protocol", ALL)
def test_only_receivers_get_the_sum(protocol: str) -> None:
    fed = Federation(protocol, receivers=("m0", "m1"))
    found = fed.run()
    assert found.ended is None
    assert {name for name, total in found.totals.items() if total is not None} == {"m0", "m1"}


@pytest.mark.parametrize("protocol", ALL)
def test_an_empty_vector_and_a_long_one(protocol: str) -> None:
    for length in (0, 5000):
        fed = Federation(protocol, n=3, length=length)
        values = np.arange(length) % 1000 - 500
        found = fed.run(dict.fromkeys(fed.names, values))
        total = found.totals["m2"]
        assert total is not None
        assert np.array_equal(fed.context.parameters.ring.signed(total.words), 3 * values)


def test_parameters_that_are_not_sound() -> None:
    good: dict[str, Any] = {
        "protocol": "ckks", "parties": 4, "threshold": 3, "minimum_cohort": 3, "colluders": 1, "bits": 32,
        "length": 5, "holder": "m0", "key": bytes(32), "receivers": ("m0",), "binding": bytes(32),
    }  # fmt: skip
    Parameters(**good)
    for change in (
        {"parties": 1}, {"parties": 1025}, {"bits": 16, "parties": 257}, {"bits": 20}, {"threshold": 2},
        {"threshold": 5}, {"colluders": 4}, {"minimum_cohort": 1}, {"length": -1}, {"key": b""},
        {"holder": "", "key": bytes(32)}, {"binding": b""},
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            Parameters(**{**good, **change})
