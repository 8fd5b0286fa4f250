"""What every scheme for encrypted histograms must do alike."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto import cells, powers
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.histograms import Adder, Owner, Terms
from silo.crypto.okamoto_uchiyama import histograms as fast
from silo.crypto.okamoto_uchiyama import keys as fast_keys
from silo.crypto.okamoto_uchiyama import many_powers
from silo.crypto.paillier import fixed_base
from silo.crypto.paillier import histograms as wide
from silo.crypto.paillier import keys as wide_keys
from silo.crypto.rng import InsecureSeededRng

TERMS = Terms(64, (2**19, 2**19, 1))
RNG = InsecureSeededRng(12)
KEYS: dict[str, list[Any]] = {
    "okamoto-uchiyama": [
        fast_keys.insecure_small_key(640, rng=RNG),
        fast_keys.insecure_small_key(640, rng=RNG),
    ],
    "paillier": [wide_keys.insecure_small_key(512, rng=RNG), wide_keys.insecure_small_key(512, rng=RNG)],
}
"""Two keys a scheme: the second one is foreign."""


def pair(scheme: str, terms: Terms = TERMS, which: int = 0) -> tuple[Owner, Adder]:
    key = KEYS[scheme][which]
    if scheme == "paillier":
        return wide.Owner(key, terms), wide.Adder(key.public, terms)
    return fast.Owner(key, terms), fast.Adder(key.public, terms)


def modulus(scheme: str) -> int:
    """What ciphertexts are below."""
    public = KEYS[scheme][0].public
    return int(public.square if scheme == "paillier" else public.n)


def factor(scheme: str) -> int:
    return int(KEYS[scheme][0].p)


@pytest.fixture(params=list(KEYS))
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plain(values: Any, node: Any, codes: Any, bins: list[int]) -> Any:
    """The histogram as NumPy adds it."""
    found = np.zeros((sum(bins), values.shape[1]), np.int64)
    for feature, first in enumerate(np.cumsum([0, *bins[:-1]])):
        np.add.at(found, first + codes[node, feature].astype(np.int64), values[node])
    return found


def product(scheme: str, *ciphertexts: Any) -> bytes:
    """One that encrypts the sum of all."""
    total = math.prod(int.from_bytes(one, "little") for one in ciphertexts) % modulus(scheme)
    return total.to_bytes(len(ciphertexts[0]), "little")


def column(*rows: list[int]) -> Any:
    return np.array(rows, np.int64)


def random_values(n: int, rng: Any, terms: Terms = TERMS) -> Any:
    return np.stack([rng.integers(-limit, limit + 1, n) for limit in terms.limits], axis=1)


@given(st.data())
@settings(max_examples=15)
@pytest.mark.parametrize("scheme", list(KEYS))
def test_sums_are_those_of_numpy(scheme: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40), "rows")
    bins = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=5), "bins")
    extreme = data.draw(st.booleans(), "extreme")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    values = random_values(n, rng)
    if extreme:
        values = np.sign(values) * np.array(TERMS.limits)
    codes = np.stack([rng.integers(0, count, n) for count in bins], axis=1).astype(np.uint8)
    node = rng.permutation(n)[: data.draw(st.integers(0, n), "node")].astype(np.int64)
    parts = data.draw(st.integers(1, 3), "parts")
    owner, adder = pair(scheme)
    rows = owner.encrypt(values, rng=RNG, parts=parts)
    adder.check(rows, n)
    reply = adder.sums(rows, node, codes, bins, rng=RNG, parts=parts)
    assert len(rows) == n * owner.width
    assert owner.width == adder.width
    assert len(reply) % owner.width == 0
    assert np.array_equal(owner.decrypt(reply, sum(bins)), plain(values, node, codes, bins))


@pytest.mark.parametrize("sign", [-1, 1])
def test_all_rows_at_the_limit_in_one_bin(scheme: str, sign: int) -> None:
    terms = Terms(64, (2**19, 1, 2**19))
    owner, adder = pair(scheme, terms)
    values = np.tile(np.array(terms.limits) * sign, (64, 1)).astype(np.int64)
    values[:, 1] *= -1
    codes = np.full((64, 2), 3, np.uint16)
    found = owner.decrypt(
        adder.sums(owner.encrypt(values, rng=RNG), np.arange(64), codes, [4, 5], rng=RNG), 9
    )
    assert found[3].tolist() == [sign * 2**25, -sign * 64, sign * 2**25]
    assert np.array_equal(found[7], found[3])
    assert not np.delete(found, [3, 7], axis=0).any()


def test_an_empty_node_and_a_single_row(scheme: str) -> None:
    owner, adder = pair(scheme)
    rows = owner.encrypt(column([-5, 2**19, 1]), rng=RNG)
    codes, nobody = np.array([[1, 0]], np.uint8), np.zeros(0, np.int64)
    assert not owner.decrypt(adder.sums(rows, nobody, codes, [2, 2], rng=RNG), 4).any()
    found = owner.decrypt(adder.sums(rows, np.zeros(1, np.int64), codes, [2, 2], rng=RNG), 4)
    assert found.tolist() == [[0, 0, 0], [-5, 2**19, 1], [-5, 2**19, 1], [0, 0, 0]]
    none = owner.encrypt(np.zeros((0, 3), np.int64), rng=RNG)
    adder.check(none, 0)
    empty = adder.sums(none, nobody, np.zeros((0, 1), np.uint8), [3], rng=RNG)
    assert not owner.decrypt(empty, 3).any()


def test_many_rows_are_joined(scheme: str) -> None:
    """Here features are joined, and most rows are in one bin of some."""
    terms = Terms(900, (3, 1))
    owner, adder = pair(scheme, terms)
    rng = np.random.default_rng(5)
    values = random_values(900, rng, terms)
    bins = [2, 2, 5, 9, 20, 30]
    codes = np.stack(
        [np.where(rng.random(900) < 0.8, count // 2, rng.integers(0, count, 900)) for count in bins], axis=1
    ).astype(np.uint8)
    assert any(cluster.within for cluster in cells.plan(codes, bins))
    rows = owner.encrypt(values, rng=RNG)
    for parts in (1, 2, 9):
        reply = adder.sums(rows, np.arange(900), codes, bins, rng=RNG, parts=parts)
        found = owner.decrypt(reply, sum(bins))
        assert np.array_equal(found, plain(values, np.arange(900), codes, bins))


def test_work_goes_to_other_processes(scheme: str) -> None:
    owner, adder = pair(scheme)
    rng = np.random.default_rng(6)
    values, codes = random_values(30, rng), rng.integers(0, 4, (30, 3)).astype(np.uint8)
    with ProcessPoolExecutor(2) as pool:
        rows = owner.encrypt(values, rng=RNG, parts=2, run=pool.map)
        reply = adder.sums(rows, np.arange(30), codes, [4, 4, 4], rng=RNG, parts=2, run=pool.map)
    assert np.array_equal(owner.decrypt(reply, 12), plain(values, np.arange(30), codes, [4, 4, 4]))


def test_jobs_go_out_in_as_many_parts_and_show_nothing(scheme: str) -> None:
    owner, adder = pair(scheme)
    seen: list[Any] = []

    def run(work: Any, jobs: Iterable[Any]) -> list[bytes]:
        seen.append(list(jobs))
        return [work(pickle.loads(pickle.dumps(job))) for job in seen[-1]]

    rows = owner.encrypt(np.ones((10, 3), np.int64), rng=RNG, parts=2, run=run)
    adder.sums(rows, np.arange(10), np.zeros((10, 4), np.uint8), [9] * 4, rng=RNG, parts=2, run=run)
    assert [len(jobs) for jobs in seen] == [2, 1, 2] or [len(jobs) for jobs in seen] == [2, 2, 2]
    for jobs in seen:
        for job in jobs:
            assert str(factor(scheme)) not in repr(job)


def test_what_is_returned_has_fresh_randomness(scheme: str) -> None:
    """The owner knows its ciphertexts: the sum of one row must be none of them, nor an empty bin 1."""
    owner, adder = pair(scheme)
    rows = owner.encrypt(column([1, 1, 1]), rng=RNG)
    codes, node = np.array([[1]], np.uint8), np.zeros(1, np.int64)
    terms = (rows, node, codes, [2])
    first, second = bytes(adder.sums(*terms, rng=RNG)), bytes(adder.sums(*terms, rng=RNG))
    assert first != second
    empty = adder.sums(rows, np.zeros(0, np.int64), codes, [1], rng=RNG)
    assert int.from_bytes(empty, "little") != 1
    one = adder.sums(rows, node, np.zeros((1, 1), np.uint8), [1], rng=RNG)
    assert bytes(one) != bytes(rows)
    assert bytes(owner.encrypt(column([1, 1, 1]), rng=RNG)) != bytes(rows)


def test_payloads_that_are_none_are_refused(scheme: str) -> None:
    owner, adder = pair(scheme)
    rows = bytes(owner.encrypt(np.zeros((3, 3), np.int64), rng=RNG))
    width, most = owner.width, modulus(scheme)
    first = rows[width:]
    for bad in (
        b"",
        rows[:-1],
        rows + b"0",
        rows[width:],
        bytes(width) + first,
        most.to_bytes(width, "little") + first,
        (2 ** (8 * width) - 1).to_bytes(width, "little") + first,
        factor(scheme).to_bytes(width, "little") + first,
    ):
        with pytest.raises(ParameterError):
            adder.check(bad, 3)
        with pytest.raises(ParameterError):
            owner.decrypt(bad, 3 * TERMS.bins(10**6))
    for bad in (bytes(width), factor(scheme).to_bytes(width, "little"), most.to_bytes(width, "little")):
        with pytest.raises(ParameterError):
            owner.decrypt(bad, 1)
    with pytest.raises(ParameterError, match="at most 64 rows"):
        adder.check(rows * 22, 66)
    adder.check(rows, 3)
    for bins in (0, -1, 2**17):
        with pytest.raises(ParameterError, match="bins"):
            owner.decrypt(rows[:width], bins)
    assert not owner.decrypt(rows[:width], 1).any()


def test_nodes_and_bins_that_do_not_fit_are_refused(scheme: str) -> None:
    owner, adder = pair(scheme)
    rows = owner.encrypt(np.zeros((3, 3), np.int64), rng=RNG)
    node, codes = np.arange(3), np.zeros((3, 2), np.uint8)
    large = codes.copy()
    large[2, 1] = 2
    for bad_node, bad_codes, bins in (
        (np.array([3]), codes, [2, 2]),
        (np.array([-1]), codes, [2, 2]),
        (np.array([1, 1]), codes, [2, 2]),
        (np.array([1.0]), codes, [2, 2]),
        (np.array([[1]]), codes, [2, 2]),
        (node, codes[:2], [2, 2]),
        (node, codes, [2]),
        (node, codes, [2, 0]),
        (node, codes.astype(np.int64), [2, 2]),
        (node, codes[:, :0], []),
        (node, large, [2, 2]),
        (node, codes, [2, 2**17]),
    ):
        with pytest.raises(ParameterError):
            adder.sums(rows, bad_node, bad_codes, bins, rng=RNG)
    with pytest.raises(ParameterError):
        adder.sums(bytes(rows)[:-1], node, codes, [2, 2], rng=RNG)
    with pytest.raises(ParameterError, match="no multiple"):
        adder.sums(bytes(rows) + b"0", node, codes, [2, 2], rng=RNG)


def test_values_beyond_the_terms_are_refused(scheme: str) -> None:
    owner, _ = pair(scheme)
    bad: Any
    for bad in (
        column([2**19 + 1, 0, 0]),
        column([0, -(2**19) - 1, 0]),
        column([0, 0, 2]),
        column([-(2**63), 0, 0]),
        np.zeros((1, 2), np.int64),
        np.zeros((65, 3), np.int64),
        np.zeros(3, np.int64),
        np.int64(3),
        np.zeros((1, 3), np.int32),
    ):
        with pytest.raises(ParameterError):
            owner.encrypt(bad, rng=RNG)


def test_plaintexts_out_of_range_are_refused_and_end_the_key(scheme: str) -> None:
    """A sum of more than was agreed: nothing is given out, not even the sums beside it, now or later."""
    codes = np.zeros((64, 1), np.uint8)
    for row in ([2**19, 0, 0], [0, -(2**19), 0], [0, 0, 1]):
        owner, adder = pair(scheme)
        rows = owner.encrypt(np.tile(column(row), (64, 1)), rng=RNG)
        full = adder.sums(rows, np.arange(64), codes, [1], rng=RNG)
        good = adder.sums(rows, np.arange(1), codes, [1], rng=RNG)
        assert owner.decrypt(full, 1).tolist() == [[64 * value for value in row]]
        more = product(scheme, full, good)
        with pytest.raises(DecryptionFailed, match=r"no sum|behind its end"):
            owner.decrypt(more, 1)
        with pytest.raises(DecryptionFailed, match="take a new key"):
            owner.decrypt(good, 1)
        adder.check(good, 1)


def test_more_bins_than_announced_are_refused(scheme: str) -> None:
    small = Terms(4, (1,))
    owner, adder = pair(scheme, small)
    rows = owner.encrypt(column([1], [1]), rng=RNG)
    codes = np.array([[0], [1]], np.uint8)
    reply = adder.sums(rows, np.arange(2), codes, [2], rng=RNG)
    with pytest.raises(DecryptionFailed, match="behind its end"):
        owner.decrypt(reply, 1)


def test_ciphertexts_under_another_key_are_refused(scheme: str) -> None:
    foreign, _ = pair(scheme, which=1)
    rows = bytes(foreign.encrypt(column([1, 1, 1]), rng=RNG))
    number = int.from_bytes(rows, "little") % modulus(scheme)
    owner, _ = pair(scheme)
    with pytest.raises(DecryptionFailed):
        owner.decrypt(number.to_bytes(owner.width, "little"), 1)


def test_an_owner_is_not_shown_copied_or_pickled(scheme: str) -> None:
    owner, _ = pair(scheme)
    assert "redacted" in repr(owner)
    assert str(factor(scheme)) not in repr(owner)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(owner)
    for byte in (b"", b"\x08\x00", owner.public[:-1], owner.public + b"0", owner.public):
        with pytest.raises(ParameterError):  # this one too: it is small
            (wide.Adder if scheme == "paillier" else fast.Adder)(byte, TERMS)


def test_without_gmpy2_the_sums_are_the_same(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powers, "gmpy2", None)
    monkeypatch.setattr(fixed_base, "WINDOW", 4)
    for tables in (fixed_base.table, many_powers.table):
        tables.cache_clear()
    test_an_empty_node_and_a_single_row(scheme)
    for tables in (fixed_base.table, many_powers.table):
        tables.cache_clear()


def test_an_adder_is_made_from_what_the_owner_sends(scheme: str) -> None:
    """With keys of the size that is allowed; whatever is changed in them is refused."""
    if scheme == "paillier":
        owner: Owner = wide.Owner(wide_keys.generate(2048, rng=RNG), TERMS)
        made: Any = wide.Adder
    else:
        owner, made = fast.Owner(fast_keys.generate(2048, rng=RNG), TERMS), fast.Adder
    adder = made(owner.public, TERMS)
    values = column([-1, 2, 1], [5, -(2**19), 1])
    rows, node, codes = owner.encrypt(values, rng=RNG), np.arange(2), np.array([[0], [1]], np.uint8)
    adder.check(rows, 2)
    assert np.array_equal(owner.decrypt(adder.sums(rows, node, codes, [2], rng=RNG), 2), values)
    public = owner.public
    for bad in (public[:-1], public + b"0", public[:-1] + bytes([public[-1] ^ 1]), b"\x07" + public[1:]):
        with pytest.raises(ParameterError):
            made(bad, TERMS)


def test_paillier_does_not_take_the_owners_base_for_fresh_randomness() -> None:
    """With h_s = 1 + n its powers would hide no row: a sum over the rows' product would be 1 modulo n."""
    key = KEYS["paillier"][0]
    n = int(key.public.n)
    adder = wide.Adder(wide_keys.PublicKey(n, n + 1), TERMS)
    rows = wide.Owner(key, TERMS).encrypt(column([1, 1, 1]), rng=RNG)
    reply = adder.sums(rows, np.zeros(1, np.int64), np.zeros((1, 1), np.uint8), [1], rng=RNG)
    row = int.from_bytes(rows, "little")
    assert int.from_bytes(reply, "little") * pow(row, -1, n * n) % n != 1
