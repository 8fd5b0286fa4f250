from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey, derive
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from tests.crypto.published import cases
from tests.vectors.verify import bind, hkdf, x25519

RNG = InsecureSeededRng(1)
P = 2**255 - 19
# The points whose order divides 8, on the curve or its twist, and their second names (RFC 7748, section 6.1).
SMALL_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
)


def test_published_agreement_vectors_through_agree() -> None:
    seen = 0
    for case in cases("asymmetric/X25519/rfc7748.txt"):
        private, peer, shared = (bytes.fromhex(case[k]) for k in ("INPUT_SCALAR", "INPUT_U", "OUTPUT_U"))
        key = AgreementKey.from_secret(Secret(private))
        assert x25519(private, int.from_bytes(peer, "little") % 2**255).to_bytes(32, "little") == shared
        expected = hkdf(shared, bind(labels.AGREEMENT, *sorted((key.public, peer)), b"info"), 32)
        if peer != key.public:
            assert key.agree(peer, b"info").reveal() == expected
            seen += 1
    assert seen >= 2


def test_published_derivation_vectors_without_salt() -> None:
    found = [c for c in cases("KDF/rfc-5869-HKDF-SHA256.txt") if not c["SALT"]]
    assert found
    for case in found:
        secret, info = Secret(bytes.fromhex(case["IKM"])), bytes.fromhex(case["INFO"])
        assert derive(secret, info, int(case["L"])).reveal().hex() == case["OKM"]


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary(max_size=40))
def test_both_sides_derive_the_same_key(one: bytes, other: bytes, info: bytes) -> None:
    left, right = AgreementKey.from_secret(Secret(one)), AgreementKey.from_secret(Secret(other))
    if left.public == right.public:
        return
    assert left.agree(right.public, info) == right.agree(left.public, info)
    assert left.agree(right.public, info) != left.agree(right.public, info + b"!")


def test_the_key_binds_both_public_keys_not_only_the_shared_point() -> None:
    key = AgreementKey.generate(rng=RNG)
    peer = AgreementKey.generate(rng=RNG).public
    alias = bytes([*peer[:31], peer[31] | 0x80])  # RFC 7748 ignores the top bit: the same shared point
    assert key.agree(peer, b"") != key.agree(alias, b"")


@pytest.mark.parametrize("u", SMALL_ORDER)
def test_small_order_keys_are_refused(u: int) -> None:
    with pytest.raises(ParameterError, match="small order"):
        AgreementKey.generate(rng=RNG).agree(u.to_bytes(32, "little"), b"")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_wrong_lengths_are_refused(length: int) -> None:
    with pytest.raises(ParameterError, match=f"32 bytes, not {length}"):
        AgreementKey.generate(rng=RNG).agree(bytes(length), b"")
    with pytest.raises(ParameterError, match=f"32 bytes, not {length}"):
        AgreementKey.from_secret(Secret(bytes(length)))
    with pytest.raises(ParameterError, match="bytes, not"):
        derive(Secret(bytes(32)), b"", 0 if length < 32 else 8161)


def test_a_reflected_key_is_refused() -> None:
    key = AgreementKey.generate(rng=RNG)
    with pytest.raises(ParameterError, match="reflected"):
        key.agree(key.public, b"")


def test_the_secret_goes_round_and_stays_hidden() -> None:
    key = AgreementKey.generate(rng=RNG)
    again = AgreementKey.from_secret(key.secret)
    assert again.public == key.public
    assert again.secret == key.secret
    assert key.secret.reveal().hex() not in repr(key)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            leak(key)
