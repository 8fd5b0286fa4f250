from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from silo.crypto.ckks import seal
from silo.crypto.ckks.keys import PrivateKey, PublicKey, generate
from silo.crypto.ckks.parameters import CKKS_4096
from silo.crypto.errors import ParameterError
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret


def test_public_bytes_come_back_as_the_same_key(private: PrivateKey) -> None:
    raw = private.public.to_bytes()
    assert len(raw) == CKKS_4096.public_key_bytes == 131072
    again = PublicKey.from_bytes(raw)
    assert again == private.public
    assert again.fingerprint == private.public.fingerprint
    assert len(again.fingerprint) == 32


def test_keys_differ_whatever_the_stream(private: PrivateKey, other: PrivateKey) -> None:
    assert private.public != other.public
    assert private.public.fingerprint != other.public.fingerprint


def test_a_private_key_survives_its_file(private: PrivateKey) -> None:
    kept = private.to_bytes()
    assert isinstance(kept, Secret)
    again = PrivateKey.from_bytes(kept)
    assert again.public == private.public
    assert (again.reveal() == private.reveal()).all()


def test_parts_of_two_private_keys_do_not_make_one(private: PrivateKey, other: PrivateKey) -> None:
    split = CKKS_4096.secret_key_bytes
    mixed = private.to_bytes().reveal()[:split] + other.to_bytes().reveal()[split:]
    with pytest.raises(ParameterError, match="does not decrypt"):
        PrivateKey.from_bytes(Secret(mixed))
    with pytest.raises(ParameterError, match="bytes"):
        PrivateKey.from_bytes(Secret(mixed[:-1]))


def test_the_private_key_is_redacted_and_cannot_be_pickled_or_copied(private: PrivateKey) -> None:
    assert repr(private) == f"PrivateKey(public={private.public.fingerprint.hex()[:16]}...)"
    for move in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds a secret"):
            move(private)


def test_public_bytes_hold_nothing_of_the_secret(private: PrivateKey) -> None:
    public = np.frombuffer(private.public.to_bytes(), dtype="<u8")
    assert not np.isin(private.reveal().reshape(-1), public).any()
    secret = private.to_bytes().reveal()[: CKKS_4096.secret_key_bytes]
    raw = private.public.to_bytes()
    assert not any(secret[at : at + 8] in raw for at in range(0, 4096, 8))
    # What a public key refers to, all of it: bytes and a parameter set.
    assert set(PublicKey.__slots__) == {"_raw", "chosen"}


@pytest.mark.parametrize("change", [-8, -1, 1, 8])
def test_public_keys_of_another_length_are_refused(private: PrivateKey, change: int) -> None:
    raw = (private.public.to_bytes() + bytes(8))[: CKKS_4096.public_key_bytes + change]
    with pytest.raises(ParameterError, match="131072 bytes"):
        PublicKey.from_bytes(raw)


@pytest.mark.parametrize(("part", "modulus"), [(0, CKKS_4096.modulus), (1, CKKS_4096.key_modulus)])
def test_coefficients_beyond_their_modulus_are_refused(private: PrivateKey, part: int, modulus: int) -> None:
    words = private.public.words.copy()
    words[1, part, 17] = modulus - 1
    PublicKey.from_bytes(words.tobytes())
    words[1, part, 17] = modulus
    with pytest.raises(ParameterError, match="beyond its modulus"):
        PublicKey.from_bytes(words.tobytes())


def test_degenerate_public_keys_are_refused(private: PrivateKey) -> None:
    for polynomial in (0, 1):
        for part in (0, 1):
            words = private.public.words.copy()
            words[polynomial, part] = 0
            with pytest.raises(ParameterError, match="degenerate"):
                PublicKey.from_bytes(words.tobytes())


def test_without_tenseal_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(seal, "import_module", missing)
    seal.engine.cache_clear()
    with pytest.raises(ParameterError, match=r"pip install '\.\[he\]'"):
        generate(rng=InsecureSeededRng(0))
    seal.engine.cache_clear()
