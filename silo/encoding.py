"""How the charter's figures turn a value into ring words, and what that costs on the wire."""

from __future__ import annotations

import numpy as np

from silo.charter import SUMS, Charter, Task
from silo.crypto.ring import Exact, FixedPoint, Ring
from silo.errors import NotAllowed, ParameterError
from silo.protocols.total import MAX_WEIGHT, WEIGHT_UNIT
from silo.values import Layout


def choose(
    charter: Charter, task: Task, layout: Layout, *, weighted: bool, clip: float | None
) -> tuple[FixedPoint | Exact, float]:
    """The encoder of a value, and the largest weight. Raises `NotAllowed` for a clip beyond the charter's."""
    terms, ring, parties = charter.sum, Ring.of(charter.sum.bits), len(charter.names)
    if layout.kind == "integer":
        return Exact(ring, parties), 1.0
    limit = terms.clip if clip is None else float(clip)
    if not 0 < limit <= terms.clip:
        raise NotAllowed("a clip beyond the charter's", terms.clip, clip)
    heaviest = float(min(task.rows, MAX_WEIGHT)) if weighted else 1.0
    return FixedPoint(ring, limit, parties, heaviest), heaviest


def rounded_weight(weight: float, heaviest: float) -> float:
    """A weight as it travels. Raises `ParameterError`, `NotAllowed`."""
    if not np.isfinite(weight) or weight < 0:
        raise ParameterError(f"a weight is a number of at least 0, not {weight}")
    if weight > heaviest:
        raise NotAllowed("a weight beyond the task's rows", f"{heaviest:g}", f"{weight:g}")
    return round(float(weight) * WEIGHT_UNIT) / WEIGHT_UNIT


def describe(encoder: FixedPoint | Exact, *, weighted: bool) -> str:
    """What the members must have alike."""
    if isinstance(encoder, Exact):
        return f"integers in {encoder.ring.bits} bits"
    weights = f", weights to {encoder.max_weight:g}" if weighted else ""
    return f"fixed point in {encoder.ring.bits} bits, |x| <= {encoder.clip!r}{weights}"


def coming(charter: Charter, length: int) -> int:
    """Bytes that a sum of so many values is about to send, at most."""
    terms, kind = charter.sum, SUMS[charter.sum.protocol]
    return kind.fixed + int(length * Ring.of(terms.bits).wire_bytes * kind.expansion)
