"""The simulated attacks of `silo audit labels`: each sees what is there, and honesty explains the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from silo import leak as meters  # noqa: E402
from silo.audit.labels import bottoms, completion, inversion  # noqa: E402
from silo.audit.labels.audit import _held, examine  # noqa: E402
from silo.audit.labels.defence import Defence, named  # noqa: E402
from silo.audit.labels.people import People, split  # noqa: E402
from silo.audit.labels.plot import page  # noqa: E402
from silo.audit.labels.training import SplitTraining  # noqa: E402
from silo.cli import cli  # noqa: E402
from silo.crypto.errors import ParameterError  # noqa: E402
from silo.crypto.rng import InsecureSeededRng  # noqa: E402
from silo.leak.reading import Attack  # noqa: E402

EPOCHS = 10


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with bottoms.one_thread():
        yield


def made_up(count: int = 4000, seed: int = 1) -> People:
    """Records of which both parties know something, one in four positive."""
    source = np.random.default_rng(seed)
    guest, host = source.normal(size=(count, 6)), source.normal(size=(count, 5))
    logits = guest[:, 0] + guest[:, 1] * guest[:, 2] + host[:, 0] - host[:, 1] - 1.8
    labels = source.random(count) < 1 / (1 + np.exp(-logits))
    return split("made up", guest, host, labels.astype(float))


def reading(defence: Defence, layers: str = "linear", seed: int = 2) -> meters.Reading:
    people = made_up()
    job = SplitTraining(
        people, layers=layers, defence=defence, epochs=EPOCHS, rng=InsecureSeededRng(seed), batch=256
    )
    meter = meters.Meter(people.train.labels)
    for _ in range(EPOCHS):
        job.epoch(meter.saw)
    return meter.end_epoch(job.prior(people.train))


@pytest.mark.parametrize("layers", bottoms.LAYERS)
def test_the_cosine_attack_reads_every_label_of_an_undefended_job(layers: str) -> None:
    cosine = reading(Defence("none"), layers).attack("cosine")
    assert cosine.batch_mean >= 0.99
    assert cosine.accumulated >= 0.99


def test_extras_flatter_themselves_by_the_batch_and_leak_over_epochs() -> None:
    for name in ("max_norm", "isotropic", "marvell"):
        worst = reading(named(name, None, EPOCHS)).attack("spectral")
        assert worst.accumulated > 0.8
        assert worst.accumulated > worst.batch_mean + 0.05


def test_marvell_draws_its_power_from_the_jobs_generator_and_follows_the_labels() -> None:
    source = torch.Generator().manual_seed(3)
    labels = (torch.arange(400) % 4 == 0).float()
    gradients = torch.randn(400, 8, generator=source) + 2 * labels[:, None]
    apart = gradients[labels == 1].mean(dim=0) - gradients[labels == 0].mean(dim=0)
    defence = named("marvell", None, EPOCHS)
    noise = [
        defence.of(gradients, labels, torch.Generator().manual_seed(seed)) - gradients for seed in range(30)
    ]
    again = defence.of(gradients, labels, torch.Generator().manual_seed(0)) - gradients
    assert torch.equal(again, noise[0])
    power = torch.stack(noise).square().sum(dim=2).mean()
    assert float(power) == pytest.approx(4 * float(apart.square().sum()), rel=0.05)
    # As positives are few, a row of them gets more than a row of the others.
    each = torch.stack([one.square().sum(dim=1) for one in noise]).mean(dim=0)
    assert float(each[labels == 1].mean()) > 1.02 * float(each[labels == 0].mean())
    assert not defence.guaranteed
    assert meters.bound(defence.mu(EPOCHS, 8)) == 1
    assert torch.equal(defence.of(gradients, torch.zeros(400), source), gradients)


def test_marvell_is_better_by_the_batch_than_isotropic_noise_of_its_power() -> None:
    people = made_up()

    class Even(Defence):
        """Isotropic noise of Marvell's power."""

        def of(self, gradients: Any, labels: Any, generator: Any) -> Any:
            apart = gradients[labels == 1].mean(dim=0) - gradients[labels == 0].mean(dim=0)
            each = self.sigma**0.5 * apart.norm() / gradients.shape[1] ** 0.5
            return gradients + each * torch.empty_like(gradients).normal_(generator=generator)

    found = []
    for defence in (Even("even", 4.0), Defence("marvell", 4.0)):
        job = SplitTraining(
            people, layers="linear", defence=defence, epochs=3, rng=InsecureSeededRng(4), batch=256
        )
        meter = meters.Meter(people.train.labels)
        for _ in range(3):
            job.epoch(meter.saw)
        found.append(meter.end_epoch(job.prior(people.train)).attack("cosine").batch_mean)
    assert found[1] < found[0] - 0.1


@pytest.mark.parametrize("layers", bottoms.LAYERS)
def test_the_guide_keeps_its_bound_and_a_weaker_one_does_not(layers: str) -> None:
    mu = meters.mu_of(8.0, EPOCHS)
    assert not reading(Defence("guide", 8.0), layers).beyond(mu)
    assert reading(Defence("guide", 2.0), layers).beyond(mu)


