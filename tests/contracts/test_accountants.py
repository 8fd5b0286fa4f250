"""What every accountant keeps to: never below the truth, monotone, indifferent to order, and honest about limits."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.privacy import events
from silo.privacy.accountants import Accountant, Unaccountable, pld, profile, prv
from silo.privacy.accountants.base import flatten
from silo.privacy.accountants.pld import PLD
from silo.privacy.accountants.prv import PRV
from silo.privacy.accountants.rdp import RDP
from silo.privacy.events import Composed, Event, Gaussian, PoissonSampled, Repeated

ALL: tuple[Accountant, ...] = (PLD(), RDP(), PRV())
each = pytest.mark.parametrize("accountant", ALL, ids=lambda one: one.name)
DELTA = 1e-5
SLACK = 1 + 1e-6


def steps(sigma: float = 1.2, q: float = 0.02, count: int = 200) -> Event:
    return Repeated(PoissonSampled(q, Gaussian(sigma)), count)


@each
def test_more_noise_costs_less(accountant: Accountant) -> None:
    found = [accountant.epsilon(steps(sigma=sigma), DELTA) for sigma in (0.8, 1.2, 3.0)]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 3


@each
def test_more_steps_cost_more(accountant: Accountant) -> None:
    found = [accountant.epsilon(steps(count=count), DELTA) for count in (1, 50, 200, 1000)]
    assert found == sorted(found)
    assert len(set(found)) == 4


@each
def test_a_larger_sample_costs_more(accountant: Accountant) -> None:
    found = [accountant.epsilon(steps(q=q, count=50), DELTA) for q in (0.001, 0.02, 0.3, 1.0)]
    assert found == sorted(found)
    assert len(set(found)) == 4


@each
def test_a_smaller_delta_costs_more(accountant: Accountant) -> None:
    found = [accountant.epsilon(steps(), delta) for delta in (1e-3, 1e-5, 1e-7, 1e-9)]
    assert found == sorted(found)
    assert len(set(found)) == 4


@each
def test_the_order_of_events_does_not_matter(accountant: Accountant) -> None:
    parts = [steps(), steps(sigma=2.0), Gaussian(5.0), steps(q=0.05, count=20)]
    there = accountant.epsilon(Composed(tuple(parts)), DELTA)
    back = accountant.epsilon(Composed((Composed(tuple(parts[:0:-1])), parts[0])), DELTA)
    assert back == pytest.approx(there, rel=1e-9)
    assert there > max(accountant.epsilon(part, DELTA) for part in parts)


@each
def test_what_is_mathematically_one_costs_the_same(accountant: Accountant) -> None:
    whole = accountant.epsilon(steps(count=60), DELTA)
    same = Composed((steps(count=20), Repeated(Composed((steps(count=15), steps(count=5))), 2)))
    assert accountant.epsilon(same, DELTA) == pytest.approx(whole, rel=1e-9)
    assert accountant.epsilon(PoissonSampled(1.0, Gaussian(2.0)), DELTA) == accountant.epsilon(
        Gaussian(2.0), DELTA
    )


@each
def test_nothing_costs_nothing_and_no_privacy_costs_all(accountant: Accountant) -> None:
    assert accountant.epsilon(Composed(()), DELTA) == 0
    for event in (events.NoPrivacy(), PoissonSampled(0.1, events.NoPrivacy())):
        assert accountant.epsilon(Composed((steps(count=2), event)), DELTA) == math.inf


@each
def test_without_a_delta_gaussian_noise_has_no_epsilon(accountant: Accountant) -> None:
    assert accountant.epsilon(Gaussian(5.0), 0.0) == math.inf
    for delta in (-1e-9, 1.0, math.nan):
        with pytest.raises(ParameterError):
            accountant.epsilon(Gaussian(5.0), delta)


@each
def test_what_has_no_sound_bound_is_refused(accountant: Accountant) -> None:
    refused: list[Event] = [
        PoissonSampled(0.5, events.Skellam(100.0, 1.0, 1.0)),
        PoissonSampled(0.5, Repeated(Gaussian(1.0), 2)),
        PoissonSampled(0.5, Composed((Gaussian(1.0), events.Laplace(1.0)))),
    ]
    if isinstance(accountant, PRV):
        refused += [events.Laplace(1.0), events.EpsilonDelta(1.0, 0.0), events.Skellam(1e4, 1.0, 1.0)]
    for event in refused:
        with pytest.raises(Unaccountable, match=f"the {accountant.name} accountant has no sound bound for"):
            accountant.epsilon(Composed((steps(count=2), event)), DELTA)


@each
def test_a_single_gaussian_is_near_the_exact_curve(accountant: Accountant) -> None:
    curve = profile.gaussian(2.0)
    found = accountant.epsilon(Gaussian(2.0), DELTA)
    assert float(curve(np.array([found]))[0]) <= DELTA
    assert float(curve(np.array([found / 1.12]))[0]) > DELTA


OTHERS: list[tuple[Event, float]] = [
    (events.Laplace(10.0), 0.1),
    (events.EpsilonDelta(0.1, 0.0), 0.1),
    (events.EpsilonDelta(1e-6, 0.0), 1e-6),
    (events.RandomizedResponse(0.6, 2), math.log(1.5)),
    (events.RandomizedResponse(0.2, 10), math.log(2.25)),
    (PoissonSampled(0.1, events.Laplace(1.0)), math.log1p(0.1 * math.expm1(1.0))),
    (PoissonSampled(0.1, events.EpsilonDelta(1.0, 0.0)), math.log1p(0.1 * math.expm1(1.0))),
]


@pytest.mark.parametrize(("event", "pure"), OTHERS)
def test_pure_events_cost_at_most_their_sum_and_pld_at_most_rdp(event: Event, pure: float) -> None:
    for count in (1, 30):
        whole = Repeated(event, count)
        tight, loose = PLD().epsilon(whole, DELTA), RDP().epsilon(whole, DELTA)
        assert 0 <= tight <= loose * SLACK <= pure * count * SLACK**2
        assert PLD().epsilon(whole, 0.0) == pytest.approx(pure * count)


def test_randomized_response_composed_is_what_is_exact() -> None:
    """30 coins: the losses are binomial, and delta is a finite sum."""
    n, p, delta = 30, 0.6, DELTA
    loss = math.log(p / (1 - p))

    def exact(epsilon: float) -> float:
        return math.fsum(
            math.comb(n, k) * p**k * (1 - p) ** (n - k) * max(0.0, -math.expm1(epsilon - (2 * k - n) * loss))
            for k in range(n + 1)
        )

    found = PLD().epsilon(Repeated(events.RandomizedResponse(p, 2), n), delta)
    assert exact(found) <= delta < exact(found - 0.01)


def test_proven_parts_add_up() -> None:
    parts = (events.EpsilonDelta(0.5, 1e-6), events.EpsilonDelta(0.2, 2e-6), events.EpsilonDelta(0.1, 0.0))
    for accountant in (PLD(), RDP()):
        assert 0.5 < accountant.epsilon(Composed(parts), 1e-5) <= 0.8 * SLACK
        assert accountant.epsilon(Composed(parts), 2.9e-6) == math.inf


def test_skellam_is_near_the_gaussian_of_the_same_variance_and_never_below_it() -> None:
    skellam = events.Skellam(1e6, 500.0, 5000.0)
    for count in (1, 20):
        found = PLD().epsilon(Repeated(skellam, count), DELTA)
        assert found <= RDP().epsilon(Repeated(skellam, count), DELTA)
        assert PLD().epsilon(Repeated(Gaussian(2.0), count), DELTA) < found
        assert found < RDP().epsilon(Repeated(Gaussian(2.0), count), DELTA) * 1.01
    both = Composed((skellam, steps()))
    assert PLD().epsilon(skellam, DELTA) < PLD().epsilon(both, DELTA) < RDP().epsilon(both, DELTA)


@settings(max_examples=12, deadline=None)
@given(
    st.floats(0.6, 20),
    st.floats(1e-5, 1),
    st.sampled_from((1, 7, 100, 3000)),
    st.sampled_from((1e-3, 1e-6, 1e-9)),
)
def test_rdp_is_never_below_pld(sigma: float, q: float, count: int, delta: float) -> None:
    event = steps(sigma, q, count)
    loose = RDP().epsilon(event, delta)
    assert PLD().epsilon(event, delta) <= loose
    if loose < 60:
        assert pld.own(flatten(event), delta) <= loose * SLACK + 1e-4


@pytest.mark.parametrize(("sigma", "q"), [(0.7, 0.01), (1.3, 0.2), (3.0, 1e-4), (2.0, 1.0)])
def test_the_distributions_are_those_of_dp_accounting(sigma: float, q: float) -> None:
    theirs = pld.distribution.from_gaussian_mechanism(
        sigma, sampling_prob=q, value_discretization_interval=1e-3
    ).self_compose(20)
    (leaf,) = flatten(PoissonSampled(q, Gaussian(sigma)))
    ours = pld._repeated(pld._single(leaf, 1e-3), 20)
    for delta in (1e-3, 1e-6, 1e-9):
        assert ours.get_epsilon_for_delta(delta) == pytest.approx(
            theirs.get_epsilon_for_delta(delta), abs=1e-5
        )


def test_one_more_run_composes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [steps(sigma=6 + i / 10, count=3) for i in range(6)]
    PLD().epsilon(Composed(tuple(runs[:5])), DELTA)
    pairs = []
    pair = pld._pair
    monkeypatch.setattr(pld, "_pair", lambda *both: pairs.append(both) or pair(*both))
    cached = PLD().epsilon(Composed(tuple(runs)), DELTA)
    assert len(pairs) == 1
    pld._kept.clear()
    assert PLD().epsilon(Composed(tuple(runs)), DELTA) == pytest.approx(cached, rel=1e-9)
    assert len(pairs) == 1 + 5


def test_rounding_never_makes_a_small_delta_cheap() -> None:
    """Many Gaussians are one Gaussian, whose curve is known; composed by FFT they have lost digits."""
    many = pld._repeated(pld._single(Gaussian(100.0), 1e-4), 10_000)
    exact = profile.gaussian(1.0)
    theirs = pld.distribution.from_gaussian_mechanism(100.0).self_compose(10_000)
    low = theirs.get_epsilon_for_delta(1e-12)
    assert float(exact(np.array([low]))[0]) > 1e-12, "dp-accounting no longer needs the slack"
    for delta in (1e-5, 1e-8, 1e-9, 1e-10, 1e-12, 1e-14):
        left = delta - pld._SLACK_PER_COUNT * 10_000 - pld._SLACK_PER_COMPOSITION
        found = many.get_epsilon_for_delta(left) if left > 0 else math.inf
        assert found == math.inf or float(exact(np.array([found]))[0]) <= delta
    assert pld.own(flatten(steps(count=10_000)), 1e-14) == math.inf
    assert PLD().epsilon(steps(count=10_000), 1e-14) == RDP().epsilon(steps(count=10_000), 1e-14)


@pytest.mark.parametrize(
    "event",
    [
        steps(0.5, 0.9, 10**6),
        steps(count=10**12),
        Gaussian(1e-3),
        Gaussian(1e-200),
        events.EpsilonDelta(1e5, 1e-9),
        Repeated(events.Laplace(1e-3), 1000),
    ],
)
def test_giant_losses_stay_within_memory_and_above_the_truth(event: Event) -> None:
    found = PLD().epsilon(event, DELTA)
    assert 1000 < found <= RDP().epsilon(event, DELTA)


@pytest.mark.parametrize(
    "event",
    [
        Gaussian(1e200),
        PoissonSampled(1e-300, Gaussian(1e200)),
        PoissonSampled(1e-12, Gaussian(0.5)),
        PoissonSampled(1e-12, Gaussian(1e5)),
        PoissonSampled(1 - 1e-12, Gaussian(1e5)),
        events.Laplace(1e300),
        PoissonSampled(1e-300, events.Laplace(1e-2)),
        events.RandomizedResponse(0.5, 2),
        events.EpsilonDelta(5e-324, 5e-324),
        events.Skellam(1e300, 1e-300, 1.0),
    ],
)
def test_tiny_losses_cost_hardly_anything_and_warn_nobody(event: Event) -> None:
    assert 0 <= pld.own(flatten(Composed((event, event))), 1e-3) < 1e-4
    assert 0 <= PLD().epsilon(Composed((event, event)), 1e-3) < 1e-4


TABLE = [
    (1.0, 0.01, 1000, 1e-5, 1.818, 1.838),
    (0.8, 256 / 60000, 14062, 1e-5, 4.540, 4.560),
    (1.1, 256 / 60000, 3515, 1e-5, 1.124, 1.144),
    (2.0, 0.064, 500, 1e-4, 2.850, 2.870),
    (1.0, 0.01, 1000, 1e-10, 3.280, 3.301),
    (0.5, 0.01, 1000, 1e-5, 13.35, 13.37),
    (1.0, 1e-3, 10**5, 1e-6, 1.851, 1.871),
]


@pytest.mark.parametrize(("sigma", "q", "count", "delta", "low", "high"), TABLE)
def test_the_known_figures(sigma: float, q: float, count: int, delta: float, low: float, high: float) -> None:
    event = steps(sigma, q, count)
    assert low < pld.own(flatten(event), delta) < high
    assert low < PLD().epsilon(event, delta) < high
    if count <= 1000:
        assert PRV().bounds(event, delta) == pytest.approx((low, high), abs=5e-3)


def test_the_known_figures_without_sampling_and_at_tiny_deltas() -> None:
    many = Repeated(Gaussian(10.0), 100)
    assert PLD().epsilon(many, 1e-6) == pytest.approx(4.887, abs=1e-3)
    assert PRV().bounds(many, 1e-6) == pytest.approx((4.876, 4.897), abs=1e-3)
    tiny = steps(4.0, 3.3e-4, 10_000)
    assert pld.own(flatten(tiny), 1e-16) == math.inf
    assert PLD().epsilon(tiny, 1e-16) == RDP().epsilon(tiny, 1e-16) < 0.514
    with pytest.raises(Unaccountable, match="finds no bound"):
        PRV().epsilon(tiny, 1e-16)
    with pytest.raises(Unaccountable, match="finds no bound"):
        PRV().epsilon(steps(count=10**12), 1e-5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_epsilon_is_below_the_certified_lower_bound() -> None:
    """1,000 plans of training at random, one in five composed of two."""
    random_plan = random.Random(20_26)
    checked = 0
    while checked < 1000:
        parts = [
            steps(
                math.exp(random_plan.uniform(math.log(0.7), math.log(8))),
                math.exp(random_plan.uniform(math.log(1e-4), math.log(0.5))),
                round(math.exp(random_plan.uniform(0, math.log(2000)))),
            )
            for _ in range(1 + (random_plan.random() < 0.2))
        ]
        event, delta = Composed(tuple(parts)), 10 ** random_plan.uniform(-9, -3)
        if RDP().epsilon(event, delta) > 12:
            continue
        try:
            least = prv.lower(event, delta)
        except Unaccountable:
            continue
        checked += 1
        assert RDP().epsilon(event, delta) >= least, (event, delta)
        assert pld.own(flatten(event), delta) >= least, (event, delta)
        assert PLD().epsilon(event, delta) >= least, (event, delta)
