from __future__ import annotations

import contextlib
import itertools
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto.errors import ParameterError
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from silo.crypto.shamir import MAX_POINT, PRIME, SHARE_BYTES, Share, recover, share, weights_at_zero
from tests.vectors.verify import interpolate

RNG = InsecureSeededRng(1)
SECRETS = st.binary(min_size=32, max_size=32).map(Secret)
POINTS = st.lists(st.integers(1, MAX_POINT), min_size=1, max_size=9, unique=True)

# A primality proof of 2^256 + 297 by elliptic curves (Atkin and Morain, 1993), a row (N, t, s, a, P) a step:
# on y^2 = x^3 + a x + b mod N, with m = N + 1 - t = s q, the point P has m P = 0 and s P not 0 mod every
# factor of N, and q > (N^(1/4) + 1)^2. So N is prime if q is; q is the N of the next row; the last q is tiny.
CERTIFICATE = [
    (
        115792089237316195423570985008687907853269984665640564039457584007913129640233,
        676157696592370069875827994030925098995,
        212302783497,
        0,
        (
            114865047438969653416035148300802289460324879660255208459553094806265581261795,
            23504950005698939021433592101469092391141011807763475533674245143267266954436,
        ),
    ),
    (
        545410132312054334513740127256641118105565254274515386805587041087,
        -1270540403762411095790121860079221,
        866077,
        0,
        (
            108861301644045698740365056788567880594853197177286306925325256605,
            131577735490282993990200023750384385920308505508014950149914249856,
        ),
    ),
    (
        629747854188547132083798700642832437122760466662445922161017,
        1573624606280445360257811281075,
        315058923,
        0,
        (
            18427927501997247702885662167900784569517061100695055716210,
            288687912133552406979587135705881823336487005933380611266416,
        ),
    ),
    (
        1998825642492744546339348403857962824676068677166741,
        81212854067730943894439725,
        296851,
        1998825642492744546339348403857962824676065286071957,
        (
            1397711684976765095152428791108640599853971555529573,
            497741177876610535195171306480918176007797745290092,
        ),
    ),
    (
        6733430719427404813658530113238994502107538067,
        151592743172335034192584,
        1494551836438492,
        0,
        (5191774604044655379954086155168509627100674173, 1303826758874924360217577517394045456017736868),
    ),
    (
        4505317617803829107732829339877,
        2402735442947254,
        208048,
        0,
        (1822753735722361515018457415325, 943694733519133063563116652984),
    ),
    (
        21655183504786523806993513,
        -8760076275482,
        23221348,
        0,
        (20992072551980141502626703, 2701306093674379553786953),
    ),
]


class Composite(Exception):
    """A number turned out not to be prime."""


def inverse(value: int, modulus: int) -> int:
    if math.gcd(value, modulus) != 1:
        raise Composite(modulus)
    return pow(value, -1, modulus)


def times(scalar: int, point: tuple[int, int], a: int, n: int) -> tuple[int, int] | None:
    """Multiply a point; a division that fails shows that n is composite."""

    def add(p: tuple[int, int] | None, q: tuple[int, int] | None) -> tuple[int, int] | None:
        if p is None or q is None:
            return p or q
        if p[0] == q[0] and (p[1] + q[1]) % n == 0:
            return None
        if p == q:
            slope = (3 * p[0] ** 2 + a) * inverse(2 * p[1], n)
        else:
            slope = (q[1] - p[1]) * inverse(q[0] - p[0], n)
        x = (slope**2 - p[0] - q[0]) % n
        return x, (slope * (p[0] - x) - p[1]) % n

    total = None
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
        if point is None and scalar:
            raise Composite(n)
    return total


