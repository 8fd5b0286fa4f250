"""The leak meter and the watch beside a fit: what they read, whom they stop, and whom they leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402

import silo  # noqa: E402
from silo.audit.labels.hijacking import Hijacker, recovered  # noqa: E402
from silo.crypto.rng import InsecureSeededRng  # noqa: E402
from silo.errors import ParameterError  # noqa: E402
from silo.leak.unexplained import unexplained  # noqa: E402
from silo.leak.watch import Hijacked  # noqa: E402
from silo.privacy.budget import Budget  # noqa: E402
from silo.protocols.errors import UnlikeTerms  # noqa: E402
from silo.vertical import Noise, RandomizedLabels, SplitNetwork  # noqa: E402
from silo.vertical.splitting import building, declaring, fitting, metering, residuals  # noqa: E402
from silo.vertical.splitting.bottoms import scored  # noqa: E402
from silo.vertical.splitting.metering import LeakFound, LiveMeter  # noqa: E402
from silo.vertical.splitting.part import Part  # noqa: E402
from silo.vertical.splitting.quiet import Quiet  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402

SIGMA = 13.55
CUT = 16
BUDGET = {"bank": Budget(900.0, 1e-5)}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Job:
    """Two members whose columns share a skewed cause, as measurements of one thing do."""

    def __init__(self, seed: int, *, rows: int = 2000, rate: float = 0.25, layers: str = "linear") -> None:
        draw = np.random.default_rng(seed)
        cause = draw.exponential(size=(rows, 1))
        weights = draw.uniform(0.5, 1, 8)
        self.telecom = cause * weights + 0.4 * draw.normal(size=(rows, 8))
        self.bank = 0.5 * cause + draw.normal(size=(rows, 4))
        score = self.telecom[:, 0] + self.bank[:, 0] - self.bank[:, 1] + draw.normal(size=rows)
        self.y = (score > np.quantile(score, 1 - rate)).astype(int)
        self.like = draw.exponential(size=(rows, 1)) * weights + 0.4 * draw.normal(size=(rows, 8))
        """Records of the same kind as the telecom's, which a hijacker has of its own."""
        self.seed, self.layers = seed, layers
        self.held: dict[str, SplitNetwork] = {}

    def x(self, name: str) -> Any:
        return getattr(self, name)

    def bottom(self, name: str) -> nn.Module:
        width, seed = self.x(name).shape[1], self.seed + len(name)
        if self.layers == "linear":
            return st.fixed(nn.Linear(width, CUT), seed)
        return st.fixed(nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, CUT)), seed)

    def run(self, *, sigma: float = 0.0, epochs: int = 4, batch: int = 256, **options: Any) -> dict[str, Any]:
        def work(session: silo.Session) -> SplitNetwork:
            leads = session.me == "bank"
            own: dict[str, Any] = {"top": top(self.seed)} if leads else {}
            if leads and sigma:
                own["gradients"] = Noise(noise_multiplier=sigma)
            said = {"epochs": epochs, "batch": batch, "bottom": self.bottom(session.me), **options, **own}
            self.held[session.me] = SplitNetwork(session, **said)
            return self.held[session.me].fit(self.x(session.me), self.y if leads else None)

        return st.together(work, budget=BUDGET if sigma else None)


def top(seed: int) -> nn.Module:
    return st.fixed(nn.Sequential(nn.ReLU(), nn.Linear(2 * CUT, CUT), nn.ReLU(), nn.Linear(CUT, 1)), seed)


def silent(count: int, std: float, *, rng: Any) -> Any:
    return np.zeros(count)


class Thief:
    """In the place of a top: what comes back trains the bottom for a hijacker (Pasquini et al. 2021)."""

    leak = meter = None
    lost = 0

    def __init__(self, hijacker: Hijacker) -> None:
        self.hijacker, self.batches = hijacker, 0

    def begin(self, epoch: int) -> None: ...

    def ahead(self, places: Any) -> None: ...

    def settle(self) -> None: ...

    def exchange(self, places: Any, activations: Any) -> Any:
        self.batches += 1
        return self.hijacker.answer(activations.copy()).astype(np.float32)

    def step(self, rows: int) -> None: ...

    def end(self, epoch: int) -> None: ...

    def arrays(self) -> dict[str, Any]:
        return {}


def stolen(job: Job, monkeypatch: pytest.MonkeyPatch, *, sigma: float = 0.0, added: float = 0.0) -> Thief:
    thief = Thief(
        Hijacker(job.like.astype(np.float32), rng=InsecureSeededRng(job.seed), sigma=added, width=CUT)
    )
    monkeypatch.setattr(building, "top_of", lambda *args: thief)
    return thief


