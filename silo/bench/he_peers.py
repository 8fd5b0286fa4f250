"""What other libraries take for one weight of a Paillier sum: one encryption, three additions, one decryption.

They are sampled and extrapolated: at a million weights phe would take hours.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np

from silo.errors import ParameterError

_ADDITIONS: Final = 3
SAMPLE: Final = 24


def phe_sum(bits: int) -> Callable[[], float]:
    """python-paillier: a number in a ciphertext. Returns a function that gives seconds of one core per weight."""
    phe: Any = import_module("phe")
    public, private = phe.generate_paillier_keypair(n_length=bits)
    values = [float(value) for value in np.random.default_rng(1).uniform(-1, 1, SAMPLE)]

    def work() -> None:
        summands = [[public.encrypt(value) for value in values]]
        for place in range(len(values)):
            total = summands[0][place]
            for _ in range(_ADDITIONS):
                total = total + summands[0][place]
            private.decrypt(total)

    return _per_weight(work, SAMPLE)


def heu_batch(bits: int) -> Callable[[], float]:
    """sf-heu with its batch encoder, which packs what fits the width that it is given."""
    kit, encoder = _heu(bits)
    values = [int(value) for value in np.random.default_rng(1).integers(-(2**31), 2**31, SAMPLE)]
    batch = encoder()
    pairs = list(zip(values[::2], values[1::2], strict=True))

    def work() -> None:
        encrypt, add, decrypt = kit.encryptor(), kit.evaluator(), kit.decryptor()
        sent = [encrypt.encrypt(batch.encode(one, other)) for one, other in pairs]
        for cipher in sent:
            total = cipher
            for _ in range(_ADDITIONS):
                total = add.add(total, cipher)
            batch.decode(decrypt.decrypt(total))

    return _per_weight(work, SAMPLE)


def heu_packed(bits: int, slots: int, width: int) -> Callable[[], float]:
    """sf-heu fed with the same packed integers as ours, made beforehand: packing costs it nothing here."""
    kit, _ = _heu(bits)
    rng = np.random.default_rng(1)
    packed = [int.from_bytes(rng.bytes(slots * width // 8 - 1), "little") for _ in range(SAMPLE)]

    def work() -> None:
        encrypt, add, decrypt = kit.encryptor(), kit.evaluator(), kit.decryptor()
        sent = [encrypt.encrypt_raw(one) for one in packed]
        for cipher in sent:
            total = cipher
            for _ in range(_ADDITIONS):
                total = add.add(total, cipher)
            decrypt.decrypt_raw(total)

    return _per_weight(work, SAMPLE * slots)


def _heu(bits: int) -> tuple[Any, Callable[[], Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            heu: Any = import_module("heu.phe")
        except ModuleNotFoundError:
            raise ParameterError(
                "the comparison needs sf-heu: run `pip install '.[bench-he]'` in Silo's source folder, then try again"
            ) from None
    kit = heu.setup(heu.SchemaType.ZPaillier, bits)
    return kit, kit.batch_integer_encoder


def _per_weight(work: Callable[[], None], weights: int) -> Callable[[], float]:
    def once() -> float:
        begun = time.process_time()
        work()
        return (time.process_time() - begun) / weights

    return once


def per_weight(sides: Sequence[Callable[[], float]], repeats: int) -> list[float]:
    """Medians of all sides, taken in turn; seconds of one core per weight."""
    found: list[list[float]] = [[] for _ in sides]
    for turn in range(repeats + 1):
        order = range(len(sides)) if turn % 2 == 0 else reversed(range(len(sides)))
        for place in order:
            seconds = sides[place]()
            if turn:
                found[place].append(seconds)
    return [float(np.median(one)) for one in found]
