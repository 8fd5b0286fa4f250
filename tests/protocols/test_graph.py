"""The mask graph: its shape, its draw, a server that chooses the dropouts, and the plan's bounds."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Collection, Mapping
from fractions import Fraction
from math import comb, inf, log2

import pytest

from silo.crypto.errors import ParameterError
from silo.crypto.secret import Secret
from silo.protocols.secagg.graph import commitment, complete, neighbours, ring, seed_of, thinnest
from silo.protocols.secagg.graph_plan import GraphPlan, check, plan

TENTH = Fraction(1, 10)
THREE_TENTHS = Fraction(3, 10)
SHAPES = [(3, 2), (4, 2), (5, 4), (7, 2), (10, 8), (11, 10), (20, 6), (101, 34)]


def names(count: int) -> list[str]:
    return [f"m{i:04d}" for i in range(count)]


def seed(number: int) -> bytes:
    return hashlib.sha256(b"test seed %d" % number).digest()


def reached(graph: Mapping[str, Collection[str]], among: Collection[str]) -> set[str]:
    """Whom the first of `among` can reach through `among`."""
    start = min(among)
    found, waiting = {start}, [start]
    while waiting:
        for other in graph[waiting.pop()]:
            if other in among and other not in found:
                found.add(other)
                waiting.append(other)
    return found


# --- shape


@pytest.mark.parametrize(("count", "degree"), SHAPES)
def test_every_member_has_degree_neighbours_and_the_relation_is_symmetric(count: int, degree: int) -> None:
    graph = neighbours(seed(1), names(count), degree)
    assert list(graph) == names(count)
    for name, around in graph.items():
        assert len(set(around)) == degree
        assert name not in around
        assert list(around) == sorted(around)
        assert all(name in graph[other] for other in around)


@pytest.mark.parametrize(("count", "degree"), SHAPES)
def test_the_graph_is_connected(count: int, degree: int) -> None:
    assert len(reached(neighbours(seed(2), names(count), degree), names(count))) == count


@pytest.mark.parametrize("degree", [2, 6])
def test_neighbours_are_the_nearest_on_the_ring(degree: int) -> None:
    order = ring(seed(3), names(17))
    graph = neighbours(seed(3), names(17), degree)
    for i, name in enumerate(order):
        near = {order[(i + s) % 17] for s in range(-degree // 2, degree // 2 + 1)} - {name}
        assert set(graph[name]) == near


def test_degree_one_below_the_members_is_complete() -> None:
    assert neighbours(seed(4), names(9), 8) == complete(names(9))
    assert complete(["b", "c", "a"]) == {"a": ("b", "c"), "b": ("a", "c"), "c": ("a", "b")}


# --- the draw


def test_the_order_in_which_members_are_listed_does_not_matter() -> None:
    listed = names(12)
    assert neighbours(seed(5), listed[::-1], 4) == neighbours(seed(5), listed, 4)
    assert neighbours(seed(6), listed, 4) != neighbours(seed(5), listed, 4)


def ring_again(seed: bytes, members: list[str]) -> list[str]:
    """The ring, written anew from its description: no code in common with the library."""
    label = b"silo/1/secagg/graph"
    bound = len(label).to_bytes(4, "big") + label + b"b" + len(seed).to_bytes(8, "big") + seed
    stream = hashlib.shake_256(bound).digest(4 * 20 * len(members))
    left = sorted(members)
    at = 0
    for i in reversed(range(1, len(left))):
        bits = len(bin(i)) - 2
        while True:
            j = int.from_bytes(stream[at : at + 4], "big") % 2**bits
            at += 4
            if j <= i:
                break
        left[i], left[j] = left[j], left[i]
    return left


def test_vector() -> None:
    assert ring(bytes(32), list("abcdefgh")) == tuple("fbhcaedg")
    digest = hashlib.sha256("\n".join(ring(bytes(range(32)), names(1000))).encode()).hexdigest()
    assert digest == "3387fe8c4622ade390c4008778f1782b188a62511bc08e6bece0564002cf8084"


@pytest.mark.parametrize("count", [2, 3, 8, 9, 300])
def test_an_independent_description_gives_the_same_ring(count: int) -> None:
    for number in range(20):
        assert list(ring(seed(number), names(count))) == ring_again(seed(number), names(count))


def test_permutations_are_uniform() -> None:
    draws = 4800
    seen = Counter(ring(seed(number), list("abcd")) for number in range(draws))
    expected = draws / 24
    distance = sum((seen[order] - expected) ** 2 / expected for order in itertools.permutations("abcd"))
    assert 5.0 < distance < 56.0  # chi-square, 23 degrees of freedom: about 1e-5 below and 1e-4 above


def test_places_are_uniform_where_the_size_is_no_power_of_two() -> None:
    draws, count = 3300, 11
    seen = Counter(
        (place, name)
        for number in range(draws)
        for place, name in enumerate(ring(seed(number), names(count)))
    )
    expected = draws / count
    cells = itertools.product(range(count), names(count))
    distance = sum((seen[cell] - expected) ** 2 / expected for cell in cells)
    assert 45.0 < distance < 165.0  # 100 degrees of freedom: below 1e-6 below and 1e-4 above


def test_a_commitment_binds_nonce_and_context_and_shows_neither() -> None:
    nonce = seed(7)
    made = commitment(nonce, b"draw 1 of m0001")
    assert made == commitment(Secret(nonce), b"draw 1 of m0001")
    assert len(made) == 32
    assert nonce not in made
    others = [commitment(seed(8), b"draw 1 of m0001"), commitment(nonce, b"draw 2 of m0001")]
    assert made not in others
    assert commitment(nonce, b"draw 1 of m0001" + b"\0") != made


def test_every_nonce_name_and_context_changes_the_seed() -> None:
    nonces = {name: seed(i) for i, name in enumerate(names(4))}
    drawn = seed_of(nonces, b"draw")
    assert drawn == seed_of(dict(reversed(nonces.items())), b"draw")
    changed = [seed_of({**nonces, name: seed(99)}, b"draw") for name in nonces]
    changed.append(seed_of(nonces, b"draw again"))
    changed.append(seed_of({name: nonces[name] for name in names(3)}, b"draw"))
    changed.append(seed_of({**nonces, "m0000": nonces["m0001"], "m0001": nonces["m0000"]}, b"draw"))
    changed.append(seed_of({name + "x": nonce for name, nonce in nonces.items()}, b"draw"))
    assert len({drawn, *changed}) == len(changed) + 1
    assert drawn != commitment(nonces["m0000"], b"draw")


def test_a_copied_nonce_does_not_cancel() -> None:
    honest = [{"a": seed(i), "b": seed(i)} for i in range(50)]
    assert len({seed_of(nonces, b"draw") for nonces in honest}) == 50


# --- a server that chooses who dropped


@pytest.mark.parametrize(("count", "degree"), [(8, 2), (9, 4), (10, 4), (10, 6), (8, 6), (9, 8), (7, 4)])
def test_the_graph_falls_apart_only_where_the_thinnest_place_is_empty(count: int, degree: int) -> None:
    members = names(count)
    graph = neighbours(seed(9), members, degree)
    split = 0
    for kept in range(2, count + 1):
        for alive in itertools.combinations(members, kept):
            left = thinnest(seed(9), members, degree, alive)
            assert left <= min(len(set(graph[name]).intersection(alive)) for name in members)
            if len(reached(graph, alive)) < kept:
                split += 1
                assert left == 0
    assert split or degree == count - 1


def test_thinnest_counts_what_its_description_counts() -> None:
    chance = random.Random(11)
    for count, degree in ((12, 4), (13, 12), (12, 10), (23, 6)):
        members = names(count)
        order = ring(seed(12), members)
        half = degree // 2
        for _ in range(20):
            alive = set(chance.sample(members, chance.randrange(count + 1)))
            least = count
            for first, second in itertools.permutations(range(count), 2):
                gap = (second - first) % count - half
                other = count - degree - gap
                if (gap >= 1 and other >= 1) or (gap == 1 and degree == count - 1):
                    places = {(start + s) % count for start in (first, second) for s in range(half)}
                    least = min(least, sum(order[place] in alive for place in places))
            assert thinnest(seed(12), members, degree, alive) == least


def test_a_chosen_dropout_set_cuts_an_arc_off_and_is_refused() -> None:
    """k 66, t 26 of 300 hold against dropouts that do not know the graph; a server does know it.

    It declares 66 parties dropped of the 90 that may: two runs around an arc of 27. Each survivor has 26
    surviving neighbours and the quorum is there, yet the 27 mask with nobody else.
    """
    members, degree, threshold = names(300), 66, 26
    order = ring(seed(13), members)
    graph = neighbours(seed(13), members, degree)
    arc = set(order[33:60])
    survivors = set(members) - set(order[:33]) - set(order[60:93])
    assert len(survivors) >= 210
    assert all(len(survivors.intersection(graph[name])) >= threshold for name in survivors)
    assert all(survivors.intersection(graph[name]) <= arc for name in arc)
    assert thinnest(seed(13), members, degree, survivors) == 0


def test_a_ring_of_those_present_only_would_be_weaker_than_planned() -> None:
    """300 of 1000 declared absent before the draw: the 100 corrupt would stand among 700."""
    planned = plan(1000, corrupt=TENTH, dropout=THREE_TENTHS)
    shrunk = check(700, planned.degree, planned.threshold, Fraction(100, 700), Fraction(0))
    with pytest.raises(ParameterError, match=r"22\.76 bits of privacy"):
        shrunk.require()


def test_dropouts_that_do_not_know_the_graph_pass() -> None:
    members = names(300)
    figures = plan(300, corrupt=TENTH, dropout=THREE_TENTHS)
    chance = random.Random(14)
    for number in range(20):
        survivors = chance.sample(members, 210)
        assert thinnest(seed(number), members, figures.degree, survivors) >= figures.threshold


def test_a_set_that_passes_is_connected_although_the_server_chose_it() -> None:
    """The server knows who is corrupt, and empties two runs around an arc of most of their honest parties."""
    count, degree = 40, 12
    members = names(count)
    chance = random.Random(15)
    passed = split = 0
    for number in range(400):
        bad = set(chance.sample(members, 6))
        order = ring(seed(number), members)
        graph = neighbours(seed(number), members, degree)
        most_corrupt = degree - thinnest(seed(number), members, degree, set(members) - bad)
        start, arc = chance.randrange(count), chance.randrange(1, count - degree)
        runs = [order[(start + s) % count] for s in (*range(6), *range(6 + arc, 12 + arc))]
        honest_there = [name for name in runs if name not in bad]
        dropped = chance.sample(honest_there, max(0, len(honest_there) - chance.randrange(5)))
        survivors = set(members).difference(dropped)
        connected = len(reached(graph, survivors - bad)) == len(survivors - bad)
        if thinnest(seed(number), members, degree, survivors) > most_corrupt:
            passed += 1
            assert connected
        split += not connected
    assert passed > 20
    assert split > 50


# --- the plan


def tail(population: int, marked: int, drawn: int, least: int) -> float:
    """The hypergeometric tail once more, by its complement."""
    below = sum(
        comb(drawn, j) * comb(population - drawn, marked - j)
        for j in range(max(0, marked - population + drawn), least)
        if j <= min(drawn, marked)
    )
    return float(1 - Fraction(below, comb(population, marked)))


def test_the_number_of_bad_places_is_what_the_bound_sums() -> None:
    """Monte Carlo where bad draws are common: counts meet their expectation, and the union bound holds."""
    count, degree, threshold, corrupt, draws = 21, 6, 4, 4, 4000
    members = names(count)
    chance = random.Random(16)
    lone = wide = bad_draws = 0
    for number in range(draws):
        bad = set(chance.sample(members, corrupt))
        flags = [name in bad for name in ring(seed(number), members)]
        runs = [sum(flags[(i + s) % count] for s in range(3)) for i in range(count)]
        beside = [runs[(i + 1) % count] + runs[(i - 3) % count] >= threshold for i in range(count)]
        here = sum(hit and not flags[i] for i, hit in enumerate(beside))
        apart = sum(
            runs[i] + runs[(i + 3 + gap) % count] >= threshold
            for i in range(count)
            for gap in range(2, count - degree - 1)
        )
        lone += here
        wide += apart // 2
        bad_draws += here + apart > 0
    alone = (count - corrupt) * tail(count - 1, corrupt, degree, threshold)
    pairs = count * (count - degree - 3) / 2 * tail(count, corrupt, degree, threshold)
    assert lone / draws == pytest.approx(alone, rel=0.2)
    assert wide / draws == pytest.approx(pairs, rel=0.1)
    bits = check(count, degree, threshold, Fraction(4, 21), Fraction(0)).privacy_bits
    assert bits == pytest.approx(-log2(alone + pairs))
    assert 0.1 < bad_draws / draws <= 2**-bits


@pytest.mark.parametrize(("parties", "degree", "threshold"), [(60, 20, 12), (100, 36, 16), (23, 20, 10)])
def test_bits_are_those_of_the_sums_in_the_docstring(parties: int, degree: int, threshold: int) -> None:
    corrupt, dropped, lost = parties // 5, parties // 4, degree - threshold + 1
    pairs = parties * (parties - degree - 3) / 2
    exposed = (parties - corrupt) * tail(parties - 1, corrupt, degree, threshold)
    exposed += pairs * tail(parties, corrupt, degree, threshold)
    fails = (parties - dropped) * tail(parties - 1, dropped, degree, lost)
    fails += dropped * tail(parties - 1, dropped - 1, degree, lost) + pairs * tail(
        parties, dropped, degree, lost
    )
    made = check(parties, degree, threshold, Fraction(1, 5), Fraction(1, 4))
    assert made.privacy_bits == (pytest.approx(-log2(exposed)) if exposed else inf)
    assert made.failure_bits == (pytest.approx(max(0.0, -log2(fails))) if fails else inf)


def test_rounds_fail_no_more_often_than_the_bound() -> None:
    count, degree, threshold, dropped, draws = 24, 12, 4, 10, 2000
    members = names(count)
    chance = random.Random(17)
    failed = 0
    for number in range(draws):
        survivors = chance.sample(members, count - dropped)
        failed += thinnest(seed(number), members, degree, survivors) < threshold
    bound = 2 ** -check(count, degree, threshold, Fraction(0), Fraction(10, 24)).failure_bits
    assert 0.2 * bound < failed / draws <= bound < 1


@pytest.mark.parametrize(
    ("parties", "degree", "threshold"), [(50, 22, 6), (100, 36, 11), (300, 74, 29), (1000, 106, 42)]
)
def test_planned_figures(parties: int, degree: int, threshold: int) -> None:
    made = plan(parties, corrupt=TENTH, dropout=THREE_TENTHS)
    assert (made.degree, made.threshold, made.parties) == (degree, threshold, parties)
    assert made == check(parties, degree, threshold, TENTH, THREE_TENTHS)
    made.require()
    smaller = [check(parties, degree - 2, t, TENTH, THREE_TENTHS) for t in range(1, degree - 1)]
    assert not [weak for weak in smaller if weak.privacy_bits >= 40 and weak.failure_bits >= 20]
    assert check(parties, degree, threshold - 1, TENTH, THREE_TENTHS).privacy_bits < 40


def independent_dropouts(parties: int, *, holders: int) -> tuple[int, int]:
    """The plan if nobody chose the dropouts: P1 over so many `holders`, and no two runs lost."""
    corrupt, dropped = parties // 10, 3 * parties // 10
    for degree in range(2, parties, 2):
        pairs = parties * (parties - degree - 3) / 2 * tail(parties, corrupt + dropped, degree, degree)
        for threshold in range(1, degree + 1):
            exposed = holders * tail(parties - 1, corrupt, degree, threshold) + pairs
            if exposed <= 2**-40:
                lost = degree - threshold + 1
                fails = (parties - dropped) * tail(parties - 1, dropped, degree, lost)
                fails += dropped * tail(parties - 1, dropped - 1, degree, lost)
                if fails <= 2**-20:
                    return degree, threshold
                break
    raise AssertionError("no graph")


def test_the_figures_for_independent_dropouts_are_found_again_and_are_too_weak_here() -> None:
    assert independent_dropouts(100, holders=90) == (34, 11)
    assert independent_dropouts(300, holders=270) == (66, 26)
    assert independent_dropouts(1000, holders=1000) == (88, 36)
    assert independent_dropouts(1000, holders=900) == (86, 35)  # corrupt holders have nothing to lose
    for parties, degree, threshold in ((100, 34, 11), (300, 66, 26), (1000, 88, 36)):
        weak = check(parties, degree, threshold, TENTH, THREE_TENTHS)
        with pytest.raises(
            ParameterError, match=rf"degree {degree} .* {weak.failure_bits:.2f} against failure"
        ):
            weak.require()


def test_bits_are_infinite_where_the_event_cannot_happen_and_zero_where_the_bound_is_empty() -> None:
    sure = check(20, 10, 3, TENTH, Fraction(0))
    assert (sure.privacy_bits, sure.failure_bits) == (inf, inf)
    assert check(20, 10, 1, TENTH, THREE_TENTHS).privacy_bits == 0
    assert check(9, 8, 2, Fraction(1, 9), Fraction(0)).privacy_bits == inf
    assert check(9, 8, 1, Fraction(1, 9), Fraction(0)).privacy_bits == 0


def test_a_draw_that_was_seen_costs_its_share() -> None:
    once = check(300, 74, 29, TENTH, THREE_TENTHS)
    often = check(300, 74, 29, TENTH, THREE_TENTHS, draws=8)
    assert once.privacy_bits - often.privacy_bits == pytest.approx(3)
    assert once.failure_bits == often.failure_bits
    assert plan(1000, corrupt=TENTH, dropout=THREE_TENTHS, draws=101).degree > 106


def test_monotone_in_everything() -> None:
    rising = [check(200, 50, t, TENTH, THREE_TENTHS) for t in range(5, 45)]
    assert all(a.privacy_bits <= b.privacy_bits for a, b in itertools.pairwise(rising))
    assert all(a.failure_bits >= b.failure_bits for a, b in itertools.pairwise(rising))
    wider = [check(200, k, 20, TENTH, THREE_TENTHS) for k in range(20, 100, 2)]
    assert all(a.privacy_bits >= b.privacy_bits for a, b in itertools.pairwise(wider))
    assert all(a.failure_bits <= b.failure_bits for a, b in itertools.pairwise(wider))

    def degree(corrupt: int, dropout: int, privacy: int = 40, failure: int = 20) -> int:
        made = plan(
            200,
            corrupt=Fraction(corrupt, 100),
            dropout=Fraction(dropout, 100),
            privacy_bits=privacy,
            failure_bits=failure,
        )
        return made.degree

    assert degree(5, 10) < degree(10, 10) < degree(20, 10)
    assert degree(10, 10) < degree(10, 20) < degree(10, 30)
    assert degree(10, 20, privacy=20) <= degree(10, 20) <= degree(10, 20, privacy=80)
    assert degree(10, 20, failure=10) < degree(10, 20) < degree(10, 20, failure=40)


# --- refusals


@pytest.mark.parametrize("degree", [-2, 0, 1, 3, 10, 12])
def test_a_degree_that_fits_no_graph_is_refused_with_figures(degree: int) -> None:
    for refuse in (
        lambda: neighbours(seed(1), names(10), degree),
        lambda: thinnest(seed(1), names(10), degree, names(10)),
        lambda: check(10, degree, 1, TENTH, TENTH),
    ):
        with pytest.raises(ParameterError, match=rf"10 members|10 parties.*degree {degree};"):
            refuse()


def test_members_seeds_and_nonces_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParameterError, match="m0001 is listed twice"):
        neighbours(seed(1), [*names(4), "m0001"], 2)
    with pytest.raises(ParameterError, match="at least 2 members, not 1"):
        complete(["a"])
    with pytest.raises(ParameterError, match="stranger is not a member"):
        thinnest(seed(1), names(5), 2, ["m0001", "stranger"])
    with pytest.raises(ParameterError, match="32 bytes, not 31"):
        ring(bytes(31), names(3))
    with pytest.raises(ParameterError, match="32 bytes, not 16"):
        commitment(Secret(bytes(16)), b"draw")
    with pytest.raises(ParameterError, match="nonce of b must have 32 bytes, not 33"):
        seed_of({"a": bytes(32), "b": bytes(33)}, b"draw")
    with pytest.raises(ParameterError, match="from no nonces"):
        seed_of({}, b"draw")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parties": 2}, "at least 3 parties, not 2"),
        ({"draws": 0}, "not 0 times"),
        ({"corrupt": Fraction(-1, 10)}, "corrupt parties is an exact Fraction .* not -1/10"),
        ({"dropout": Fraction(1)}, "dropped parties is an exact Fraction .* not 1"),
        ({"dropout": 0.3}, "exact Fraction .* not 0.3"),
        (
            {"dropout": Fraction(45, 100)},
            "45 of 100 parties dropped and 10 corrupt no survivor set gets .* 56",
        ),
        ({"privacy_bits": 0}, "0 and 20 bits"),
        ({"parties": 3}, "no mask graph below the complete one gives 3 parties"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused_with_figures(
    arguments: dict[str, object], message: str
) -> None:
    asked: dict[str, object] = {"parties": 100, "corrupt": TENTH, "dropout": THREE_TENTHS, **arguments}
    with pytest.raises(ParameterError, match=message):
        plan(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", [0, 7])
def test_a_threshold_that_does_not_fit_is_refused(threshold: int) -> None:
    with pytest.raises(ParameterError, match=f"threshold {threshold} does not fit 6 neighbours"):
        check(20, 6, threshold, TENTH, TENTH)


def test_require_holds_at_its_bounds() -> None:
    GraphPlan(6, 3, 20, 40.0, 20.0).require()
    for privacy, failure in ((39.99, 20.0), (40.0, 19.99)):
        with pytest.raises(ParameterError, match=f"{privacy:.2f} bits of privacy and {failure:.2f} against"):
            GraphPlan(6, 3, 20, privacy, failure).require()
