"""Products of encrypted numbers with columns (`silo.crypto.products`) under ring learning with errors.

Sources: Brakerski (CRYPTO 2012), Fan and Vercauteren (eprint 2012/144) for the encryption, here with the secret key and
a from a seed; Huang, Lu, Hong and Ding (Cheetah, USENIX Security 2022, eprint 2022/207) for inner products in
coefficients: with f = x_0 - x_{N-1} X - ... - x_1 X^{N-1} the constant coefficient of m f is <m, x>. The noise is
flooded as in eprint 2020/304.

A block of 4096 values m is c0 = e - a s + round(Q m / t), c1 = a: c0 travels as coefficients, a as a seed. For a
column the multiplier sends C1 = sum a_i f_i + a_key u + e'' and one number: the constant coefficient of the polynomial
sum c0_i f_i + b_key u, plus round(Q mask / t) and a flood, which stands for the error e' too. It needs no more of c0
than inner products of coefficients with the column. Rows beyond `Budget.chunk` have ciphertexts and masks of their own;
the owner adds what it decrypts, so that only totals go back.

Adversary: both do as prescribed. The multiplier cannot read the values (128 bits, `parameters.RLWE_4096`). To the owner
a mask is uniform modulo t, C1 is pseudorandom (u and e'' are fresh for each column: the same assumption, for the public
key's a), and the noise tells of the columns at most what `budget` says: below 2^-40 for a column and ciphertext, and
2^-64 for large errors. An honest reply always decrypts. Two limits: an owner that encrypts with larger errors, or what
is no multiple of Q / t, sees columns in the noise. A multiplier that sends other replies has the owner decrypt numbers
of its choice, and so the key after some 190 of them, of 35 bits each. Whoever has to reckon with that takes Paillier,
or a fresh key often. In NumPy: not in constant time.
"""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from silo.crypto import products as contract
from silo.crypto.errors import ParameterError, refuse_pickle
from silo.crypto.lattice import constant, keys, ntt, residues, sampling
from silo.crypto.lattice.budget import Budget
from silo.crypto.lattice.keys import SEED_BYTES, KeyShare
from silo.crypto.lattice.ntt import P, Words, columns
from silo.crypto.lattice.parameters import DEGREE, MODULUS, PRIMES
from silo.crypto.lattice.residues import COEFFICIENT_BYTES, POLYNOMIAL_BYTES
from silo.crypto.lattice.vector import ROWS, polynomials
from silo.crypto.prg import Keystream
from silo.crypto.products import TAG_BYTES, Integers, Payload, Reply, Terms
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret

PUBLIC_BYTES: Final = SEED_BYTES + keys.PUBLIC_BYTES


def payload_bytes(terms: Terms) -> int:
    """Bytes of encrypted values: 13 each."""
    return TAG_BYTES + SEED_BYTES + terms.rows * COEFFICIENT_BYTES


def reply_bytes(terms: Terms, budget: Budget, count: int) -> int:
    """Bytes of the masked products of so many columns. Raises `ParameterError`."""
    contract.require_count(count)
    return TAG_BYTES + ciphertexts(terms, budget) * count * (POLYNOMIAL_BYTES + COEFFICIENT_BYTES)


