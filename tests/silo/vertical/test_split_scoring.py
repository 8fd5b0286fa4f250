"""What is refused, or warned of, before the parts of a split network score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

import silo  # noqa: E402
from silo.errors import ParameterError  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402


def test_rows_of_no_column_are_rows_of_one_length() -> None:
    def work(session: silo.Session) -> None:
        leads = session.me == "bank"
        model = st.member(session, epochs=1, watch=False, bank={"bottom": None, "top": st.top(st.CUT)})
        model.fit(None if leads else st.X[session.me], st.Y if leads else None)
        if leads:
            with pytest.raises(ParameterError, match="are not of one length"):
                model._table([[1.0], [1.0, 2.0]], reset=False)
            assert model._table(np.zeros((7, 0)), reset=False).shape == (7, 0)

    st.together(work)


def scored(part: str, changed: Any) -> list[str]:
    """Fit, then score with one member's module changed; what the label party, or all, were told."""
    told: list[str] = []

    def work(session: silo.Session) -> None:
        model = st.fitted(session, epochs=1, watch=False)
        if session.me == "telecom" and part == "bottom":
            model.parts_["bottom"].modules["bottom"] = changed
        if session.me == "bank" and part != "bottom":
            model.parts_["real"].modules["top"] = changed
        try:
            model.predict_proba(st.X[session.me])
        except silo.SiloError as problem:
            told.append(f"{session.me}: {type(problem).__name__}: {problem}")

    st.together(work)
    return sorted(told)


@pytest.mark.parametrize(
    ("part", "changed", "said"),
    [
        (
            "bottom",
            torch.nn.Linear(4, st.CUT + 1),
            "the bottom module gives 6 numbers, and gave 5 in the fit",
        ),
        ("bottom", torch.nn.Linear(7, st.CUT), "the bottom module cannot take rows of 4 numbers"),
        ("top", torch.nn.Linear(3, 1), "the top module cannot take rows of 10 numbers"),
    ],
)
def test_modules_that_cannot_score_are_told_before_anything_is_shown(
    part: str, changed: Any, said: str
) -> None:
    own, *others = sorted(scored(part, changed), key=lambda line: "ParameterError" not in line)
    assert said in own
    assert all("TooFewParties" in line for line in others)


def test_modules_that_look_otherwise_are_told_as_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    part = st.saved(tmp_path / "part.json")
    silo.vertical.load(part, bottom=st.bottom("telecom"))
    assert "printed by torch" not in caplog.text
    silo.vertical.load(part, bottom=torch.nn.Sequential(torch.nn.Linear(4, st.CUT), torch.nn.ReLU()))
    assert "the modules of bottom are printed by torch in another way" in caplog.text


class Coded(torch.nn.Module):
    """Looks up a row's codes, which made-up rows have none of."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(3, st.CUT)

    def forward(self, x: Any) -> Any:
        return self.table(x.long()).sum(1)


def test_a_bottom_that_looks_up_codes_scores_as_it_was_fitted() -> None:
    codes = np.abs(st.X["telecom"]).astype(int) % 3

    def work(session: silo.Session) -> Any:
        model = st.member(session, epochs=1, watch=False, telecom={"bottom": Coded()})
        x = codes if session.me == "telecom" else st.X[session.me]
        model.fit(x, st.Y if session.me == "bank" else None)
        return model.predict(x)

    assert len(st.together(work)["bank"]) == st.ROWS
