"""Renyi divergences: never below the truth, hardly above it."""

from __future__ import annotations

import math
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.privacy import events
from silo.privacy.accountants import Unaccountable
from silo.privacy.accountants.rdp import ORDERS, RDP, curve, divergence, split
from silo.privacy.events import Event

SOME = (2, 3, 10, 64, 256, 1024)


def truth_sampled(q: float, sigma: float, order: int) -> Decimal:
    """The formula, term by term, in 90 digits."""
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 90, MAX_EMAX, MIN_EMIN
        probability, x = Decimal(q), 1 / (2 * Decimal(sigma) ** 2)
        total = sum(
            Decimal(math.comb(order, k))
            * (1 - probability) ** (order - k)
            * probability**k
            * (x * (k * k - k)).exp()
            for k in range(order + 1)
        )
        return Decimal(total).ln() / (order - 1)


def close_above(found: float, truth: Decimal, slack: float) -> bool:
    return truth <= Decimal(found) <= truth * (1 + Decimal(slack)) + Decimal("1e-300")


@pytest.mark.parametrize("q", [1e-6, 3.3e-4, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("sigma", [0.02, 0.5, 1.0, 10.0, 1e4])
def test_the_sampled_gaussian_is_never_below_the_truth(q: float, sigma: float) -> None:
    orders = (2, 3, 10, 64)
    found = curve(events.PoissonSampled(q, events.Gaussian(sigma)), orders)
    for value, order in zip(found, orders, strict=True):
        assert close_above(float(value), truth_sampled(q, sigma, order), 1e-11)


@pytest.mark.parametrize(("q", "sigma"), [(1e-6, 0.7), (0.01, 2.0), (0.3, 30.0)])
def test_so_at_the_highest_order(q: float, sigma: float) -> None:
    found = divergence(events.PoissonSampled(q, events.Gaussian(sigma)), 1024)
    assert close_above(found, truth_sampled(q, sigma, 1024), 1e-10)


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-9, 0.999), st.floats(1e-3, 1e6), st.integers(2, 40))
def test_so_anywhere(q: float, sigma: float, order: int) -> None:
    found = divergence(events.PoissonSampled(q, events.Gaussian(sigma)), order)
    assert close_above(found, truth_sampled(q, sigma, order), 1e-10)


def test_extreme_figures_stay_above_zero_and_warn_nobody() -> None:
    for one in (
        events.Gaussian(1e300),
        events.Laplace(1e300),
        events.PoissonSampled(1e-300, events.Gaussian(1e200)),
        events.Skellam(1e300, 1e-300, 1.0),
        events.EpsilonDelta(5e-324, 0.0),
    ):
        assert (curve(one) > 0).all()
    for one in (
        events.Gaussian(1e-200),
        events.PoissonSampled(1e-300, events.Gaussian(1e-200)),
        events.Skellam(5e-324, 1e200, 1e300),
    ):
        assert (curve(one) == math.inf).all()
    assert (curve(events.Laplace(1e-300)) <= 1.001e300).all()


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 20.0, 1e3, 1e6])
def test_laplace(scale: float) -> None:
    found = curve(events.Laplace(scale), SOME)
    with localcontext() as context:
        context.prec = 60
        for value, a in zip(found, SOME, strict=True):
            b = Decimal(scale)
            total = (
                Decimal(a) / (2 * a - 1) * ((a - 1) / b).exp() + Decimal(a - 1) / (2 * a - 1) * (-a / b).exp()
            )
            assert close_above(float(value), total.ln() / (a - 1), 1e-5)


