"""The bars of the masked sum. Each function below measures one of them; `MEASUREMENTS` is their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from silo.bench import Measurement, Row, Settings, flower_peer
from silo.bench.flower_peer import CLIP, EXAMPLES, MAX_WEIGHT, NoFlower, Peer
from silo.bench.machine import usable_cores
from silo.bench.measure import Run, Timing, alternate, timed
from silo.bench.round import secure_mean_over_the_relay
from silo.crypto import prg, shamir
from silo.crypto.masking import Plain, Seeds
from silo.crypto.ring import FixedPoint, Ring
from silo.crypto.rng import SystemRng
from silo.crypto.secret import Secret
from silo.crypto.signing import SigningKey
from silo.protocols.envelope import Bearings, seal
from silo.protocols.secagg import vector
from silo.protocols.secagg.messages import Upload
from silo.protocols.secagg.parameters import Parameters

_RAW_CHUNKS: Final = tuple(2**bits for bits in range(14, 21))
"""Buffers of the raw keystream, 16 KiB to 1 MiB: the limit is the best of them."""
_THREADED_CHUNK: Final = 2**19
_NEIGHBOURS: Final = 9
_SESSION_THREADS: Final = 4
"""What `silo.join` takes at most, unless it is told otherwise."""
_SHARES: Final = 100
_THRESHOLD: Final = 67
_SHARED_PER_RUN: Final = 20
_RECOVERED_PER_RUN: Final = 500


def masking_against_keystream(settings: Settings) -> Iterator[Row]:
    """Masks into 32-bit words, against making as many bytes of keystream and throwing them away."""
    for neighbours in (9, 19):
        work = partial(_mask, _words(settings), _seeds(neighbours), threads=1)
        size = neighbours * settings.length * 4
        sides = [timed(work), *(timed(partial(_keystream, size, chunk)) for chunk in _RAW_CHUNKS)]
        ours, *raw = alternate(sides, repeats=settings.repeats)
        best = min(raw, key=lambda timing: timing.median)
        chunk = _RAW_CHUNKS[raw.index(best)] // 1024
        yield Row(
            name=f"masking with {neighbours} neighbours, one thread",
            value=ours.median / best.median,
            unit="times its time",
            against="the AES-128-CTR keystream alone, its best buffer",
            bound=1.5,
            direction="at most",
            sides={"masking": ours, f"keystream, {chunk} KiB": best},
            note=f"{_rate(size, ours)} against {_rate(size, best)}",
        )


def two_threads(settings: Settings) -> Iterator[Row]:
    """The same masks by two threads.

    What two threads gain on the bare keystream is told beside it: two cores of a virtual machine can be one
    of metal, and then nothing gains more.
    """
    acc, seeds = _words(settings), _seeds(_NEIGHBOURS)
    size = _NEIGHBOURS * settings.length * 4

    def keystream(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(_keystream, [size // threads] * threads, [_THREADED_CHUNK] * threads))

    works: list[Callable[[], None]] = [
        partial(_mask, acc, seeds, threads=1),
        partial(_mask, acc, seeds, threads=2),
    ]
    works += [partial(keystream, 1), partial(keystream, 2)]
    one, two, raw_one, raw_two = alternate([timed(work) for work in works], repeats=settings.repeats)
    yield Row(
        name=f"masking with {_NEIGHBOURS} neighbours, two threads",
        value=one.median / two.median,
        unit="times as fast",
        against="one thread",
        bound=1.4,
        direction="at least",
        sides={
            "one thread": one,
            "two threads": two,
            "keystream, one thread": raw_one,
            "keystream, two threads": raw_two,
        },
        note=f"the bare keystream gains {raw_one.median / raw_two.median:.2f} here; "
        f"{usable_cores()} cores, of which two threads had {two.cores:.2f}",
    )


def step_against_flower(settings: Settings) -> Iterator[Row]:
    """A party's whole step: encode floats, one self-mask and the neighbours' masks, the bytes to be sent.

    Each as it comes: Silo on the threads that a session takes, Flower on the one that it has. Silo on one
    thread is measured beside it, and both ratios are told.
    """
    threads = min(_SESSION_THREADS, usable_cores())
    row = partial(
        Row,
        name=f"a party's whole step with {_NEIGHBOURS} neighbours",
        unit="times as fast",
        against="Flower's SecAgg+ functions",
        bound=15.0,
        direction="at least",
    )
    parameters, plain, seeds = _parameters(settings), _plain(settings), _seeds(_NEIGHBOURS + 1)

    def ours(threads: int) -> None:
        vector.mask(plain, parameters, seeds, rng=SystemRng(), threads=threads)

    try:
        with Peer(flower_peer.interpreter()) as peer:
            sent: list[int] = []

            def theirs() -> Run:
                wall, cpu, size = peer.step(settings.length, _NEIGHBOURS)
                sent.append(size)
                return Run(wall, cpu)

            together, alone, flower = alternate(
                [timed(partial(ours, threads)), timed(partial(ours, 1)), theirs],
                repeats=settings.slow_repeats,
            )
    except NoFlower as problem:
        yield row(value=None, note=str(problem))
        return
    yield row(
        value=flower.median / together.median,
        sides={
            f"silo, threads of a session ({threads})": together,
            "silo, one thread": alone,
            f"flwr {peer.version}, its one thread": flower,
        },
        note=f"{flower.median / alone.median:.3g} times as fast on one thread; "
        f"{parameters.payload_bytes / settings.length:.2f} bytes a value, "
        f"Flower {sent[-1] / settings.length:.2f}",
    )


def upload_bytes(settings: Settings) -> Iterator[Row]:
    """A whole signed frame, against the b bits a value that a masked vector cannot be without."""
    for bits in (24, 32):
        parameters = _parameters(settings, bits)
        payload = vector.mask(
            _plain(settings, bits), parameters, _seeds(_NEIGHBOURS), rng=SystemRng(), threads=1
        )
        frame = seal(
            Upload(payload),
            Bearings("secagg", parameters.digest(), bytes(32), 1),
            sender="party-01",
            recipient="relay",
            signer=SigningKey.generate(rng=SystemRng()),
            note=bytes(2),
        ).frame
        yield Row(
            name=f"bytes of an upload, {bits} bits",
            value=len(frame) / (settings.length * bits / 8),
            unit="times its bytes",
            against=f"{bits} bits a value",
            bound=1.01,
            direction="at most",
            note=f"{len(frame)} bytes with head, header and signature",
        )


def secret_sharing(settings: Settings) -> Iterator[Row]:
    """Shares of one 32-byte secret, and its recovery once the weights of these holders are known."""
    rng, points = SystemRng(), range(1, _SHARES + 1)
    secret = Secret.random(shamir.SECRET_BYTES, rng=rng)
    held = shamir.share(secret, threshold=_THRESHOLD, points=points, rng=rng)[-_THRESHOLD:]

    def give() -> None:
        for _ in range(_SHARED_PER_RUN):
            shamir.share(secret, threshold=_THRESHOLD, points=points, rng=rng)

    def take() -> None:
        for _ in range(_RECOVERED_PER_RUN):
            shamir.recover(held, _THRESHOLD)

    shared, recovered = alternate([timed(give), timed(take)], repeats=settings.repeats)
    what = f"{_THRESHOLD} of {_SHARES}"
    for name, timing, count, bound in (
        (f"sharing a secret, {what}", shared, _SHARED_PER_RUN, 3.0),
        (f"recovering a secret, {what}, weights cached", recovered, _RECOVERED_PER_RUN, 0.1),
    ):
        yield Row(
            name=name,
            value=timing.median / count * 1000,
            unit="ms",
            against="a fixed bar",
            bound=bound,
            direction="at most",
            sides={f"{count} secrets": timing},
        )


# A measurement that fills a file of its own is one import above and one line here.
MEASUREMENTS: Final[tuple[Measurement, ...]] = (
    masking_against_keystream,
    two_threads,
    step_against_flower,
    upload_bytes,
    secret_sharing,
    secure_mean_over_the_relay,
)


def _words(settings: Settings) -> npt.NDArray[np.uint32]:
    return np.ones(settings.length, np.uint32)


def _seeds(count: int) -> Seeds:
    """Fresh seeds, half of them added and half subtracted, as among neighbours."""
    drawn = [Secret.random(prg.SEED_BYTES, rng=SystemRng()) for _ in range(count)]
    return Seeds(plus=tuple(drawn[::2]), minus=tuple(drawn[1::2]))


def _mask(acc: npt.NDArray[Any], seeds: Seeds, *, threads: int) -> None:
    prg.accumulate(acc, plus=seeds.plus, minus=seeds.minus, threads=threads)


def _keystream(count: int, chunk: int) -> None:
    """Make at least `count` bytes into one buffer, with the cipher that the masks use and nothing else."""
    zeros, target = memoryview(bytes(chunk)), prg.scratch(chunk).data
    key, counter = bytes(16), bytes(16)
    update = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update_into
    for _ in range(0, count, chunk):
        update(zeros, target)


def _parameters(settings: Settings, bits: int = 32) -> Parameters:
    parties = _NEIGHBOURS + 1
    return Parameters(
        parties=parties,
        threshold=2 * parties // 3 + 1,
        minimum_cohort=parties,
        colluders=0,
        bits=bits,
        length=settings.length,
        blinded=False,
        degree=0,
        binding=bytes(32),
    )


def _plain(settings: Settings, bits: int = 32) -> Plain:
    encoder = FixedPoint(Ring.of(bits), clip=CLIP, parties=_NEIGHBOURS + 1, max_weight=MAX_WEIGHT)
    return Plain((flower_peer.values(settings.length),), encoder, weight=EXAMPLES)


def _rate(count: int, timing: Timing) -> str:
    return f"{count / timing.median / 1e9:.2f} GB/s"
