"""Rows on the wire: as many bytes as planned, finite, and of one form only."""

from __future__ import annotations

import numpy as np
import pytest

from silo.crypto.errors import ParameterError
from silo.protocols.split import wire, words
from silo.protocols.split.schedule import Schedule
from silo.protocols.split.terms import Terms

ROWS = np.random.default_rng(5).normal(size=(17, 6)).astype(np.float32)
CLOSE = {"float32": 0.0, "float16": 2e-3, "int8": 1.2e-2}


@pytest.mark.parametrize("form", wire.FORMS)
def test_a_form_has_its_bytes_and_comes_back(form: str) -> None:
    raw = wire.encode(ROWS, form)
    assert len(raw) == len(ROWS) * wire.row_bytes(form, 6)
    found = wire.decode(raw, form, 6)
    assert found.dtype == np.float32
    largest = np.abs(ROWS).max(axis=1, keepdims=True)
    assert (np.abs(found - ROWS) <= CLOSE[form] * largest).all()


def test_planned_bytes_are_those_of_the_formula() -> None:
    assert [wire.row_bytes(form, 16) for form in wire.FORMS] == [64, 32, 20]
    terms = Terms(2, 10, 2, "int8")
    assert terms.activation_bytes(16, 1) == 20
    assert terms.activation_bytes(16, 2) == 64
    assert terms.messages(25) == 6


@pytest.mark.parametrize("form", wire.FORMS)
def test_rows_of_zeros_and_of_the_smallest_numbers(form: str) -> None:
    tiny = np.zeros((2, 3), np.float32)
    tiny[1] = 1e-45
    found = wire.decode(wire.encode(tiny, form), form, 3)
    assert np.abs(found).max() <= 1e-44


def test_half_precision_is_cut_off_at_its_largest() -> None:
    huge = np.array([[1e9, -1e9]], np.float32)
    assert wire.decode(wire.encode(huge, "float16"), "float16", 2).tolist() == [[65504.0, -65504.0]]


@pytest.mark.parametrize(
    ("form", "raw"),
    [
        ("float32", np.array([1, np.nan], "<f4").tobytes()),
        ("float16", np.array([np.inf, 0], "<f2").tobytes()),
        ("int8", np.array([np.nan], "<f4").tobytes() + b"\x01\x02"),
        ("int8", np.array([np.inf], "<f4").tobytes() + b"\x01\x02"),
        ("int8", np.array([3e38], "<f4").tobytes() + b"\x7f\x02"),
        ("int8", np.array([-1], "<f4").tobytes() + b"\x01\x02"),
        ("int8", np.array([1], "<f4").tobytes() + b"\x80\x02"),
    ],
)
def test_what_no_sender_writes_is_refused(form: str, raw: bytes) -> None:
    with pytest.raises(ParameterError, match="row"):
        wire.decode(raw, form, 2)


def test_words_add_up_and_have_an_end() -> None:
    total = words.encode(ROWS, "ash") + words.encode(-2 * ROWS, "birch")
    assert np.abs(words.decode(total, 6) + ROWS).max() < 2e-6
    beyond = ROWS.copy()
    beyond[4, 2] = 129.0
    with pytest.raises(ParameterError, match="ash: an activation of 129 in row 14 of the batch"):
        words.encode(beyond, "ash", 10)


def test_an_epoch_has_every_row_once_and_each_its_own_order() -> None:
    schedule = Schedule(bytes(32), 103, 20, 3)
    batches = [list(schedule.batches(epoch)) for epoch in range(2)]
    for one in batches:
        assert [sum(map(len, batch)) for batch in one] == [20, 20, 20, 20, 20, 3]
        assert all(len(batch) == 3 for batch in one)
        rows = np.concatenate([np.concatenate(batch) for batch in one])
        assert sorted(rows.tolist()) == list(range(103))
    first, second = (np.concatenate([np.concatenate(batch) for batch in one]) for one in batches)
    assert (first != second).any()
    assert (Schedule(b"1" * 32, 103, 20, 3).order(0) != schedule.order(0)).any()
    assert [len(part) for part in next(Schedule(bytes(32), 2, 8, 4).batches(0))] == [1, 1]


@pytest.mark.parametrize(
    "figures",
    [
        {"epochs": 0},
        {"epochs": 10**6},
        {"batch": 0},
        {"micro_batches": 0},
        {"micro_batches": 17, "batch": 64},
        {"micro_batches": 4, "batch": 3},
        {"wire": "float8"},
    ],
)
def test_terms_out_of_bounds_are_refused(figures: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match="wire" if "wire" in figures else "epochs|batch"):
        Terms(**{"epochs": 1, "batch": 8, **figures})  # type: ignore[arg-type]


def test_a_cut_that_fits_no_message_is_refused() -> None:
    Terms(1, 512).require_width(1024)
    for width in (0, 1 << 17, 1 << 16):
        with pytest.raises(ParameterError, match="numbers"):
            Terms(1, 1024).require_width(width)