def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The bottoms that are trained, by member, also where the fit is stopped."""
    made: dict[str, Any] = {}
    before = building.bottom_of

    def noting(setting: Any, *args: Any) -> Any:
        made[setting.who] = before(setting, *args)
        return made[setting.who]

    monkeypatch.setattr(building, "bottom_of", noting)
    return made


def test_a_fit_reads_its_own_leak_beside_what_is_promised(tmp_path: Path) -> None:
    page = tmp_path / "leak.html"
    found = Job(1).run(sigma=SIGMA, meter=page)
    leak = found["bank"].leak_
    assert found["telecom"].leak_ is None
    assert [one.epoch for one in leak.readings] == [1, 2, 3, 4]
    assert leak.bounds == sorted(leak.bounds)
    assert leak.bounds[-1] == pytest.approx(0.5416, abs=1e-3)  # Phi(2 / 13.55 / sqrt 2)
    assert all(reading.low <= bound for reading, bound in zip(leak.readings, leak.bounds, strict=True))
    document = leak.to_json()
    assert document[-1]["bound"] == leak.bounds[-1]
    assert {one["attack"] for one in document[0]["attacks"]} == {"norm", "cosine", "spectral"}
    text = page.read_text(encoding="utf-8")
    assert "bank, epoch 4: allowed 0.542" in text
    assert "<polyline" in text


def test_without_noise_the_meter_sees_every_label() -> None:
    found = Job(2).run()
    worst = found["bank"].leak_.readings[-1].attack("cosine")
    assert worst.accumulated > 0.99
    assert found["bank"].leak_.bounds == [1.0] * 4


def test_a_generator_that_gives_no_noise_is_found(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The fit goes on to its end, for a stop would be an answer about labels; the label party alone is told."""
    monkeypatch.setattr(residuals, "gaussian", silent)
    found = Job(3).run(sigma=SIGMA, epochs=8, watch=False)["bank"]
    assert len(found.leak_.readings) == 8
    said = r"bank: after epoch \d the .* attack tells labels .* the noise allows 0\.5"
    with pytest.raises(LeakFound, match=said):
        found.leak_.require()
    assert "[SILO-231] bank: after epoch" in caplog.text


def test_without_a_meter_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residuals, "gaussian", silent)
    assert Job(3).run(sigma=SIGMA, epochs=3, watch=False, meter=False)["bank"].leak_ is None


def test_a_meter_raises_nothing_whatever_it_reads() -> None:
    meter = LiveMeter(np.arange(400) % 2, 2, lambda epochs: 0.51, who="bank", path=Path("/not/there.html"))
    meter.end(0)
    places, labels = np.arange(400), (np.arange(400) % 2).astype(np.float32)
    gradients = np.outer(labels - 0.5, np.ones(4)).astype(np.float32)
    zeros = np.zeros((400, 1), np.float32)
    meter.saw(places, np.full((400, 4), np.nan, np.float32), zeros, None)
    meter.saw(places, gradients, zeros, np.full((400, 1), np.nan, np.float32))
    meter.end(0)
    assert meter.leak.refuted is None
    meter.saw(places, gradients, zeros, zeros)
    meter.end(1)
    assert isinstance(meter.leak.refuted, LeakFound)


def test_what_features_tell_is_taken_off_by_squares() -> None:
    assert unexplained(0.6, 0.5) == pytest.approx(0.6)
    assert unexplained(0.8, 0.8) == unexplained(0.7, 0.8) == 0.5
    assert 0.55 < unexplained(0.82, 0.8) < 0.65
    assert unexplained(1.0, 0.9) > 0.999
    assert unexplained(1.0, 1.0) == 0.5


@pytest.mark.parametrize("wire", ["float32", "int8"])
def test_three_classes_are_read_as_the_largest_against_the_others(wire: str) -> None:
    logits = np.log(np.array([[1.0, 2.0, 5.0], [4.0, 4.0, 2.0]], np.float32))
    assert np.exp(metering._log_odds(logits, 2)) == pytest.approx([5 / 3, 2 / 8])
    noise = Noise(noise_multiplier=SIGMA)
    options = {"bank": {"top": st.top(logits=3), "gradients": noise}, "wire": wire}
    found = st.together(lambda s: st.fitted(s, y=st.THREE, **options), budget=BUDGET)
    assert len(found["bank"].leak_.readings) == 3


def test_told_labels_have_their_own_bound() -> None:
    told = {"bank": {"gradients": RandomizedLabels(1.0)}}
    found = st.together(lambda s: st.fitted(s, **told), budget=BUDGET)
    assert found["bank"].leak_.bounds == [pytest.approx(1 / (1 + np.exp(-1)))] * 3


