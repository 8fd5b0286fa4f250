"""Identifiers as they are compared, and those that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo import identifiers
from silo.errors import ParameterError


def test_text_is_normalised_and_whole_numbers_are_their_digits() -> None:
    composed, apart = "Zo\u00eb", "Zoe\u0308"
    assert composed != apart
    assert identifiers.encode([composed]) == identifiers.encode([apart])
    assert identifiers.encode([17, "18", np.int64(19)]) == [b"17", b"18", b"19"]
    assert identifiers.encode(np.array([3, 2])) == [b"3", b"2"]
    assert identifiers.encode(["a", "A", " a", "01", "1"]) == [b"a", b"A", b" a", b"01", b"1"]
    assert identifiers.encode([]) == []


class Column:
    """As a column of a table library gives its values."""

    def __init__(self, values: list[object], way: str) -> None:
        setattr(self, way, lambda: values)


@pytest.mark.parametrize("way", ["to_pylist", "to_list", "tolist"])
def test_columns_of_table_libraries_are_read(way: str) -> None:
    assert identifiers.encode(Column(["x", 5], way)) == [b"x", b"5"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["secret-a", "b", "secret-a"], "row 2"),
        (["secret", None], "row 1, is empty"),
        (["secret", float("nan")], "row 1, is empty"),
        ([1, "1"], "row 1"),
        ([1.5], "row 0, is of type float"),
        ([True], "row 0, is of type bool"),
        (["secret", ""], "row 1, has 0 bytes"),
        (["x" * 1025], "1025 bytes"),
        ("secret", "not one column"),
        (np.zeros((2, 2), int), "not one column"),
    ],
)
def test_what_cannot_be_compared_is_named_by_its_row_and_never_shown(values: object, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        identifiers.encode(values, "column id")
    assert words in str(caught.value)
    assert "column id" in str(caught.value)
    assert "secret" not in str(caught.value)


@given(st.lists(st.one_of(st.text(min_size=1, max_size=40), st.integers()), max_size=30))
def test_every_entry_is_bytes_or_the_column_is_refused(values: list[object]) -> None:
    try:
        found = identifiers.encode(values)
    except ParameterError:
        return
    assert len(set(found)) == len(found) == len(values)
