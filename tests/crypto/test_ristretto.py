"""The group: vectors of RFC 9496, bad encodings, and that exponents commute and undo each other."""

from __future__ import annotations

import copy
import hashlib
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.crypto.ristretto import POINT_BYTES, Exponent, NotAPoint, hash_to_group
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret

# RFC 9496, appendix A.1: the generator and its multiples by 2 and 3.
MULTIPLES = [
    "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
]
# Appendix A.2: non-canonical, negative, and not on the curve.
BAD = [
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
]
# Appendix A.3: the map of SHA-512 of this sentence.
SENTENCE = b"Ristretto is traditionally a short shot of espresso coffee"
MAPPED = "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"


def scalar(value: int) -> Exponent:
    return Exponent(Secret(value.to_bytes(POINT_BYTES, "little")))


def test_multiples_of_the_generator() -> None:
    generator = bytes.fromhex(MULTIPLES[0])
    for value, expected in enumerate(MULTIPLES, start=1):
        assert scalar(value).raise_points(generator).hex() == expected


def test_the_map_to_the_group() -> None:
    (point,) = hash_to_group(SENTENCE[:10], [SENTENCE[10:]])
    assert point.hex() == MAPPED
    assert hashlib.sha512(SENTENCE).hexdigest().startswith("5d1be09e3d0c82fc")


@pytest.mark.parametrize("raw", [*BAD, "00" * 32])
def test_what_is_no_point_is_refused_with_its_place(raw: str) -> None:
    good = bytes.fromhex(MULTIPLES[1])
    for threads in (1, 2):
        with pytest.raises(NotAPoint) as caught:
            scalar(5).raise_points(good * 1500 + bytes.fromhex(raw) + good, threads=threads)
        assert caught.value.index == 1500


@settings(max_examples=20, deadline=None)
@given(
    items=st.lists(st.binary(max_size=40), max_size=5),
    seeds=st.tuples(st.integers(0, 99), st.integers(100, 200)),
)
def test_exponents_commute_and_undo_each_other(items: list[bytes], seeds: tuple[int, int]) -> None:
    one, other = (Exponent.random(rng=InsecureSeededRng(seed)) for seed in seeds)
    both = other.raise_points(one.raise_items(b"use", items))
    assert both == one.raise_points(other.raise_items(b"use", items))
    assert other.inverse().raise_points(both) == one.raise_items(b"use", items)
    assert both != one.raise_items(b"use", items) or not items


@settings(max_examples=20, deadline=None)
@given(items=st.lists(st.binary(max_size=40), max_size=5, unique=True), seed=st.integers(0, 99))
def test_the_last_exponents_commute_and_tell_items_apart(items: list[bytes], seed: int) -> None:
    one, other = (Exponent.random(rng=InsecureSeededRng(2 * seed + own)) for own in (0, 1))
    both = other.raise_last(one.raise_items(b"use", items))
    assert both == one.raise_last(other.raise_items(b"use", items))
    assert len({both[at : at + 32] for at in range(0, len(both), 32)}) == len(items)
    assert both != one.raise_last(one.raise_items(b"use", items)) or not items


def test_the_last_exponent_is_that_of_rfc_7748_at_the_inverse_square() -> None:
    raw = InsecureSeededRng(5).bytes(32)
    private = X25519PrivateKey.from_private_bytes(raw)
    for point in map(bytes.fromhex, MULTIPLES):
        u = pow(int.from_bytes(point, "little"), -2, 2**255 - 19)
        expected = private.exchange(X25519PublicKey.from_public_bytes(u.to_bytes(32, "little")))
        assert Exponent.random(rng=InsecureSeededRng(5)).raise_last(point) == expected


def test_the_map_to_the_curve_keeps_multiples() -> None:
    # 2 P and 3 P by the group, then by an exponent each, are P by the same exponents times 2 and 3.
    base = bytes.fromhex(MULTIPLES[0])
    drawn = Exponent.random(rng=InsecureSeededRng(3))
    for value, multiple in enumerate(MULTIPLES, start=1):
        twice = scalar(value).raise_points(drawn.raise_points(base))
        assert twice == drawn.raise_points(bytes.fromhex(multiple))
        last = Exponent.random(rng=InsecureSeededRng(4))
        assert last.raise_last(twice) == drawn.raise_last(last.raise_points(bytes.fromhex(multiple)))


@pytest.mark.parametrize("raw", [*BAD, "00" * 32])
def test_what_is_no_point_has_no_last_exponent(raw: str) -> None:
    good = bytes.fromhex(MULTIPLES[1])
    drawn = Exponent.random(rng=InsecureSeededRng(6))
    for threads in (1, 2):
        with pytest.raises(NotAPoint) as caught:
            drawn.raise_last(good * 1500 + bytes.fromhex(raw) + good, threads=threads)
        assert caught.value.index == 1500
    with pytest.raises(ParameterError, match="no whole number"):
        drawn.raise_last(good + b"x")


def test_an_exponent_that_was_not_drawn_is_never_last() -> None:
    for exponent in (scalar(5), Exponent.random(rng=InsecureSeededRng(6)).inverse()):
        with pytest.raises(ParameterError, match="was drawn"):
            exponent.raise_last(bytes.fromhex(MULTIPLES[1]))


def test_threads_change_nothing() -> None:
    exponent = Exponent.random(rng=InsecureSeededRng(1))
    items = [b"%d" % number for number in range(2500)]
    raised = exponent.raise_items(b"use", items)
    assert raised == exponent.raise_items(b"use", items, threads=2)
    assert exponent.raise_points(raised) == exponent.raise_points(raised, threads=3)


def test_lengths_and_exponents_that_do_not_fit() -> None:
    with pytest.raises(ParameterError, match="whole number of points"):
        scalar(5).raise_points(bytes(33))
    for raw in (bytes(32), bytes(31), bytes(33)):
        with pytest.raises(ParameterError, match="not zero"):
            Exponent(Secret(raw))
    assert scalar(5).raise_points(b"") == b""


def test_an_exponent_is_a_secret() -> None:
    exponent = Exponent.random(rng=InsecureSeededRng(3))
    assert "redacted" in repr(exponent)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            attempt(exponent)
