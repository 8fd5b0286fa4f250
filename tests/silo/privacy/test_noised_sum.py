"""Skellam noise inside the secure sum."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import silo
from silo.crypto.ring import Exact, Ring
from silo.crypto.rng import InsecureSeededRng
from silo.errors import NotAllowed, ParameterError, UsageError
from silo.privacy import events
from silo.privacy.accountants.rdp import ORDERS, RDP
from silo.privacy.errors import PrivacyBudgetExceeded, TokenUsed
from silo.privacy.skellam import Skellam
from silo.privacy.token import NoiseToken
from silo.protocols.errors import TooFewParties, UnlikeTerms
from silo.session import Session
from silo.transport.memory import Hub

NAMES = ("ada", "bob", "cyd", "dan", "eve")
BUDGET = silo.Budget(8.0, 1e-5)
NOISE = Skellam(clip=2.0, noise_multiplier=3.0)


def plan(length: int = 10, members: int = 5, honest: int = 3, rows: int = 1000, bits: int = 32) -> Any:
    limit = Exact(Ring.of(bits), members).limit
    return NOISE.plan(length=length, rows=rows, honest=honest, limit=limit)


def test_the_sum_is_right_up_to_its_noise_and_everybody_pays() -> None:
    source = np.random.default_rng(1)
    inputs = {name: source.normal(0, 0.2, (50, 8, 4)) for name in NAMES}

    def party(session: Session, own: Any) -> Any:
        total = session.sum(own, noise=NOISE)
        assert session.policy is not None
        return total, session.policy.account.epsilon()

    found = silo.simulate(NAMES, party, inputs, rows=100, budget=BUDGET)
    want = sum(np.asarray(rows).sum(axis=0) for rows in inputs.values())
    first, epsilon = found["ada"]
    assert first.shape == (8, 4)
    assert all(np.array_equal(total, first) for total, _ in found.values())
    # Four members at the least, one of whom may side with the relay: three keep their noise secret.
    std = NOISE.clip * 3.0 * math.sqrt(5 / 3)
    assert 0.5 * std < np.std(first - want) < 1.6 * std
    assert 0 < epsilon < 8


def test_the_variance_is_what_is_claimed() -> None:
    planned = plan(length=100_000, rows=10)
    source = InsecureSeededRng(3)
    noises = [planned.noised(np.zeros((1, 100_000)), NoiseToken(planned.event), rng=source) for _ in range(5)]
    for members in (3, 4, 5):
        total = np.sum(noises[:members], axis=0) / planned.scale
        assert np.var(total) == pytest.approx(planned.std(members) ** 2, rel=0.02)
    assert planned.std(3) == pytest.approx(3.0 * 2.0, rel=1e-6)


def patterns(members: int, fewest: int) -> Iterator[tuple[str, ...]]:
    for count in range(fewest, members + 1):
        yield from itertools.combinations(NAMES[:members], count)


@pytest.mark.parametrize(("members", "fewest", "colluders"), [(3, 3, 1), (4, 3, 1), (5, 4, 1), (5, 5, 2)])
def test_every_pattern_of_dropouts_keeps_the_promised_noise(
    members: int, fewest: int, colluders: int
) -> None:
    honest = fewest - max(colluders, 1)
    planned = plan(honest=honest)
    for survivors in patterns(members, fewest):
        for observers in itertools.combinations(survivors, max(colluders, 1)):
            secret = len(survivors) - len(observers)
            assert secret * planned.own_variance >= planned.event.variance * (1 - 1e-12)


def test_too_few_survivors_end_the_round_before_anything_is_unmasked() -> None:
    hub = Hub()

    def party(session: Session) -> Any:
        if session.me in ("dan", "eve"):
            raise RuntimeError("gone")
        with pytest.raises(TooFewParties) as problem:
            session.sum(np.zeros((1, 4)), noise=NOISE)
        assert session.policy is not None
        return problem.value, session.policy.account.used

    with pytest.raises(RuntimeError):
        silo.simulate(NAMES, party, budget=BUDGET, hub=hub)


def test_the_accountant_is_the_formula() -> None:
    event = plan(length=32).event
    delta = 1e-5
    want = math.inf
    for a in ORDERS:
        square = ((2 * a - 1) * event.l2**2 + 6 * event.l1) / (4 * event.variance**2)
        rdp = a * event.l2**2 / (2 * event.variance) + min(square, 3 * event.l1 / (2 * event.variance))
        want = min(want, rdp + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1))
    assert RDP().epsilon(event, delta) == pytest.approx(want, abs=1e-6)
    assert RDP().epsilon(event, delta) >= want


def test_one_record_moves_the_sum_by_no_more_than_the_sensitivity() -> None:
    planned = plan(length=6)
    source = np.random.default_rng(5)
    for scale in (1e-3, 0.5, 1.0, 1e6):
        record = source.normal(0, scale, (1, 6))
        moved = planned.contribution(record).astype(object)
        assert sum(int(one) ** 2 for one in moved) <= planned.event.l2**2
        assert sum(abs(int(one)) for one in moved) <= planned.event.l1


def test_contributions_are_nearly_unbiased() -> None:
    planned = plan(length=6)
    record = np.full((1, 6), 0.123456)
    assert np.allclose(planned.contribution(record) / planned.scale, record[0], atol=1 / planned.scale)


def test_a_target_is_met_with_the_least_noise() -> None:
    limit = Exact(Ring.of(32), 5).limit
    planned = Skellam(clip=1.0, epsilon=1.0, delta=1e-5).plan(length=16, rows=1000, honest=3, limit=limit)
    found = RDP().epsilon(planned.event, 1e-5)
    assert 0.98 < found <= 1.0


def test_the_token_is_for_one_draw() -> None:
    planned = plan()
    token = NoiseToken(planned.event)
    planned.noised(np.zeros((1, 10)), token, rng=InsecureSeededRng(1))
    with pytest.raises(TokenUsed):
        planned.noised(np.zeros((1, 10)), token, rng=InsecureSeededRng(1))


def test_beyond_the_budget_nothing_is_drawn() -> None:
    def party(session: Session) -> Any:
        with pytest.raises(PrivacyBudgetExceeded):
            session.sum(np.zeros((1, 4)), noise=Skellam(clip=1.0, noise_multiplier=0.2))
        assert session.position == 0

    silo.simulate(NAMES, party, budget=silo.Budget(1.0, 1e-5))


def test_unlike_noise_is_named() -> None:
    def party(session: Session) -> Any:
        mine = Skellam(clip=2.0, noise_multiplier=4.0 if session.me == "cyd" else 3.0)
        session.sum(np.zeros((1, 4)), noise=mine)

    with pytest.raises(UnlikeTerms, match="cyd has Skellam"):
        silo.simulate(NAMES, party, budget=BUDGET)


def test_without_a_policy_there_is_no_ledger_to_charge() -> None:
    with pytest.raises(UsageError, match="no privacy policy"):
        silo.simulate(NAMES, lambda session: session.sum(np.zeros((1, 4)), noise=NOISE))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Skellam(clip=0.0, noise_multiplier=1.0), "clip"),
        (lambda: Skellam(clip=1.0), "noise_multiplier, or a target"),
        (lambda: Skellam(clip=1.0, noise_multiplier=-1.0), "above 0"),
        (lambda: Skellam(clip=1.0, noise_multiplier=1.0, epsilon=1.0, delta=1e-5), "or a target"),
        (lambda: Skellam(clip=1.0, epsilon=1.0), "with its delta"),
        (lambda: Skellam(clip=1.0, epsilon=1.0, delta=2.0), "target"),
        (lambda: plan(honest=0), "nobody's noise"),
        (lambda: plan(length=10**6, rows=10**6, bits=24), "more bits"),
    ],
)
def test_noise_that_cannot_be(make: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        make()


def test_records_that_cannot_be_summed() -> None:
    def party(session: Session) -> Any:
        for value, error in (
            (np.array(["a"]), ParameterError),
            (np.array([[1.0, math.nan]]), ParameterError),
            (np.zeros((101, 2)), NotAllowed),
            (3.0, ParameterError),
        ):
            with pytest.raises(error):
                session.sum(value, noise=NOISE)
        assert session.policy is not None
        return session.policy.account.used

    assert set(silo.simulate(NAMES, party, rows=100, budget=BUDGET).values()) == {0.0}


def test_statistics_under_a_budget() -> None:
    source = np.random.default_rng(2)
    inputs = {name: source.normal(50, 10, (400, 2)) for name in NAMES}

    def party(session: Session, own: Any) -> Any:
        noise = Skellam(clip=math.sqrt(5), noise_multiplier=2.0)
        return silo.moments(session, own, low=[0, 0], high=100, noise=noise)

    found = silo.simulate(NAMES, party, inputs, rows=500, budget=BUDGET)["ada"]
    assert np.allclose(found.mean, 50, atol=1.5)
    assert np.allclose(found.std, 10, atol=2)


def test_an_event_reads_back() -> None:
    event = plan().event
    assert events.loads(events.dumps(event)) == event
