"""The plots of a ledger: what is drawn is what was spent."""

from __future__ import annotations

import math
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from silo.errors import ParameterError
from silo.privacy.budget import Budget
from silo.report import plots
from silo.report.ledger_history import Course, Point

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def course(*values: float, name: str = "clinic", pld: tuple[float, ...] = ()) -> Course:
    """A data set with a value of the filter every second, over ten seconds."""
    return Course(
        name,
        "patient",
        Budget(1.0, 1e-3),
        START,
        at(10),
        filter=[Point(place + 1, at(place), value) for place, value in enumerate(values)],
        pld=[Point(place + 1, at(place), value) for place, value in enumerate(pld)],
    )


def path_of(kind: str, drawn: str) -> str:
    found = re.search(rf'<path class="{kind}" d="([^"]*)"', drawn)
    assert found is not None
    return found[1]


def test_the_filter_is_drawn_in_steps_to_the_end() -> None:
    drawn = path_of("filter", plots.spend(course(0.0, 0.56, 0.28)))
    # 1.12 budgets are 190 high: .56 of epsilon is half of it.
    assert drawn == "M0.00 190.00H100.00V95.00H200.00V142.50H1000"


def test_the_budget_is_a_line() -> None:
    drawn = path_of("limit", plots.spend(course(0.0)))
    assert float(re.findall(r"M0 ([\d.]+)H1000", drawn)[0]) == pytest.approx(190 * (1 - 1 / 1.12), abs=0.01)


def test_pld_holds_until_the_next_charge() -> None:
    one = course(0.0, 0.0, 0.56, 0.56, pld=(0.0,))
    one.pld.append(Point(4, at(3), 0.28))
    assert path_of("pld", plots.spend(one)) == "M0.00 190.00L100.00 190.00L300.00 142.50H1000"


def test_what_is_infinite_lies_on_the_upper_edge() -> None:
    drawn = plots.spend(course(0.0, math.inf))
    assert path_of("filter", drawn).endswith("V0.00H1000")
    assert "ends at infinite" in drawn
    assert not re.search(r"\b(nan|inf)\b", drawn)


def test_what_happens_in_one_moment_is_drawn() -> None:
    one = course(0.5)
    one.end = START
    assert "nan" not in plots.spend(one)


def test_many_points_are_thinned_and_peaks_are_kept() -> None:
    values = [0.001 * (place % 7) for place in range(50_000)]
    values[33_333] = 0.9
    kept = plots._thin(course(*values).filter)
    assert len(kept) <= 700
    assert max(one.epsilon for one in kept) == 0.9
    assert kept[-1].sequence == 50_000


def test_refusals_and_bare_releases_are_marked_and_told() -> None:
    one = course(0.5)
    one.refused, one.unprotected = [at(4)], [at(6), at(7)]
    drawn = plots.spend(one)
    assert path_of("refused", drawn).startswith("M400.00 ")
    assert path_of("bare", drawn).startswith("M600.00 ")
    assert "2 releases were without differential privacy, 1 requests were refused" in drawn
    assert "epsilon is infinite from here on" in plots.legend(one)
    assert "refused" not in plots.legend(course(0.5))


def test_a_name_is_escaped_in_the_words_for_the_blind() -> None:
    drawn = plots.spend(course(0.5, name='"><script>'))
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn


@pytest.mark.parametrize("name", ["clinic", "../../etc/x", "$\\frac{", "日本\u202e", "a" * 300, "-"])
def test_a_name_chooses_neither_folder_nor_formula(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    made = plots.png([course(0.0, 0.5, name=name, pld=(0.0, 0.25))], tmp_path / "plots")
    assert [one.parent for one in made] == [tmp_path / "plots"]
    assert [one.name for one in tmp_path.iterdir()] == ["plots"]
    assert made[0].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert re.fullmatch(r"spend-1(-[a-z0-9-]+)?\.png", made[0].name)


def test_png_of_all_marks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = course(0.0, math.inf)
    one.refused, one.unprotected = [at(4)], [at(6), at(7)]
    assert len(plots.png([one, course(0.0)], tmp_path)) == 2


def test_without_matplotlib_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ParameterError, match=r"pip install '\.\[report\]'"):
        plots.png([course(0.0)], tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ParameterError, match="no PNG can be written into"):
        plots.png([course(0.0)], tmp_path / "file")
