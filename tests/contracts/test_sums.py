"""What every protocol of the sum must do alike: the suite of `silo.sums.SUMS`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import silo
from silo.charter import SUMS as CHARTER_SUMS
from silo.crypto.errors import ParameterError
from silo.crypto.ring import ValueOutOfRange
from silo.errors import CharterError, NotAllowed
from silo.protocols.errors import UnlikeTerms
from silo.session import Session
from silo.simulation import simulate
from silo.sums import SUMS

NAMES = ["ada", "bob", "cyd"]
KINDS = [
    (name, blinded)
    for name in SUMS
    for blinded in (False, True)
    if not blinded or CHARTER_SUMS[name].blinded is not None
]
LABELS = [f"{name}{'-blinded' if blinded else ''}" for name, blinded in KINDS]


def needs(name: str) -> None:
    """Skip a sum whose scheme is not installed."""
    if name == "ckks":
        pytest.importorskip("tenseal")


@pytest.fixture(params=KINDS, ids=LABELS)
def terms(request: pytest.FixtureRequest) -> dict[str, Any]:
    name, blinded = request.param
    needs(name)
    return {"protocol": name, "blinded": blinded, "clip": 4.0}


def test_charter_and_session_know_the_same_sums() -> None:
    assert set(SUMS) == set(CHARTER_SUMS)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (7,), (2, 3), (4, 0, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.int8, np.uint8, np.bool_])
def test_every_shape_and_type(terms: dict[str, Any], shape: tuple[int, ...], dtype: Any) -> None:
    check_sum_and_mean(terms, shape, dtype)


LARGE, ENOUGH = 300_000, 20_000
"""LARGE takes half a minute under Paillier; ENOUGH words already fill hundreds of ciphertexts and pieces of the tag."""


@pytest.mark.parametrize(
    ("terms", "length"),
    [
        *(
            pytest.param(kind, LARGE, marks=pytest.mark.slow if kind[0] == "paillier" else (), id=label)
            for kind, label in zip(KINDS, LABELS, strict=True)
        ),
        pytest.param(("paillier", False), ENOUGH, id="paillier-enough"),
    ],
    indirect=["terms"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_large_arrays_in_the_two_usual_types(terms: dict[str, Any], length: int, dtype: Any) -> None:
    check_sum_and_mean(terms, (length,), dtype)


def check_sum_and_mean(terms: dict[str, Any], shape: tuple[int, ...], dtype: Any) -> None:
    rng = np.random.default_rng(3)
    inputs = [
        np.asarray(rng.uniform(-1, 1, shape) * (1 if np.dtype(dtype).kind == "f" else 5)) for _ in NAMES
    ]
    given = [np.asarray(one).astype(dtype) for one in inputs]

    def both(session: Session, one: Any) -> tuple[Any, Any, float]:
        total = session.sum(one)
        mean = session.mean(one)
        return total, mean, session.last.error if session.last else 0.0

    found = simulate(NAMES, both, given, **terms)
    exact = np.sum([np.asarray(g, np.float64) for g in given], axis=0)
    for total, mean, error in found.values():
        assert np.shape(total) == shape
        if np.dtype(dtype).kind == "f":
            assert np.all(np.abs(total - exact) <= 3 * 1.01 / (2**31 / 3 / 4.0))
        else:
            assert np.asarray(total).dtype == np.int64
            assert np.array_equal(total, exact.astype(np.int64))
        assert np.all(np.abs(mean - exact / 3) <= max(error, 1e-12) + 1e-12)
    assert all(np.array_equal(one[0], found["ada"][0]) for one in found.values())


def test_dicts_scalars_and_weights(terms: dict[str, Any]) -> None:
    def both(session: Session, number: int) -> Any:
        value = {"w": np.full((2, 2), float(number)), "b": np.float32(number), "n": np.arange(3)}
        return session.mean(value, weight=number), session.sum(number), session.sum({})

    found = simulate(NAMES, both, [1, 2, 3], rows=10, **terms)
    for mean, total, nothing in found.values():
        assert np.allclose(mean["w"], 14 / 6, atol=1e-6)
        assert np.allclose(mean["b"], 14 / 6, atol=1e-6)
        assert np.allclose(mean["n"], np.arange(3), atol=1e-6)
        assert total == 6
        assert nothing == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_by_name(terms: dict[str, Any], bad: float) -> None:
    def one(session: Session) -> Any:
        value = np.zeros((2, 3))
        value[1, 2] = bad
        return session.sum({"w": value})

    with pytest.raises(ValueOutOfRange, match=r"w\[1, 2\]"):
        simulate(NAMES, one, **terms)


def test_beyond_the_clip_is_refused_by_key_and_size_or_counted(terms: dict[str, Any]) -> None:
    def one(session: Session) -> Any:
        return session.sum({"a": np.ones(2), "b": np.array([0.0, 4.5])}), session.saturated

    with pytest.raises(ValueOutOfRange, match=r"b\[1\] is 4\.5.*4\.0"):
        simulate(NAMES, one, **terms)
    found = simulate(NAMES, one, overflow="saturate", **terms)
    for total, saturated in found.values():
        assert np.allclose(total["b"], [0, 12], atol=1e-5)
        assert saturated == 3


def test_unlike_shapes_are_named_with_the_member(terms: dict[str, Any]) -> None:
    def one(session: Session, length: int) -> Any:
        return session.sum(np.zeros(length))

    with pytest.raises(UnlikeTerms, match=r"bob has 13, the others have 12"):
        simulate(NAMES, one, [12, 13, 12], **terms)


def test_unlike_calls_are_named(terms: dict[str, Any]) -> None:
    def one(session: Session, averages: bool) -> Any:
        return session.mean(1.0) if averages else session.sum(1.0)

    with pytest.raises(UnlikeTerms, match="cyd"):
        simulate(NAMES, one, [False, False, True], **terms)


def test_overflow_cannot_happen(terms: dict[str, Any]) -> None:
    for bits in CHARTER_SUMS[terms["protocol"]].bits:
        edge = {**terms, "bits": bits}

        def one(session: Session) -> Any:
            limit = ((1 << (session.charter.sum.bits - 1)) - 1) // 3
            return session.sum(np.array([4.0, -4.0])), session.sum(np.array([limit, -limit]))

        for total, integers in simulate(NAMES, one, rows=10, **edge).values():
            assert np.allclose(total, [12, -12], rtol=2 ** -(bits - 5))
            assert np.array_equal(integers, 3 * np.array([1, -1]) * (((1 << (bits - 1)) - 1) // 3))

        def beyond(session: Session) -> Any:
            return session.sum(np.array([((1 << (session.charter.sum.bits - 1)) - 1) // 3 + 1]))

        with pytest.raises(ValueOutOfRange):
            simulate(NAMES, beyond, rows=10, **edge)


def test_weights_have_their_bounds(terms: dict[str, Any]) -> None:
    for weight, error in ((-1.0, ParameterError), (11.0, NotAllowed), (np.nan, ParameterError)):

        def one(session: Session, weight: float = weight) -> Any:
            return session.mean(1.0, weight=weight)

        with pytest.raises(error):
            simulate(NAMES, one, rows=10, **terms)
    with pytest.raises(ParameterError, match="all weights are zero"):
        simulate(NAMES, lambda session: session.mean(1.0, weight=0), rows=10, **terms)


def test_a_clip_may_be_smaller_and_not_larger(terms: dict[str, Any]) -> None:
    assert simulate(NAMES, lambda s: s.sum(0.5, clip=1.0), **terms)["ada"] == pytest.approx(1.5, abs=1e-6)
    with pytest.raises(NotAllowed, match="clip"):
        simulate(NAMES, lambda s: s.sum(0.5, clip=5.0), **terms)


def test_what_is_not_summed(terms: dict[str, Any]) -> None:
    for value in ("text", np.array(["a"]), object(), {1: 2.0}, np.zeros(2, complex)):
        with pytest.raises(ParameterError):
            simulate(NAMES, lambda s, value=value: s.sum(value), **terms)


@pytest.mark.parametrize("name", SUMS)
def test_two_need_the_words(name: str) -> None:
    needs(name)
    with pytest.raises(CharterError, match="two_party"):
        simulate(2, lambda s: s.sum(1), protocol=name)
    words = silo.TWO_PARTY_WORDS
    assert simulate(2, lambda s: s.sum(1), protocol=name, two_party=words) == {"party-1": 2, "party-2": 2}


def test_a_state_dict_with_counters_scalars_and_brain_floats() -> None:
    torch = pytest.importorskip("torch")

    def one(session: Session, number: int) -> Any:
        state = {
            "w": torch.full((2,), float(number)),
            "b": torch.tensor(float(number), dtype=torch.bfloat16),
            "seen": torch.tensor(100 + number),
        }
        return session.mean(state, weight=1)

    for number, found in enumerate(simulate(NAMES, one, [1, 2, 3], clip=4.0, rows=10).values(), start=1):
        assert torch.allclose(found["w"], torch.full((2,), 2.0, dtype=torch.float64), atol=1e-5)
        assert found["b"].shape == ()
        assert int(found["seen"]) == 100 + number


def test_ragged_rows_are_one_sentence() -> None:
    with pytest.raises(ParameterError, match="its rows differ"):
        simulate(NAMES, lambda s: s.sum([[1.0], [1.0, 2.0]]))


def test_the_same_numbers_are_the_same_update_in_whatever_form() -> None:
    tags: list[bytes] = []

    def one(session: Session) -> Any:
        consume = session.journal.consume

        def noted(tag: bytes, *rest: Any, **options: Any) -> None:
            tags.append(tag)
            consume(tag, *rest, **options)

        if session.me == "ada":
            session.journal.consume = noted  # type: ignore[method-assign]
        session.sum(np.array([1.0, 2.0], np.float32))
        session.mean(np.array([1.0, 2.0]), weight=3)
        session.sum({"a": np.array([1]), "b": np.array([2])})
        session.sum(np.array([1.0, 2.5]))

    simulate(NAMES, one, clip=4.0, rows=10)
    assert len(set(tags[:3])) == 1
    assert len(set(tags)) == 2
