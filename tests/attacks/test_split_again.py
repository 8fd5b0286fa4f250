"""Attacks on split learning: what leaves, or is not refused, beyond docs/split.md, docs/leakage.md and SECURITY.md.

Each test says what is claimed, and what happened instead before it was mended.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from torch import nn  # noqa: E402

import silo  # noqa: E402
from silo.charter import Vertical  # noqa: E402
from silo.crypto.rng import InsecureSeededRng  # noqa: E402
from silo.errors import ParameterError, SiloError  # noqa: E402
from silo.leak import networks, rehearsal  # noqa: E402
from silo.privacy import events  # noqa: E402
from silo.privacy.budget import Budget  # noqa: E402
from silo.protocols.errors import UnlikeTerms  # noqa: E402
from silo.protocols.split.wire import Rows  # noqa: E402
from silo.protocols.vertical.context import MODELS  # noqa: E402
from silo.vertical import Noise, RandomizedLabels, SplitNetwork  # noqa: E402
from silo.vertical.splitting import building, declaring, watching  # noqa: E402
from silo.vertical.splitting.bottoms import Bottom  # noqa: E402
from silo.vertical.splitting.guided import GuidedTop  # noqa: E402
from silo.vertical.splitting.kept import Kept  # noqa: E402
from silo.vertical.splitting.part import Part  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402
from tests.silo.vertical.test_split_checkpoints import killing, twice  # noqa: E402
from tests.silo.vertical.test_split_labels import Compensated, free  # noqa: E402
from tests.silo.vertical.test_split_network import u_shaped  # noqa: E402

ROOM = Budget(900.0, 1e-5)
PAIR = ("bank", "telecom")
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def spent(session: silo.Session) -> dict[str, int]:
    return dict(session.policy.account.ledger.books.datasets["rows"].events) if session.policy else {}


def seen_by(member: str, work: Callable[[silo.Session], Any], **options: Any) -> str:
    """What one member sees of the others: that all went well, or the error with which its own part ended."""
    found: list[str] = []

    def watched(session: silo.Session) -> None:
        try:
            work(session)
        except SiloError as problem:
            if session.me == member:
                found.append(f"{type(problem).__name__}: {problem}")
            raise

    with contextlib.suppress(SiloError):
        st.together(watched, **options)
    return found[0] if found else "all went well"


# What the label party's own stops tell of its labels.

STEEP = (1e3, 1.0, 1e-3)
"""Slopes of a top, as any ReLU network has some: a host chooses which of them a row meets."""
METERED, BIN = 240, 12


def steep() -> nn.Module:
    first, last = nn.Linear(3, 3, bias=False), nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.eye(3))
        last.weight.copy_(torch.tensor([STEEP]))
    return nn.Sequential(first, nn.ReLU(), last)


def on(logit: float, slope: int) -> list[float]:
    """An activation that has this logit, and meets this slope only."""
    return [logit / STEEP[place] if place == slope else -1.0 for place in range(3)]


def metered(x: Floats, y: Labels) -> str:
    """What a host sees of a fit of two epochs under noise: its activations are the rows of `x`."""

    def work(session: silo.Session) -> None:
        settings: dict[str, Any] = {"epochs": 2, "batch": METERED}
        if session.me == "bank":
            SplitNetwork(session, top=steep(), gradients=Noise(13.55), **settings).fit(y=y)
        else:
            SplitNetwork(session, bottom=nn.Identity(), **settings).fit(x)

    return seen_by("telecom", work, budget={"bank": ROOM})


def test_the_meters_stop_tells_no_label() -> None:
    """Claimed (SECURITY.md): with noise hosts learn of a label no more than the ledger says, "whatever they do".

    The meter compares what is returned with the true labels, and its LeakFound ends the fit after that epoch; the host
    is even told the code. A host chooses how steep the guide is at each row, so it chooses the figure that the meter
    reads. All bins of like prior hold one label, but that of the target, whose six steep rows are positive: with the
    target (the steepest) positive the area is 1 and its error 0, without it the interval reaches down to chance. The
    fit stops after the first epoch just when the target's label is 1. Mu is .07: no attack should be right more often
    than in 52 of 100 cases, and this one always is.
    """
    target = 10 * BIN
    places = np.arange(METERED)
    views = []
    for label in (0, 1):
        y = np.where(places // BIN == 10, places % BIN < 6, places // BIN % 2).astype(np.int64)
        x = np.array([on(0.01 * (place + 1), 1 if y[place] else 2) for place in places])
        x[target] = on(0.01 * (target + 1), 0)
        y[target] = label
        views.append(metered(x, y))
    assert views[0] == views[1]


def test_a_meter_without_a_mixed_bin_tells_no_label() -> None:
    """Claimed: as above; and the meter "tells nobody".

    Where every bin of like prior holds one label, the area has no pair, and its `ParameterError` ends the fit. A host
    that sorts the others' labels into pure bins, and puts the target into one of negatives, sees the fit end just when
    the target is negative.
    """
    places = np.arange(METERED)
    x = np.array([on(0.01 * (place + 1), 1) for place in places])
    views = []
    for label in (0, 1):
        y = (places >= METERED // 2).astype(np.int64)
        y[5] = label
        views.append(metered(x, y))
    assert views[0] == views[1]


def test_the_meter_ends_no_fit_that_tells_its_labels_apart() -> None:
    """Claimed (docs/split.md): "Where nothing is promised the meter reads, and stops nothing."

    Two classes of equal size that the network learns to tell apart leave no bin of like prior with both: the fit of
    members that did nothing wrong ends with "an area under the curve needs records of both labels".
    """
    score = st.X["telecom"][:, 1]
    y = (score > np.median(score)).astype(int)
    found = st.together(lambda session: st.fitted(session, y=y, epochs=40, lr=0.05))
    assert len(found["bank"].leak_.readings) == 40


@pytest.mark.parametrize("finish", [0, 2])
def test_that_the_real_model_diverged_is_told_to_nobody(finish: int) -> None:
    """Claimed (docs/split.md): of the real modules "nothing leaves, not even that [they] diverged".

    One activation of 1e25, and no knowledge of any other label: at a logit of that size the real residual is exactly
    0 for a positive, and 1 for a negative, whose squared gradient is beyond float32. The fit of the label party then
    ends in `_require_sound`, its script is gone, and the host's next scoring misses it. One true label of the host's
    choice in each fit, exactly, under any noise.
    """
    target, rows = 4, 60
    views = []
    for label in (0, 1):
        x = np.random.default_rng(1).normal(size=(rows, 2))
        x[target] = 1e25, 0.0
        y = np.arange(rows) % 2
        y[target] = label

        def work(session: silo.Session, x: Floats = x, y: Labels = y) -> None:
            settings: dict[str, Any] = {"epochs": 1, "batch": rows, "finish": finish}
            if session.me == "bank":
                top = nn.Linear(2, 1)
                nn.init.constant_(top.weight, 0.4)
                model = SplitNetwork(session, top=top, gradients=Noise(13.55), meter=False, **settings)
                model.fit(y=y).predict_proba()
            else:
                SplitNetwork(session, bottom=nn.Identity(), **settings).fit(x).predict_proba(x)

        views.append(seen_by("telecom", work, budget={"bank": ROOM}))
    assert views[0] == views[1]


# What true labels move besides noised residuals.


def returned(modules: Callable[[], dict[str, nn.Module]], make: Any, label: int) -> list[Rows]:
    """What leaves in three epochs, where noise makes up for the label of row 17; all else follows from seeds."""
    labels = st.Y.astype(np.int64)
    moved = np.zeros((st.ROWS, 1))
    moved[17] = label - labels[17]
    labels[17] = label
    torch.manual_seed(3)
    hidden = Compensated(labels, 1, 2.0, free(events.Gaussian(2.0)), rng=InsecureSeededRng(4))
    hidden.moved = moved
    own = modules()
    top = GuidedTop(
        Part(own, make), None, labels, lambda done: None,
        who="bank", residuals=hidden, width=st.CUT, logits=1, rate=0.05, epochs=3,
    )  # fmt: skip
    draw, sent = np.random.default_rng(6), []
    for epoch in range(3):
        top.begin(epoch)
        for places in np.array_split(draw.permutation(st.ROWS), 6):
            sent.append(top.exchange(places, draw.normal(size=(len(places), st.CUT)).astype(np.float32)))
            top.step(len(places))
    return sent


def require_alike(modules: Callable[[], dict[str, nn.Module]], make: Any) -> None:
    one, other = (returned(modules, make, label) for label in (0, 1))
    away = max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))
    assert away < 1e-5, f"a label that noise makes up for moves what leaves by {away:.3g}"


def adam(parameters: Any) -> Any:
    return torch.optim.Adam(parameters, lr=0.05)


def centring() -> dict[str, nn.Module]:
    """A top whose hook keeps a running mean, which deepcopy does not copy."""
    kept: dict[str, Any] = {}

    def centre(module: nn.Module, given: Any, made: Any) -> Any:
        now = made.detach().mean(0)
        kept["mean"] = now if "mean" not in kept else 0.9 * kept["mean"] + 0.1 * now
        return made - kept["mean"]

    top = st.top()
    next(top.children()).register_forward_hook(centre)
    return {"top": top}


def clipping() -> Any:
    """A maker that clips gradients at a percentile of all norms so far (AutoClip, Seetharaman et al. 2020)."""
    norms: list[float] = []

    def make(parameters: Any) -> Any:
        every = list(parameters)
        found = torch.optim.SGD(every, lr=0.5)

        def clip(*_: Any) -> None:
            norms.append(float(torch.cat([p.grad.flatten() for p in every if p.grad is not None]).norm()))
            nn.utils.clip_grad_norm_(every, float(np.percentile(norms, 10)))

        found.register_step_pre_hook(clip)
        return found

    return make


def test_a_state_in_a_hook_does_not_reach_the_guide() -> None:
    """Claimed (docs/split.md): "all that leaves is worked out from activations and noised residuals".

    A guide that was a copy of the real modules shared what deepcopy does not copy: functions, and what they remember of
    true labels.
    """
    require_alike(centring, adam)


def test_an_optimisers_history_does_not_reach_the_guide() -> None:
    """Claimed: as above. `optimizer=` was called for the real part and for the guide, with one history for both."""
    require_alike(lambda: {"top": st.top()}, clipping())


@pytest.mark.parametrize("what", ["hook", "optimizer"])
def test_in_the_u_shape_what_the_real_top_remembers_does_not_reach_the_bottom(what: str) -> None:
    """Claimed: as above. The owner's bottom, whose activations leave, and its real top are modules of one script."""
    bottom, top = st.bottom("bank"), st.top(6)
    how: dict[str, Any] = {"gradients": Noise(4.0), "activations": Noise(8.0), "epochs": 3, "batch": 40}
    if what == "optimizer":
        how["optimizer"] = clipping()
    else:
        kept = [torch.zeros(())]
        next(top.children()).register_full_backward_hook(lambda _, inner, outer: kept.append(outer[0].mean()))
        bottom.register_forward_hook(lambda module, given, made: made + kept[-1])

    def work(session: silo.Session) -> None:
        if session.me == "telecom":
            u_shaped(session)
        else:
            SplitNetwork(session, bottom=bottom, top=top, u_shaped=True, **how).fit(st.X["bank"], st.Y)

    with pytest.raises(ParameterError, match="other labels at the real top change the bottom"):
        st.together(work, budget={"bank": ROOM})


