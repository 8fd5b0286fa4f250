"""Products with small integers, histograms, subgroup keys, and python-paillier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto import phe_interop, powers
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.paillier import keys, products, subgroup, vector
from silo.crypto.paillier.keys import PrivateKey, insecure_small_key
from silo.crypto.rng import InsecureSeededRng

KEY = insecure_small_key(512, rng=InsecureSeededRng(3))
SMALL = subgroup.insecure_small_key(512, 96, rng=InsecureSeededRng(4))
RNG = InsecureSeededRng(1)


def encrypted(messages: Any, key: PrivateKey = KEY) -> list[Any]:
    job = vector.Job(int(key.public.n), int(key.public.h_s), [int(m) for m in messages], RNG.bytes(32), 512)
    return vector.read(vector.encrypt_part(job), key.public, len(job.messages))


def decrypted(ciphertexts: list[Any], key: PrivateKey = KEY) -> list[int]:
    """Messages between -n/2 and n/2."""
    first, second = key.halves()
    n = int(key.public.n)
    joined = [
        int(key.join(a, b))
        for a, b in zip(first.decrypt(ciphertexts), second.decrypt(ciphertexts), strict=True)
    ]
    return [value - n if value > n // 2 else value for value in joined]


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("most", [1, 127, 128, 32767, 2**31])
def test_products_are_those_of_whole_numbers(rows: int, most: int) -> None:
    rng = np.random.default_rng(rows)
    messages = rng.integers(0, 1000, rows)
    table = rng.integers(-most, most + 1, (rows, 3))
    table[0, 0], table[-1, 1] = most, -most
    found = decrypted(products.matrix(encrypted(messages), table, KEY.public))
    assert found == (table.astype(object).T @ messages.astype(object)).tolist()


@given(st.lists(st.lists(st.integers(-(2**16), 2**16), min_size=4, max_size=4), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_any_small_table(rows: list[list[int]]) -> None:
    messages = list(range(1, len(rows) + 1))
    table = np.asarray(rows, np.int64)
    found = decrypted(products.matrix(encrypted(messages), table, KEY.public))
    assert found == [sum(m * row[at] for m, row in zip(messages, rows, strict=True)) for at in range(4)]


def test_zeros_and_nothing() -> None:
    assert decrypted(products.matrix(encrypted([5, 6]), np.zeros((2, 2), np.int64), KEY.public)) == [0, 0]
    assert products.matrix(encrypted([5, 6]), np.zeros((2, 0), np.int64), KEY.public) == []


def test_tables_that_do_not_fit_are_refused() -> None:
    two = encrypted([1, 2])
    for bad in (np.zeros(2, np.int64), np.zeros((3, 1), np.int64), np.zeros((2, 1)), np.full((2, 1), 2**32)):
        with pytest.raises(ParameterError):
            products.matrix(two, bad, KEY.public)


def test_histograms_of_packed_pairs() -> None:
    rng = np.random.default_rng(5)
    g, h = rng.integers(0, 2**24, 50), rng.integers(0, 2**24, 50)
    bins = np.stack([rng.integers(0, 4, 50), rng.integers(0, 7, 50)], axis=1)
    found = products.histogram(encrypted(products.pairs(g, h)), bins, [4, 8], KEY.public)
    for feature, count in enumerate((4, 8)):
        sums = [products.apart(message) for message in decrypted(found[feature])]
        for place in range(count):
            here = bins[:, feature] == place
            assert sums[place] == (g[here].sum(), h[here].sum())
    assert decrypted([found[1][7]]) == [0]
    with pytest.raises(ParameterError, match="bins from 0 to 3"):
        products.histogram(encrypted([1]), np.array([[4]]), [4], KEY.public)
    with pytest.raises(ParameterError, match="as many bins"):
        products.histogram(encrypted([1]), np.array([[0, 0]]), [4], KEY.public)
    for bad in (np.array([-1]), np.array([2**24]), np.array([0.5])):
        with pytest.raises(ParameterError, match="24 bits"):
            products.pairs(bad, np.array([1]))


def test_products_are_rerandomised() -> None:
    cipher = products.matrix(encrypted([5]), np.array([[3]]), KEY.public)
    fresh = vector.read(
        vector.rerandomise(vector.write(cipher, KEY.public), KEY.public, rng=RNG), KEY.public, 1
    )
    assert fresh != cipher
    assert decrypted(fresh) == decrypted(cipher) == [15]


def test_a_subgroup_key_has_its_small_order_and_decrypts() -> None:
    u, v = SMALL.orders
    h_s, p, q = int(SMALL.public.h_s), int(SMALL.p), int(SMALL.q)
    assert SMALL.small
    assert not KEY.small
    assert u.bit_length() == v.bit_length() == 96
    assert pow(h_s, u, p * p) == pow(h_s, v, q * q) == 1
    assert h_s % (p * p) != 1
    assert h_s % (q * q) != 1
    words = np.arange(40, dtype=np.uint32)
    payload = vector.encrypt(words, SMALL.public, 32, rng=RNG)
    assert np.array_equal(vector.decrypt(payload, SMALL, 40, 32, summands=1), words)
    assert decrypted(
        products.matrix(encrypted([5, 7], SMALL), np.array([[2], [-3]]), SMALL.public), SMALL
    ) == [-11]


def test_a_subgroup_key_decrypts_nothing_foreign() -> None:
    """What is not in the subgroup would tell of its order."""
    n, square = int(SMALL.public.n), int(SMALL.public.square)
    for foreign in (2, pow(3, n, square), (1 + 5 * n) * pow(7, n, square) % square):
        with pytest.raises(DecryptionFailed, match="not made with this key"):
            SMALL.halves()[0].decrypt([powers.number(foreign)])
    size = SMALL.public.ciphertext_bytes
    with pytest.raises(DecryptionFailed):
        vector.decrypt(pow(3, n, square).to_bytes(size, "little"), SMALL, 5, 32, summands=1)


def test_a_real_subgroup_key() -> None:
    key = subgroup.generate(2048, rng=InsecureSeededRng(8))
    assert [order.bit_length() for order in key.orders] == [256, 256]
    again = PrivateKey.from_bytes(key.to_bytes())
    assert again.orders == key.orders
    words = np.arange(70, dtype=np.uint32)
    payload = vector.encrypt(words, key.public, 32, rng=RNG)
    assert np.array_equal(vector.decrypt(payload, again, 70, 32, summands=1), words)
    with pytest.raises(ParameterError, match="2048, 3072, 4096"):
        subgroup.generate(1024, rng=RNG)


def test_python_paillier_reads_ours_and_we_read_theirs() -> None:
    pytest.importorskip("phe")
    (cipher,) = encrypted([12345])
    theirs = phe_interop.private_to_phe(KEY)
    assert theirs.decrypt(phe_interop.to_phe(int(cipher), KEY.public)) == 12345
    public = phe_interop.public_to_phe(KEY.public)
    number = public.encrypt(678, precision=1)
    assert decrypted([powers.number(phe_interop.from_phe(number, KEY.public))]) == [678]
    total = phe_interop.to_phe(int(cipher), KEY.public) + number
    assert theirs.decrypt(total) == 12345 + 678


def test_what_does_not_fit_python_paillier_is_refused() -> None:
    phe = pytest.importorskip("phe")
    public = phe_interop.public_to_phe(KEY.public)
    with pytest.raises(ParameterError, match="exponent"):
        phe_interop.from_phe(public.encrypt(0.5), KEY.public)
    other = phe_interop.public_to_phe(SMALL.public)
    with pytest.raises(ParameterError, match="another key"):
        phe_interop.from_phe(other.encrypt(5, precision=1), KEY.public)
    with pytest.raises(ParameterError, match=r"between 0 and n\^2"):
        phe_interop.to_phe(0, KEY.public)
    again = phe_interop.private_from_phe(phe_interop.private_to_phe(KEY), rng=RNG)
    assert again.public.n == KEY.public.n
    p = next(value for value in range(10**6 + 1, 10**7, 4) if powers.is_prime(value, rng=RNG))
    wrong = phe.PaillierPrivateKey(phe.PaillierPublicKey(p * int(KEY.q)), p, int(KEY.q))
    with pytest.raises(ParameterError, match="3 mod 4"):
        phe_interop.private_from_phe(wrong, rng=RNG)
    assert keys.fit(int(KEY.p), int(KEY.q))