def prove(certificate: list[tuple[int, int, int, int, tuple[int, int]]]) -> int:
    """Check a certificate and return what is proved prime."""
    for (n, t, s, a, point), following in itertools.zip_longest(certificate, certificate[1:]):
        q, rest = divmod(n + 1 - t, s)
        if rest or n % 2 == 0 or n % 3 == 0:
            raise Composite(n)
        if following is not None and following[0] != q:
            raise Composite(n)
        root = math.isqrt(math.isqrt(n)) + 1  # above N^(1/4)
        if q <= (root + 1) ** 2:
            raise Composite(n)
        b = (point[1] ** 2 - point[0] ** 3 - a * point[0]) % n
        inverse(4 * a**3 + 27 * b**2, n)
        # Additions divide by differences that are units mod n, so a finite s P is finite mod every factor.
        reached = times(s, point, a, n)
        if reached is None or times(q, reached, a, n) is not None:
            raise Composite(n)
        if following is None and not small_prime(q):
            raise Composite(q)
    return certificate[0][0]


def small_prime(q: int) -> bool:
    """Miller-Rabin with 12 bases decides every number below 3.1 10^23 (Sorenson and Webster, 2015)."""
    assert q < 3 * 10**23
    odd, twos = q - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        value = pow(base, odd, q)
        if value in (1, q - 1):
            continue
        if not any((value := value * value % q) == q - 1 for _ in range(twos - 1)):
            return False
    return True


def test_the_modulus_is_prime() -> None:
    assert prove(CERTIFICATE) == PRIME == 2**256 + 297


def test_a_wrong_proof_is_refused() -> None:
    n, t, s, a, point = CERTIFICATE[0]
    for wrong in ((n + 2, t, s, a, point), (n, t + s, s, a, point), (n, t, s, a + 1, point)):
        with pytest.raises(Composite):
            prove([wrong, *CERTIFICATE[1:]])


@given(SECRETS, POINTS, st.data())
def test_any_threshold_of_shares_recovers(secret: Secret, points: list[int], data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, len(points)))
    shares = share(secret, threshold=threshold, points=points, rng=RNG)
    assert [one.point for one in shares] == points
    chosen = data.draw(st.permutations(shares))[: data.draw(st.integers(threshold, len(points)))]
    assert recover(chosen, threshold) == secret
    sent = [Share.from_bytes(one.point, one.to_bytes()) for one in chosen]
    assert recover(sent, threshold) == secret


@given(SECRETS, POINTS.filter(lambda points: len(points) > 1), st.data())
def test_one_share_less_recovers_something_else(
    secret: Secret, points: list[int], data: st.DataObject
) -> None:
    threshold = data.draw(st.integers(2, len(points)))
    shares = share(secret, threshold=threshold, points=points, rng=RNG)
    with contextlib.suppress(ParameterError):  # the field is a little larger than the secrets
        assert recover(shares[: threshold - 1], threshold - 1) != secret
    with pytest.raises(ParameterError, match="cannot recover"):
        recover(shares[: threshold - 1], threshold)


def test_fewer_shares_fit_every_secret() -> None:
    """Two shares of threshold 3 extend to a polynomial through any secret: they say nothing."""
    shares = share(Secret(b"\x11" * 32), threshold=3, points=[1, 2, 3], rng=RNG)
    known = [(one.point, int.from_bytes(one.to_bytes(), "big")) for one in shares[:2]]
    for guess in (0, 1, 2**256 - 1):
        third = interpolate([(0, guess), *known], 3)
        forged = [*shares[:2], Share.from_bytes(3, third.to_bytes(33, "big"))]
        assert recover(forged, 3).reveal() == guess.to_bytes(32, "big")


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, bytes(31) + b"\x01"])
def test_edge_secrets(secret: bytes) -> None:
    shares = share(Secret(secret), threshold=3, points=[1, MAX_POINT, 7, 2], rng=RNG)
    assert all(recover(subset, 3).reveal() == secret for subset in itertools.combinations(shares, 3))


def test_many_parties_cross_the_reductions() -> None:
    secret, points = Secret.random(32, rng=RNG), [MAX_POINT - i for i in range(150)]
    shares = share(secret, threshold=140, points=points, rng=RNG)
    assert recover(shares[5:], 140) == secret


