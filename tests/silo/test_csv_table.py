"""Tables in CSV files: what is read, what is refused in one sentence, and that nothing is written over."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from silo import csv_table
from silo.errors import ParameterError


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_column_is_numbers_or_text(tmp_path: Path) -> None:
    table = csv_table.read(written(tmp_path, "id,age,job,left\na,1.5,cook,\nb,,,2\n\n"))
    assert table.names == ("id", "age", "job", "left")
    assert table.text("id") == ["a", "b"]
    numbers = table.matrix(["left", "age"])
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(numbers, [[math.nan, 1.5], [2, math.nan]])
    mixed = table.matrix(["job", "age"])
    assert mixed.dtype == object
    assert mixed[0].tolist() == ["cook", 1.5]
    assert mixed[1, 0] is None


def test_what_python_alone_takes_for_a_number_is_text() -> None:
    assert csv_table.values(["1_000", "2"]).tolist() == ["1_000", "2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,age\n", "no rows"),
        ("", "no rows"),
        ("id,age\n1,2\n3\n", "row 2: 1 values under 2 columns"),
        ('id,age\n"1,2\n', "no table of values"),
    ],
)
def test_what_is_no_table_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        csv_table.read(written(tmp_path, text))


def test_a_column_that_is_missing_or_there_twice(tmp_path: Path) -> None:
    table = csv_table.read(written(tmp_path, "id,id,age\n1,2,3\n"))
    with pytest.raises(ParameterError, match="'id' is twice"):
        table.matrix(["id"])
    with pytest.raises(ParameterError, match="'sex' is not among id, id, age"):
        table.text("sex")


def test_a_first_line_that_is_a_record_is_not_shown(tmp_path: Path) -> None:
    table = csv_table.read(written(tmp_path, "p77,0.25\np78,0.5\n"))
    with pytest.raises(ParameterError, match="has the file no header") as caught:
        table.text("id")
    assert "p77" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="cannot be read: No such file"):
        csv_table.read(tmp_path / "none.csv")


def test_nothing_is_written_over_and_only_the_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    csv_table.require_new(path, "-o")
    csv_table.write(path, ["id", "value"], [["a", 0.5]])
    assert path.read_text() == "id,value\na,0.5\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ParameterError, match="already there: move it away, or name another file with -o"):
        csv_table.require_new(path, "-o")
    with pytest.raises(ParameterError, match="cannot be written"):
        csv_table.write(path, ["id"], [])
    with pytest.raises(ParameterError, match="is not there: make it first"):
        csv_table.require_new(tmp_path / "none" / "scores.csv", "-o")
