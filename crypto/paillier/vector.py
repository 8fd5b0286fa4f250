"""Vectors of words under Paillier: encrypt, add, decrypt to the exact sum.

A payload is the ciphertexts, each of twice the bytes of n, little-endian; its length follows from the number of words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, final

import numpy.typing as npt

from silo.crypto import powers
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.paillier import fixed_base, slots
from silo.crypto.paillier.keys import SHORT_EXPONENT, PrivateKey, PublicKey
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

Payload = bytes | bytearray | memoryview
MAX_SUMMANDS: Final = 1024
_WORTH_A_PART: Final = 512


def ciphertexts(public: PublicKey, count: int, bits: int) -> int:
    """How many ciphertexts hold `count` words."""
    return -(-count // slots.slots(public.bits, bits))


def payload_bytes(public: PublicKey, count: int, bits: int) -> int:
    """Bytes of an encrypted vector of `count` words."""
    return ciphertexts(public, count, bits) * public.ciphertext_bytes


@dataclass(frozen=True, slots=True, repr=False)
class Job:
    """What one process encrypts: plain messages, and the seed of their exponents. For processes of one party only."""

    n: int
    h_s: int
    messages: list[int]
    seed: bytes
    exponent_bits: int


Run = Callable[[Callable[[Job], bytes], Iterable[Job]], Iterable[bytes]]


def encrypt(
    words: npt.NDArray[Any],
    public: PublicKey,
    bits: int,
    *,
    rng: Rng,
    parts: int = 1,
    run: Run = map,
    exponent_bits: int = SHORT_EXPONENT,
) -> memoryview:
    """Encrypt words below 2^bits, carried as `Ring.of(bits)` carries them. Raises `ParameterError`.

    `exponent_bits` of half the key's bits and more do without the assumption of short exponents. The work falls into
    `parts` that `run` may give to other processes: each gets packed words and a seed of its own.
    """
    if exponent_bits < SHORT_EXPONENT:
        raise ParameterError(f"exponents have {SHORT_EXPONENT} bits or more, not {exponent_bits}")
    plain = list(slots.messages(words, public.bits, bits))
    share = max(_WORTH_A_PART, -(-len(plain) // max(1, parts)))
    pieces = [plain[at : at + share] for at in range(0, len(plain), share)]
    jobs = [Job(int(public.n), int(public.h_s), piece, rng.bytes(32), exponent_bits) for piece in pieces]
    return memoryview(b"".join(run(encrypt_part, jobs)))


def encrypt_part(job: Job) -> bytes:
    """The ciphertexts of one part."""
    modulus, width = powers.number(job.n), job.n.bit_length() // 4
    square = modulus * modulus
    table = fixed_base.table(job.h_s, int(square), job.exponent_bits)
    hidden = table.random_powers(len(job.messages), Secret(job.seed))
    return b"".join(
        int((1 + message * modulus) * one % square).to_bytes(width, "little")
        for message, one in zip(job.messages, hidden, strict=True)
    )


@final
class Sum:
    """A running sum of payloads under one public key. At most 1024 summands."""

    __slots__ = ("_count", "_public", "_total", "summands")

    def __init__(self, public: PublicKey, count: int, bits: int) -> None:
        self._public, self._count = public, ciphertexts(public, count, bits)
        self._total: list[Any] = []
        self.summands = 0

    def check(self, payload: Payload) -> None:
        """Refuse what is no ciphertext: another length, zero, beyond n^2, not a unit. Raises `ParameterError`."""
        self._read(payload)

    def _read(self, payload: Payload) -> list[Any]:
        found = read(payload, self._public, self._count)
        require_units(found, self._public)
        return found

    def add(self, payload: Payload) -> None:
        """Add a payload. Raises `ParameterError`, and changes nothing, for one that is none."""
        if self.summands >= MAX_SUMMANDS:
            raise ParameterError(f"a sum has at most {MAX_SUMMANDS} summands")
        found, square = self._read(payload), self._public.square
        if self.summands:
            self._total = [one * other % square for one, other in zip(self._total, found, strict=True)]
        else:
            self._total = found
        self.summands += 1

    def payload(self) -> bytes:
        """The encrypted sum. Raises `ParameterError` where nothing was added."""
        if not self.summands:
            raise ParameterError("the sum has no summand yet: add at least one")
        return write(self._total, self._public)


def decrypt(
    payload: Payload, private: PrivateKey, count: int, bits: int, *, summands: int, threads: int = 2
) -> npt.NDArray[Any]:
    """Decrypt the sum of exactly `summands` payloads; the halves mod p and mod q run on two threads.

    Raises `ParameterError` for a payload that is none, `DecryptionFailed` where a ciphertext does not count `summands`.
    """
    public = private.public
    found = read(payload, public, ciphertexts(public, count, bits))
    if found and powers.gcd(powers.product(found, public.n), public.n) != 1:
        raise DecryptionFailed("the encrypted sum holds what is no ciphertext under this key")
    first, second = private.halves()
    if threads > 1:
        with ThreadPoolExecutor(2) as pool:
            other = pool.submit(second.decrypt, found)
            mod_p, mod_q = first.decrypt(found), other.result()
    else:
        mod_p, mod_q = first.decrypt(found), second.decrypt(found)
    joined = [int(private.join(one, two)) for one, two in zip(mod_p, mod_q, strict=True)]
    return slots.words(joined, public.bits, bits, count, summands)


def encrypt_messages(messages: Sequence[int], public: PublicKey, *, rng: Rng) -> bytes:
    """Encrypt whole numbers as they are, each in a ciphertext of its own; negative ones wrap around n."""
    reduced = [message % int(public.n) for message in messages]
    return encrypt_part(Job(int(public.n), int(public.h_s), reduced, rng.bytes(32), SHORT_EXPONENT))


def decrypt_message(ciphertext: Payload, private: PrivateKey) -> int:
    """The whole number below n in one ciphertext. Raises `ParameterError` or `DecryptionFailed` for what is none."""
    found = read(ciphertext, private.public, 1)
    require_units(found, private.public)
    (mod_p,), (mod_q,) = (half.decrypt(found) for half in private.halves())
    return int(private.join(mod_p, mod_q))


def require_units(found: Sequence[Any], public: PublicKey) -> None:
    """Raise `ParameterError` for a number that has a factor of n."""
    if found and powers.gcd(powers.product(found, public.n), public.n) != 1:
        raise ParameterError(
            "a ciphertext is not a unit: it would take the key apart, and was not made with it"
        )


def rerandomise(payload: Payload, public: PublicKey, *, rng: Rng) -> bytes:
    """The same messages under fresh randomness: what is returned to somebody who knows the summands.

    Each is multiplied by x^n of a uniform unit x. Powers of h_s would hide less from the owner of the key, who chose
    it: with the key's proof nothing but the message is left, whatever the key.
    """
    found = read(payload, public, len(payload) // public.ciphertext_bytes)
    hidden = powers.powers([unit(public, rng=rng) for _ in found], public.n, public.square)
    return write((one * more % public.square for one, more in zip(found, hidden, strict=True)), public)


def unit(public: PublicKey, *, rng: Rng) -> Any:
    """A uniform unit modulo n."""
    while True:
        found = powers.below(int(public.n), rng=rng)
        if powers.gcd(found, public.n) == 1:
            return powers.number(found)


def read(payload: Payload, public: PublicKey, count: int) -> list[Any]:
    """The ciphertexts of a payload. Raises `ParameterError` for another length or a number beyond n^2."""
    size = public.ciphertext_bytes
    if len(payload) != count * size:
        raise ParameterError(f"{count} ciphertexts take {count * size} bytes, not {len(payload)}")
    found = [
        powers.number(int.from_bytes(payload[at : at + size], "little"))
        for at in range(0, len(payload), size)
    ]
    if any(not 0 < one < public.square for one in found):
        raise ParameterError("a ciphertext is not between 0 and n^2")
    return found


def write(found: Iterable[Any], public: PublicKey) -> bytes:
    """Ciphertexts as a payload."""
    return b"".join(int(one).to_bytes(public.ciphertext_bytes, "little") for one in found)
