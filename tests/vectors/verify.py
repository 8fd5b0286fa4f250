"""Check the vectors without Silo's code, and slowly: AES one block at a time, curves, fields and roundings in
plain integers and fractions. `python tests/vectors/verify.py` says which files hold.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HERE = Path(__file__).parent


def keystream_bytes(seed: bytes, first: int, count: int) -> bytes:
    """Bytes [first, first + count) of a keystream."""
    block = Cipher(algorithms.AES(seed[:16]), modes.ECB()).encryptor()  # noqa: S305  one block at a time
    start = int.from_bytes(seed[16:], "big")
    low, high = first // 16, (first + count + 15) // 16
    stream = b"".join(block.update(((start + i) % 2**128).to_bytes(16, "big")) for i in range(low, high))
    return stream[first - 16 * low :][:count]


def words(seed: bytes, start: int, count: int, width: int) -> list[int]:
    raw = keystream_bytes(seed, start * width, count * width)
    return [int.from_bytes(raw[at : at + width], "little") for at in range(0, len(raw), width)]


def keystream(case: dict[str, Any]) -> None:
    given = case["words"]
    check(words(bytes.fromhex(case["seed"]), case["start"], len(given), case["word_bytes"]), given)


def masks(case: dict[str, Any]) -> None:
    count = case["count"]
    total = list(range(count))
    for sign, seeds in ((1, case["plus"]), (-1, case["minus"])):
        for seed in seeds:
            stream = words(bytes.fromhex(seed), case["start"], count, 4)
            total = [(word + sign * mask) % 2**32 for word, mask in zip(total, stream, strict=True)]
    check(total[-4:], case["last"])
    check(hashlib.sha256(b"".join(word.to_bytes(4, "little") for word in total)).hexdigest(), case["sha256"])


def x25519(private: bytes, u: int) -> int:
    """RFC 7748, section 5: the Montgomery ladder."""
    p = 2**255 - 19
    k = int.from_bytes(private, "little") & ~7 & (2**255 - 1) | 2**254
    x2, z2, x3, z3 = 1, 0, u, 1
    for bit in range(254, -1, -1):
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        swapped = (aa * bb % p, e * (aa + 121665 * e) % p, (da + cb) ** 2 % p, u * (da - cb) ** 2 % p)
        x2, z2, x3, z3 = swapped
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return x2 * pow(z2, -1, p) % p


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    extracted = hmac.digest(bytes(32), secret, "sha256")
    out = block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


def bind(label: bytes, *parts: bytes) -> bytes:
    """Label and parts, each with its length; byte strings only."""
    joined = b"".join(b"b" + len(part).to_bytes(8, "big") + part for part in parts)
    return len(label).to_bytes(4, "big") + label + joined


def agreement(case: dict[str, Any]) -> None:
    private, peer, info = (bytes.fromhex(case[name]) for name in ("private", "peer", "info"))
    public = x25519(private, 9).to_bytes(32, "little")
    shared = x25519(private, int.from_bytes(peer, "little") % 2**255).to_bytes(32, "little")
    key = hkdf(shared, bind(b"silo/1/agreement", *sorted((public, peer)), info), 32)
    check(key.hex(), case["key"])
    check(hkdf(key, info, 48).hex(), case["derived"])


EDWARDS_P = 2**255 - 19
EDWARDS_D = -121665 * pow(121666, -1, EDWARDS_P) % EDWARDS_P
Point = tuple[int, int]


def edwards_add(one: Point, other: Point) -> Point:
    """RFC 8032, section 5.1.4, in affine coordinates."""
    (x1, y1), (x2, y2) = one, other
    cross = EDWARDS_D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + cross, -1, EDWARDS_P)
    y = (y1 * y2 + x1 * x2) * pow(1 - cross, -1, EDWARDS_P)
    return x % EDWARDS_P, y % EDWARDS_P


def edwards_times(scalar: int, point: Point) -> Point:
    total = (0, 1)
    while scalar:
        if scalar & 1:
            total = edwards_add(total, point)
        point, scalar = edwards_add(point, point), scalar >> 1
    return total


def edwards_read(raw: bytes) -> Point:
    """RFC 8032, section 5.1.3; raises ValueError for what is no point."""
    value = int.from_bytes(raw, "little")
    y, odd = value % 2**255 % EDWARDS_P, value >> 255
    square = (y * y - 1) * pow(EDWARDS_D * y * y + 1, -1, EDWARDS_P) % EDWARDS_P
    x = pow(square, (EDWARDS_P + 3) // 8, EDWARDS_P)
    if x * x % EDWARDS_P != square:
        x = x * pow(2, (EDWARDS_P - 1) // 4, EDWARDS_P) % EDWARDS_P
    if x * x % EDWARDS_P != square:
        raise ValueError("not on the curve")
    return (EDWARDS_P - x if x & 1 != odd and x else x), y


EDWARDS_BASE = edwards_read((4 * pow(5, -1, EDWARDS_P) % EDWARDS_P).to_bytes(32, "little"))


def signatures(case: dict[str, Any]) -> None:
    public, label, message, signature = (
        bytes.fromhex(case[name]) for name in ("public", "label", "message", "signature")
    )
    signed = bind(label, message)
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + signed).digest(), "little")
    s = int.from_bytes(signature[32:], "little")
    right = edwards_add(edwards_read(signature[:32]), edwards_times(k, edwards_read(public)))
    check(edwards_times(s, EDWARDS_BASE), right)


def gcm(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """NIST SP 800-38D for a 96-bit nonce: counter mode, and GHASH bit by bit."""
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    h = int.from_bytes(cipher.update(bytes(16)), "big")

    def times(x: int, y: int) -> int:
        z = 0
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= y
            y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
        return z

    def stream(block: int) -> bytes:
        return cipher.update(nonce + block.to_bytes(4, "big"))

    pad = b"".join(stream(2 + i) for i in range(-(-len(plaintext) // 16)))
    text = bytes(a ^ b for a, b in zip(plaintext, pad, strict=False))
    hashed = associated + bytes(-len(associated) % 16) + text + bytes(-len(text) % 16)
    hashed += (8 * len(associated)).to_bytes(8, "big") + (8 * len(text)).to_bytes(8, "big")
    state = 0
    for at in range(0, len(hashed), 16):
        state = times(state ^ int.from_bytes(hashed[at : at + 16], "big"), h)
    return text + (state ^ int.from_bytes(stream(1), "big")).to_bytes(16, "big")


def sealed(case: dict[str, Any]) -> None:
    key, text, associated, whole = (
        bytes.fromhex(case[name]) for name in ("key", "plaintext", "associated", "sealed")
    )
    check(whole[12:], gcm(key, whole[:12], text, associated))
    for count, one in enumerate(case["channel"]):
        check(bytes.fromhex(one), gcm(key, count.to_bytes(12, "big"), text, associated))


def interpolate(points: list[tuple[int, int]], x: int) -> int:
    """Lagrange's formula as it stands in the textbook."""
    p, total = 2**256 + 297, 0
    for i, (xi, yi) in enumerate(points):
        term = yi
        for j, (xj, _) in enumerate(points):
            if i != j:
                term = term * (x - xj) * pow(xi - xj, -1, p) % p
        total += term
    return total % p


