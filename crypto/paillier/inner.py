"""Products of encrypted numbers with columns (`silo.crypto.products`) under Paillier.

Source: Paillier (EUROCRYPT 1999); keys and short exponents of Damgård, Jurik and Nielsen (`paillier.keys`); the key's
proof of eprint 2018/1057 (`paillier.proof`). A column costs one bucket product, one power and one decryption.

Adversary: the multiplier cannot read the values (Paillier's assumption, with short exponents). To the owner a reply is
a ciphertext of a masked product and nothing more: the mask is 2^64 times larger than the product can be, which hides
it up to 2^-63, and the ciphertext is multiplied by rho^n for a uniform rho, which takes no assumption and no trust in
the owner's base. As the proof shows that gcd(n, phi(n)) = 1, every unit encrypts just one number: replies hide the
columns from an owner that lies, too. (It can open wrong numbers, and a refusal of these would show it where a product
lies.) A multiplier that lies has the owner decrypt ciphertexts of its choice, thus sums of the values of its choice,
and learns nothing of the key; the owner opens nothing beyond the masks' range, so that no reply holds many values side
by side: some hundred bits each. Both compute in variable time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, final

from silo.crypto import powers
from silo.crypto import products as contract
from silo.crypto.errors import DecryptionFailed, ParameterError, refuse_pickle
from silo.crypto.paillier import keys, products, proof, vector
from silo.crypto.paillier.keys import SHORT_EXPONENT, PrivateKey, PublicKey
from silo.crypto.products import TAG_BYTES, Integers, Payload, Reply, Terms
from silo.crypto.rng import Rng

_HEAD: Final = 2
_WORTH_A_PART: Final = 512
Run = Callable[[Callable[[Any], bytes], Iterable[Any]], Iterable[bytes]]


@final
class PaillierOwner:
    """The owner of the values, with its key. Encryption can be given to processes: `parts` and `run`."""

    __slots__ = ("_parts", "_private", "_run", "_tags", "public", "terms")

    def __init__(self, terms: Terms, private: PrivateKey, *, parts: int = 1, run: Run = map) -> None:
        """Prepare a key, and prove it. Raises `ParameterError` for one whose base lies in a small subgroup."""
        if private.small:
            raise ParameterError(
                "products are re-randomised in the whole group, which a key of a small subgroup does not "
                "decrypt: use one of `paillier.keys.generate`"
            )
        self.terms, self._private, self._parts, self._run = terms, private, parts, run
        self.public = private.public.to_bytes() + proof.prove(private)
        self._tags = terms.tags(self.public)

    @classmethod
    def generate(
        cls, terms: Terms, bits: int = 3072, *, rng: Rng, parts: int = 1, run: Run = map
    ) -> PaillierOwner:
        """Make a key of 2048, 3072 or 4096 bits. Raises `ParameterError` for others."""
        return cls(terms, keys.generate(bits, rng=rng), parts=parts, run=run)

    @property
    def modulus(self) -> int:
        """2^64 times what a product can be, and not n: in n a lying multiplier could lay many values side by side."""
        return _span(self.terms)

    def renewed(self, *, rng: Rng) -> PaillierOwner:
        """Itself: whatever it decrypts tells nothing of the key."""
        return self

    @property
    def payload_bytes(self) -> int:
        """Bytes that `encrypt` gives."""
        return TAG_BYTES + self.terms.rows * self._private.public.ciphertext_bytes

    def reply_bytes(self, columns: int) -> int:
        """Bytes that `decrypt` takes."""
        contract.require_count(columns)
        return TAG_BYTES + columns * self._private.public.ciphertext_bytes

    def encrypt(self, values: Integers, *, rng: Rng) -> memoryview:
        """Encrypt (rows,) values. Raises `ParameterError` for others than the terms say."""
        self.terms.require_values(values)
        n, h_s = int(self._private.public.n), int(self._private.public.h_s)
        messages = [value % n for value in values.tolist()]
        share = _share(len(messages), self._parts)
        jobs = [
            vector.Job(n, h_s, messages[at : at + share], rng.bytes(32), SHORT_EXPONENT)
            for at in range(0, len(messages), share)
        ]
        return memoryview(self._tags[0] + b"".join(self._run(vector.encrypt_part, jobs)))

    def decrypt(self, payload: Payload, columns: int) -> list[int]:
        """The masked products, one a column, below the modulus.

        Raises `ParameterError` for bytes that are no reply, `DecryptionFailed` for a number that no honest one holds.
        """
        body = contract.body(payload, self._tags[1], self.reply_bytes(columns))
        found = vector.read(body, self._private.public, columns)
        vector.require_units(found, self._private.public)
        first, second = self._private.halves()
        pairs = zip(first.decrypt(found), second.decrypt(found), strict=True)
        found = [int(self._private.join(one, other)) for one, other in pairs]
        if any(number >= self.modulus for number in found):
            raise DecryptionFailed(
                f"a reply holds a number beyond {self.modulus.bit_length()} bits: it is no masked product"
            )
        return found

    def __repr__(self) -> str:
        return f"PaillierOwner({self.terms.rows} rows, redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


@dataclass(frozen=True, slots=True, repr=False)
class Job:
    """What one process multiplies: some rows of ciphertexts and columns. For processes of one party only."""

    key: bytes
    ciphertexts: bytes
    columns: Integers


def multiply_part(job: Job) -> bytes:
    """The encrypted products of one part."""
    public = PublicKey.from_bytes(job.key)
    found = vector.read(job.ciphertexts, public, len(job.columns))
    return vector.write(products.matrix(found, job.columns, public), public)


@final
class PaillierMultiplier:
    """The owner of the columns. The products can be given to processes: `parts` and `run`."""

    __slots__ = ("_columns", "_key", "_parts", "_public", "_run", "_tags", "_whole", "terms")

    def __init__(
        self, public: bytes, columns: Integers, terms: Terms, *, parts: int = 1, run: Run = map
    ) -> None:
        """Prepare (rows, d) columns for the key of an owner, and check its proof. Raises `ParameterError`."""
        terms.require_columns(columns)
        self.terms, self._columns, self._parts, self._run = terms, columns.copy(), parts, run
        self._whole: bytes | None = None
        self.rekey(public)

    def rekey(self, public: bytes) -> None:
        """Go on under another key of the owner. Raises `ParameterError`, and changes nothing then."""
        if public == self._whole:
            return
        size = _HEAD + 3 * (int.from_bytes(public[:_HEAD], "big") // 8)
        found = PublicKey.from_bytes(public[:size])
        proof.verify(found, public[size:])
        self._public, self._key, self._whole = found, public[:size], public
        self._tags = self.terms.tags(public)

    @property
    def modulus(self) -> int:
        """2^64 times what a product can be: see `PaillierOwner.modulus`."""
        return _span(self.terms)

    @property
    def payload_bytes(self) -> int:
        """Bytes that `products` takes."""
        return TAG_BYTES + self.terms.rows * self._public.ciphertext_bytes

    @property
    def reply_bytes(self) -> int:
        """Bytes of a reply's payload."""
        return TAG_BYTES + int(self._columns.shape[1]) * int(self._public.ciphertext_bytes)

    def products(self, payload: Payload, *, rng: Rng) -> Reply:
        """The masked products of encrypted values with all columns. Raises `ParameterError` for bytes that are none."""
        body = contract.body(payload, self._tags[0], self.payload_bytes)
        public, count = self._public, self._columns.shape[1]
        vector.require_units(vector.read(body, public, self.terms.rows), public)
        share, size = _share(self.terms.rows, self._parts), public.ciphertext_bytes
        jobs = [
            Job(self._key, bytes(body[at * size : (at + share) * size]), self._columns[at : at + share])
            for at in range(0, self.terms.rows, share)
        ]
        parts = [vector.read(part, public, count) for part in self._run(multiply_part, jobs)]
        bound = self.terms.bound
        masks = [bound + powers.below(self.modulus - 2 * bound, rng=rng) for _ in range(count)]
        fresh = powers.powers([vector.unit(public, rng=rng) for _ in range(count)], public.n, public.square)
        found = [
            (1 + mask * public.n)
            * hidden
            % public.square
            * powers.product(column, public.square)
            % public.square
            for mask, hidden, column in zip(masks, fresh, zip(*parts, strict=True), strict=True)
        ]
        return Reply(self._tags[1] + vector.write(found, public), masks, self.modulus, self.terms.bound)

    def __repr__(self) -> str:
        return f"PaillierMultiplier({self.terms.rows} rows, {self._columns.shape[1]} columns, redacted)"

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def _span(terms: Terms) -> int:
    """A power of two: masks below it hide a product but for 2^-63."""
    return 1 << terms.bound.bit_length() + 64


def _share(rows: int, parts: int) -> int:
    """Rows of a part."""
    return max(_WORTH_A_PART, -(-rows // max(1, parts)))