def test_shares_lie_on_the_polynomial_that_the_randomness_gives() -> None:
    class Counted:
        def bytes(self, count: int, /) -> bytes:
            assert count == 2 * 48
            return (PRIME + 5).to_bytes(48, "big") + (7).to_bytes(48, "big")

    shares = share(Secret((3).to_bytes(32, "big")), threshold=3, points=[1, 2, 10], rng=Counted())
    assert [int.from_bytes(one.to_bytes(), "big") for one in shares] == [15, 37, 573]  # 5 x^2 + 7 x + 3


def test_coefficients_are_fresh_in_every_sharing() -> None:
    secret = Secret(bytes(32))
    assert share(secret, threshold=1, points=[1], rng=RNG)[0].to_bytes() == bytes(33)
    drawn = {share(secret, threshold=2, points=[1, 2], rng=RNG)[0].to_bytes() for _ in range(20)}
    assert len(drawn) == 20


def test_a_changed_share_gives_another_secret_and_too_large_a_secret_is_refused() -> None:
    secret = Secret(b"\x22" * 32)
    shares = share(secret, threshold=2, points=[1, 2], rng=RNG)
    raw = int.from_bytes(shares[0].to_bytes(), "big")
    changed = Share.from_bytes(1, ((raw + 1) % PRIME).to_bytes(33, "big"))
    assert recover([changed, shares[1]], 2) != secret
    beyond = Share.from_bytes(1, (2**256 + 3).to_bytes(33, "big"))
    with pytest.raises(ParameterError, match="points 1 do not fit together"):
        recover([beyond], 1)


def test_zero_repeated_and_far_points_are_refused() -> None:
    secret, value = Secret(bytes(32)), bytes(33)
    for points in ([0, 1], [1, 1], [1, -1], [1, MAX_POINT + 1]):
        with pytest.raises(ParameterError, match="point"):
            share(secret, threshold=2, points=points, rng=RNG)
    for point in (0, -1, MAX_POINT + 1):
        with pytest.raises(ParameterError, match="point"):
            Share.from_bytes(point, value)
    twice = [Share.from_bytes(1, value), Share.from_bytes(2, value), Share.from_bytes(1, value)]
    with pytest.raises(ParameterError, match="point 1 occurs twice"):
        recover(twice, 2)
    with pytest.raises(ParameterError):
        weights_at_zero((0, 1))
    # A zero point modulo the prime would be the secret itself.
    with pytest.raises(ParameterError, match="point"):
        share(secret, threshold=2, points=[1, PRIME], rng=RNG)


@pytest.mark.parametrize("threshold", [-1, 0, 4])
def test_thresholds_that_do_not_fit_are_refused(threshold: int) -> None:
    with pytest.raises(ParameterError, match=f"threshold of {threshold}"):
        share(Secret(bytes(32)), threshold=threshold, points=[1, 2, 3], rng=RNG)
    with pytest.raises(ParameterError, match="cannot recover"):
        recover([Share.from_bytes(x, bytes(33)) for x in (1, 2, 3)], threshold)


def test_values_beyond_the_field_and_wrong_lengths_are_refused() -> None:
    Share.from_bytes(1, (PRIME - 1).to_bytes(33, "big"))
    for raw in (PRIME.to_bytes(33, "big"), b"\xff" * 33):
        with pytest.raises(ParameterError, match="not an element"):
            Share.from_bytes(1, raw)
    for length in (0, SHARE_BYTES - 1, SHARE_BYTES + 1):
        with pytest.raises(ParameterError, match=f"33 bytes, not {length}"):
            Share.from_bytes(1, bytes(length))
    with pytest.raises(ParameterError, match="not of 31"):
        share(Secret(bytes(31)), threshold=1, points=[1], rng=RNG)


def test_the_cache_of_weights_is_bounded() -> None:
    assert weights_at_zero.cache_info().maxsize is not None


def test_shares_are_redacted_and_stay_here() -> None:
    one = Share.from_bytes(1, b"\0" + b"\x5a" * 32)
    assert "5a5a" not in repr(one)
    assert "ZZ" not in repr(one)
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(one)
