"""What all checkpoints of vertical models have in common: whose they are, and what cannot be read or written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from silo.errors import ParameterError
from silo.vertical import checkpoints

FIT = b"f" * 32
ARRAYS = {"scores:0": np.arange(3.0), "seed": np.frombuffer(b"seed", np.uint8)}


def test_a_file_gives_back_its_arrays_to_its_own_fit_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "bank.passes"
    assert checkpoints.read(path, FIT) is None
    checkpoints.write(path, FIT, ARRAYS)
    assert path.stat().st_mode & 0o777 == 0o600
    found = checkpoints.read(path, FIT)
    assert found is not None
    assert found.keys() == ARRAYS.keys()
    assert all(np.array_equal(found[key], value) for key, value in ARRAYS.items())
    assert checkpoints.read(path, b"o" * 32) is None


def test_terms_and_numbers_are_in_the_fingerprint() -> None:
    table = np.arange(6.0)
    marks = [
        checkpoints.fingerprint("terms", table),
        checkpoints.fingerprint("other", table),
        checkpoints.fingerprint("terms", table + 1),
        checkpoints.fingerprint("terms", table.reshape(2, 3)),
        checkpoints.fingerprint("terms", table, table),
    ]
    assert len(set(marks)) == len(marks)
    assert marks[0] == checkpoints.fingerprint("terms", table.copy())


@pytest.mark.parametrize("damage", [b"", b"not an archive", b"PK\x03\x04half"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "bank.passes"
    path.write_bytes(damage)
    with pytest.raises(ParameterError, match=r"bank\.passes cannot be read \(\w+\): move it away"):
        checkpoints.read(path, FIT)


def test_objects_are_neither_written_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "bank.passes"
    thing = np.array([{}], object)
    with pytest.raises(ValueError, match="Object arrays"):
        checkpoints.write(path, FIT, {"thing": thing})
    assert not list(tmp_path.iterdir())
    with path.open("wb") as file:
        np.savez(file, thing=thing)
    with pytest.raises(ParameterError, match="cannot be read"):
        checkpoints.read(path, FIT)


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ParameterError, match=r"the checkpoint .*bank\.passes cannot be written: \w+"):
        checkpoints.write(tmp_path / "file" / "bank.passes", FIT, ARRAYS)
