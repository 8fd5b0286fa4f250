"""`silo demo split` end to end: processes over mutual TLS, one network, and labels that a ledger pays for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from silo.demo import split_data, split_models, vertical_data  # noqa: E402
from silo.privacy.verify import verify  # noqa: E402

DATA = Path(__file__).parents[3] / "shared" / "data"
CREDIT, BANK = DATA / "default_credit", DATA / "bank_marketing"


def demo(out: Path, *options: str, kind: str = split_data.BREAST) -> Any:
    command = [sys.executable, "-m", "silo", "demo", "split", "--out", str(out), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    privacy, label = results["privacy"], results["label_party"]
    assert results["parties"][0] == label
    assert results["common"] == results["train"] + results["test"]
    for figures in results["results"].values():
        assert figures["auc"] == figures["split"]["auc"]
    spent = privacy["spent"][label]
    assert 0 < spent["epsilon"] < spent["filter_epsilon"] <= spent["budget"] == 1.4
    assert 0.55 < privacy["auc_bound"] < 0.6
    epochs = split_models.NETWORKS[kind].epochs
    assert results["fits"]["split"]["steps"] == epochs
    # The ledger holds an event an epoch, and nothing that left without noise.
    books = verify(Path(spent["ledger"])).books
    assert sum(books.datasets["labels"].events.values()) == epochs
    assert not books.unprotected("labels")
    kinds = {one["kind"]: one for one in results["relay_saw"]["kinds"]}
    assert kinds["Private"]["protection"] == "end-to-end encrypted"
    learned = dict(results["learned"])
    assert "no more than the ledger bounds" in learned["other member (`split`)"]
    assert "COLUMNS CAN BE REBUILT" in learned["label party (`split`)"]
    report = Path(results["report"]).read_text()
    # Among three the label party gets a sum, by the charter, the document and the page.
    three = len(results["parties"]) == 3
    assert ("only their sum" in learned["label party (`split`)"]) == three
    assert privacy["activations"] == ("sum" if three else "each")
    assert ("travel as a masked sum" in report) == three
    assert all(one in report for one in results["parties"])
    assert all(results["traffic"][one]["up"] > 10_000 for one in results["parties"])
    assert f"{privacy['auc_bound']:.3f}" in report
    assert "http" not in report.replace("http://www.w3.org", "").replace("http-equiv", "")
    return results


@pytest.mark.slow
def test_two_organisations_train_a_network_with_labels_behind_noise(tmp_path: Path) -> None:
    results = demo(tmp_path)
    alone, joint = (results["results"][kind]["auc"] for kind in ("local", "federated"))
    assert joint > alone
    assert len(results["parties"]) == 2
    parts = sorted(path.name for path in (tmp_path / "split").glob("*-split.json"))
    assert parts == sorted(f"{name}-split.json" for name in results["parties"])


@pytest.mark.slow
def test_three_organisations_train_a_network_and_show_a_sum(tmp_path: Path) -> None:
    results = demo(tmp_path, "--parties", "3")
    assert results["parties"] == ["lender", "bureau", "registry"]
    alone, joint = (results["results"][kind]["auc"] for kind in ("local", "federated"))
    assert joint > alone


def test_the_organisations_hold_the_same_rows_in_one_order() -> None:
    people = split_data.load(None, 2).people
    found = split_data.joined(people)
    first, second = (one.table.text(vertical_data.ID) for one in found.holdings)
    assert tuple(first) == tuple(second) == people.common()
    kept = dict(zip(first, found.holdings[0].table.text(vertical_data.LABEL), strict=True))
    own = people.holdings[0].table
    given = dict(zip(own.text(vertical_data.ID), own.text(vertical_data.LABEL), strict=True))
    assert kept.items() <= given.items()


def test_pooled_is_the_network_of_all_bottoms() -> None:
    """Side by side, the label party's columns first, with the weights that each member begins with."""
    x = torch.randn(5, 7)
    for network in split_models.NETWORKS.values():
        made = [network.bottom(0, 3, 2)(x[:, :3]), network.bottom(1, 4, 2)(x[:, 3:])]
        assert torch.equal(split_models.Joined(network, [3, 4])(x), torch.cat(made, dim=1))


@pytest.mark.slow
@pytest.mark.skipif(not CREDIT.is_dir(), reason="the data are not beside the project")
@pytest.mark.parametrize("parties", [2, 3])
def test_the_credit_data(parties: int, tmp_path: Path) -> None:
    results = demo(
        tmp_path, "--data", str(CREDIT), *(["--parties", "3"] * (parties == 3)), kind=split_data.CREDITS
    )
    assert len(results["parties"]) == parties
    alone, joint, pooled = (results["results"][kind]["auc"] for kind in ("local", "federated", "pooled"))
    assert joint >= 0.755
    assert alone < joint < pooled + 0.01


@pytest.mark.slow
@pytest.mark.skipif(not BANK.is_dir(), reason="the data are not beside the project")
@pytest.mark.parametrize("parties", [2, 3])
def test_the_bank_data(parties: int, tmp_path: Path) -> None:
    results = demo(
        tmp_path, "--data", str(BANK), *(["--parties", "2"] * (parties == 2)), kind=split_data.BANKING
    )
    assert results["parties"] == ["bank", "callcentre", "statistics"][:parties]
    alone, joint, pooled = (results["results"][kind]["auc"] for kind in ("local", "federated", "pooled"))
    assert abs(joint - pooled) < 0.01
    assert pooled >= 0.79
    assert alone < 0.67


@pytest.mark.parametrize("words", [("--private",), ("--model", "linear"), ("--sum", "lattice")])
def test_what_does_not_go_together_is_one_sentence(words: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "silo", "demo", "split", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "the demo split takes" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bank", "--parties", "2"), "--parties is of the demo split alone"),
        (("split", "--parties", "4"), "4 is not in the range 2<=x<=3"),
        (("split", "--data", "."), "holds neither bank-additional-full.csv nor"),
    ],
)
def test_another_number_of_organisations_or_other_data_are_one_sentence(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "silo", "demo", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
