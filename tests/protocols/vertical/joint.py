"""Fits of linear models in memory: tables of several members, one of which has the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from silo.crypto.keys import AgreementKey
from silo.crypto.paillier import keys
from silo.crypto.rng import InsecureSeededRng
from silo.protocols.errors import ProtocolAborted
from silo.protocols.vertical.context import Context
from silo.protocols.vertical.linear import families, host, label
from silo.protocols.vertical.linear.hidden import independent
from silo.protocols.vertical.linear.host import HostState
from silo.protocols.vertical.linear.search import LabelModel, LabelState
from silo.protocols.vertical.linear.terms import LATTICE, Terms
from silo.protocols.vertical.work import Work
from tests.protocols.vertical.table import Hand, Table

Floats = npt.NDArray[np.float64]
BANK = "bank"
NAMES = ("bank", "cards", "lender", "telecom")
NONE: Hand = lambda sender, recipient, piece: None  # noqa: E731


class GaveUp(ProtocolAborted):
    """A member of the test that is gone."""


@dataclass(frozen=True, eq=False)
class Data:
    """What each member holds of the same rows, and the labels of the bank."""

    tables: Mapping[str, Floats]
    y: Floats

    @property
    def joined(self) -> Floats:
        """All columns, in the order of names."""
        return np.hstack([self.tables[name] for name in sorted(self.tables)])


def data(
    family: str,
    widths: Sequence[int],
    *,
    rows: int = 240,
    seed: int = 3,
    tied: float = 0.3,
    noise: float = 0.5,
) -> Data:
    """Columns that depend on each other; `widths` are those of the members, the bank's first."""
    draw = np.random.default_rng(seed)
    count = sum(widths)
    x = draw.normal(size=(rows, count)) + tied * draw.normal(size=(rows, 1))
    z = x @ draw.uniform(-0.8, 0.8, count) / np.sqrt(count) * 2 + 0.4
    if family == "logistic":
        y = (draw.uniform(size=rows) < 1 / (1 + np.exp(-z))).astype(float)
    elif family == "poisson":
        y = draw.poisson(np.exp(np.clip(z, -5, 3))).astype(float)
    else:
        y = z + noise * draw.normal(size=rows)
    cut = np.split(x, np.cumsum(widths)[:-1], axis=1)
    return Data(dict(zip(NAMES, cut, strict=False)), y)


def dying(role: Any, steps: int) -> Iterator[Any]:
    """A role whose process is killed after so many steps; what it sent by then is on its way."""
    inbox = None
    for _ in range(steps):
        inbox = yield role.send(inbox)
    raise GaveUp("killed by the test")


def fit(
    held: Data,
    family: str,
    *,
    l2: float = 1.0,
    l1: float = 0.0,
    scheme: str = LATTICE,
    passes: int = 40,
    tol: float = 1e-12,
    intercept: bool = True,
    hand: Hand = NONE,
    seed: int = 1,
    round: int = 1,
    states: Mapping[str, Any] | None = None,
    keep: Callable[[str, Any], None] = lambda name, state: None,
    lost: Mapping[str, int] | None = None,
    channels: Mapping[str, bytes] | None = None,
    work: Work | None = None,
) -> Table:
    """Run one fit; `lost` says after how many of its steps a member is gone, `channels` who showed a false key."""
    terms = Terms(family, l2, l1, scheme, passes, tol)
    begun, lost = dict(states or {}), lost or {}

    def roles(context: Context, name: str, own: AgreementKey, rng: InsecureSeededRng) -> Any:
        kept = lambda state: keep(name, state)  # noqa: E731
        x = held.tables[name]
        how: dict[str, Any] = {"rng": rng, "state": begun.get(name), "keep": kept, "work": work}
        role: Any
        if name == BANK:
            role = label.fit(context, name, own, terms, x, held.y, intercept=intercept, **how)
        else:
            role = host.fit(context, name, own, terms, x, centred=intercept, **how)
        return dying(role, lost[name]) if name in lost else role

    columns = {name: x.shape[1] for name, x in held.tables.items()}
    unlike = {name: independent(x, centred=intercept) for name, x in held.tables.items()}
    table = Table(columns, len(held.y), roles, BANK, unlike, hand=hand, seed=seed, round=round)
    if channels:
        table.context = replace(table.context, channels={**table.context.channels, **channels})
    return table.run()


@lru_cache(maxsize=1)
def _small_key() -> keys.PrivateKey:
    return keys.insecure_small_key(512, rng=InsecureSeededRng(3))


def allow_small_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Paillier take one key that protects nothing."""
    monkeypatch.setattr(keys, "SIZES", (512, *keys.SIZES))
    monkeypatch.setattr(keys, "generate", lambda bits, *, rng: _small_key())


def model(done: Table) -> LabelModel:
    """The label party's part, once nobody had a problem."""
    assert not done.errors, done.errors
    found = done.found[BANK]
    assert isinstance(found, LabelModel)
    return found


def coefficients(done: Table) -> Floats:
    """Of all columns, in the order of names."""
    model(done)
    parts = [done.found[name].coefficients if name == BANK else done.found[name] for name in done.names]
    return np.concatenate(parts)


def objective(held: Data, family: str, w: Floats, b: float, *, l2: float, l1: float = 0.0) -> float:
    """What the fit minimises."""
    loss = families.of(family).loss(held.y, held.joined @ w + b)
    return float(loss + l2 * w @ w / 2 + l1 * np.abs(w).sum())


def copied(state: Any) -> Any:
    """A state as it stands; states refuse to be copied by pickle's ways."""
    if isinstance(state, HostState):
        return HostState([one.copy() for one in state.directions])
    lists = ([one.copy() for one in part] for part in (state.scores, state.grams, state.norms, state.starts))
    return LabelState(state.seed, *lists)
