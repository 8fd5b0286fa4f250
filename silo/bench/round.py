"""A full secure mean among processes over the relay, against the same exchange with the masks off."""

from __future__ import annotations

from collections.abc import Iterator

from silo.bench import Row, Settings
from silo.bench.measure import Run, Timing
from silo.bench.plain import masked
from silo.bench.processes import ALTERNATE, federation

_MEMBERS = 5


def secure_mean_over_the_relay(settings: Settings) -> Iterator[Row]:
    """Five member processes and a relay on loopback, mutual TLS, vectors of `settings.length` float32."""
    rounds = 2 * (settings.repeats + 1)
    spans = federation(_MEMBERS, settings.length, rounds, protocol=ALTERNATE).spans
    sides: dict[bool, list[Run]] = {True: [], False: []}
    for number, (begun, ended) in sorted(spans.items()):
        if number > 2:  # the first of each kind warms up
            sides[masked(number)].append(Run(ended - begun, 0.0))
    ours, plain = Timing(tuple(sides[True])), Timing(tuple(sides[False]))
    yield Row(
        name=f"a secure mean among {_MEMBERS} processes over the relay",
        value=ours.median / plain.median,
        unit="times its time",
        against="the same exchange with the masks off",
        bound=1.5,
        direction="at most",
        sides={"masked": ours, "masks off": plain},
        note=f"{settings.length} float32 each way for each member, mutual TLS on loopback",
    )
