from __future__ import annotations

import numpy as np
import pytest

from silo.crypto.ckks.keys import PrivateKey
from silo.crypto.ckks.parameters import CKKS_4096
from silo.crypto.ckks.scratch import Scratch
from silo.crypto.ckks.seal import engine
from silo.crypto.ckks.stream import Version, body

FRAME = b"\x28\xb5\x2f\xfd"
HEADER = b"\x5e\xa1\x10\x04\x03"


def block(content: bytes, *, last: bool, kind: int = 0) -> bytes:
    return (len(content) << 3 | kind << 1 | last).to_bytes(3, "little") + content


def saved(frame: bytes, kind: int = 2) -> bytes:
    return HEADER + bytes([kind]) + bytes(10) + frame


@pytest.mark.parametrize(
    ("descriptor", "skipped"),
    [(0x20, 1), (0x60, 2), (0xA0, 4), (0xE0, 8), (0x00, 1), (0x40, 3), (0x23, 5)],
)
def test_stored_blocks_are_joined_behind_every_form_of_the_header(descriptor: int, skipped: int) -> None:
    blocks = block(b"first", last=False) + block(b"second", last=True)
    assert body(saved(FRAME + bytes([descriptor]) + bytes(skipped) + blocks)) == b"firstsecond"


def test_a_body_that_was_not_compressed_is_itself() -> None:
    assert body(saved(b"content", kind=0)) == b"content"


@pytest.mark.parametrize(
    "frame",
    [
        FRAME + b"\x20\x00" + block(b"first", last=False) + block(b"x", last=True, kind=2),
        FRAME + b"\x20\x00" + block(b"first", last=False, kind=1),
        FRAME + b"\x20\x00" + block(b"first", last=True)[:-1],
        FRAME + b"\x20\x00" + block(b"first", last=False),
        b"\x29" + FRAME[1:] + b"\x20\x00" + block(b"first", last=True),
    ],
)
def test_anything_else_is_left_to_seal(frame: bytes) -> None:
    assert body(saved(frame)) is None


def test_other_compressions_are_left_to_seal() -> None:
    assert body(saved(FRAME + b"\x20\x00" + block(b"first", last=True), kind=1)) is None


def test_ciphertexts_are_stored_and_their_layout_is_the_one_written_here(private: PrivateKey) -> None:
    seal = engine(CKKS_4096)
    api, degree = seal._api, CKKS_4096.degree
    plain, cipher = api.Plaintext(), api.Ciphertext()
    seal._encoder.encode([1 + 2j] * (degree // 2), 2.0**26, plain)
    with Scratch() as scratch:
        seal.encryptor(private.public.words, scratch).encrypt(plain, cipher)
        cipher.save(scratch.path)
        raw = scratch.read()
        content = body(raw)
        assert content is not None
        head = Version.of(raw).ciphertext(cipher.parms_id(), degree, 1, 2.0**26, 2 * degree)
        assert content[: len(head) - 16] == head[16:]
        array = cipher.dyn_array()
        words = np.array([array.at(place) for place in range(2 * degree)], dtype="<u8")
        assert content[len(head) - 16 :] == words.tobytes()
