"""`silo.fit_private` on a real ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")
datasets = pytest.importorskip("sklearn.datasets")

from torch import nn  # noqa: E402

import silo  # noqa: E402
from silo.errors import ParameterError  # noqa: E402
from silo.privacy.accountants.pld import PLD  # noqa: E402
from silo.privacy.errors import PrivacyBudgetExceeded  # noqa: E402
from silo.training.private.checks import DeltaTooLarge  # noqa: E402
from tests.silo.training.private.fake import flat, plan  # noqa: E402

DATA = (torch.randn(40, 8), torch.randint(0, 3, (40,)))


def book(path: Path, epsilon: float = 8.0, delta: float = 1e-5) -> silo.Ledger:
    ledger = silo.Ledger.open(path / "ledger.db")
    if not ledger.books.datasets:
        ledger.add("ward", silo.Budget(epsilon, delta))
    return ledger


def kinds(ledger: silo.Ledger) -> list[str]:
    return [str(record.fields()["kind"]) for record in ledger.records()]


def test_digits_are_learned_within_epsilon_8(tmp_path: Path) -> None:
    """The recipe: 200 steps at q = .1, clip 1, learning rate 2, and the noise of a target of 7.8."""
    pixels, digits = datasets.load_digits(return_X_y=True)
    x, y = (pixels / 16).astype(np.float32), digits.astype(np.int64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    held = np.random.default_rng(0).random(len(x)) < 0.2
    privacy = silo.DPSGD(
        sampling=0.1, steps=200, clip=1.0, lot=140.0, epsilon=7.8, delta=1e-5, learning_rate=2.0
    )
    with book(tmp_path, 7.8) as ledger:
        found = silo.fit_private(model, (x[~held], y[~held]), privacy=privacy, ledger=ledger)
        assert found.epsilon == found.total_epsilon == PLD().epsilon(privacy.plan().event, 1e-5)
        assert found.epsilon <= 7.8
        assert kinds(ledger)[-1] == "commit"
    with torch.no_grad():
        right = model(torch.from_numpy(x[held])).argmax(1).numpy() == y[held]
    assert right.mean() >= 0.92


def test_what_does_not_fit_is_refused_before_a_row_is_read(tmp_path: Path) -> None:
    class Untouched:
        def __len__(self) -> int:
            raise AssertionError("the rows were counted")

        def __getitem__(self, index: int) -> Any:
            raise AssertionError("a row was read")

    model = nn.Linear(8, 3)
    before = flat(model)
    with book(tmp_path, 1.0) as ledger:
        with pytest.raises(PrivacyBudgetExceeded):
            silo.fit_private(model, Untouched(), privacy=plan(noise_multiplier=0.5), ledger=ledger)
        assert kinds(ledger) == ["ledger", "open", "refuse"]
    assert torch.equal(flat(model), before)


def test_a_second_training_goes_on_from_what_is_left(tmp_path: Path) -> None:
    privacy = plan(noise_multiplier=2.0, sampling=0.3, steps=20, chunk=8)
    model = nn.Linear(8, 3)
    with book(tmp_path, 6.0) as ledger:
        first = silo.fit_private(model, DATA, privacy=privacy, ledger=ledger)
    again = silo.fit_private(model, DATA, privacy=privacy, ledger=tmp_path / "ledger.db", dataset="ward")
    assert again.epsilon == first.epsilon == first.total_epsilon < again.total_epsilon
    left = flat(model)
    with book(tmp_path) as ledger:
        with pytest.raises(PrivacyBudgetExceeded):
            silo.fit_private(model, DATA, privacy=plan(noise_multiplier=0.7, steps=20), ledger=ledger)
        assert kinds(ledger).count("reserve") == 6
    assert torch.equal(flat(model), left)


def test_unsound_or_broken_models_cost_nothing(tmp_path: Path) -> None:
    with book(tmp_path, 1000.0) as ledger:
        for model in (nn.BatchNorm1d(8), nn.Linear(7, 3), "a model"):
            with pytest.raises(ParameterError):
                silo.fit_private(model, DATA, privacy=plan(noise_multiplier=1.0), ledger=ledger)  # type: ignore[arg-type]
        assert ledger.account().epsilon() == 0
        assert "reserve" not in kinds(ledger)


def test_an_interruption_is_paid_for_what_ran(tmp_path: Path) -> None:
    def stop(step: int) -> None:
        if step == 5:
            raise KeyboardInterrupt

    privacy = plan(noise_multiplier=2.0, sampling=0.3, steps=20, chunk=4)
    with book(tmp_path) as ledger:
        with pytest.raises(KeyboardInterrupt):
            silo.fit_private(nn.Linear(8, 3), DATA, privacy=privacy, ledger=ledger, on_step=stop)
        closes = [r.fields() for r in ledger.records() if r.fields()["kind"] == "close"]
        assert [one["executed"] for one in closes] == ["4", "1"]
        due = plan(noise_multiplier=2.0, sampling=0.3, steps=5).plan()
        assert ledger.account().epsilon() == pytest.approx(due.epsilon, rel=1e-6)


def test_a_delta_of_one_over_the_rows_is_warned_of(tmp_path: Path) -> None:
    with book(tmp_path, 8.0, 1 / 40) as ledger, pytest.warns(DeltaTooLarge, match="agree on a smaller one"):
        silo.fit_private(nn.Linear(8, 3), DATA, privacy=plan(noise_multiplier=2.0), ledger=ledger)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((torch.full((40, 8), torch.nan), DATA[1]), "x is not finite in 40 of 40 rows, row 0 first"),
        (
            (torch.cat([DATA[0][:39], torch.full((1, 8), torch.inf)]), DATA[1]),
            "row 39 first: fill or leave out",
        ),
        ((DATA[0], torch.cat([DATA[1][:30], torch.full((10,), 3)])), "cannot take a label .*Target 3 is out"),
        ((DATA[0], DATA[1].float()), "int64 labels"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_before_anything_is_charged(
    tmp_path: Path, data: Any, said: str
) -> None:
    with book(tmp_path) as ledger:
        with pytest.raises(ParameterError, match=said):
            silo.fit_private(nn.Linear(8, 3), data, privacy=plan(noise_multiplier=4.0), ledger=ledger)
        assert "reserve" not in kinds(ledger)


def test_a_target_at_another_delta_than_the_budget_is_refused(tmp_path: Path) -> None:
    privacy = plan(noise_multiplier=None, epsilon=1.0, delta=1e-6)
    with (
        book(tmp_path) as ledger,
        pytest.raises(ParameterError, match=r"target is at delta 1e-06.* at 1e-05"),
    ):
        privacy.plan(ledger.account())


def test_a_ledger_that_is_not_there_is_not_made_by_training(tmp_path: Path) -> None:
    for absent in (tmp_path / "typo.db", str(tmp_path / "typo.db")):
        with pytest.raises(ParameterError, match=r"there is no ledger .*typo.db: open a budget first"):
            silo.fit_private(nn.Linear(8, 3), DATA, privacy=plan(), ledger=absent)
    nothing: Any = None
    with pytest.raises(ParameterError, match="not a NoneType"):
        silo.fit_private(nn.Linear(8, 3), DATA, privacy=plan(), ledger=nothing)
    assert list(tmp_path.iterdir()) == []


def test_which_data_set_is_meant_is_said(tmp_path: Path) -> None:
    with silo.Ledger.open(tmp_path / "ledger.db") as ledger:
        with pytest.raises(ParameterError, match="no budget is open"):
            silo.fit_private(nn.Linear(8, 3), DATA, privacy=plan(), ledger=ledger)
        for name in ("ward", "clinic"):
            ledger.add(name, silo.Budget(8.0, 1e-5))
        with pytest.raises(ParameterError, match=r"several data sets \(ward, clinic\)"):
            silo.fit_private(nn.Linear(8, 3), DATA, privacy=plan(), ledger=ledger)