def test_the_published_scheme_of_nvflare_hands_out_the_labels() -> None:
    """Two parties as in NVFlare's CIFAR-10 example: activations one way, their gradients back in clear, as float16.

    The data side sends flattened activations, the label side steps its own layers on the mean cross entropy and
    returns the activations' gradient; both use SGD with momentum. With ten classes, one known record of each is the
    cosine attack's reference.
    """
    classes, count = 10, 2000
    source = np.random.default_rng(3)
    wanted = torch.from_numpy(source.integers(0, classes, count))
    centres = source.normal(size=(classes, 3 * 8 * 8))
    images = torch.from_numpy((centres[wanted] + 2 * source.normal(size=(count, 192))).astype(np.float32))
    torch.manual_seed(4)
    data_side = torch.nn.Sequential(
        torch.nn.Unflatten(1, (3, 8, 8)), torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2)
    )
    label_side = torch.nn.Sequential(torch.nn.Linear(72, 32), torch.nn.ReLU(), torch.nn.Linear(32, classes))
    steps = [torch.optim.SGD(side.parameters(), lr=0.01, momentum=0.9) for side in (data_side, label_side)]
    sums = np.zeros((count, 72))
    for _ in range(3):
        for rows in torch.randperm(count).split(100):
            sent = data_side(images[rows]).flatten(1)
            received = sent.detach().half().float().requires_grad_()
            steps[1].zero_grad()
            torch.nn.functional.cross_entropy(label_side(received), wanted[rows]).backward()
            steps[1].step()
            assert received.grad is not None
            returned = received.grad.half()
            steps[0].zero_grad()
            sent.backward(returned.float())
            steps[0].step()
            sums[rows] += returned.float().numpy()
    units = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    labels = wanted.numpy()
    areas = []
    for kind in range(classes):
        known = int(np.flatnonzero(labels == kind)[0])
        rest = np.arange(count) != known
        areas.append(meters.auc(units[rest] @ units[known], labels[rest] == kind))
    assert min(areas) >= 0.99
    # Two classes need no known record: the meter as it is.
    binary = (labels == 0).astype(np.int64)
    meter = meters.Meter(binary)
    head = torch.nn.Sequential(torch.nn.Linear(72, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    step = torch.optim.SGD(head.parameters(), lr=0.01, momentum=0.9)
    for rows in torch.randperm(count).split(100):
        received = data_side(images[rows]).flatten(1).detach().half().float().requires_grad_()
        step.zero_grad()
        torch.nn.functional.cross_entropy(head(received), torch.from_numpy(binary)[rows]).backward()
        step.step()
        assert received.grad is not None
        meter.saw(rows.numpy(), received.grad.half().numpy())
    assert meter.end_epoch().attack("cosine").batch_mean >= 0.99


def test_completion_counts_only_what_honesty_does_not_explain() -> None:
    source = np.random.default_rng(5)
    labels = np.arange(3000) % 4 == 0
    features = source.normal(size=(3000, 3)) + labels[:, None] * 0.5
    few = np.concatenate([np.flatnonzero(labels)[:25], np.flatnonzero(~labels)[:75]])
    held = completion.Guessed(features[2000:], features[2000:], labels[2000:])
    honest = completion.Guessed(features[:2000], features[:2000], labels[:2000])
    found = completion.complete(honest, held, few)
    assert found.train > 0.65
    assert not found.leaks
    # A bottom that has learned its training records by heart.
    heart = features[:2000] + 2.0 * labels[:2000, None]
    told = completion.complete(completion.Guessed(heart, features[:2000], labels[:2000]), held, few)
    assert told.leaks
    assert told.excess > 0.1
    with pytest.raises(ParameterError, match="one class"):
        completion.complete(honest, held, np.flatnonzero(labels)[:5])


def test_an_unmerged_last_layer_gives_the_label_away() -> None:
    labels = np.array([0, 1, 2, 1])
    chances = np.full((4, 3), 1 / 3)
    gradients = chances - np.eye(3)[labels]
    assert meters.auc(completion.direct(gradients, 1), labels == 1) == 1
    assert meters.auc(completion.direct(np.array([0.4, -0.6, 0.3, -0.7])), labels == 1) == 1
    with pytest.raises(ParameterError, match="name the column"):
        completion.direct(gradients)


def test_a_decoder_reads_a_wide_bottom_and_not_noise() -> None:
    source = np.random.default_rng(6)
    features = source.normal(size=(1500, 4)).astype(np.float32)
    wide = (features @ source.normal(size=(4, 16))).astype(np.float32)
    noise = source.normal(size=(1500, 16)).astype(np.float32)
    rng = InsecureSeededRng(7)
    assert inversion.invert((wide[:700], features[:700]), (wide[700:], features[700:]), rng=rng) < 0.05
    assert inversion.invert((noise[:700], features[:700]), (noise[700:], features[700:]), rng=rng) > 0.9


def test_an_audit_holds_every_attack_against_something() -> None:
    told: list[int] = []
    found = examine(
        made_up(1500),
        layers="two-layer",
        defence=Defence("none"),
        epochs=6,
        rng=InsecureSeededRng(8),
        runs=2,
        told=lambda: told.append(1),
    )
    assert len(told) == 7 * 6
    rows = {row.attack: row for row in found.rows}
    assert set(rows) == {
        "norm",
        "cosine",
        "spectral",
        "direct, top not merged",
        "passive completion",
        "active completion",
        "feature inversion",
    }
    assert rows["cosine"].accumulated is not None
    assert rows["cosine"].accumulated >= 0.99
    assert rows["direct, top not merged"].beyond >= 0.99
    assert not found.fault
    assert len(found.runs) == 2
    text = page("<people>", "Defence none.", [found])
    assert "&lt;people&gt;" in text
    assert "<people>" not in text
    assert "http" not in text
    assert text.count("<polyline") == 2


def run(*arguments: str, code: int) -> Any:
    found = CliRunner().invoke(cli, ["audit", "labels", *arguments])
    assert found.exit_code == code, found.output
    return found


def test_the_command_prints_one_document_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    plot = tmp_path / "leak.html"
    told = run("--epochs", "3", "--layers", "linear", "--json", "--plot", str(plot), code=0)
    document = json.loads(told.stdout)
    assert document["audit"] == "labels"
    assert document["defence"] == "guide"
    assert document["guaranteed"]
    assert not document["caught"]
    assert document["bound"] == pytest.approx(0.592, abs=1e-3)
    assert document["audits"][0].keys() >= {
        "attack",
        "per_batch",
        "accumulated",
        "beyond_features",
        "lower_bound",
        "bound",
        "verdict",
    }
    assert document["task"][0].keys() == {"layers", "defended", "undefended", "alone"}
    assert plot.read_text().startswith("<!doctype html>")
    said = run("--epochs", "2", "--layers", "linear", "--defence", "none", code=0).stdout
    assert "leaks, nothing is promised" in said
    assert "label party alone" in said


def test_marvell_is_audited_and_no_guarantee_is_claimed() -> None:
    pytest.importorskip("sklearn")
    arguments = ("--epochs", "2", "--layers", "linear", "--defence", "marvell")
    document = json.loads(run(*arguments, "--json", code=0).stdout)
    assert (document["defence"], document["sigma"]) == ("marvell", 4.0)
    assert document["bound"] == 1
    assert document["mu"] is None
    assert not document["guaranteed"]
    said = run(*arguments, "--noise", "2.5", code=0).stdout
    assert "Defence marvell, power 2.5: nothing is promised; single batches flatter it." in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("--epochs", "0"),
        ("--runs", "0"),
        ("--layers", "three"),
        ("--defence", "hope"),
        ("--defence", "none", "--noise", "3"),
        ("--defence", "marvell", "--noise", "0"),
        ("--noise", "-1"),
        ("--noise", "nan"),
        ("--data", "/nowhere"),
        ("--plot", "/nowhere/leak.html"),
    ],
)
def test_mistakes_are_one_sentence(arguments: tuple[str, ...]) -> None:
    told = run(*arguments, "--json", code=2)
    assert told.stderr.startswith("error [SILO-101]: ")
    assert told.stderr.count("\n") == 1
    assert json.loads(told.stdout)["error"]["code"] == "SILO-101"


