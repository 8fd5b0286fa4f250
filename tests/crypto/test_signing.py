from __future__ import annotations

import pickle

import pytest
from cryptography.exceptions import InvalidSignature as Refused
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from silo.crypto import labels
from silo.crypto.errors import InvalidSignature, ParameterError
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from silo.crypto.signing import SigningKey, require_public, verify
from tests.crypto.published import FOLDER
from tests.vectors.verify import EDWARDS_P, edwards_add, edwards_read, edwards_times

ORDER = 2**252 + 27742317777372353535851937790883648493
KEY = SigningKey.generate(rng=InsecureSeededRng(1))


def small_order() -> set[bytes]:
    """Every canonical encoding of a point whose order divides 8, found by computing."""
    for y in range(2, 100):
        try:
            torsion = edwards_times(ORDER, edwards_read(y.to_bytes(32, "little")))
        except ValueError:
            continue
        multiples = [edwards_times(i, torsion) for i in range(8)]
        if len(set(multiples)) == 8:
            return {(b | (a & 1) << 255).to_bytes(32, "little") for a, b in multiples}
    raise AssertionError("no point of order 8")


SMALL = sorted(small_order())


def test_published_vectors_are_the_primitive_under_the_label() -> None:
    lines = (FOLDER / "asymmetric/Ed25519/sign.input").read_text().splitlines()
    assert len(lines) > 1000
    for line in lines[::16]:
        secret, public, message, signed = (bytes.fromhex(part) for part in line.split(":")[:4])
        key = SigningKey.from_secret(Secret(secret[:32]))
        assert key.public == public
        Ed25519PublicKey.from_public_bytes(key.public).verify(signed[:64], message)
        assert key._private.sign(message) == signed[:64]


@given(st.binary(max_size=60), st.binary(max_size=20), st.integers(0, 511))
def test_what_is_signed_verifies_and_nothing_else_does(message: bytes, label: bytes, bit: int) -> None:
    signature = KEY.sign(label, message)
    verify(KEY.public, label, message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    for wrong in (
        (KEY.public, label, message, bytes(flipped)),
        (KEY.public, label + b"x", message, signature),
        (KEY.public, label, message + b"x", signature),
        (SigningKey.from_secret(Secret(bytes(32))).public, label, message, signature),
        (KEY.public, label, message, signature[:-1]),
        (KEY.public, label, message, signature + b"\0"),
    ):
        with pytest.raises(InvalidSignature):
            verify(*wrong)


def test_the_label_cannot_be_shifted_into_the_message() -> None:
    signature = KEY.sign(b"ab", b"c")
    with pytest.raises(InvalidSignature):
        verify(KEY.public, b"a", b"bc", signature)


def test_a_signature_has_one_form() -> None:
    signature = KEY.sign(b"l", b"m")
    s = int.from_bytes(signature[32:], "little") + ORDER
    with pytest.raises(InvalidSignature):
        verify(KEY.public, b"l", b"m", signature[:32] + s.to_bytes(32, "little"))


def test_there_are_eight_points_of_small_order() -> None:
    assert len(SMALL) == 8


def test_the_library_alone_accepts_a_small_order_key() -> None:
    # Why require_public is there: under the neutral element, this signature fits *every* message.
    identity = (1).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(identity).verify(identity + bytes(32), b"any message")
    Ed25519PublicKey.from_public_bytes(identity).verify(identity + bytes(32), b"another one")


@pytest.mark.parametrize("public", SMALL, ids=bytes.hex)
def test_small_order_keys_are_refused(public: bytes) -> None:
    with pytest.raises(ParameterError, match="small order"):
        require_public(public)
    # R = k (-A) for s = 0 can be found for some of few tries; none may get that far.
    with pytest.raises(InvalidSignature, match="small order"):
        verify(public, b"l", b"m", (1).to_bytes(32, "little") + bytes(32))
    with pytest.raises(ParameterError):
        require_public(public[:31] + bytes([public[31] ^ 0x80]))  # the other sign


@pytest.mark.parametrize("extra", range(19))
@pytest.mark.parametrize("sign", [0, 1])
def test_non_canonical_keys_are_refused(extra: int, sign: int) -> None:
    public = (EDWARDS_P + extra | sign << 255).to_bytes(32, "little")
    with pytest.raises(ParameterError, match="canonical"):
        require_public(public)
    with pytest.raises(InvalidSignature, match="canonical"):
        verify(public, b"l", b"m", bytes(64))


def test_a_mixed_order_key_still_needs_its_private_key() -> None:
    torsion = edwards_read(SMALL[-1])
    x, y = edwards_add(edwards_read(KEY.public), torsion)
    mixed = (y | (x & 1) << 255).to_bytes(32, "little")
    require_public(mixed)
    with pytest.raises(InvalidSignature):
        verify(mixed, b"l", b"m", KEY.sign(b"l", b"m"))


def test_bytes_that_are_no_point_and_wrong_lengths_are_refused() -> None:
    nowhere = next(y for y in range(2, 50) if not on_curve(y)).to_bytes(32, "little")
    with pytest.raises(Refused):
        Ed25519PublicKey.from_public_bytes(nowhere).verify(bytes(64), b"m")
    for public in (nowhere, b"", KEY.public[:31], KEY.public + b"\0"):
        with pytest.raises(InvalidSignature):
            verify(public, b"l", b"m", KEY.sign(b"l", b"m"))
    with pytest.raises(ParameterError, match="32 bytes, not 5"):
        SigningKey.from_secret(Secret(bytes(5)))


def on_curve(y: int) -> bool:
    try:
        edwards_read(y.to_bytes(32, "little"))
    except ValueError:
        return False
    return True


def test_the_key_is_redacted_and_stays_here() -> None:
    assert SigningKey.from_secret(KEY.secret).public == KEY.public
    assert KEY.secret.reveal().hex() not in repr(KEY)
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(KEY)


def test_labels_bind_injectively() -> None:
    assert labels.bind(b"l", b"a", b"b") != labels.bind(b"l", b"ab", b"")
    assert labels.bind(b"l", 1) != labels.bind(b"l", (1).to_bytes(8, "big"))
    assert labels.bind(b"l", "a") != labels.bind(b"l", b"a")
