"""A hijacking top party reads features where nobody watches; a host that watches stops it, and trusts honest ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from silo.audit.labels import bottoms  # noqa: E402
from silo.audit.labels.defence import Defence  # noqa: E402
from silo.audit.labels.hijacking import HijackedHost, Hijacker, recovered  # noqa: E402
from silo.audit.labels.people import People, split  # noqa: E402
from silo.audit.labels.training import RATE, RATE_UNDER_NOISE, SplitTraining  # noqa: E402
from silo.crypto.errors import ParameterError  # noqa: E402
from silo.crypto.rng import InsecureSeededRng  # noqa: E402
from silo.leak import networks  # noqa: E402
from silo.leak.rehearsal import Rehearsal, coherence, push, rehearse  # noqa: E402
from silo.leak.watch import Hijacked, Watch  # noqa: E402

SIGMA = 13.55
RATES = {0.0: RATE, SIGMA: RATE_UNDER_NOISE}
BATCH = 256


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with bottoms.one_thread():
        yield


def alike(seed: int, *, count: int = 3000, rate: float = 0.25) -> People:
    """Records whose features share a skewed cause, as measurements of one thing do: what a hijacker can align with."""
    source = np.random.default_rng(seed)
    cause = source.exponential(size=(count, 1))
    host = cause * source.uniform(0.5, 1, 8) + 0.4 * source.normal(size=(count, 8))
    guest = 0.5 * cause + source.normal(size=(count, 4))
    score = host[:, 0] + guest[:, 0] - guest[:, 1] + source.normal(size=count)
    return split("alike", guest, host, (score > np.quantile(score, 1 - rate)).astype(float))


def rehearsed(people: People, layers: str, sigma: float, seed: int = 1) -> Rehearsal:
    rng = InsecureSeededRng(seed)
    bottom = bottoms.bottom(people.train.host.shape[1], layers, networks.generator(rng))
    return rehearse(
        bottom,
        people.train.host[:800],
        positive=float(people.train.labels.mean()),
        rng=rng,
        sigma=sigma,
        guided=sigma > 0,
        directions=2 if sigma else 0,
        batch=BATCH,
        rate=RATES[sigma],
    )


def hijack(
    people: People, layers: str, seed: int, *, watch: Watch | None, sigma: float, rate: float, steps: int
) -> tuple[float, int]:
    """What was reconstructed at the end beyond the best of chance, and after how many batches that was."""
    rng = InsecureSeededRng(seed)
    features = people.train.host
    host = HijackedHost(
        bottoms.bottom(features.shape[1], layers, networks.generator(rng)),
        features,
        rng=rng,
        rate=rate,
        batch=BATCH,
    )
    hijacker = Hijacker(people.held_out.host, rng=rng, sigma=sigma)
    untouched = host.activations()
    done = 0
    try:
        for _ in range(steps):
            gradients = host.step(hijacker)
            done += 1
            if watch is not None:
                watch.saw(gradients)
    except Hijacked:
        pass
    chance = max(0.0, recovered(features, hijacker.reconstruct(untouched)))
    return recovered(features, hijacker.reconstruct(host.activations())) - chance, done


def honest(people: People, layers: str, sigma: float, seed: int, epochs: int, watch: Watch) -> None:
    job = SplitTraining(
        people,
        layers=layers,
        defence=Defence("guide" if sigma else "none", sigma),
        epochs=epochs,
        rng=InsecureSeededRng(seed),
        batch=BATCH,
    )
    for _ in range(epochs):
        job.epoch(lambda _, gradients: watch.saw(gradients))


def test_without_a_watch_the_hijacker_reads_features() -> None:
    # A mirror image fools the discriminator as well, so that it fails with some of its starts.
    people = alike(2)
    found = [
        hijack(people, "linear", seed, watch=None, sigma=0, rate=2e-3, steps=100)[0] for seed in range(4)
    ]
    assert sum(one > 0.2 for one in found) >= 2


@pytest.mark.parametrize("layers", bottoms.LAYERS)
@pytest.mark.parametrize(("declared", "added"), [(0.0, 0.0), (SIGMA, 0.0), (SIGMA, SIGMA)])
def test_a_watching_host_stops_before_anything_is_read(layers: str, declared: float, added: float) -> None:
    people = alike(3)
    rehearsal = rehearsed(people, layers, declared)
    found = [
        hijack(people, layers, seed, watch=Watch(rehearsal), sigma=added, rate=RATES[declared], steps=150)
        for seed in range(4)
    ]
    # A guide's gradients have few directions: a hijacker's show in the first batch, whatever the noise.
    assert max(batch for _, batch in found) <= (1 if declared else 6)
    assert np.mean([excess for excess, _ in found]) < 0.05


@pytest.mark.parametrize("layers", bottoms.LAYERS)
@pytest.mark.parametrize("sigma", [0.0, SIGMA])
def test_an_honest_top_is_trusted(layers: str, sigma: float) -> None:
    people = alike(4)
    honest(people, layers, sigma, 5, 10, Watch(rehearsed(people, layers, sigma)))


@pytest.mark.slow
def test_false_alarms_are_rare() -> None:
    """Of 100 honest jobs, on other records each, with and without noise, at most one is stopped."""
    alarms = []
    for seed in range(100):
        layers = bottoms.LAYERS[seed % 2]
        sigma = (0.0, SIGMA)[seed // 2 % 2]
        people = alike(1000 + seed, count=(800, 2000, 3000)[seed % 3], rate=(0.1, 0.25, 0.5)[seed % 3])
        try:
            honest(people, layers, sigma, seed, 20, Watch(rehearsed(people, layers, sigma, seed)))
        except Hijacked as alarm:
            alarms.append(str(alarm))
    assert len(alarms) <= 1, alarms


def test_the_alarm_names_the_party_and_the_figures() -> None:
    people = alike(6)
    watch = Watch(rehearsed(people, "linear", 0.0), party="bank")
    gradients = np.ones((100, 16)) + 0.01 * np.random.default_rng(7).normal(size=(100, 16))
    for _ in range(3):
        watch.saw(gradients)
    with pytest.raises(Hijacked, match=r"^bank: its gradients .* found 1\.000\), round 4$") as alarm:
        watch.saw(gradients)
    assert alarm.value.culprits == ("bank",)
    assert alarm.value.round == 4


def test_pushes_are_weighed_by_records() -> None:
    assert np.linalg.norm(push(np.ones((5, 3)))) == pytest.approx(1)
    assert not push(np.zeros((5, 3))).any()
    assert coherence(np.array([[1.0, 0], [-1.0, 0]]), np.array([1, 1])) == 0
    assert coherence(np.array([[1.0, 0], [-1.0, 0]]), np.array([3, 1])) == 0.5


def test_a_rehearsal_needs_sound_figures() -> None:
    bottom = torch.nn.Linear(2, 3)
    for wrong in ({"positive": 0.0}, {"positive": 0.5, "sigma": -1.0}, {"positive": 0.5, "batch": 1}):
        with pytest.raises(ParameterError, match="a rehearsal needs"):
            rehearse(bottom, np.zeros((5, 2)), rng=InsecureSeededRng(1), **wrong)