@pytest.mark.parametrize(("name", "cells"), [("label", "2"), ("text", "x"), ("gap", "")])
def test_tables_that_cannot_be_used_are_refused(tmp_path: Path, name: str, cells: str) -> None:
    rows = [f"{one},{one % 2},{one}" for one in range(60)]
    rows[7] = f"7,{cells},7" if name == "label" else f"7,1,{cells}"
    (tmp_path / "default_credit_hetero_guest.csv").write_text("\n".join(["id,y,x0", *rows]) + "\n")
    host = [f"{one},{one}" for one in range(60)]
    (tmp_path / "default_credit_hetero_host.csv").write_text("\n".join(["id,x0", *host]) + "\n")
    told = run("--data", str(tmp_path), code=2)
    assert told.stderr.startswith("error [SILO-101]: ")


@pytest.mark.parametrize(
    ("beyond", "low", "verdict"),
    [
        (0.9, 0.8, "leaks, nothing is promised"),
        (0.9, 0.5, "too few records to tell a leak from features"),
        (0.5, 0.5, "no more than features tell"),
    ],
)
def test_where_nothing_is_promised_a_verdict_never_says_that_all_is_well(
    beyond: float, low: float, verdict: str
) -> None:
    one = Attack("cosine", 0.9, 1.0, 1.0, beyond, low, 1.0)
    assert _held("cosine", one, 1.0, Defence("none")).verdict == verdict
