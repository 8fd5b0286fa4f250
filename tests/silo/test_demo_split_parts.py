"""The parts of `silo demo split`: which data, cut among how many, the network of each, and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

import silo  # noqa: E402
from silo.charter import Vertical  # noqa: E402
from silo.cli import demo_split  # noqa: E402
from silo.demo import split_data, split_models, split_report, vertical_data  # noqa: E402
from silo.errors import ParameterError  # noqa: E402
from silo.protocols.split import words  # noqa: E402
from silo.vertical import SplitNetwork  # noqa: E402
from tests.silo.test_demo_report import Balanced  # noqa: E402

ROWS = 80
GUEST = ("id", "y", *(f"x{place}" for place in range(13)))
HOST = ("id", *(f"x{place}" for place in range(10)))
BANK = ("duration", *(name for one in vertical_data.BANK.values() for name in one), "y")


def write_credit(folder: Path) -> None:
    for file, names in zip(vertical_data.CREDIT_FILES, (GUEST, HOST), strict=True):
        lines = [",".join(str(row if name == "id" else row % 2) for name in names) for row in range(ROWS)]
        (folder / file).write_text("\n".join([",".join(names), *lines]) + "\n")


def write_bank(folder: Path) -> None:
    lines = [
        ";".join("yes" if name == "y" and row % 3 else "no" if name == "y" else str(row) for name in BANK)
        for row in range(ROWS)
    ]
    (folder / vertical_data.BANK_FILE).write_text("\n".join([";".join(BANK), *lines]) + "\n")


def columns(data: split_data.Data) -> dict[str, set[str]]:
    return {one.name: set(one.table.names) - {"id", "label"} for one in data.people.holdings}


def labelled(data: split_data.Data) -> list[str]:
    return [one.name for one in data.people.holdings if one.labelled]


def test_the_credit_file_of_the_host_is_cut_between_two(tmp_path: Path) -> None:
    write_credit(tmp_path)
    two, three = (split_data.load(tmp_path, count) for count in (2, 3))
    assert two.kind == three.kind == split_data.CREDITS
    assert columns(split_data.load(tmp_path)) == columns(two)
    lender = set(GUEST[2:])
    assert columns(two) == {"lender": lender, "bureau": set(HOST[1:])}
    found = columns(three)
    assert list(found) == ["lender", "bureau", "registry"]
    assert found["lender"] == lender
    assert found["bureau"] | found["registry"] == set(HOST[1:])
    assert not found["bureau"] & found["registry"]
    assert labelled(two) == labelled(three) == ["lender"]
    assert "three organisations" in three.people.title


def test_the_bank_data_have_three_organisations_and_two_when_asked(tmp_path: Path) -> None:
    write_bank(tmp_path)
    two, three = split_data.load(tmp_path, 2), split_data.load(tmp_path)
    assert two.kind == three.kind == split_data.BANKING
    whole, cut = columns(three), columns(two)
    assert list(whole) == ["bank", "callcentre", "statistics"]
    assert list(cut) == ["bank", "callcentre"]
    assert cut["callcentre"] == whole["callcentre"] | whole["statistics"]
    assert cut["bank"] == whole["bank"]
    # How long the call took tells how it ended.
    assert set().union(*cut.values()) == set(BANK) - {"duration", "y"}
    assert labelled(two) == labelled(three) == ["bank"]


@pytest.mark.parametrize("parties", split_data.PARTIES)
def test_the_small_set_is_cut_among_as_many(parties: int) -> None:
    data = split_data.load(None, parties)
    assert data.kind == split_data.BREAST
    found = columns(data)
    assert len(found) == parties
    assert sum(map(len, found.values())) == len(set().union(*found.values())) == 30
    people = split_data.joined(data.people)
    lists = [one.table.text("id") for one in people.holdings]
    assert all(tuple(one) == people.common() for one in lists)


def test_data_that_cannot_be_told_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="holds neither bank-additional-full"):
        split_data.load(tmp_path)
    write_credit(tmp_path)
    write_bank(tmp_path)
    with pytest.raises(ParameterError, match="holds both"):
        split_data.load(tmp_path)
    (tmp_path / vertical_data.BANK_FILE).unlink()
    (tmp_path / vertical_data.CREDIT_FILES[1]).unlink()
    with pytest.raises(ParameterError, match="hetero_host"):
        split_data.load(tmp_path)
    for count in (1, 4):
        with pytest.raises(ParameterError, match=f"among 2 or 3 organisations, not {count}"):
            split_data.load(None, count)


def test_all_kinds_of_data_have_a_network() -> None:
    kinds = {split_data.BREAST, split_data.CREDITS, split_data.BANKING}
    assert set(split_models.NETWORKS) == kinds
    for network in split_models.NETWORKS.values():
        plan = split_models.NOISE.plan("gradients", network.epochs)
        assert plan.mu < 0.34
        assert plan.epsilon < split_models.EPSILON


def test_among_three_no_activation_is_larger_than_what_can_travel() -> None:
    network = split_models.NETWORKS[split_data.CREDITS]
    x = 1e6 * torch.randn(50, 4)
    assert network.bottom(1, 4, 2)(x).abs().max() > words.LARGEST
    assert network.bottom(1, 4, 3)(x).abs().max() <= split_models.BOUND < words.LARGEST
    # What is small passes as it is.
    torch.testing.assert_close(
        network.bottom(1, 4, 3)(x / 1e8), network.bottom(1, 4, 2)(x / 1e8), rtol=0.01, atol=0.001
    )


def test_among_three_pooled_adds_up_the_bottoms_of_the_hosts() -> None:
    network = split_models.NETWORKS[split_data.BANKING]
    x = torch.randn(5, 9)
    own, first, second = (
        network.bottom(place, part.shape[1], 3)(part) for place, part in enumerate(x.split([3, 4, 2], dim=1))
    )
    found = split_models.Joined(network, [3, 4, 2])(x)
    assert torch.equal(found, torch.cat([own, first + second], dim=1))
    assert network.top()(found).shape == (5, 1)


@pytest.mark.parametrize("names", [("lender", "bureau"), ("lender", "bureau", "registry")])
def test_without_noise_the_members_train_the_pooled_network(names: Sequence[str]) -> None:
    """The same weights, to rounding: so what is compared differs by noise and `finish` alone."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(5)
    members = len(names)
    parts = [rng.normal(size=(120, 2 + place)) for place in range(members)]
    y = (sum(part[:, 0] for part in parts) + rng.logistic(size=120) > 0).astype(int)
    network = split_models.Network(2, 40, lr=0.02)
    # Made here: all threads share one generator of first weights.
    bottoms = [network.bottom(place, part.shape[1], members) for place, part in enumerate(parts)]
    top = network.top()

    def party(session: Any, place: int) -> Any:
        own = {"top": top} if place == 0 else {}
        model = SplitNetwork(session, bottom=bottoms[place], **own, **network.options())
        model.fit(parts[place], None if place else y)
        return model.order_, model.decision_function(parts[place])

    terms = {"two_party": silo.TWO_PARTY_WORDS} if members == 2 else {}
    asked = Vertical(("split",), names[0], passes=2, noised=())
    found = silo.simulate(names, party, list(range(members)), vertical=asked, **terms)
    order, joint = found[names[0]]
    made = split_models.Joined(network, [part.shape[1] for part in parts])
    pooled = SplitNetwork(bottom=made, top=top, order=order, **network.options())
    x = np.hstack(parts)
    np.testing.assert_allclose(joint, pooled.fit(x, y).decision_function(x), atol=1e-4)
    # It did learn: what it began with is elsewhere.
    begun = top(made(torch.tensor(x, dtype=torch.float32))).detach().numpy()[:, 0]
    assert np.abs(joint - begun).max() > 0.05


