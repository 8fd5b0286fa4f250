"""Real frames of every kind, and what a fuzzer makes of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from functools import cache

import msgspec

from silo.crypto import labels
from silo.crypto.signing import SigningKey
from silo.protocols.envelope import EVERYBODY, Bearings, Header
from tests.attacks.scene import Scene
from tests.protocols.secagg.federation import RELAY, Federation

# What MessagePack finds interesting: lengths of every form, nil, booleans, extension types, numbers' ends.
SPICE = [
    *(bytes([code]) for code in (*range(0xC0, 0xE0), 0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xFF)),
    *(bytes([code]) + b"\xff\xff" for code in (0xC5, 0xDA, 0xDC, 0xDE)),
    *(bytes([code]) + b"\xff\xff\xff\xff" for code in (0xC6, 0xC9, 0xDB, 0xDD, 0xDF)),
    b"\xcf" + b"\xff" * 8,
    b"\xd3" + b"\x80" + bytes(7),
    b"\xcb\x7f\xf8" + bytes(6),
    b"SILO\x01",
    b"m0001\n",
    b"\x91" * 64,
]


@cache
def regular() -> Federation:
    """A whole round over a drawn graph: frames of all twelve kinds."""
    fed = Federation(7, threshold=3, degree=6, length=7)
    Scene(fed, "end")
    return fed


def real() -> list[tuple[str, str, bytes]]:
    return regular().wire


def mutate(rand: random.Random, raw: bytes, others: list[bytes]) -> bytes:
    """One to four changes: flipped bits, cuts, insertions, repetitions, splices, lengths."""
    data = bytearray(raw)
    for _ in range(rand.randint(1, 4)):
        place = rand.randrange(len(data) + 1)
        choice = rand.randrange(9)
        if choice == 0 and data:
            data[place % len(data)] ^= 1 << rand.randrange(8)
        elif choice == 1 and data:
            data[place % len(data)] = rand.randrange(256)
        elif choice == 2:
            del data[place:]
        elif choice == 3:
            del data[place : place + rand.randint(1, 40)]
        elif choice == 4:
            data[place:place] = rand.randbytes(rand.randint(1, 40))
        elif choice == 5:
            spice = rand.choice(SPICE)
            data[place : place + rand.choice((0, len(spice)))] = spice
        elif choice == 6:
            data += rand.randbytes(rand.randint(1, 20)) if rand.random() < 0.5 else bytes(rand.randint(1, 9))
        elif choice == 7:
            piece = bytes(data[place : place + rand.randint(1, 60)])
            data[place:place] = piece * rand.randint(1, 4)
        else:
            other = rand.choice(others)
            data[place:] = other[rand.randrange(len(other)) :]
    return bytes(data)


def malformed(seed: int, count: int) -> Iterator[bytes]:
    """Random bytes, random bytes behind a good beginning, and mutated real frames."""
    rand = random.Random(seed)
    frames = [frame for _, _, frame in real()]
    for number in range(count):
        if number % 16 == 0:
            yield rand.randbytes(rand.randint(0, 300))
        elif number % 16 == 1:
            yield b"SILO\x01" + rand.randbytes(rand.randint(0, 300))
        elif number % 16 == 2:
            frame = rand.choice(frames)
            yield frame[: rand.randrange(len(frame))]
        else:
            yield mutate(rand, rand.choice(frames), frames)


def signed(body: bytes, kind: str, where: Bearings, sender: str, key: SigningKey, note: bytes = b"") -> bytes:
    """A frame with a good signature over any body: what a malicious member sends."""
    to = RELAY if kind in ("Shares", "Upload", "Unmasking") else EVERYBODY
    header = msgspec.msgpack.encode(
        Header(where.protocol, where.parameters, where.session, where.round, sender, to, kind, note)
    )
    signature = key.sign(labels.ENVELOPE, header + hashlib.sha256(body).digest())
    return b"SILO\x01" + len(header).to_bytes(2, "big") + header + signature + body
