"""How many neighbours and which threshold: exact union bounds for the mask graph.

Setting. n parties, of which C, c = floor(corrupt n), collude with a malicious server; C is settled before
the graph is drawn. D, d = floor(dropout n), is whoever does not answer to the end, settled independently of
the graph; it may overlap C. Secrets are shared among a party's k neighbours with threshold t; a party holds
no share of its own. A global signed consistency check lets at most one survivor set S pass (more than (n +
c) / 2 signatures; two such quorums share an honest signer). So d must leave that quorum: 2 (n - d) > n + c,
or the parameters are refused.

Privacy. Honest neighbours open the self-mask seed of a party in S and the mask key of a party outside,
never both. An honest party's input is hidden up to the sum over all honest survivors if

- P1: fewer than t of its k neighbours are corrupt: the server lacks the other kind of share; and
- P2: the honest survivors are connected in the graph, through pairs that masked with each other: the pair
  masks of a connected graph cancel in the total only.

P2 against a server that chooses S. The server knows the graph and C when it declares who dropped. To cut an
arc of the ring off it must declare the honest parties in a run of k/2 places on each side dropped, about k
parties of a budget d that is larger; with t <= k/2 everyone in an arc of t + 1 places keeps t answering
neighbours inside it, so the server unmasks the sum of the arc alone. That dropouts are independent of the
graph is thus no ground for privacy. Instead every party tests S (`graph.thinnest(...) >= t`, before it
signs): any two disjoint runs of k/2 places, with at least one place between them on both sides, hold t
survivors. A circulant graph falls apart only where two such runs are empty of honest survivors, so P2 holds
for *every* S that passes if

- P2': no two such runs hold t corrupt parties together.

A party's neighbourhood is such a pair, with the party alone in one gap: there P2' is P1, and matters for
honest parties only. For n parties there are n of these, and n (n - k - 3) / 2 pairs with two or more places
in both gaps. With H(N, m, k, t) the hypergeometric probability of t or more marked among k places drawn
from N of which m are marked, a draw is bad with probability at most

    (n - c) H(n - 1, c, k, t) + n (n - k - 3) / 2 H(n, c, k, t)

and an adversary who made draws fail and saw D of them has at most D times that: log2(D) bits. The server can
fail a draw and blame a member, so the parties agree on the number that they allow, and plan with it. S and
the dropouts are not in the bound: one good draw serves every round of a session with the same members. A
graph drawn anew for every round is a draw each time, and D counts the rounds.

Correctness. A round fails if S does not pass the test, that is if some party (surviving or not: the mask
key of a party that dropped must be opened too) has fewer than t neighbours outside D, or some pair of runs
has. Per round, at most

    (n - d) H(n - 1, d, k, l) + d H(n - 1, d - 1, k, l) + n (n - k - 3) / 2 H(n, d, k, l),  l = k - t + 1

Colluders can always make a round fail; those who do count in d.

Conditions on the protocol, beyond the quorum: the ring is of all n members, and who is absent from the
start counts in d (a ring of those present, chosen by the server, would have the c corrupt among fewer);
pairs in S that are neighbours have masked with each other (each upload's signature says with whom, and S is
refused otherwise; else the server deletes edges when it says who completed the sharing); honest parties
open one kind of share per party and only for the one signed S.

Deviations from Bell et al. (CCS 2020, eprint 2020/704). The events are theirs for the semi-honest server,
with dropouts independent of the graph: few corrupt neighbours, honest survivors connected, enough
survivors. Their malicious variant has local consistency checks, and promises that a sum covers at least a
given share of the honest parties. Here the check is global and the graph is tested, and the promise is the
sum over all honest survivors; it costs some neighbours. Also, 2t > k is not needed, as the quorum and not
the threshold makes S unique. The sums are exact hypergeometric ones instead of tail bounds.

Figures, corrupt .1, dropout .3, 40 and 20 bits; k and t for n = 100, 300, 1000:

    independent dropouts (P1, and two runs wholly in C or D)   34 11   66 26   86 35
    this module                                                36 11   74 29   106 42
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import comb, inf, log2

from silo.crypto.errors import ParameterError


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """Degree and threshold for so many parties, with the bits that they achieve.

    `privacy_bits` is per session (all its draws together), `failure_bits` per round; infinite where the event
    cannot happen, 0 where the bound says nothing.
    """

    degree: int
    threshold: int
    parties: int
    privacy_bits: float
    failure_bits: float

    def require(self, *, privacy_bits: float = 40, failure_bits: float = 20) -> None:
        """Raise `ParameterError` with the figures unless both bounds are met."""
        if self.privacy_bits < privacy_bits or self.failure_bits < failure_bits:
            raise ParameterError(
                f"degree {self.degree} and threshold {self.threshold} for {self.parties} parties give "
                f"{self.privacy_bits:.2f} bits of privacy and {self.failure_bits:.2f} against failure, below "
                f"{privacy_bits} and {failure_bits}; take more neighbours or another threshold"
            )


def plan(
    parties: int,
    *,
    corrupt: Fraction,
    dropout: Fraction,
    privacy_bits: int = 40,
    failure_bits: int = 20,
    draws: int = 1,
) -> GraphPlan:
    """Find the smallest even degree below the complete graph, and its least threshold, that meet both bounds.

    `corrupt` and `dropout` are exact fractions of the parties, `draws` the draws of the graph that an
    adversary may see before one stands. Raises `ParameterError` if no such degree does: take the complete
    graph then.
    """
    if privacy_bits < 1 or failure_bits < 1:
        raise ParameterError(
            f"{privacy_bits} and {failure_bits} bits were asked for; ask for at least 1 of each"
        )
    c, d = _counts(parties, corrupt, dropout, draws)
    for degree in range(2, parties - 1, 2):
        threshold = _least_threshold(parties, degree, c, draws, privacy_bits)
        if threshold <= degree and _holds(_failure(parties, degree, threshold, d), failure_bits):
            return _achieved(parties, degree, threshold, c, d, draws)
    raise ParameterError(
        f"no mask graph below the complete one gives {parties} parties, {c} of them corrupt and {d} dropped, "
        f"{privacy_bits} bits of privacy and {failure_bits} against failure; take the complete graph"
    )


def check(
    parties: int, degree: int, threshold: int, corrupt: Fraction, dropout: Fraction, *, draws: int = 1
) -> GraphPlan:
    """Give the bits that a degree and threshold achieve; `GraphPlan.require` refuses too few.

    Raises `ParameterError` for what is no graph or threshold at all.
    """
    c, d = _counts(parties, corrupt, dropout, draws)
    if degree % 2 or not 2 <= degree < parties:
        raise ParameterError(
            f"a mask graph of {parties} parties cannot have degree {degree}; "
            f"take an even degree from 2 to {parties - 1}"
        )
    if not 1 <= threshold <= degree:
        raise ParameterError(f"threshold {threshold} does not fit {degree} neighbours; take 1 to {degree}")
    return _achieved(parties, degree, threshold, c, d, draws)


def _counts(parties: int, corrupt: object, dropout: object, draws: int) -> tuple[int, int]:
    if parties < 3:
        raise ParameterError(f"a mask graph needs at least 3 parties, not {parties}")
    if draws < 1:
        raise ParameterError(f"the graph is drawn at least once, not {draws} times")
    c = _part_of(parties, corrupt, "corrupt")
    d = _part_of(parties, dropout, "dropped")
    if 2 * (parties - d) <= parties + c:
        raise ParameterError(
            f"with {d} of {parties} parties dropped and {c} corrupt no survivor set gets its quorum of "
            f"{(parties + c) // 2 + 1} signatures; assume fewer of either"
        )
    return c, d


def _part_of(parties: int, fraction: object, what: str) -> int:
    # A float .3 is a little less than 3/10, and would lose a party to rounding.
    if not isinstance(fraction, (int, Fraction)) or not 0 <= fraction < 1:
        raise ParameterError(
            f"the fraction of {what} parties is an exact Fraction from 0 to below 1, not {fraction}"
        )
    return int(parties * fraction)


def _least_threshold(parties: int, degree: int, corrupt: int, draws: int, bits: int) -> int:
    """The least threshold with so many bits (the bound falls as it grows), or degree + 1 if there is none."""
    low, high = 1, degree + 1
    while low < high:
        middle = (low + high) // 2
        if _holds(draws * _exposure(parties, degree, middle, corrupt), bits):
            high = middle
        else:
            low = middle + 1
    return low


def _achieved(parties: int, degree: int, threshold: int, corrupt: int, dropped: int, draws: int) -> GraphPlan:
    return GraphPlan(
        degree,
        threshold,
        parties,
        _bits(draws * _exposure(parties, degree, threshold, corrupt)),
        _bits(_failure(parties, degree, threshold, dropped)),
    )


def _exposure(n: int, k: int, t: int, c: int) -> Fraction:
    """Bound P1 and P2' together, for one draw."""
    return (n - c) * _tail(n - 1, c, k, t) + _pairs(n, k) * _tail(n, c, k, t)


def _failure(n: int, k: int, t: int, d: int) -> Fraction:
    """Bound the probability that a round fails."""
    lost = k - t + 1
    alone = (n - d) * _tail(n - 1, d, k, lost)
    if d:
        alone += d * _tail(n - 1, d - 1, k, lost)
    return alone + _pairs(n, k) * _tail(n, d, k, lost)


def _pairs(n: int, k: int) -> Fraction:
    """Pairs of disjoint runs of k/2 places with two or more places in both gaps."""
    return Fraction(max(0, n * (n - k - 3)), 2)


def _tail(population: int, marked: int, drawn: int, least: int) -> Fraction:
    """P[at least `least` marked], hypergeometric."""
    ways = sum(
        comb(marked, hit) * comb(population - marked, drawn - hit)
        for hit in range(least, min(marked, drawn) + 1)
    )
    return Fraction(ways, comb(population, drawn))


def _holds(probability: Fraction, bits: int) -> bool:
    return probability <= Fraction(1, 1 << bits)


def _bits(probability: Fraction) -> float:
    if probability == 0:
        return inf
    return max(0.0, log2(probability.denominator) - log2(probability.numerator))
