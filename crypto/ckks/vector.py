"""Vectors of whole numbers under CKKS: encrypt, add, decrypt to the exact sum.

A payload is the ciphertexts' coefficients, 8 bytes each, and nothing else: its length follows from the number
of words and their bits, and adding needs no more than NumPy. `parameters.Layout` says how words lie in it.
"""

from __future__ import annotations

from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from silo.crypto.ckks.keys import PrivateKey, PublicKey
from silo.crypto.ckks.parameters import CKKS_4096, CkksSet, Layout, require_summands
from silo.crypto.ckks.scratch import Scratch
from silo.crypto.ckks.seal import Words, engine
from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.ring import Ring
from silo.crypto.rng import Rng

Payload = bytes | bytearray | memoryview
_LIMB: Final = np.uint64(20)
_OUT_OF_RANGE: Final = (
    "the encrypted sum is out of range, so that a summand was not what was agreed: "
    "make a new key and repeat the round"
)


def payload_bytes(public: PublicKey, count: int, bits: int) -> int:
    """Bytes of an encrypted vector of `count` words. Raises `ParameterError` for bits of no use."""
    return Layout(count, bits, public.chosen).payload_bytes


def encrypt(words: npt.NDArray[Any], public: PublicKey, bits: int, *, rng: Rng) -> memoryview:
    """Encrypt words below 2^bits, carried as `Ring.of(bits)` carries them.

    `rng` is not read: SEAL draws fresh randomness from the operating system for each ciphertext. Raises
    `ParameterError` for another dtype or a word beyond its bits.
    """
    layout = Layout(words.size, bits, public.chosen)
    places = to_places(words, layout)
    out = np.empty((layout.ciphertexts, 2, layout.chosen.degree), dtype=np.uint64)
    seal = engine(layout.chosen)
    with Scratch() as scratch:
        key = seal.encryptor(public.words, scratch)
        for ciphertext, values in zip(out, places, strict=True):
            seal.encrypt(key, to_slots(values, layout), layout.scale, scratch, ciphertext)
    return to_bytes(out)


@final
class Sum:
    """A running sum of payloads under one key, which this class never needs. At most 1024 summands."""

    __slots__ = ("_layout", "_total", "summands")

    def __init__(self, public: PublicKey, count: int, bits: int) -> None:
        self._layout = Layout(count, bits, public.chosen)
        self._total: Words = np.zeros(0, dtype=np.uint64)
        self.summands = 0

    def add(self, payload: Payload) -> None:
        """Add a payload. Raises `ParameterError`, and changes nothing, for one that is none.

        That is another length, a coefficient beyond the modulus, or a ciphertext that hides nothing. What is
        well-formed but under another key or out of range shows when the sum is decrypted.
        """
        require_summands(self.summands + 1)
        received = parse(payload, self._layout)
        if self.summands:
            add_mod(self._total, received, self._layout.chosen.modulus)
        else:
            self._total = received.copy()
        self.summands += 1

    def payload(self) -> bytes:
        """The encrypted sum. Raises `ParameterError` where nothing was added."""
        if not self.summands:
            raise ParameterError("the sum has no summand yet: add at least one")
        return bytes(to_bytes(self._total))


def decrypt(
    payload: Payload, private: PrivateKey, count: int, bits: int, *, summands: int
) -> npt.NDArray[Any]:
    """Decrypt the sum of exactly `summands` payloads into words of `Ring.of(bits)`: the exact whole numbers.

    Raises `ParameterError` for a payload that is none, and `DecryptionFailed` where any value is further from
    a whole number than honest noise, or out of range, or any ciphertext does not count `summands` (another key,
    a summand lost or added twice, words that overflow). Take a new key after `DecryptionFailed`.
    """
    layout = Layout(count, bits, private.chosen)
    tolerance = layout.tolerance(summands)
    received = parse(payload, layout).copy()
    _add_offsets(received, layout, summands - 1)
    values = np.empty((layout.ciphertexts, layout.chosen.degree))
    seal = engine(layout.chosen)
    with Scratch() as scratch:
        key = seal.decryptor(private.reveal(), scratch)
        for ciphertext, place in zip(received, values, strict=True):
            place[:] = seal.decrypt(key, ciphertext, layout.scale, scratch)
    _turn(values)
    whole = np.rint(values)
    # The negation refuses NaN too.
    if values.size and not float(np.abs(values - whole).max()) <= tolerance:
        raise DecryptionFailed(
            "the encrypted sum is no sum of whole numbers under this key: make a new key and repeat the round"
        )
    whole += layout.offset
    return from_places(whole, layout, summands)