def ciphertexts(terms: Terms, budget: Budget) -> int:
    """Ciphertexts of a column."""
    return -(-terms.rows // budget.chunk)


def _expand(seed: Payload, rows: int) -> Words:
    """(rows, 4, N): the polynomials of a seed, transformed."""
    stream = Keystream(Secret(bytes(seed)))
    return np.concatenate([sampling.uniform(stream) for _ in range(rows)])


@final
class LatticeOwner:
    """The owner of the values, with one key."""

    __slots__ = ("_secret", "_tags", "budget", "public", "terms")

    def __init__(self, terms: Terms, seed: bytes, key: KeyShare) -> None:
        """Prepare a key beside the polynomial of a public seed. Raises `ParameterError` for terms that do not fit."""
        self.terms, self.budget = terms, Budget.of(terms)
        self._secret, self.public = key.secret, seed + key.public
        self._tags = terms.tags(self.public)

    @classmethod
    def generate(cls, terms: Terms, *, rng: Rng) -> LatticeOwner:
        """Make a key for these terms. Raises `ParameterError` for terms that do not fit."""
        seed = rng.bytes(SEED_BYTES)
        share = KeyShare.from_seed(Secret.random(SEED_BYTES, rng=rng), keys.expand(seed))
        return cls(terms, seed, share)

    def renewed(self, *, rng: Rng) -> LatticeOwner:
        """An owner under a fresh key. Some 200 decryptions of forged replies would tell the whole of an old one."""
        return LatticeOwner.generate(self.terms, rng=rng)

    @property
    def modulus(self) -> int:
        """t."""
        return self.budget.modulus

    @property
    def payload_bytes(self) -> int:
        """Bytes that `encrypt` gives."""
        return payload_bytes(self.terms)

    def reply_bytes(self, columns: int) -> int:
        """Bytes that `decrypt` takes."""
        return reply_bytes(self.terms, self.budget, columns)

    def encrypt(self, values: Integers, *, rng: Rng) -> memoryview:
        """Encrypt (rows,) values. Raises `ParameterError` for others than the terms say."""
        self.terms.require_values(values)
        rows, primes = polynomials(len(values)), columns(P, 1)
        plain = np.zeros((rows, DEGREE), np.int64)
        plain.reshape(-1)[: len(values)] = values
        seed, secret = rng.bytes(SEED_BYTES), Keystream(Secret.random(SEED_BYTES, rng=rng))
        public = _expand(seed, rows)
        out = np.empty((rows, POLYNOMIAL_BYTES), np.uint8)
        for at in range(0, rows, ROWS):
            upto = min(at + ROWS, rows)
            hidden = ntt.below(ntt.times(public[at:upto], self._secret, primes), primes)
            found = _scaled(plain[at:upto], self.budget.plain_bits) + primes - ntt.inverse(hidden)
            found += sampling.residues(sampling.errors(upto - at, secret))
            residues.pack(ntt.reduced(found, primes), out[at:upto])
        body = out.reshape(-1)[: len(values) * COEFFICIENT_BYTES]
        return memoryview(self._tags[0] + seed + body.tobytes())

    def decrypt(self, payload: Payload, columns: int) -> list[int]:
        """The masked products, one a column, below t. Raises `ParameterError` for bytes that are no reply."""
        body = contract.body(payload, self._tags[1], self.reply_bytes(columns))
        total = ciphertexts(self.terms, self.budget) * columns
        split = total * POLYNOMIAL_BYTES
        first = [
            int.from_bytes(body[at : at + COEFFICIENT_BYTES], "little")
            for at in range(split, len(body), COEFFICIENT_BYTES)
        ]
        if not all(number < MODULUS for number in first):
            raise ParameterError("a coefficient is beyond its modulus")
        sums = [0] * columns
        for at in range(0, total, ROWS):
            upto = min(at + ROWS, total)
            second = residues.unpack(body[at * POLYNOMIAL_BYTES : upto * POLYNOMIAL_BYTES], upto - at)
            if not second.any(axis=(1, 2)).all():
                raise ParameterError(
                    "a ciphertext is transparent, so that anybody could read it: it is refused"
                )
            parts = constant.lifted(constant.of_product(second, self._secret.value[0]))
            for place, part in enumerate(parts, at):
                phase = (first[place] + part) % MODULUS
                sums[place % columns] += constant.decoded(phase, self.budget.plain_bits)
        return [one % self.modulus for one in sums]

    def __repr__(self) -> str:
        return f"LatticeOwner({self.terms.rows} rows, redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def _scaled(plain: Integers, bits: int) -> Words:
    """round(Q m / t) of (rows, N) signed numbers, as (rows, 4, N) residues.

    It is (Q m - d) / t for the centred remainder d of Q m modulo t, so -d / t modulo each prime, all of which divide Q.
    """
    half, mask = np.uint64(1 << bits - 1), np.uint64((1 << bits) - 1)
    # Products wrap modulo 2^64, a multiple of t.
    shifted = (plain.astype(np.uint64) * np.uint64(MODULUS % (1 << bits)) + half) & mask
    negative = np.int64(1 << bits - 1) - shifted.astype(np.int64)
    signed = columns(P, 1).astype(np.int64)
    inverse = columns(np.array([pow(1 << bits, -1, prime) for prime in PRIMES], np.int64), 1)
    return np.asarray(negative[:, None] % signed * inverse % signed).astype(np.uint64)


@final
class LatticeMultiplier:
    """The owner of the columns; their transforms are kept in 64 KiB for each 4096 rows of a column."""

    __slots__ = ("_columns", "_factors", "_public", "_tags", "budget", "terms")

    def __init__(self, public: bytes, columns: Integers, terms: Terms) -> None:
        """Prepare (rows, d) columns for the key of an owner. Raises `ParameterError`."""
        self.terms, self.budget = terms, Budget.of(terms)
        self.rekey(public)
        terms.require_columns(columns)
        self._columns = columns.T.copy()
        self._factors = _factors(self._columns)

    def rekey(self, public: bytes) -> None:
        """Go on under another key of the owner. Raises `ParameterError`, and changes nothing then."""
        if len(public) != PUBLIC_BYTES:
            raise ParameterError(f"the key of an owner has {PUBLIC_BYTES} bytes, not {len(public)}")
        if not any(public[SEED_BYTES:]):
            raise ParameterError("the key of an owner is all zeros: it hides nothing")
        self._public = keys.combine(keys.expand(public[:SEED_BYTES]), [public[SEED_BYTES:]])
        self._tags = self.terms.tags(public)

    @property
    def modulus(self) -> int:
        """t."""
        return self.budget.modulus

    @property
    def payload_bytes(self) -> int:
        """Bytes that `products` takes."""
        return payload_bytes(self.terms)

    @property
    def reply_bytes(self) -> int:
        """Bytes of a reply's payload."""
        return reply_bytes(self.terms, self.budget, len(self._columns))

    def products(self, payload: Payload, *, rng: Rng) -> Reply:
        """The masked products of encrypted values with all columns. Raises `ParameterError` for bytes that are none."""
        body = contract.body(payload, self._tags[0], self.payload_bytes)
        rows = polynomials(self.terms.rows)
        padded = np.zeros(rows * POLYNOMIAL_BYTES, np.uint8)
        padded[: len(body) - SEED_BYTES] = np.frombuffer(body[SEED_BYTES:], np.uint8)
        first = np.ascontiguousarray(residues.unpack(padded.data, rows).swapaxes(0, 1)).astype(np.int64)
        second = _expand(body[:SEED_BYTES], rows)
        count, total = len(self._columns), ciphertexts(self.terms, self.budget)
        stream = Keystream(Secret.random(SEED_BYTES, rng=rng))
        out = np.empty((total, count, POLYNOMIAL_BYTES), np.uint8)
        masks, numbers = [0] * count, []
        for chunk in range(total):
            low = chunk * self.budget.chunk
            high = min(low + self.budget.chunk, self.terms.rows)
            constants = self._constants(first.reshape(len(P), -1)[:, low:high], low, high)
            blocks = slice(low // DEGREE, polynomials(high))
            for at in range(0, count, ROWS):
                upto = min(at + ROWS, count)
                turned, hidden = self._fresh(second[blocks], self._factors[at:upto, blocks], stream)
                residues.pack(turned, out[chunk, at:upto])
                constants[at:upto] += hidden
            for place, number in enumerate(constant.lifted(constants)):
                mask = _below(self.modulus, rng)
                masks[place] += mask
                flood = _below(2 * self.budget.flood + 1, rng) - self.budget.flood
                numbers.append(number + constant.scaled(mask, self.budget.plain_bits) + flood)
        coefficients = b"".join((one % MODULUS).to_bytes(COEFFICIENT_BYTES, "little") for one in numbers)
        return Reply(
            self._tags[1] + out.tobytes() + coefficients,
            [mask % self.modulus for mask in masks],
            self.modulus,
            self.terms.bound,
        )

    def _constants(self, first: Integers, low: int, high: int) -> Words:
        """(d, 4) constant coefficients of the sums of c0 f: inner products of coefficients with the columns.

        They stay below 2^63: for terms that fit, 2^column_bits times the rows is below 2^33, and 26 bits come to it.
        """
        found = np.einsum("dr,pr->dp", self._columns[:, low:high], first)
        return np.asarray(found % P.astype(np.int64)).astype(np.uint64)

    def _fresh(
        self, second: Words, factors: npt.NDArray[np.uint32], stream: Keystream
    ) -> tuple[Words, Words]:
        """Sums of a f + a_key u + e'' for some columns, and the (columns, 4) constant coefficients of b_key u.

        At most 8 blocks and one product more of 52 bits are added before they are reduced.
        """
        count = len(factors)
        hidden = ntt.forward(sampling.residues(sampling.ternary(count, stream)))
        found = ntt.forward(sampling.residues(sampling.errors(count, stream)))
        found += hidden * self._public.common.value
        for block, one in enumerate(second):
            found += factors[:, block] * one
        found %= columns(P, 1)
        return found, constant.of_product(hidden, self._public.joint.value[0])

    def __repr__(self) -> str:
        return f"LatticeMultiplier({self.terms.rows} rows, {len(self._columns)} columns, redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def _factors(table: Integers) -> npt.NDArray[np.uint32]:
    """(d, blocks, 4, N): x_0 - x_{N-1} x - ... - x_1 x^{N-1} for each block of each column, transformed."""
    count, rows = table.shape
    blocks = polynomials(rows)
    found = np.empty((count, blocks, len(PRIMES), DEGREE), np.uint32)
    padded = np.zeros((blocks, DEGREE), np.int64)
    for place, column in enumerate(table):
        padded.reshape(-1)[:rows] = column
        turned = np.concatenate([padded[:, :1], -padded[:, :0:-1]], axis=1)
        for at in range(0, blocks, ROWS):
            found[place, at : at + ROWS] = ntt.forward(_reduced(turned[at : at + ROWS]))
    return found


def _reduced(small: Integers) -> Words:
    return np.asarray(small[:, None] % columns(P, 1).astype(np.int64)).astype(np.uint64)


def _below(limit: int, rng: Rng) -> int:
    """A uniform number below the limit, up to 2^-128."""
    return int.from_bytes(rng.bytes(limit.bit_length() // 8 + 17), "little") % limit