class Counts(nn.Module):
    """Outputs become counts of their size, as in a spiking network; how many numbers that draws depends on them."""

    def forward(self, x: Any) -> Any:
        drawn = torch.poisson(3 * x.detach().relu())
        return x + 0.1 * (drawn - 3 * x.detach().relu())


def test_what_the_real_model_draws_moves_nothing_that_leaves() -> None:
    """Claimed: as above.

    Both draw from torch's one generator. A layer that draws more or fewer numbers for other inputs (`torch.poisson`)
    moves it by what the real modules make of true labels, and the dropout of a guide that was a copy fell elsewhere.
    """

    def modules() -> dict[str, nn.Module]:
        first, act, last = st.top(st.CUT).children()
        return {"top": nn.Sequential(first, Counts(), act, nn.Dropout(0.3), last)}

    require_alike(modules, adam)


# The label party's columns, under a policy that lets nothing leave without noise.


def test_under_a_refusing_policy_no_column_of_the_label_party_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Claimed (docs/split.md, The charter's words): under `without_noise = "refuse"` "nothing of that member leaves
    without noise"; SECURITY.md: "Everything that Silo releases of the data set" is differentially private.

    Noise on a residual makes a gradient longer or shorter and leaves its direction. That of a guide with the label
    party's own bottom in it told a column of two values in the first batch, to a host who knows the first weights.
    """
    secret = np.where(np.random.default_rng(2).random(st.ROWS) < 0.5, -3.0, 3.0)[:, None]
    own, top = st.fixed(nn.Linear(1, st.CUT), 5), st.top()
    came: list[Rows] = []
    waiting: deque[Any] = deque()
    sent: list[Rows] = []
    forward, backward = Bottom.forward, Bottom.backward

    def forwards(self: Bottom, places: Any) -> Rows:
        waiting.append(places)
        sent.append(forward(self, places))
        return sent[-1]

    def backwards(self: Bottom, gradient: Rows) -> None:
        came.append(gradient)
        backward(self, gradient)

    monkeypatch.setattr(Bottom, "forward", forwards)
    monkeypatch.setattr(Bottom, "backward", backwards)

    def work(session: silo.Session) -> Any:
        options = {"epochs": 1, "batch": st.ROWS}
        if session.me == "bank":
            model = st.member(session, bottom=own, top=top, gradients=Noise(13.55), **options)
            model.fit(secret, st.Y)
            return session.policy.account.epsilon() if session.policy else None
        return st.member(session, watch=False, **options).fit(st.X["telecom"])

    found = st.together(work, budget={"bank": ROOM})
    assert np.isfinite(found["bank"])
    places, gradient = waiting.popleft(), came[0]
    told = np.zeros((2, len(places)))
    for kind, value in enumerate((-3.0, 3.0)):
        shown = torch.from_numpy(sent[0]).requires_grad_()
        with torch.no_grad():
            mine = own(torch.full((len(places), 1), value))
        top(torch.cat([mine, shown], dim=1)).sum().backward()
        slope = shown.grad.numpy()
        told[kind] = np.abs((slope * gradient).sum(1)) / np.linalg.norm(slope, axis=1)
    right = (told[1] > told[0]) == (secret[places, 0] > 0)
    assert right.mean() < 0.9, f"the host reads {right.mean():.0%} of a column that the ledger has no word of"


# Rows behind noise on activations.


class Range(nn.Module):
    """Brings columns into -1 to 1 by the largest value so far, as observers in quantised training do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("most", torch.ones(()))

    def forward(self, x: Any) -> Any:
        most: Any = self.most
        with torch.no_grad():
            most.copy_(torch.maximum(most, x.abs().max()))
        return x / most


def test_a_buffer_that_rows_change_is_refused_under_noise() -> None:
    """Claimed (docs/split.md): noise on activations hides each row; one row replaced changes 2 clips of one row.

    `silo.training.private.Trainer.step` compares the buffers after each batch and refuses one that rows changed. A
    `PrivateBottom` calls the parts of a step itself, and never compares. The rehearsal has made-up rows from 0 to 1
    only, which do not change this buffer. So one row of 10,000 makes the activations of all other rows collapse, in
    this batch and in all later ones, and the ledger counts one row's.
    """
    module = nn.Sequential(Range(), st.bottom("telecom"))
    options = {"epochs": 1, "telecom": {"bottom": module, "activations": Noise(4.0)}}
    with pytest.raises(ParameterError, match="changed by the rows"):
        st.together(lambda session: st.fitted(session, **options), budget={"telecom": ROOM})


class Centred(nn.Module):
    """What a row becomes depends on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.one = st.fixed(nn.Linear(4, st.CUT), 3)

    def forward(self, x: Any) -> Any:
        made = self.one(x)
        return made - made.mean(0)


def test_a_scoring_under_noise_refuses_a_module_that_mixes_rows(tmp_path: Path) -> None:
    """Claimed: as above; "each scoring … is paid for as well", as one row's 2 clips.

    Only a fit rehearses its bottom. A part that was fitted without noise, where mixing is allowed, is loaded under a
    charter that asks for noise: each row's activation depends on all rows, so that one row moves every released
    vector, and the ledger is charged for one.
    """

    def first(session: silo.Session) -> None:
        st.fitted(session, epochs=1, telecom={"bottom": Centred()}).save(tmp_path / session.me)

    def second(session: silo.Session) -> Any:
        own: dict[str, Any] = {"bottom": st.bottom("bank"), "top": st.top()}
        if session.me == "telecom":
            own = {"bottom": Centred(), "activations": Noise(4.0)}
        silo.vertical.load(tmp_path / session.me, session, **own).predict_proba(st.X[session.me])

    st.together(first)
    noised = Vertical(MODELS, rows=10_000, passes=100, noised=("activations",))
    with pytest.raises(ParameterError, match="row"):
        st.together(second, budget={"telecom": ROOM}, vertical=noised)


def test_a_row_that_overflows_is_not_told_to_the_label_party() -> None:
    """Claimed: as above, for any row that may take another's place.

    An activation that is not finite ends the host's fit at the batch of its row, whose places all know. What such a
    row should do under noise is written in `PrivateOptimizer.accumulate`: one that "would show itself through any
    noise" counts as zero.
    """
    rows = 300
    draw = np.random.default_rng(3)
    tables = {"bank": draw.normal(size=(rows, 3)), "telecom": draw.normal(size=(rows, 4))}
    y = (draw.random(rows) < 0.5).astype(int)
    views = []
    for value in (1.0, 3e38):
        x = {**tables, "telecom": tables["telecom"].copy()}
        x["telecom"][290] = value

        def work(session: silo.Session, x: Any = x) -> None:
            module = nn.Linear(4, st.CUT)
            nn.init.ones_(module.weight)
            model = st.member(session, telecom={"bottom": module, "activations": Noise(4.0)})
            model.fit(x[session.me], y if session.me == "bank" else None)

        views.append(seen_by("bank", work, budget={"telecom": ROOM}))
    assert views[0] == views[1]


class Pushes:
    """In the place of a top: pushes all rows one way, as a hijacker does."""

    leak = meter = None
    lost = 0

    def __init__(self, added: float = 0.0) -> None:
        self.batches, self.added, self.draw = 0, added, np.random.default_rng(9)

    def begin(self, epoch: int) -> None: ...

    def ahead(self, places: Any) -> None: ...

    def settle(self) -> None: ...

    def exchange(self, places: Any, activations: Rows) -> Rows:
        self.batches += 1
        pull = 1 + self.added * self.draw.normal(size=(len(places), 1))
        return (0.01 * pull * np.ones_like(activations)).astype(np.float32)

    def step(self, rows: int) -> None: ...

    def end(self, epoch: int) -> None: ...

    def arrays(self) -> dict[str, Any]:
        return {}


def pushed(x: Floats, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[int, str]:
    """How many batches a hijacker was sent by a host with these columns, and what it saw at the end."""
    thief, seeds = Pushes(), count(1)
    monkeypatch.setattr(building, "top_of", lambda *args: thief)
    # The same draws in every rehearsal, so that nothing but the rows makes the difference.
    monkeypatch.setattr(networks, "generator", lambda rng: torch.Generator().manual_seed(next(seeds)))

    def work(session: silo.Session) -> None:
        table = x if session.me == "telecom" else st.X["bank"]
        own = {"bottom": st.fixed(nn.Linear(4, st.CUT), 3), **options}
        model = st.member(session, epochs=10, telecom=own, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
        model.fit(table, st.Y if session.me == "bank" else None)

    seen = seen_by("bank", work, budget={"telecom": ROOM} if "activations" in options else None)
    return thief.batches, seen


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_row_far_out_does_not_switch_the_watch_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claimed (docs/split.md): the watch stops with SILO-230 before the bottom learns from a hijacker's gradients.

    With one row of 1e25 the rehearsal diverges (plain SGD, a linear bottom), its coherences are NaN, so is every limit,
    and nothing is above NaN: a top that pushes all rows one way, at a coherence of 1, is never stopped, and nobody is
    told. The job itself goes on, as noise on activations clips such a row.
    """
    x = st.X["telecom"].copy()
    assert "SILO-230" in pushed(x, monkeypatch, activations=Noise(4.0))[1]
    x[3] = 1e25
    assert "SILO-230" in pushed(x, monkeypatch, activations=Noise(4.0))[1]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_under_noise_the_watch_tells_nothing_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claimed: what leaves of a host under noise on activations is differentially private in each row.

    The watch rehearses on the exact rows, so where it stops is worked out from them without noise, and no ledger has
    an entry for it. The label party chooses what it sends, and sees after how many batches the host leaves, or that it
    does not: here that one row was replaced.
    """
    x = st.X["telecom"].copy()
    one = pushed(x, monkeypatch, activations=Noise(4.0))
    x[3] = 1e25
    other = pushed(x, monkeypatch, activations=Noise(4.0))
    assert one[1] == other[1], f"stopped after {one[0]} batches, and after {other[0]} with one row replaced"


def test_the_owners_watch_does_not_work_with_true_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claimed (docs/split.md): "all that leaves is worked out from noised residuals".

    In the U-shape the owner's rehearsal takes the exact share of the rarest class among the true labels. Where the
    watch stops depends on it, and the partner sees where, in a fit whose labels have noise.
    """
    shares: list[Any] = []
    rehearse = rehearsal.rehearse

    def noting(*args: Any, **options: Any) -> Any:
        shares.append(options["positive"])
        return rehearse(*args, **options)

    monkeypatch.setattr(watching, "rehearse", noting)
    for label in (0, 1):
        y = st.Y.copy()
        y[17] = label
        monkeypatch.setattr(st, "Y", y)
        noises = {"gradients": Noise(13.55), "activations": Noise(8.0)}
        st.together(lambda session, noises=noises: u_shaped(session, **noises), budget={"bank": ROOM})
    assert shares[0] == shares[1]


def test_a_declared_noise_that_no_plan_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claimed (docs/split.md): what cannot be is "refused by name", before anything leaves.

    `Noise` goes up to 10,000. A label party that declared 1e200 was believed, and the host's process ended with a bare
    `OverflowError` out of `Rehearsal.limits`, after its first activations left.
    """
    monkeypatch.setattr(declaring, "word", lambda how, classes: "1e200 of 2")
    with pytest.raises(UnlikeTerms, match="noise on residuals"):
        st.together(st.fitted)


def test_a_label_party_does_not_declare_no_noise_where_the_charter_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Claimed (docs/split.md): the watch compares "under the noise that the label party declared", and a charter with
    `noised = ["gradients"]` means that nothing comes without.

    The lower the declared noise, the more alike pushes may be. A hijacker that declares 2.5 and adds that much is
    stopped after 4 batches. One that declared 0 and added 2.5 stayed below every limit for the whole job, though the
    charter that the host itself signed says that there is noise: nobody compared the two.
    """
    noised = Vertical(MODELS, rows=10_000, passes=100, noised=("gradients",))
    seen = {}
    for declared in ("2.5 of 2", "0"):
        thief = Pushes(added=2.5)
        monkeypatch.setattr(building, "top_of", lambda *args, thief=thief: thief)
        monkeypatch.setattr(declaring, "word", lambda how, classes, declared=declared: declared)

        def work(session: silo.Session) -> None:
            own = {"gradients": Noise(2.5)}
            st.fitted(
                session, epochs=20, lr=0.003, bank=own, telecom={"bottom": st.fixed(nn.Linear(4, 5), 3)}
            )

        seen[declared] = seen_by("bank", work, vertical=noised, budget={"bank": ROOM})
    assert "SILO-230" in seen["2.5 of 2"]
    assert "declares no noise on residuals" in seen["0"]


# What is paid.


def test_in_the_u_shape_both_noises_fit_the_budget_before_anything_is_spent() -> None:
    """Claimed (docs/split.md): "Before the roll call, all epochs must fit what is left of the budget", and "gradients
    and activations of one data set count against one budget".

    Each direction is asked for alone. A budget that has room for either and not for both lets the fit begin, and it
    ends in the middle: two epochs are spent on both for nothing.
    """

    def work(session: silo.Session) -> Any:
        try:
            u_shaped(session, gradients=Noise(4.0), activations=Noise(8.0))
        except SiloError as problem:
            return type(problem).__name__, spent(session)
        return "none", spent(session)

    kind, found = st.together(work, budget={"bank": Budget(3.0, 1e-5)})["bank"]
    assert kind == "PrivacyBudgetExceeded"
    assert found == {}


def test_a_fit_whose_finish_is_not_allowed_spends_nothing() -> None:
    """Claimed (docs/split.md): what does not fit is refused "before anything leaves".

    `finish` takes a scoring. Where the charter has none left, all epochs are trained and paid for, and then the fit
    ends in `QueriesSpent`.
    """
    once = Vertical(MODELS, rows=10_000, passes=100, noised=("gradients",), scorings=1)

    def work(session: silo.Session) -> Any:
        st.fitted(session, finish=1, bank={"gradients": Noise(4.0)})
        before = spent(session)
        with pytest.raises(SiloError):
            st.fitted(session, finish=1, bank={"gradients": Noise(4.0)})
        return before, spent(session)

    before, after = st.together(work, budget={"bank": ROOM}, vertical=once)["bank"]
    assert after == before


def test_a_fit_that_all_begin_anew_is_asked_for_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claimed (docs/split.md): "Before the roll call, all epochs must fit what is left of the budget."

    What is asked for is the epochs after the own newest checkpoint. A host that kept nothing makes all begin anew, and
    the label party, which has room for two epochs and needs three, spends them and stops in the middle.
    """
    killing(monkeypatch, 5)
    how: dict[str, Any] = {"gradients": Noise(4.0), "checkpoint": tmp_path}
    charged: list[dict[str, int]] = []

    def work(session: silo.Session) -> None:
        with contextlib.suppress(SiloError):
            twice(session, bank=how)
        charged.append(spent(session))

    st.together(work, budget={"bank": Budget(2.2, 1e-5)})
    assert {events.dumps(events.Gaussian(4.0)): 2} in charged, f"spent in the end: {charged}"


def test_labels_that_were_told_stay_told_where_a_host_kept_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claimed (docs/split.md): "labels are told at random once, and what follows costs no more".

    A host without a checkpoint makes all begin anew. The label party has its told labels on the disk and does not look
    at them: they are drawn again, so that the host has two independent answers about each label. It was asked for no
    room (`label_noise` takes 0 where something is kept), and pays twice.
    """
    killing(monkeypatch, 5)
    how = RandomizedLabels(1.0)
    options = {"bank": {"gradients": how, "checkpoint": tmp_path}}
    found = st.together(lambda session: twice(session, **options), budget={"bank": ROOM})
    assert found["bank"][1] == {events.dumps(how.event(2)): 1}


def test_the_checkpoints_of_another_fit_are_left_alone(tmp_path: Path) -> None:
    """Claimed (silo/vertical/checkpoints.py): a checkpoint belongs to one fit.

    What is kept of one fit removes and overwrites that of another in the same folder, and `done` removes both: the
    epochs of the other, which were paid for, have to be paid for again.
    """
    one, other = Kept(tmp_path, "bank", bytes(32)), Kept(tmp_path, "bank", b"1" * 32)
    one.keep(5, {"w": np.ones(3)})
    other.keep(1, {"w": np.zeros(3)})
    other.done()
    assert one.newest == 5
