"""The own vectors: the verifier accepts them, the library still makes them, a wrong one is found."""

from __future__ import annotations

import json

import pytest

from tests.vectors import generate, verify


def test_every_file_has_a_generator_and_a_verifier() -> None:
    assert generate.FILES.keys() == verify.FILES.keys()
    assert {path.stem for path in verify.HERE.glob("*.json")} == set(verify.FILES)


@pytest.mark.parametrize("name", verify.FILES)
def test_independent_verifier_accepts(name: str) -> None:
    assert verify.verify(name) > 0


@pytest.mark.parametrize("name", verify.FILES)
def test_library_still_makes_the_vectors(name: str) -> None:
    assert (generate.HERE / f"{name}.json").read_text() == generate.text(name)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("keystream", "words"),
        ("masks", "last"),
        ("agreement", "key"),
        ("signatures", "message"),
        ("sealed", "associated"),
        ("sharing", "secret"),
        ("ring", "words"),
        ("integers", "packed"),
    ],
)
def test_verifier_notices_a_changed_vector(name: str, field: str) -> None:
    case = json.loads((verify.HERE / f"{name}.json").read_text())[-1]
    value = case[field]
    case[field] = (
        value[1:] + value[:1] if isinstance(value, list) else value[:-2] + f"{int(value[-2:], 16) ^ 1:02x}"
    )
    with pytest.raises(ValueError, match="expected"):
        verify.FILES[name](case)
