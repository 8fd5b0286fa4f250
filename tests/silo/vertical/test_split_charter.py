"""What the charter says of split learning: the directions that have noise, and what is told where one has none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from silo.charter import Charter, Vertical, file
from silo.charter.show import show, summary
from silo.charter.verticals import leakage
from silo.errors import CharterError
from silo.protocols.vertical.context import MODELS
from tests.silo.federation import NOW, charter, identities, terms


@pytest.fixture
def agreed(tmp_path: Path) -> Charter:
    return charter(identities(tmp_path), sum=terms(), vertical=Vertical(MODELS))


def test_noise_is_on_by_default_and_survives_the_file(agreed: Charter) -> None:
    assert agreed.vertical is not None
    assert agreed.vertical.noised == ("gradients", "activations")
    again = file.parse(file.render(agreed).encode())
    assert again.vertical == agreed.vertical
    assert again.digest == agreed.digest
    text = file.render(agreed).replace('noised = ["gradients", "activations"]\n', "")
    assert "noised" not in text
    assert file.parse(text.encode()).digest == agreed.digest


def test_switching_noise_off_is_another_charter_that_says_so(agreed: Charter) -> None:
    assert agreed.vertical is not None
    assert "WITHOUT noise" not in show(agreed, NOW + timedelta(days=1))
    for left, gone, words in (
        (("activations",), "gradients", "labels can be read off by the cosine attack"),
        (("gradients",), "activations", "columns can be rebuilt"),
    ):
        other = replace(agreed, vertical=replace(agreed.vertical, noised=left))
        assert other.digest != agreed.digest
        assert f"split learning WITHOUT noise on {gone}: {words}" in show(other, NOW)
        facts = summary(other, NOW)["vertical"]
        assert facts["noised"] == left


def test_without_split_learning_nothing_is_said_of_it(agreed: Charter) -> None:
    assert agreed.vertical is not None
    other = replace(agreed, vertical=replace(agreed.vertical, models=("linear",), noised=()))
    assert "split" not in show(other, NOW)


@pytest.mark.parametrize("words", [("labels",), ("gradients", "gradients")])
def test_other_words_are_refused(agreed: Charter, words: tuple[str, ...]) -> None:
    assert agreed.vertical is not None
    with pytest.raises(CharterError):
        replace(agreed, vertical=replace(agreed.vertical, noised=words))
    text = file.render(agreed).replace('noised = ["gradients", "activations"]', "noised = [1]")
    with pytest.raises(CharterError, match="noised must be a list of words"):
        file.parse(text.encode())


def test_the_leakage_table_follows_the_noise() -> None:
    def of(members: int, noised: tuple[str, ...]) -> dict[str, str]:
        return dict(leakage(members, ("split",), noised))

    assert "no more than the ledger bounds" in of(2, ("gradients", "activations"))["other member (`split`)"]
    assert "EVERY LABEL can be read off" in of(2, ("activations",))["other member (`split`)"]
    assert "COLUMNS CAN BE REBUILT" in of(2, ("gradients",))["label party (`split`)"]
    assert "only their sum" in of(3, ())["label party (`split`)"]
    assert "compute partner (`split`, U-shape)" in of(2, ())
    assert "compute partner (`split`, U-shape)" not in of(3, ())
