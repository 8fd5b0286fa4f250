"""Make the project's own vectors: `python tests/vectors/generate.py` writes the JSON files beside this one.

They pin the constructions that other implementations have to follow: keystream layout, key derivation, signed
labels, secret sharing, ring encoding and packing. `verify.py` recomputes them without the library.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from silo.crypto import aead, labels, packing, prg, shamir
from silo.crypto.keys import AgreementKey, derive
from silo.crypto.ring import Exact, FixedPoint, Ring
from silo.crypto.rng import InsecureSeededRng
from silo.crypto.secret import Secret
from silo.crypto.signing import SigningKey

HERE = Path(__file__).parent
RNG = InsecureSeededRng


def keystream() -> list[dict[str, Any]]:
    drawn = RNG(1).bytes(32)
    wraps = drawn[:16] + (2**128 - 2).to_bytes(16, "big")
    cases = []
    for seed, start, width in ((drawn, 0, 4), (drawn, 5, 4), (drawn, 3, 2), (drawn, 7, 8), (wraps, 1, 4)):
        words = np.zeros(24, np.dtype(f"<u{width}"))
        prg.accumulate(words, plus=[Secret(seed)], start=start)
        cases.append({"seed": seed.hex(), "start": start, "word_bytes": width, "words": words.tolist()})
    return cases


def masks() -> list[dict[str, Any]]:
    rng = RNG(2)
    plus, minus = [rng.bytes(32) for _ in range(3)], [rng.bytes(32) for _ in range(2)]
    words = np.arange(40_000, dtype="<u4")
    prg.accumulate(words, plus=list(map(Secret, plus)), minus=list(map(Secret, minus)), start=6)
    digest = hashlib.sha256(words.tobytes()).hexdigest()
    given = {"plus": [seed.hex() for seed in plus], "minus": [seed.hex() for seed in minus], "start": 6}
    return [given | {"count": len(words), "sha256": digest, "last": words[-4:].tolist()}]


def agreement() -> list[dict[str, Any]]:
    rng, cases = RNG(3), []
    for info in (labels.bind(labels.PAIR_MASK, "session", 1), labels.bind(labels.SHARE_KEY, b"\x00", 2**40)):
        one, other = AgreementKey.generate(rng=rng), AgreementKey.generate(rng=rng)
        key = one.agree(other.public, info)
        cases.append(
            {
                "private": one.secret.reveal().hex(),
                "peer": other.public.hex(),
                "info": info.hex(),
                "key": key.reveal().hex(),
                "derived": derive(key, info, 48).reveal().hex(),
            }
        )
    return cases


def signatures() -> list[dict[str, Any]]:
    key = SigningKey.generate(rng=RNG(4))
    cases = []
    for message in (b"", b"a message"):
        signature = key.sign(labels.ENVELOPE, message)
        cases.append(
            {
                "public": key.public.hex(),
                "label": labels.ENVELOPE.hex(),
                "message": message.hex(),
                "signature": signature.hex(),
            }
        )
    return cases


def sealed() -> list[dict[str, Any]]:
    rng = RNG(5)
    key, text, associated = Secret.random(32, rng=rng), b"a share", b"from a to b"
    channel = aead.SealingChannel(key)
    return [
        {
            "key": key.reveal().hex(),
            "plaintext": text.hex(),
            "associated": associated.hex(),
            "sealed": aead.seal(key, text, associated, rng=rng).hex(),
            "channel": [channel.seal(text, associated).hex() for _ in range(3)],
        }
    ]


def sharing() -> list[dict[str, Any]]:
    rng, cases = RNG(6), []
    for threshold, points in (
        (1, [9]),
        (2, [1, 2, 3]),
        (5, [4, 7, 1, 2**32 - 1, 65536, 12]),
        (70, list(range(1, 101))),
    ):
        secret = rng.bytes(32)
        shares = shamir.share(Secret(secret), threshold=threshold, points=points, rng=rng)
        values = [[one.point, one.to_bytes().hex()] for one in shares]
        cases.append({"secret": secret.hex(), "threshold": threshold, "shares": values})
    return cases


def ring() -> list[dict[str, Any]]:
    rng, cases = RNG(7), []
    for bits in (16, 24, 32, 40):
        for clip, parties, weight, heaviest in (
            (1.0, 3, 1.0, 1.0),
            (0.1, 20, 12.5, 100.0),
            (1.0, 1, 1.0, 1.0),
        ):
            encoder = FixedPoint(Ring.of(bits), clip, parties, heaviest)
            values = np.concatenate(
                [[clip, -clip, 0.0, clip / 3, -clip / 7, 5e-324], np.linspace(-clip, clip, 33)]
            ).astype(np.float64)
            seed = rng.bytes(32)
            words = np.zeros(len(values), encoder.ring.dtype)
            encoder.encode(values, words, prg.Keystream(Secret(seed)), saturate=False, weight=weight)
            plain = [int(word) & encoder.ring.mask for word in words]
            cases.append(
                {
                    "bits": bits,
                    "clip": clip.hex(),
                    "parties": parties,
                    "max_weight": heaviest.hex(),
                    "weight": weight.hex(),
                    "scale": encoder.scale.hex(),
                    "rounding": seed.hex(),
                    "values": [float(value).hex() for value in values],
                    "words": plain,
                    "decoded": [float(value).hex() for value in encoder.decode(words)],
                    "packed": bytes(packing.pack(words, encoder.ring)).hex(),
                }
            )
    return cases


def integers() -> list[dict[str, Any]]:
    cases = []
    for bits in (16, 24, 32, 40):
        encoder = Exact(Ring.of(bits), 7)
        values = np.array([0, 1, -1, encoder.limit, -encoder.limit], np.int64)
        words = np.zeros(len(values), encoder.ring.dtype)
        encoder.encode(values, words, saturate=False)
        packed = bytes(packing.pack(words, encoder.ring)).hex()
        cases.append({"bits": bits, "parties": 7, "values": values.tolist(), "packed": packed})
    return cases


FILES = {
    "keystream": keystream,
    "masks": masks,
    "agreement": agreement,
    "signatures": signatures,
    "sealed": sealed,
    "sharing": sharing,
    "ring": ring,
    "integers": integers,
}


def text(name: str) -> str:
    """The JSON of one file, one case a line."""
    return "[\n" + ",\n".join(json.dumps(case) for case in FILES[name]()) + "\n]\n"


if __name__ == "__main__":
    for name in FILES:
        (HERE / f"{name}.json").write_text(text(name))
