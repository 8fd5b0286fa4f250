"""Split learning over the relay, beside the same network trained in one process.

Two member processes and a relay on loopback with mutual TLS, one thread of torch each, against one process with one
thread: what the protocol, the encryption and the way through the relay add to an epoch. A fit has its roll call in it.
Beside them the same messages over bare sockets through a third process: where these take more than half a batch in one
process, nothing that is built on them keeps the bar.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from silo.bench import Row, Settings
from silo.bench.echo import echoed
from silo.bench.measure import Run, Side, alternate, timed
from silo.bench.processes import FIT, Measured, federation
from silo.bench.split_models import BATCH, SHAPES, Shape
from silo.bench.vertical_member import LABELLED, OWN_COLUMNS, columns

HOST_COLUMNS: Final = 10
EPOCHS: Final = 20
"""As in the demo; the watch's rehearsal, once a fit, is among them."""
BOUND: Final = 1.5
_MICRO: Final = 1
"""In how many parts a batch travels. Two and four were slower on two cores."""


def epochs(settings: Settings) -> Iterator[Row]:
    """An epoch of each network, with exact gradients as in one process, and with labels behind noise."""
    for name in SHAPES:
        yield from _epochs(name, settings)


def _epochs(name: str, settings: Settings) -> Iterator[Row]:
    rows, shape = settings.split, SHAPES[name]
    told: dict[str, Measured] = {}

    def side(noise: str) -> Side:
        def run() -> Run:
            what = f"{FIT}:split:{name}-{noise}/{_MICRO}:{HOST_COLUMNS}"
            found = federation(2, rows, EPOCHS, protocol=what)
            ((begun, ended),) = found.spans.values()
            told[noise] = found
            return Run((ended - begun) / EPOCHS, found.cpu / EPOCHS)

        return run

    least = echoed(4 * BATCH * shape.cut, batches(rows))
    sides = (_alone(rows, shape), side("plain"), side("noised"), least)
    one, plain, noised, wire = alternate(sides, repeats=settings.repeats, warm_up=1)
    added, floor, room = (
        seconds / batches(rows) * 1e3
        for seconds in (plain.median - one.median, wire.median, (BOUND - 1) * one.median)
    )
    hidden = " and ".join(map(str, shape.hidden))
    note = (
        f"{rows:,} rows x ({OWN_COLUMNS} + {HOST_COLUMNS}), bottoms with hidden layers of {hidden}, a cut of "
        f"{shape.cut}; the members add {added:.2f} ms to a batch, where the bar leaves {room:.2f}, and bare sockets "
        f"with two signatures take {floor:.2f}"
    )
    yield Row(
        f"an epoch over the relay, {name} network",
        plain.median / one.median,
        "times",
        "the same network in one process, one thread; batches of 512",
        BOUND,
        "at most",
        {
            "one process": one,
            "two processes": plain,
            "with noise on labels": noised,
            "bare sockets": wire,
        },
        note,
    )
    sent = told["plain"].sent
    host = next(count for who, count in sent.items() if who != LABELLED)
    yield Row(
        f"bytes that the host sends of a row and epoch, {name} network",
        host / rows / EPOCHS,
        "bytes",
        "the formula: 4 bytes a number of the cut, and at most FRAME a message",
        planned(rows, name),
        "at most",
        note=f"the label party sends {sent[LABELLED] / rows / EPOCHS:.1f}",
    )


def batches(rows: int) -> int:
    """Of an epoch."""
    return -(-rows // BATCH)


def planned(rows: int, name: str) -> float:
    """Bytes of a row and epoch in one direction, at most."""
    from silo.protocols.split.terms import FRAME, Terms

    terms = Terms(EPOCHS, BATCH, _MICRO)
    return terms.gradient_bytes(SHAPES[name].cut) + terms.messages(rows) * FRAME / rows


def _alone(rows: int, shape: Shape) -> Side:
    import torch

    from silo.bench import split_models
    from silo.vertical import SplitNetwork

    x = np.hstack([columns(rows, OWN_COLUMNS, 0), columns(rows, HOST_COLUMNS, 1)])
    y = (x[:, 0] + x[:, OWN_COLUMNS] > 0).astype(int)

    def work() -> object:
        torch.set_num_threads(1)
        bottom, top = split_models.joined((OWN_COLUMNS, HOST_COLUMNS), shape), split_models.top(shape)
        return SplitNetwork(bottom=bottom, top=top, epochs=EPOCHS, batch=BATCH).fit(x, y)

    measured = timed(work)

    def side() -> Run:
        run = measured()
        return Run(run.wall / EPOCHS, run.cpu / EPOCHS)

    return side


MEASUREMENTS = (epochs,)