def to_places(words: npt.NDArray[Any], layout: Layout) -> npt.NDArray[np.float64]:
    """Lay words out as numbers of shape (ciphertexts, N): limbs, zeros, and in the last place of each a 1."""
    ring = Ring.of(layout.bits)
    if words.dtype != ring.dtype:
        raise ParameterError(f"words of {ring.bits} bits are carried in {ring.dtype}, not in {words.dtype}")
    flat = words.reshape(-1)
    if flat.size and int(flat.max()) > ring.mask:
        raise ParameterError(f"a word is beyond {ring.bits} bits: reduce the words before")
    width, lines = layout.chosen.values, layout.ciphertexts
    padded = np.zeros(lines * width)
    if layout.limbs == 1:
        padded[: flat.size] = flat
    else:
        padded[: flat.size] = flat & np.uint64((1 << layout.limb_bits) - 1)
        padded[flat.size : 2 * flat.size] = flat >> _LIMB
    places = np.ones((lines, width + 1))
    places[:, :width] = padded.reshape(lines, width)
    return places


def from_places(whole: npt.NDArray[np.float64], layout: Layout, summands: int) -> npt.NDArray[Any]:
    """Read the words of a sum from whole numbers. Raises `DecryptionFailed` for what no sum can be."""
    width = layout.chosen.values
    if not (whole[:, width] == summands).all():
        raise DecryptionFailed(
            f"the encrypted sum does not have the {summands} summands that were announced: "
            "make a new key and repeat the round"
        )
    flat = whole[:, :width].reshape(-1)
    used = layout.count * layout.limbs
    limbs, padding = flat[:used], flat[used:]
    ring = Ring.of(layout.bits)
    top = ring.mask if layout.limbs == 1 else summands * ((1 << layout.limb_bits) - 1)
    if padding.any() or (used and not 0 <= float(limbs.min()) <= float(limbs.max()) <= top):
        raise DecryptionFailed(_OUT_OF_RANGE)
    if layout.limbs == 1:
        return limbs.astype(ring.dtype)
    low, high = limbs[: layout.count].astype(np.uint64), limbs[layout.count :].astype(np.uint64)
    total: npt.NDArray[np.uint64] = low + (high << _LIMB)
    if total.size and int(total.max()) > ring.mask:
        raise DecryptionFailed(_OUT_OF_RANGE)
    return total


def parse(payload: Payload, layout: Layout) -> Words:
    """View a payload as (ciphertexts, 2, N) coefficients. Raises `ParameterError` for what is none."""
    if len(payload) != layout.payload_bytes:
        raise ParameterError(
            f"{layout.count} words of {layout.bits} bits take {layout.payload_bytes} bytes, not {len(payload)}"
        )
    words = np.frombuffer(payload, dtype="<u8").reshape(layout.ciphertexts, 2, layout.chosen.degree)
    if words.size and int(words.max()) >= layout.chosen.modulus:
        raise ParameterError("a ciphertext is not of these parameters: a coefficient is beyond the modulus")
    if not words.any(axis=2).all():
        raise ParameterError("a ciphertext is transparent, so that anybody could read it: it is refused")
    return words


def add_mod(total: Words, more: Words, modulus: int) -> None:
    """Add in place; both below the modulus, which is below 2^63."""
    np.add(total, more, out=total)
    # Below the modulus the subtraction wraps round to something larger.
    np.minimum(total, total - np.uint64(modulus), out=total)


def _add_offsets(ciphertexts: Words, layout: Layout, times: int) -> None:
    """Add `times` the offset (1 + X^(N/2)) to every plaintext: the first polynomial at every root."""
    modulus, half = layout.chosen.modulus, layout.chosen.degree // 2
    shift = layout.offset * layout.scale * times
    first = ciphertexts[:, 0]
    for part, root in ((first[:, :half], layout.chosen.root), (first[:, half:], -layout.chosen.root)):
        constant = np.full(1, shift * (1 + root) % modulus, dtype=np.uint64)
        add_mod(part, constant, modulus)


def to_slots(values: npt.NDArray[np.float64], layout: Layout) -> list[complex]:
    """The slots of one ciphertext, as SEAL takes them."""
    centred = values - layout.offset
    _turn(centred)
    slots: list[complex] = centred.view(np.complex128).tolist()
    return slots


def _turn(values: npt.NDArray[np.float64]) -> None:
    """Negate the imaginary part of every second slot, in place; its own inverse."""
    np.negative(values[..., 3::4], out=values[..., 3::4])


def to_bytes(words: Words) -> memoryview:
    """View coefficients as the bytes that travel."""
    return words.astype("<u8", copy=False).reshape(-1).view(np.uint8).data


__all__ = ["CKKS_4096", "CkksSet", "Payload", "Sum", "decrypt", "encrypt", "payload_bytes"]
