"""All calls of SEAL, through TenSEAL's bindings, which have no types and speak through files.

Coefficients are NumPy arrays of uint64 in SEAL's order (evaluated at the roots of X^N + 1), secret or public as
their caller knows. SEAL draws all randomness itself, from the operating system, per key and per ciphertext.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from silo.crypto.ckks.parameters import CkksSet
from silo.crypto.ckks.scratch import Scratch
from silo.crypto.ckks.stream import SEED_BYTES, Version, body
from silo.crypto.errors import ParameterError

Words = npt.NDArray[np.uint64]
_TRIES: Final = 4


@final
class Engine:
    """SEAL with one parameter set. Raises `ParameterError` without TenSEAL."""

    __slots__ = ("_api", "_context", "_data_id", "_encoder", "_key_id", "_version", "chosen")

    def __init__(self, chosen: CkksSet) -> None:
        try:
            self._api: Any = import_module("tenseal.sealapi")
        except ModuleNotFoundError:
            raise ParameterError(
                "sums under CKKS need TenSEAL: run `pip install '.[he]'` in Silo's source folder"
            ) from None
        self.chosen = chosen
        api = self._api
        asked = api.EncryptionParameters(api.SCHEME_TYPE.CKKS)
        asked.set_poly_modulus_degree(chosen.degree)
        asked.set_coeff_modulus([api.Modulus(chosen.modulus), api.Modulus(chosen.key_modulus)])
        # SEAL itself refuses what the Homomorphic Encryption Standard does not give 128 bits.
        self._context: Any = api.SEALContext(asked, True, api.SEC_LEVEL_TYPE.TC128)
        if not self._context.parameters_set():
            raise ParameterError(f"SEAL refuses the parameters: {self._context.parameters_error_message()}")
        self._encoder: Any = api.CKKSEncoder(self._context)
        self._key_id: list[int] = self._context.key_parms_id()
        self._data_id: list[int] = self._context.first_parms_id()
        with Scratch() as scratch:
            api.Ciphertext().save(scratch.path)
            self._version = Version.of(scratch.read())

    def generate(self) -> tuple[Words, Words]:
        """Draw a secret key (2, N) and its public key (2, 2, N): polynomials by moduli by coefficients."""
        generator = self._api.KeyGenerator(self._context)
        public = self._api.PublicKey()
        generator.create_public_key(public)
        secret = generator.secret_key()
        secret_words, public_words = _elements(secret.data()), _elements(public.data())
        degree = self.chosen.degree
        return secret_words.reshape(2, degree), public_words.reshape(2, 2, degree)

    def public_key(self, words: Words, scratch: Scratch) -> Any:
        """SEAL's public key. Raises `ParameterError` for words that are none."""
        key = self._api.PublicKey()
        head = self._version.ciphertext(self._key_id, self.chosen.degree, 2, 1.0, words.size)
        self._load(key, scratch, head, words)
        return key

    def secret_key(self, words: Words, scratch: Scratch) -> Any:
        """SEAL's secret key. Raises `ParameterError` for words that are none."""
        key = self._api.SecretKey()
        self._load(key, scratch, self._version.plaintext(self._key_id, words.size), words)
        return key

    def encrypt(self, key: Any, slots: list[complex], scale: int, scratch: Scratch, out: Words) -> None:
        """Write the encryption of the slots into `out`, of shape (2, N). `key` is an `encryptor`."""
        plain, cipher = self._api.Plaintext(), self._api.Ciphertext()
        self._encoder.encode(slots, float(scale), plain)
        key.encrypt(plain, cipher)
        self._read(cipher, scratch, out)

    def encrypt_seeded(
        self, key: Any, slots: list[complex], scale: int, scratch: Scratch, out: Words
    ) -> bytes:
        """Write the first polynomial under the secret key into `out` (N); return the seed of the second."""
        plain = self._api.Plaintext()
        self._encoder.encode(slots, float(scale), plain)
        tail = self._version.seed(bytes(SEED_BYTES))[:-SEED_BYTES]
        for _ in range(_TRIES):
            key.encrypt_symmetric(plain).save(scratch.path)
            content = body(scratch.read())
            if content is not None and content[-len(tail) - SEED_BYTES : -SEED_BYTES] == tail:
                end = len(content) - len(tail) - SEED_BYTES
                out[:] = np.frombuffer(content[end - out.nbytes : end], dtype="<u8")
                return content[-SEED_BYTES:]
        raise ParameterError("this version of TenSEAL saves seeded ciphertexts in a form that is not known")

    def expand(self, words: Words, seed: bytes, scratch: Scratch, out: Words) -> None:
        """Write a seeded ciphertext in full into `out`, of shape (2, N)."""
        tail = self._version.seed(seed)
        head = self._version.ciphertext(self._data_id, self.chosen.degree, 1, 1.0, words.size, more=len(tail))
        cipher = self._api.Ciphertext()
        self._load(cipher, scratch, head, words, tail)
        self._read(cipher, scratch, out)

    def decrypt(self, key: Any, words: Words, scale: int, scratch: Scratch) -> npt.NDArray[np.float64]:
        """Decrypt a ciphertext (2, N) into N reals, real and imaginary parts in turn. `key` is a `decryptor`."""
        cipher, plain = self._api.Ciphertext(), self._api.Plaintext()
        head = self._version.ciphertext(self._data_id, self.chosen.degree, 1, float(scale), words.size)
        self._load(cipher, scratch, head, words)
        key.decrypt(cipher, plain)
        slots = np.array(self._encoder.decode_complex(plain), dtype=np.complex128)
        return slots.view(np.float64)

    def encryptor(self, words: Words, scratch: Scratch) -> Any:
        """SEAL's encryptor under a public key."""
        return self._api.Encryptor(self._context, self.public_key(words, scratch))

    def symmetric_encryptor(self, words: Words, scratch: Scratch) -> Any:
        """SEAL's encryptor under a secret key."""
        return self._api.Encryptor(self._context, self.secret_key(words, scratch))

    def decryptor(self, words: Words, scratch: Scratch) -> Any:
        """SEAL's decryptor."""
        return self._api.Decryptor(self._context, self.secret_key(words, scratch))

    def _read(self, cipher: Any, scratch: Scratch, out: Words) -> None:
        cipher.save(scratch.path)
        content = body(scratch.read())
        if content is None:
            out.reshape(-1)[:] = _elements(cipher)
        else:
            out.reshape(-1)[:] = np.frombuffer(content[-out.nbytes :], dtype="<u8")

    def _load(self, thing: Any, scratch: Scratch, head: bytes, words: Words, tail: bytes = b"") -> None:
        raw = np.ascontiguousarray(words, dtype="<u8").reshape(-1).view(np.uint8).data
        scratch.write(head, raw, tail)
        try:
            thing.load(self._context, scratch.path)
        except (RuntimeError, ValueError) as error:
            raise ParameterError(f"SEAL refuses what it was given: {error}") from None


def _elements(polynomials: Any) -> Words:
    # The array lives within the polynomials: the caller holds on to what they are part of.
    array = polynomials.dyn_array()
    return np.array([array.at(place) for place in range(array.size())], dtype=np.uint64)


@lru_cache(maxsize=4)
def engine(chosen: CkksSet) -> Engine:
    """The engine of a parameter set, made once per process. Raises `ParameterError` without TenSEAL."""
    return Engine(chosen)
