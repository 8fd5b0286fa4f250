"""The terms of encrypted histograms: widths, packing, and coming apart again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.histograms import GUARD_BITS, Terms

TERMS = Terms(64, (2**19, 2**19, 1))


def column(*rows: list[int]) -> Any:
    return np.array(rows, np.int64)


def test_terms_that_cannot_be_used_are_refused() -> None:
    for rows, limits in ((0, (1,)), (1, ()), (1, (0,)), (1, (1,) * 17), (2**32, (2**31,))):
        with pytest.raises(ParameterError):
            Terms(rows, limits)
    with pytest.raises(ParameterError, match="no room"):
        TERMS.bins(TERMS.bits + GUARD_BITS)
    assert TERMS.bins(TERMS.bits + GUARD_BITS + 1) == 1


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=6), st.data())
def test_packed_numbers_come_apart(limits: list[int], data: st.DataObject) -> None:
    terms = Terms(1000, tuple(limits))
    row = [data.draw(st.integers(-limit, limit)) for limit in limits]
    (message,) = terms.packed(column(row))
    assert message == sum(v << sum(terms.widths[:at]) for at, v in enumerate(row))
    assert terms.apart(1000 * message, 1) == [[1000 * v for v in row]]
    assert abs(1000 * message) < 1 << terms.bits - 1
    assert terms.apart((message << terms.bits) + message, 2) == [row, row]
    with pytest.raises(DecryptionFailed):
        terms.apart(message + (1 << terms.bits), 1)


def test_slots_hold_any_sum_and_its_sign() -> None:
    terms = Terms(41_188, (2**19, 2**19, 1))
    assert terms.widths == (36, 36, 17)
    assert terms.bins(560) == (559 - GUARD_BITS) // 89 == 5
    assert [most < 1 << width - 1 for most, width in zip(terms.largest, terms.widths, strict=True)] == [
        True
    ] * 3


def test_slots_at_their_limits_and_beyond() -> None:
    terms = Terms(3, (5, 7))
    low, _ = terms.widths
    for first in (-15, 0, 15):
        for second in (-21, 0, 21):
            assert terms.apart(first + (second << low), 1) == [[first, second]]
    for first, second in ((16, 0), (-16, 0), (0, 22), (0, -22)):
        with pytest.raises(DecryptionFailed):
            terms.apart(first + (second << low), 1)


def test_nothing_is_given_out_if_one_of_many_is_refused() -> None:
    terms, modulus = Terms(3, (5,)), 2**521 - 1
    each = terms.bins(521)
    assert terms.all_apart([1, modulus - 2], modulus, each + 1)[[0, each], 0].tolist() == [1, -2]
    with pytest.raises(DecryptionFailed, match="no sum"):
        terms.all_apart([1, 16], modulus, each + 1)
    with pytest.raises(DecryptionFailed, match="behind"):
        terms.all_apart([1, 1 << terms.bits], modulus, each + 1)