def results(members: int, word: str = "") -> dict[str, Any]:
    """Figures of a run among so many; `word` stands in every text."""
    names = [f"{word}{name}" for name in ("lender", "bureau", "registry")[:members]]
    traffic = {name: {"up": 1500, "down": 2_500_000} for name in names}
    curve = {"false": [0.0, 0.5, 1.0], "true": [0.0, 0.8, 1.0]}
    aucs: Mapping[str, float] = {"local": 0.7, "federated": 0.75, "pooled": 0.76}
    return {
        "demo": "split",
        "data": f"{word}rows",
        "parties": names,
        "label_party": names[0],
        "models": ["split"],
        "common": 100,
        "train": 80,
        "test": 20,
        "results": {kind: {"auc": auc, "split": {"auc": auc}} for kind, auc in aucs.items()},
        "roc": {kind: {"split": curve} for kind in aucs},
        "fits": {
            "split": {
                "step": "epoch",
                "steps": 20,
                "finish": 17,
                "seconds": 0.9,
                "seconds_per_step": 0.1,
                "scoring_seconds": 0.01,
                "columns": dict.fromkeys(names, 7),
                "traffic": traffic,
                "warnings": [],
            }
        },
        "traffic": traffic,
        "relay_saw": {
            "kinds": [
                {"kind": f"{word}Private", "protection": f"{word}sealed", "frames": 3, "bytes": 999_960}
            ],
        },
        "learned": [[f"{word}relay", f"{word}sizes"]],
        "privacy": {
            "sigma": 13.5,
            "mu": 0.331,
            "auc_bound": 0.592,
            "leak": [
                {
                    "epoch": 20,
                    "leak": 0.52,
                    "bound": 0.593,
                    "attacks": [{"attack": "norm", "interval": [0.48, 0.56]}],
                }
            ],
            "leak_page": "leak.html",
            "spent": {
                names[0]: {
                    "ledger": f"{word}ledger.db",
                    "epsilon": 1.2,
                    "filter_epsilon": 1.39,
                    "budget": 1.4,
                    "delta": 1e-5,
                }
            },
        },
        "date": f"{word}2026-11-26",
        "report": f"{word}report.html",
    }


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        (2, "Activations travel as they are: lender sees those of bureau exactly, for every row"),
        (
            3,
            "masked sum: lender sees those of bureau and registry added up, exactly, for every row, and neither",
        ),
    ],
)
def test_the_page_and_the_text_say_how_activations_travel(members: int, sentence: str) -> None:
    run = results(members)
    page = split_report.page(run)
    assert page.count(sentence) == 2
    assert sentence in demo_split.summary(run)
    assert ("masked sum" in page) == ("knows the masks" in page) == (members == 3)
    assert not Balanced(page).open
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    for figure in (
        "0.7500",
        "for 17 epochs more",
        "0.592",
        "1.390",
        "1.0 MB",
        "1.5 kB / 2.5 MB",
        *run["parties"],
    ):
        assert figure in page


@pytest.mark.parametrize("members", [2, 3])
def test_no_text_becomes_markup_and_none_is_escaped_twice(members: int) -> None:
    page = split_report.page(results(members, '<script>alert("x")</script>&'))
    assert "<script>" not in page
    assert "&amp;lt;" not in page


@pytest.mark.parametrize(
    ("low", "said"),
    [(0.31, "AUC of 0.561, which chance gives too;"), (0.54, "AUC of 0.561, surely above 0.540;")],
)
def test_a_reading_is_told_with_what_is_sure_of_it(low: float, said: str) -> None:
    run = results(2)
    run["privacy"]["leak"][-1] |= {"leak": 0.561, "attacks": [{"interval": [low, 0.6]}]}
    assert said in demo_split.summary(run)