def sharing(case: dict[str, Any]) -> None:
    shares = [(point, int.from_bytes(bytes.fromhex(raw), "big")) for point, raw in case["shares"]]
    chosen = shares[-case["threshold"] :]
    check(interpolate(chosen, 0).to_bytes(32, "big").hex(), case["secret"])
    for x, y in shares[:3]:
        check(interpolate(chosen, x), y)


def to_float64(value: Fraction) -> Fraction:
    """Round a fraction to the nearest float64, ties to even (numbers in the normal and subnormal range)."""
    if value == 0:
        return value
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    step = Fraction(2) ** (max(exponent, -1022) - 52)
    return round(value / step) * step  # Python rounds fractions half to even


def encode(value: Fraction, factor: Fraction, noise: int, bits: int) -> int:
    """One word: scale, add the noise, round (see silo.crypto.ring)."""
    noisy = to_float64(to_float64(value * factor) + noise)
    return round(noisy / 2**32) % 2**bits


def exactly(text: str) -> Fraction:
    return Fraction(float.fromhex(text))


def scale_of(bits: int, parties: int, reach: Fraction) -> Fraction:
    limit = (2 ** (bits - 1) - 1) // parties
    return to_float64(to_float64(limit * (1 - Fraction(1, 2**20))) / to_float64(reach))


def ring(case: dict[str, Any]) -> None:
    bits, parties = case["bits"], case["parties"]
    scale, weight = exactly(case["scale"]), exactly(case["weight"])
    reach = exactly(case["clip"]) * exactly(case["max_weight"])
    check(scale, scale_of(bits, parties, reach))
    factor = to_float64(weight * scale) * 2**32
    given = [exactly(text) for text in case["values"]]
    noise = [n - 2**32 if n >= 2**31 else n for n in words(bytes.fromhex(case["rounding"]), 0, len(given), 4)]
    encoded = [encode(value, factor, n, bits) for value, n in zip(given, noise, strict=True)]
    check(encoded, case["words"])
    signed = [word - 2**bits if word >> (bits - 1) else word for word in encoded]
    check([to_float64(word / scale) for word in signed], [exactly(text) for text in case["decoded"]])
    check(max(map(abs, signed)) <= (2 ** (bits - 1) - 1) // parties, True)
    check(b"".join(word.to_bytes(bits // 8, "little") for word in encoded).hex(), case["packed"])
    # Whatever float64 does, no value is off by a step.
    for value, word in zip(given, signed, strict=True):
        check(abs(word - value * weight * scale) < 1 + Fraction(1, 2**10), True)


def integers(case: dict[str, Any]) -> None:
    width = case["bits"] // 8
    packed = b"".join((value % 2 ** case["bits"]).to_bytes(width, "little") for value in case["values"])
    check(packed.hex(), case["packed"])


def check(found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"found {found}, expected {expected}")


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


def verify(name: str) -> int:
    """Check one file and return how many cases it has. Raises ValueError."""
    cases = json.loads((HERE / f"{name}.json").read_text())
    for case in cases:
        FILES[name](case)
    return len(cases)


if __name__ == "__main__":
    for name in FILES:
        print(f"{name}.json: {verify(name)} cases hold")