@pytest.mark.parametrize(("keep", "values"), [(0.5, 2), (0.75, 2), (0.3, 10), (1 / 3, 3), (0.999999, 1000)])
def test_randomized_response(keep: float, values: int) -> None:
    found = curve(events.RandomizedResponse(keep, values), SOME)
    with localcontext() as context:
        context.prec = 60
        for value, a in zip(found, SOME, strict=True):
            true = Decimal(keep)
            other = (1 - true) / (values - 1)
            total = true**a * other ** (1 - a) + other**a * true ** (1 - a) + (values - 2) * other
            assert Decimal(value) >= total.ln() / (a - 1)
            assert Decimal(value) <= total.ln() / (a - 1) * (1 + Decimal("1e-9")) + Decimal("1e-25")


@pytest.mark.parametrize("epsilon", [1e-9, 1e-4, 0.1, 1.0, 30.0, 800.0])
def test_what_is_pure_costs_as_much_as_a_coin(epsilon: float) -> None:
    found = curve(events.EpsilonDelta(epsilon, 0.0), SOME)
    with localcontext() as context:
        context.prec = 60
        e = Decimal(epsilon)
        for value, a in zip(found, SOME, strict=True):
            total = ((a * e).exp() + ((1 - a) * e).exp()) / (1 + e.exp())
            assert close_above(float(value), total.ln() / (a - 1), 1e-9)
    assert (found <= epsilon * (1 + 1e-14)).all()


def skellam_log_probabilities(variance: float, reach: int) -> np.ndarray:
    """Log-probabilities of -reach..reach: two Poissons of half the variance, convolved."""
    mean, n = variance / 2, 4 * reach + 200
    logs = np.array([k * math.log(mean) - mean - math.lgamma(k + 1) for k in range(n)])
    top = logs.max()
    both = np.array(
        [
            np.logaddexp.reduce(logs[max(0, d) : n + min(0, d)] + logs[max(0, -d) : n - max(0, d)])
            for d in range(-reach, reach + 1)
        ]
    )
    assert top < 0
    return both


@pytest.mark.parametrize(
    ("variance", "shift"), [(0.5, 1), (2.0, 1), (4.0, 2), (10.0, 1), (30.0, 5), (100.0, 3), (100.0, 20)]
)
def test_the_skellam_bound_is_above_the_divergence_of_a_shifted_skellam(variance: float, shift: int) -> None:
    reach = int(60 + 14 * math.sqrt(variance)) + 4 * shift
    log_p = skellam_log_probabilities(variance, reach)
    here, there = log_p[shift:], log_p[:-shift]
    bounds = curve(events.Skellam(variance, float(shift), float(shift)), (2, 3, 4, 8))
    for order, bound in zip((2, 3, 4, 8), bounds, strict=True):
        direct = float(np.logaddexp.reduce(order * here - (order - 1) * there)) / (order - 1)
        assert direct <= bound
        assert bound <= direct * (1 + 6 / variance * shift) + 3 / variance


def test_skellam_by_hand() -> None:
    # v = 100, l2 = 5, l1 = 20, order 3: 3 * 25 / 200 + min((5 * 25 + 120) / 40000, 60 / 200)
    assert divergence(events.Skellam(100.0, 5.0, 20.0), 3) == pytest.approx(0.375 + 245 / 40000)
    # v = 1: the second bound is the smaller one
    assert divergence(events.Skellam(1.0, 1.0, 1.0), 64) == pytest.approx(32 + 1.5)


def test_sampling_only_amplifies_what_is_known() -> None:
    half = events.PoissonSampled(0.5, events.EpsilonDelta(1.0, 0.0))
    assert np.allclose(curve(half), curve(events.EpsilonDelta(math.log(0.5 + 0.5 * math.e), 0.0)))
    assert RDP().epsilon(events.PoissonSampled(0.1, events.EpsilonDelta(1.0, 1e-5)), 1.1e-6) == pytest.approx(
        math.log1p(0.1 * math.expm1(1.0))
    )
    for inner in (
        events.Skellam(10.0, 1.0, 1.0),
        events.Repeated(events.Gaussian(1.0), 2),
        events.Composed((events.Gaussian(1.0), events.Laplace(1.0))),
    ):
        with pytest.raises(Unaccountable, match="under Poisson sampling: state an EpsilonDelta"):
            curve(events.PoissonSampled(0.5, inner))
        assert np.array_equal(curve(events.PoissonSampled(1.0, inner)), curve(inner))


