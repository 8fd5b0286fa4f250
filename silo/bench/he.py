"""The homomorphic sums: Paillier and CKKS beside other libraries, the lattice, and whole rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from typing import Any, Final

import numpy as np

from silo.bench import Measurement, Row, Settings
from silo.bench.he_peers import heu_batch, heu_packed, per_weight, phe_sum
from silo.bench.measure import Run, Timing
from silo.bench.processes import federation
from silo.crypto import powers
from silo.crypto.ckks import comparison
from silo.crypto.lattice import decryption
from silo.crypto.lattice import keys as lattice_keys
from silo.crypto.lattice import vector as lattice
from silo.crypto.paillier import keys, products, slots, subgroup, vector
from silo.crypto.paillier.keys import PrivateKey
from silo.crypto.rng import SystemRng
from silo.crypto.secret import Secret
from silo.errors import ParameterError

_BITS: Final = 32
_SAMPLE: Final = 8192
"""Weights of our own Paillier sums in one sample."""
_SUMMANDS: Final = 4
_ROWS: Final = 1000


def _words(count: int) -> Any:
    return np.random.default_rng(1).integers(0, 2**_BITS // _SUMMANDS, count, dtype=np.uint32)


def _sum(key: PrivateKey, count: int) -> Callable[[], float]:
    """One encryption, three additions, one decryption, in seconds of one core per weight; checked bit for bit."""
    words, rng = _words(count), SystemRng()
    vector.encrypt(words[:8], key.public, _BITS, rng=rng)  # the table of powers is made once for a key

    def once() -> float:
        begun = time.process_time()
        payload = vector.encrypt(words, key.public, _BITS, rng=rng)
        total = vector.Sum(key.public, count, _BITS)
        for _ in range(_SUMMANDS):
            total.add(payload)
        found = vector.decrypt(total.payload(), key, count, _BITS, summands=_SUMMANDS, threads=1)
        seconds = time.process_time() - begun
        if not np.array_equal(found, words * np.uint32(_SUMMANDS)):
            raise ParameterError("a Paillier sum is not the sum of the words")
        return seconds / count

    return once


def sums(settings: Settings) -> Iterator[Row]:
    """Paillier end to end, beside phe and sf-heu; every side on one core, in turn."""
    bars = {2048: (200, 30, 1.1, 600, 3), 3072: (350, 48, 1.1, 1400, 4)}
    for bits, (against_phe, against_batch, against_packed, small_phe, small_packed) in bars.items():
        rng, each = SystemRng(), slots.slots(bits, _BITS)
        sides = [
            _sum(keys.generate(bits, rng=rng), _SAMPLE),
            _sum(subgroup.generate(bits, rng=rng), _SAMPLE),
            phe_sum(bits),
            heu_batch(bits),
            heu_packed(bits, each, _BITS),
        ]
        ours, small, phe, batch, packed = per_weight(sides, settings.slow_repeats)
        note = (
            f"microseconds per weight: ours {ours * 1e6:.4g}, subgroup {small * 1e6:.4g}, phe {phe * 1e6:.5g}, "
            f"sf-heu's batch encoder {batch * 1e6:.5g}, sf-heu fed packed integers {packed * 1e6:.4g}"
        )
        for name, value, bound, against in (
            ("a sum", phe / ours, against_phe, "phe"),
            ("a sum", batch / ours, against_batch, "sf-heu with its batch encoder"),
            ("a sum", packed / ours, against_packed, "sf-heu fed the same packed integers"),
            ("a sum under a subgroup key", phe / small, small_phe, "phe"),
            (
                "a sum under a subgroup key",
                packed / small,
                small_packed,
                "sf-heu fed the same packed integers",
            ),
        ):
            yield Row(
                name=f"paillier, {bits} bits: {name}",
                value=value,
                unit="times as fast",
                against=against,
                bound=bound,
                direction="at least",
                note=note,
            )


def bytes_and_cores(settings: Settings) -> Iterator[Row]:
    """Bytes of a weight, and what two cores gain."""
    key, rng, count = keys.generate(2048, rng=SystemRng()), SystemRng(), settings.length // 25
    words = _words(count)
    yield Row(
        name="paillier, 2048 bits: bytes per weight",
        value=vector.payload_bytes(key.public, count, _BITS) / count,
        unit="bytes",
        against="slots of 32 bits",
        bound=8.2,
        direction="at most",
    )
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        two_ways = partial(vector.encrypt, words, key.public, _BITS, rng=rng, parts=2, run=pool.map)
        list(
            pool.map(
                vector.encrypt_part,
                [vector.Job(int(key.public.n), int(key.public.h_s), [1], bytes(32), 512)] * 8,
            )
        )
        two_ways()
        one, two = _walls(settings, partial(vector.encrypt, words, key.public, _BITS, rng=rng), two_ways)
    yield _gain("encryption by two processes", one, two)
    total = vector.Sum(key.public, count, _BITS)
    total.add(vector.encrypt(words, key.public, _BITS, rng=rng))
    decrypt = partial(vector.decrypt, total.payload(), key, count, _BITS, summands=1)
    one, two = _walls(settings, partial(decrypt, threads=1), partial(decrypt, threads=2))
    yield _gain("decryption on two threads", one, two)


def _walls(settings: Settings, *sides: Callable[[], object]) -> list[Timing]:
    from silo.bench.measure import alternate, timed

    return list(alternate([timed(side) for side in sides], repeats=settings.slow_repeats))


def _gain(name: str, one: Timing, two: Timing) -> Row:
    return Row(
        name=f"paillier, 2048 bits: {name}",
        value=one.median / two.median,
        unit="times as fast",
        against="one core",
        bound=1.7,
        direction="at least",
        sides={"one core": one, "two cores": two},
    )


def tables(settings: Settings) -> Iterator[Row]:
    """A product with a table of 16-bit numbers, and histograms with two numbers in a ciphertext."""
    phe: Any = import_module("phe")
    rng, generator = SystemRng(), np.random.default_rng(2)
    key = keys.generate(2048, rng=rng)
    public = phe.PaillierPublicKey(int(key.public.n))
    table = generator.integers(-(2**15), 2**15, (_ROWS, 4))
    g, h = generator.integers(0, 2**24, (2, _ROWS))
    job = vector.Job(int(key.public.n), int(key.public.h_s), products.pairs(g, h), rng.bytes(32), 512)
    ciphers = vector.read(vector.encrypt_part(job), key.public, _ROWS)
    theirs = [phe.EncryptedNumber(public, int(one), 0) for one in ciphers]
    few = 50

    def cell() -> float:
        return _cpu(lambda: products.matrix(ciphers, table, key.public), table.size)

    def phe_cell() -> float:
        def work() -> None:
            total = 0
            for one, value in zip(theirs[:few], table[:few, 0].tolist(), strict=True):
                total = one * value + total

        return _cpu(work, few)

    bins = generator.integers(0, 32, (_ROWS, 4))

    def ours() -> float:
        return _cpu(lambda: products.histogram(ciphers, bins, [32] * 4, key.public), bins.size)

    def phe_bins() -> float:
        def work() -> None:
            for _ in range(2):  # gradients, then hessians
                sums: dict[int, Any] = {}
                for one, place in zip(theirs, bins[:, 0].tolist(), strict=True):
                    sums[place] = one + sums[place] if place in sums else one

        return _cpu(work, _ROWS)

    heu: Any = import_module("heu.phe")
    kit = heu.setup(heu.SchemaType.ZPaillier, 2048)
    sent = [kit.encryptor().encrypt_raw(int(value)) for value in g[:200]]

    def heu_bins() -> float:
        add = kit.evaluator()

        def work() -> None:
            for _ in range(2):
                sums: dict[int, Any] = {}
                for one, place in zip(sent, bins[: len(sent), 0].tolist(), strict=True):
                    sums[place] = add.add(one, sums[place]) if place in sums else one

        return _cpu(work, len(sent))

    matrix, phe_matrix, bars, phe_bars, heu_bars = per_weight(
        [cell, phe_cell, ours, phe_bins, heu_bins], settings.slow_repeats
    )
    for name, value, bound, against in (
        ("a product with 16-bit numbers, 1,000 rows, per cell", phe_matrix / matrix, 7, "phe"),
        ("histograms, g and h together, per row and feature", phe_bars / bars, 3.2, "phe"),
        ("histograms, g and h together, per row and feature", heu_bars / bars, 2, "sf-heu"),
    ):
        yield Row(
            name=f"paillier, 2048 bits: {name}",
            value=value,
            unit="times as fast",
            against=against,
            bound=bound,
            direction="at least",
            note=f"microseconds: product {matrix * 1e6:.4g} (phe {phe_matrix * 1e6:.4g}); histogram {bars * 1e6:.4g} "
            f"(phe {phe_bars * 1e6:.4g}, sf-heu {heu_bars * 1e6:.4g})",
        )


def _cpu(work: Callable[[], object], cells: int) -> float:
    begun = time.process_time()
    work()
    return (time.process_time() - begun) / cells


def ckks(settings: Settings) -> Iterator[Row]:
    """CKKS beside the setting of NVFlare, on plain TenSEAL."""
    count, rng = settings.length // 10, np.random.default_rng(3)
    floats = [rng.uniform(-1, 1, count) for _ in range(3)]
    found: dict[str, list[comparison.Figures]] = {"theirs": [], "ours": [], "seeded": []}
    for _ in range(max(2, settings.slow_repeats // 2)):
        found["theirs"].append(comparison.plain_tenseal(comparison.NVFLARE, floats, time.process_time))
        found["ours"].append(_ours(floats, seeded=False))
        found["seeded"].append(_ours(floats, seeded=True))
    theirs, ours, seeded = (_typical(found[name]) for name in ("theirs", "ours", "seeded"))
    for name, value, bound, direction in (
        ("bytes", ours.bytes_per_value / theirs.bytes_per_value, 0.57, "at most"),
        ("encryption", theirs.encrypt_seconds / ours.encrypt_seconds, 1.3, "at least"),
        ("decryption", theirs.decrypt_seconds / ours.decrypt_seconds, 1.8, "at least"),
        ("error", ours.relative_error, 1e-7, "at most"),
        ("bytes, symmetric and seeded", seeded.bytes_per_value / theirs.bytes_per_value, 0.29, "at most"),
    ):
        yield Row(
            name=f"ckks [60,49] at 4096, words of 32 bits: {name}",
            value=value,
            unit="of the largest value" if name == "error" else "times",
            against="a fixed bar" if name == "error" else "plain TenSEAL, 8192 [60,40,60]",
            bound=bound,
            direction=direction,  # type: ignore[arg-type]
            note=f"ours {ours.bytes_per_value:.2f} bytes, theirs {theirs.bytes_per_value:.2f} a value",
        )


def _ours(floats: list[Any], *, seeded: bool) -> comparison.Figures:
    return comparison.this_package(_BITS, floats, time.process_time, rng=SystemRng(), with_seeds=seeded)


def _typical(found: list[comparison.Figures]) -> comparison.Figures:
    return sorted(found, key=lambda one: one.encrypt_seconds + one.decrypt_seconds)[len(found) // 2]


def joint(settings: Settings) -> Iterator[Row]:
    """The lattice: three parties, exact, one core."""
    count, rng = settings.length // 10, SystemRng()
    common = lattice_keys.expand(rng.bytes(32))
    shares = [lattice_keys.KeyShare.from_seed(Secret.random(32, rng=rng), common) for _ in range(3)]
    public = lattice_keys.combine(common, [share.public for share in shares])
    words = _words(count)
    total = lattice.Sum(count, _BITS)
    for _ in shares:
        total.add(lattice.encrypt(words, public, _BITS, rng=rng))
    (timing,) = _walls(settings, lambda: decryption.partial(total, shares[0], rng=rng))
    parts = [decryption.partial(total, share, rng=rng) for share in shares]
    found = decryption.fuse(total, parts, _BITS, summands=3)
    seconds = min(timing.median, sum(run.cpu for run in timing.runs) / len(timing.runs))
    yield Row(
        name="lattice: values that differ from the sum of the words",
        value=float(np.count_nonzero(found != words * np.uint32(3))),
        unit="values",
        against=f"{count} values of 3 parties",
        bound=0,
        direction="at most",
    )
    yield Row(
        name="lattice: a partial decryption of a million values",
        value=seconds * 1e6 / count,
        unit="s",
        against="a fixed bar, one core",
        bound=0.5,
        direction="at most",
        sides={"a partial decryption": timing},
    )
    key = keys.generate(2048, rng=rng)
    base, exponent, modulus = (
        powers.number(one) for one in (key.public.h_s, key.order * 2, key.public.square)
    )
    power = _cpu(lambda: [powers.power(base, exponent, modulus) for _ in range(9)], 9)
    yield Row(
        name="lattice: a partial decryption, per value",
        value=power / slots.slots(2048, _BITS) / (seconds / count),
        unit="times as fast",
        against="a share of a threshold Paillier decryption (one full power modulo n^2), packed alike",
        bound=200,
        direction="at least",
        note=f"{power * 1e3:.3g} ms a share of one ciphertext",
    )


def rounds(settings: Settings) -> Iterator[Row]:
    """Whole rounds among three processes over the relay, and the most memory of a process."""
    length = settings.length // 10
    bars = {"paillier": 40.0, "ckks": 6.0, "lattice": 12.0}
    for protocol, bound in bars.items():
        found = federation(3, length, 2, protocol=protocol, key_bits=2048)
        spans = Timing(tuple(Run(ended - begun, 0.0) for begun, ended in found.spans.values()))
        yield Row(
            name=f"{protocol}: a round of {length} float32 among 3 processes",
            value=spans.median,
            unit="s",
            against="a fixed bar, two cores",
            bound=bound,
            direction="at most",
            sides={"rounds": spans},
        )
        yield Row(
            name=f"{protocol}: memory of the largest process",
            value=max(found.memory.values()) / 2**30,
            unit="GiB",
            against="a fixed bar",
            bound=1.5,
            direction="at most",
        )


MEASUREMENTS: Final[tuple[Measurement, ...]] = (sums, bytes_and_cores, tables, ckks, joint, rounds)
