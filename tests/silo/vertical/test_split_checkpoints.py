"""A fit that was cut off goes on after its last whole epoch, and what it had spent stays spent."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

import silo  # noqa: E402
from silo.errors import ParameterError  # noqa: E402
from silo.privacy import events  # noqa: E402
from silo.privacy.budget import Budget  # noqa: E402
from silo.vertical import Noise, RandomizedLabels  # noqa: E402
from silo.vertical.splitting.bottoms import Bottom  # noqa: E402
from silo.vertical.splitting.guided import GuidedTop  # noqa: E402
from silo.vertical.splitting.kept import Kept  # noqa: E402
from silo.vertical.splitting.private_bottom import PrivateBottom  # noqa: E402
from silo.vertical.splitting.tops import ExactTop  # noqa: E402
from tests.silo.vertical import split_table as st  # noqa: E402

ROOM = Budget(900.0, 1e-5)
FIT = bytes(32)


class Killed(Exception):
    """Stands for the end of a process."""


def killing(monkeypatch: pytest.MonkeyPatch, batch: int) -> Counter[str]:
    """End every member's first fit after so many batches, and count the epochs that each begins."""
    steps: Counter[int] = Counter()
    begun: Counter[str] = Counter()
    lock = threading.Lock()
    for kind in (Bottom, PrivateBottom, ExactTop, GuidedTop):
        step, begin = kind.step, kind.begin

        def stepping(self: Any, rows: int, step: Any = step) -> None:
            with lock:
                steps[id(threading.current_thread())] += 1
                due = steps[id(threading.current_thread())] == batch
            step(self, rows)
            if due:
                raise Killed

        def beginning(self: Any, epoch: int, begin: Any = begin, kind: type = kind) -> None:
            with lock:
                begun[f"{kind.__name__} {epoch}"] += 1
            begin(self, epoch)

        monkeypatch.setattr(kind, "step", stepping)
        monkeypatch.setattr(kind, "begin", beginning)
    return begun


def spent(session: silo.Session) -> dict[str, int]:
    return dict(session.policy.account.ledger.books.datasets["rows"].events) if session.policy else {}


def twice(session: silo.Session, **options: Any) -> Any:
    """A fit that is cut off, and one that goes on."""
    with pytest.raises(Killed):
        st.fitted(session, **options)
    before = spent(session)
    model = st.fitted(session, **options)
    return before, spent(session), model.predict_proba(st.X[session.me])


def test_a_fit_that_was_cut_off_goes_on_and_pays_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = killing(monkeypatch, 5)
    options = {
        "checkpoint": tmp_path,
        "bank": {"gradients": Noise(4.0)},
        "telecom": {"activations": Noise(4.0)},
    }
    found = st.together(lambda session: twice(session, **options), budget=ROOM)
    label = events.dumps(events.Gaussian(4.0))
    rows = events.dumps(events.Composed((events.Gaussian(2.0), events.Gaussian(2.0))))
    # Killed in the second epoch: it was paid for, and is paid for once more.
    assert found["bank"][:2] == ({label: 2}, {label: 4})
    assert found["telecom"][0] == {rows: 2}
    assert found["telecom"][1][rows] == 4
    assert begun == {
        f"{kind} {epoch}": times
        for kind in ("GuidedTop", "PrivateBottom")
        for epoch, times in enumerate((1, 2, 1))
    }
    assert np.isfinite(found["bank"][2]).all()
    assert not list(tmp_path.iterdir())


def test_without_a_folder_all_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = killing(monkeypatch, 5)
    st.together(twice)
    assert begun["ExactTop 0"] == begun["Bottom 0"] == 2


def test_labels_that_were_told_stay_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killing(monkeypatch, 5)
    how = RandomizedLabels(1.0)
    options = {"checkpoint": tmp_path, "bank": {"gradients": how}}
    found = st.together(lambda session: twice(session, **options), budget={"bank": ROOM})
    once = {events.dumps(how.event(2)): 1}
    assert found["bank"][:2] == (once, once)


def test_a_fit_that_begins_anew_says_who_has_kept_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    killing(monkeypatch, 5)
    own = {"gradients": Noise(4.0), "checkpoint": tmp_path}
    st.together(lambda session: twice(session, bank=own), budget={"bank": ROOM})
    said = "telecom has kept nothing of this fit: all begin anew, and all 3 epochs are paid for"
    assert sorted(line for line in caplog.messages if said in line) == [
        f"bank: {said}",
        f"telecom: {said}",
    ]


def test_it_goes_on_just_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of a fit that was cut off are those of two rounds: the twin follows both orders."""
    from silo.protocols.split.schedule import Schedule
    from silo.vertical.splitting import fitting
    from silo.vertical.splitting.part import Part

    killing(monkeypatch, 5)
    seeds: list[bytes] = []
    of = Schedule.of

    def noted(context: Any, terms: Any) -> Schedule:
        found = of(context, terms)
        seeds.append(found.seed)
        return found

    monkeypatch.setattr(fitting.Schedule, "of", noted)
    found = st.together(lambda session: twice(session, checkpoint=tmp_path))
    first, second = dict.fromkeys(seeds)
    twin = Part({"whole": torch.nn.Sequential(st.Joined(("bank", "telecom")), st.top())}, adam)
    x, y = torch.from_numpy(st.table(("bank", "telecom")).astype(np.float32)), torch.from_numpy(st.Y).float()
    twin.train()
    for seed, epoch in ((first, 0), (second, 1), (second, 2)):
        for batch in Schedule(seed, st.ROWS, 40).batches(epoch):
            (places,) = batch
            made = twin.modules["whole"](x[places])[:, 0]
            torch.nn.functional.binary_cross_entropy_with_logits(made, y[places], reduction="sum").backward()
            twin.step(len(places))
    twin.train(False)
    due = torch.sigmoid(twin.modules["whole"](x)[:, 0]).detach().numpy()
    assert np.abs(found["bank"][2][:, 1] - due).max() < 1e-5


def adam(parameters: Any) -> Any:
    return torch.optim.Adam(parameters, lr=0.01)


def test_the_last_two_epochs_are_kept_and_belong_to_their_fit(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "bank", FIT)
    for epoch in (1, 2, 3):
        kept.keep(epoch, {"w": np.full(3, float(epoch))})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["bank.split-00000000-2.npz", "bank.split-00000000-3.npz"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())
    assert kept.newest == 3
    assert kept.at(2)["w"].tolist() == [2.0] * 3
    assert Kept(tmp_path, "bank", b"1" * 32).newest == 0
    assert Kept(tmp_path, "ban", FIT).newest == 0
    with pytest.raises(ParameterError, match="of which nothing is kept here"):
        kept.at(1)
    kept.done()
    assert not list(tmp_path.iterdir())
    assert Kept(None, "bank", FIT).newest == 0


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04 and no more", b"\x80\x04K\x01."])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "bank.split-00000000-1.npz").write_bytes(raw)
    with pytest.raises(ParameterError, match="cannot be read"):
        Kept(tmp_path, "bank", FIT).newest  # noqa: B018


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "bank.split-00000000-1.npz",
        **{"silo|fit": np.zeros(32, np.uint8), "w": np.array([{}], dtype=object)},
    )
    with pytest.raises(ParameterError, match="cannot be read"):
        Kept(tmp_path, "bank", FIT).newest  # noqa: B018