@pytest.mark.parametrize("layers", ["linear", "two"])
@pytest.mark.parametrize(("sigma", "added"), [(0.0, 0.0), (SIGMA, 0.0), (SIGMA, SIGMA)])
def test_a_hijacked_host_stops_before_anything_is_read(
    layers: str, sigma: float, added: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    excess = []
    for seed in (11, 12, 13):
        job = Job(seed, layers=layers)
        thief = stolen(job, monkeypatch, added=added)
        trained = kept(monkeypatch)
        said = "point elsewhere for each record" if sigma else "push all records alike"
        with pytest.raises(Hijacked, match=f"bank: its gradients {said}"):
            job.run(sigma=sigma, epochs=20)
        assert thief.batches <= (1 if sigma else 16)
        read = [
            recovered(job.telecom, thief.hijacker.reconstruct(scored(one, job.telecom.astype(np.float32))))
            for one in (job.bottom("telecom"), trained["telecom"].part.modules["bottom"])
        ]
        excess.append(read[1] - max(0.0, read[0]))
    assert np.mean(excess) < 0.05


def test_without_a_watch_the_hijacker_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    # A mirror image fools the discriminator as well, so that it fails with some of its starts.
    found = []
    for seed in range(11, 18):
        job = Job(seed)
        thief, trained = stolen(job, monkeypatch), kept(monkeypatch)
        job.run(epochs=13, watch=False)
        assert thief.batches == 13 * 8
        module = trained["telecom"].part.modules["bottom"]
        found.append(
            recovered(job.telecom, thief.hijacker.reconstruct(scored(module, job.telecom.astype(np.float32))))
        )
    assert max(found) > 0.2


def test_the_owner_of_a_u_watches_its_partner(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(15)
    thief = Hijacker(job.like.astype(np.float32), rng=InsecureSeededRng(15), width=CUT)
    taken: list[Any] = []

    class Middle:
        def __init__(self, part: Any, keep: Any) -> None: ...

        def begin(self, epoch: int) -> None: ...

        def forward(self, activations: Any) -> Any:
            taken.append(activations.copy())
            return activations

        def backward(self, gradient: Any) -> Any:
            return thief.answer(taken.pop()).astype(np.float32)

        def step(self, rows: int) -> None: ...

        def end(self, epoch: int) -> None: ...

    monkeypatch.setattr(fitting, "Middle", Middle)

    def work(session: silo.Session) -> SplitNetwork:
        if session.me == "cloud":
            return SplitNetwork(session, middle=nn.Linear(CUT, CUT), cut=CUT, epochs=9, batch=256).fit()
        ends = st.fixed(nn.Sequential(nn.ReLU(), nn.Linear(CUT, 1)), 1)
        model = SplitNetwork(
            session, bottom=job.bottom("telecom"), top=ends, u_shaped=True, epochs=9, batch=256
        )
        return model.fit(job.telecom, job.y)

    with pytest.raises(Hijacked, match="cloud: its gradients"):
        st.together(work, ("cloud", "owner"))


@pytest.mark.parametrize("layers", ["linear", "two"])
@pytest.mark.parametrize("sigma", [0.0, SIGMA])
def test_an_honest_job_is_trusted(layers: str, sigma: float) -> None:
    found = Job(21, layers=layers).run(sigma=sigma, epochs=8, watch=0.25)
    assert found["bank"].n_iter_ == 8


@pytest.mark.parametrize("sigma", [0.0, SIGMA])
def test_an_honest_middle_is_trusted(sigma: float) -> None:
    """What a guide returns comes back through the middle, and a ReLU gives each row directions of its own."""
    job = Job(22)

    def work(session: silo.Session) -> SplitNetwork:
        settings: dict[str, Any] = {"epochs": 6, "batch": 256}
        if session.me == "telecom":
            middle = st.fixed(nn.Sequential(nn.Linear(CUT, 12), nn.ReLU()), 2)
            return SplitNetwork(session, middle=middle, cut=CUT, **settings).fit()
        if sigma:
            settings |= {"gradients": Noise(noise_multiplier=sigma), "activations": Noise(4.0)}
        ends = st.fixed(nn.Linear(12, 1), 1)
        model = SplitNetwork(session, bottom=job.bottom("telecom"), top=ends, u_shaped=True, **settings)
        return model.fit(job.telecom, job.y)

    assert st.together(work, budget=BUDGET if sigma else None)["bank"].n_iter_ == 6


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_false_alarms_are_rare() -> None:
    """Of 100 honest jobs, of many kinds, at most one is stopped, by whichever of the two."""
    alarms = []
    for seed in range(100):
        rows, batch = ((800, 128), (3000, 256), (6000, 512))[seed % 3]
        rate, lr = (0.5, 0.22, 0.05)[seed // 3 % 3], (0.001, 0.003, 0.01, 0.03)[seed // 9 % 4]
        sigma = (0.0, SIGMA)[seed % 2]
        job = Job(1000 + seed, rows=rows, rate=rate, layers=("linear", "two")[seed // 2 % 2])
        try:
            found = job.run(sigma=sigma, epochs=12, batch=batch, lr=lr)
            found["bank"].leak_.require()
        except (Hijacked, LeakFound) as alarm:
            alarms.append(f"{rows} rows, rate {rate}, lr {lr}, sigma {sigma}, {job.layers}: {alarm}")
    assert len(alarms) <= 1, alarms


@pytest.mark.parametrize("wrong", [0.0, 0.7, 2.0, "yes", float("nan")])
def test_a_share_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ParameterError, match=r"watch is True, False, or the part"):
        Job(1, rows=50).run(watch=wrong)


def test_a_picture_that_cannot_be_written_is_refused_before_anything_leaves(tmp_path: Path) -> None:
    for wrong in (tmp_path / "missing" / "leak.html", 3):
        with pytest.raises(ParameterError, match=r"meter is True, False, or a file"):
            Job(1, rows=50).run(meter=wrong)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "nan of 2",
        "-1 of 2",
        "inf of 2",
        "much",
        "1e5 of 2",
        "1e-9 of 2",
        "1" * 40,
        "8 of 1",
        "8 of",
        "told of ²",
    ],
)
def test_a_noise_that_cannot_be_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaring, "word", lambda how, classes: said)
    with pytest.raises(UnlikeTerms, match="declares a noise on residuals that cannot be"):
        Job(1, rows=50).run()


@pytest.mark.parametrize("spoils", [lambda x: x * float("nan"), lambda x: 1 / 0])
def test_a_batch_that_gives_the_real_modules_no_numbers_is_left_out(spoils: Any) -> None:
    class Spoils(nn.Module):
        on = True

        def forward(self, x: Any) -> Any:
            return spoils(x) if self.on else x

    part = Part({"top": nn.Sequential(Spoils(), nn.Linear(2, 1))}, lambda p: torch.optim.SGD(p, lr=0.1))
    before = part.arrays()
    quiet = Quiet(part, None, torch.tensor([0, 1]))
    rows, places = np.ones((2, 2), np.float32), np.arange(2)
    quiet.learn(places, rows)
    quiet.step(2)
    assert quiet.lost == 1
    assert all(np.array_equal(value, before[name]) for name, value in part.arrays().items())
    part.modules["top"][0].on = False
    assert quiet.learn(places, rows) is not None
    quiet.step(2)
    assert quiet.lost == 1
    assert any(not np.array_equal(value, before[name]) for name, value in part.arrays().items())


def test_an_optimiser_that_fails_ends_nothing() -> None:
    class Fails(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise RuntimeError("no memory")

    part = Part({"top": nn.Linear(2, 1)}, lambda p: Fails(p, lr=0.1))
    quiet = Quiet(part, None, torch.tensor([0, 1]))
    quiet.learn(np.arange(2), np.ones((2, 2), np.float32))
    quiet.step(2)
    assert quiet.lost == 1
    assert all(p.grad is None for p in part.trained)


def test_what_was_left_out_is_told_to_its_owner_alone(caplog: pytest.LogCaptureFixture) -> None:
    model = SplitNetwork()
    model.parts_ = {}
    model._tell(None, 3)
    assert "3 batches gave the real modules no numbers" in caplog.text


@pytest.mark.parametrize("name", ["noise_multiplier", "clip", "row_clip"])
@pytest.mark.parametrize("value", ["8", True, [1.0]])
def test_a_noise_that_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"{name} of a Noise is a number, not"):
        Noise(**{"noise_multiplier": 8.0, name: value})


@pytest.mark.parametrize("wrong", ["activations", "decorrelation"])
def test_protection_that_would_do_nothing_is_refused(wrong: str) -> None:
    from silo.vertical import Decorrelation

    own = {"activations": Noise(noise_multiplier=4.0), "decorrelation": Decorrelation(0.1)}[wrong]
    with pytest.raises(ParameterError, match="are for members whose bottom is shown"):
        st.together(lambda session: st.fitted(session, bank={wrong: own}), budget=BUDGET)