def test_what_is_mathematically_one_costs_the_same() -> None:
    step = events.PoissonSampled(0.02, events.Gaussian(1.5))
    twice = events.PoissonSampled(0.1, events.PoissonSampled(0.2, events.Gaussian(1.5)))
    assert np.allclose(curve(twice), curve(step), rtol=1e-12)
    assert (curve(twice) >= curve(step)).all()
    nested = events.Composed((events.Repeated(events.Composed((step, step)), 3), events.Repeated(step, 4)))
    assert np.array_equal(curve(nested), curve(events.Repeated(step, 10)))


def test_what_has_its_own_delta_is_kept_apart() -> None:
    proven = events.EpsilonDelta(0.5, 1e-6)
    step = events.PoissonSampled(0.01, events.Gaussian(1.0))
    with pytest.raises(Unaccountable):
        curve(proven)
    whole = events.Composed((events.Repeated(step, 100), events.Repeated(proven, 3)))
    alone = RDP().epsilon(events.Repeated(step, 100), 1e-5 - 3e-6)
    assert RDP().epsilon(whole, 1e-5) == pytest.approx(1.5 + alone, rel=1e-9)
    assert RDP().epsilon(whole, 2e-6) == math.inf
    rest, epsilon, delta = split(whole)
    assert rest == events.Composed((events.Repeated(step, 100),))
    assert (epsilon, delta) == pytest.approx((1.5, 3e-6))
    assert split(proven)[0] is None
    assert RDP().epsilon(proven, 1.1e-6) == pytest.approx(0.5)
    assert RDP().epsilon(proven, 0.9e-6) == math.inf


def test_the_conversion() -> None:
    """Proposition 12, by hand, and that the pure bound counts where it is the smaller."""
    sigma, delta = 4.0, 1e-5
    best = min(
        a / (2 * sigma**2) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1) for a in ORDERS
    )
    assert RDP().epsilon(events.Gaussian(sigma), delta) == pytest.approx(best)
    assert RDP().epsilon(events.Gaussian(sigma), 0.9) == 0.0
    assert RDP().epsilon(events.Gaussian(sigma), 0.0) == math.inf
    assert RDP().epsilon(events.Repeated(events.Laplace(2.0), 3), 0.0) == pytest.approx(1.5)
    assert RDP().epsilon(events.Laplace(0.01), 1e-9) == pytest.approx(100, rel=1e-9)


@pytest.mark.parametrize("orders", [(), (1,), (2, 2.5), (5000,), (True,)])
def test_other_orders_are_refused(orders: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match="whole numbers from 2"):
        curve(events.Gaussian(1.0), orders)


@pytest.mark.parametrize("delta", [-1e-9, 1.0, math.nan])
def test_other_deltas_are_refused(delta: float) -> None:
    with pytest.raises(ParameterError, match="delta"):
        RDP().epsilon(events.Gaussian(1.0), delta)


@pytest.mark.parametrize(
    ("event", "delta", "epsilon"),
    [
        (events.Repeated(events.PoissonSampled(0.01, events.Gaussian(1.0)), 1000), 1e-5, 2.101),
        (events.Repeated(events.PoissonSampled(256 / 60000, events.Gaussian(1.1)), 3515), 1e-5, 1.281),
        (events.Repeated(events.PoissonSampled(1e-3, events.Gaussian(1.0)), 10**5), 1e-6, 2.004),
        (events.Repeated(events.Gaussian(10.0), 100), 1e-6, 5.222),
    ],
)
def test_as_opacus_computes_it(event: Event, delta: float, epsilon: float) -> None:
    """Opacus has fractional orders too, and may be a little lower."""
    assert epsilon * 0.999 < RDP().epsilon(event, delta) < epsilon * 1.01
