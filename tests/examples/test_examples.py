"""Every example runs as it stands, as a newcomer would start it, and shows what it says that it shows."""

from __future__ import annotations

import ast
import copy
import difflib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import silo

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
NEEDS = {
    "hospitals.py": "sklearn",
    "embed_in_your_pipeline.py": "torch",
    "private_training.py": "opacus",
    "audit_a_budget.py": "opacus",
    "split_two_parties.py": "opacus",
    "u_shaped.py": "opacus",
    "vertical_two_parties.py": "rbcl",
    "vertical_boosting.py": "narwhals",
}
SHOWN: dict[str, str] = {}

# The partner's loop before it knew of Silo.
BEFORE = """\
def fit(model, x, y, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(epochs):
        for begin in range(0, len(x), 32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[begin : begin + 32]), y[begin : begin + 32]).backward()
            optimizer.step()
"""


def shown(name: str) -> str:
    """What an example prints; each is run once."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    if name not in SHOWN:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(FOLDER / name)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        SHOWN[name] = done.stdout
    return SHOWN[name]


def loaded(name: str) -> Any:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    spec = importlib.util.spec_from_file_location(f"example_{name[:-3]}", FOLDER / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_it_says_how_to_run_it_and_runs(path: Path) -> None:
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert f"python examples/{path.name}" in told
    assert len(shown(path.name).splitlines()) >= 3


def test_three_silos_show_the_sums_and_a_masked_upload() -> None:
    lines = dict(line.split(":", 1) for line in shown("secagg_three_silos.py").splitlines())
    assert lines["sum over all three"].strip() == "[46 30 12]"
    mean = [float(word) for word in lines["weighted mean"].replace("[", "").replace("]", "").split()]
    weights, table = [22, 61, 5], np.array([[12, 7, 3], [30, 22, 9], [4, 1, 0]]) / 30
    assert mean == pytest.approx([*np.average(table, axis=0, weights=weights), 0.5], abs=1e-6)
    saw = [int(word) for word in re.findall(r"\d+", lines["the relay saw"])]
    assert len(saw) == 3
    assert min(saw) > 1000  # a word this small is masked once in a million runs


def test_two_parties_are_refused_and_then_learn_each_others_input() -> None:
    refused, told = shown("two_party_sum.py").split("\n\n")
    assert refused.startswith("refused [SILO-401]")
    assert "bank: the sum is 1545, so the other one had 345" in told
    assert "telecom: the sum is 1545, so the other one had 1200" in told


def test_the_hospitals_do_better_together() -> None:
    *_, last = shown("hospitals.py").splitlines()
    name, alone, together = last.split()
    assert name == "mean"
    assert float(together) > float(alone) + 0.01


def _auc(line: str) -> float:
    return float(line.split("AUC ")[1].split(",")[0])


def test_the_bank_does_better_with_the_telecom_operator() -> None:
    common, alone, together = shown("vertical_two_parties.py").splitlines()
    assert common == "people in common: 600"
    assert _auc(together) > _auc(alone) + 0.1
    assert together.endswith("the telecom operator got None")


def test_three_grow_trees_and_one_gets_the_scores() -> None:
    alone, together, others = shown("vertical_boosting.py").splitlines()
    assert _auc(together) > _auc(alone) + 0.1
    assert others.endswith("None and None")


def test_private_partners_pay_alike_and_are_refused_the_second_time() -> None:
    lines = shown("private_training.py").splitlines()
    assert lines[1].endswith("it fits")
    spent = [float(line.split("epsilon spent ")[1].split()[0]) for line in lines[2:5]]
    assert len(set(spent)) == 1
    assert 0 < spent[0] <= 1.5
    assert all(float(line.split("right ")[1].split()[0]) > 0.75 for line in lines[2:5])
    assert lines[5].startswith("again: the privacy budget of rows is epsilon 2:")


def test_the_auditor_recomputes_and_finds_the_cut() -> None:
    text = shown("audit_a_budget.py")
    assert "training 3: the privacy budget of admissions is epsilon 3:" in text
    (spent,) = (line for line in text.splitlines() if line.startswith("admissions: epsilon by PLD"))
    pld, rdp, prv = (float(one) for one in re.findall(r"\d+\.\d{3}", spent)[:3])
    assert pld < rdp <= 3.0
    assert abs(pld - prv) < 0.02
    assert spent.endswith("1 release without noise")
    assert "with the kept line it does not: does not hold record" in text


def test_a_partners_loop_changes_by_three_lines() -> None:
    lines = (FOLDER / "embed_in_your_pipeline.py").read_text(encoding="utf-8").splitlines()
    first = lines.index("def fit(model, x, y, epochs, session=None):  # silo")
    after = lines[first : first + len(BEFORE.splitlines()) + 2]
    added = [line[2:] for line in difflib.ndiff(BEFORE.splitlines(), after) if line.startswith("+ ")]
    assert added == [line for line in lines if line.endswith("# silo")]
    assert len(added) == 3
    assert not any("silo" in line for line in lines[lines.index("import copy") : first])


def test_with_silo_off_the_loop_trains_bit_for_bit_as_before() -> None:
    example = loaded("embed_in_your_pipeline.py")
    names = {"torch": example.torch, "nn": example.nn}
    exec(BEFORE, names)  # noqa: S102
    before, after = copy.deepcopy(example.START), copy.deepcopy(example.START)
    data = example.rows(3, 70)
    names["fit"](before, *data, epochs=3)
    example.fit(after, *data, epochs=3)
    for key, value in before.state_dict().items():
        assert value.numpy().tobytes() == after.state_dict()[key].numpy().tobytes()
        assert not np.array_equal(value.numpy(), example.START.state_dict()[key].numpy())


def test_members_with_the_same_rows_train_as_one_does_alone() -> None:
    example = loaded("embed_in_your_pipeline.py")
    data = example.rows(3, 70)

    def party(session: silo.Session) -> tuple[Any, float]:
        model = copy.deepcopy(example.START)
        example.fit(model, *data, epochs=1, session=session)
        assert session.last is not None
        return model.state_dict(), session.last.error

    alone = copy.deepcopy(example.START)
    example.fit(alone, *data, epochs=1)
    for state, error in silo.simulate(3, party, clip=8.0, rows=100).values():
        for key, value in alone.state_dict().items():
            # The bound, and one rounding of the mean to float32.
            assert np.abs(state[key].numpy() - value.numpy()).max() < error + 2.0**-23
