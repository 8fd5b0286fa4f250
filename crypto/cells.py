"""Products of ciphertexts for each bin of many features, with few multiplications; modulo any number.

Features are joined: rows that fall into the same cell of two features are multiplied once, and the two histograms are
made from the cells. Among many rows two features of 32 bins then cost little more than one, and many of few bins hardly
anything. Which features are joined is found as Huffman's code is: the two with the fewest cells first, as long as that
saves multiplications. Tried and left out, as it gained nothing beside this: to divide the fullest bin out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from silo.crypto import powers
from silo.crypto.errors import ParameterError
from silo.crypto.histograms import Payload, Run, Terms, check_node, ciphertexts

Labels = npt.NDArray[np.int64]
_DENSE: Final = 8
"""Up to so many cells a row, a table of all cells is faster than sorting."""
_WORTH_JOINING: Final = 32
"""Joining takes the time of some n / 32 multiplications."""


@dataclass(frozen=True, slots=True, repr=False)
class Cluster:
    """Features that are added up together. `labels` says into which of `cells` each row (or cell above) falls.

    A single feature has its number, its number of bins, and which bin each cell is.
    """

    labels: Labels
    cells: int
    within: tuple[Cluster, ...] = ()
    feature: int = -1
    bins: int = 0
    place: Labels | None = None

    def leaves(self) -> Iterator[Cluster]:
        """The single features, in the order in which their sums come."""
        if not self.within:
            yield self
        for one in self.within:
            yield from one.leaves()

    def work(self) -> int:
        """Multiplications that it takes, about."""
        return len(self.labels) - self.cells + sum(one.work() for one in self.within)


@dataclass(frozen=True, slots=True, repr=False)
class Job:
    """What one process multiplies: the rows of a node, and the clusters that are its part."""

    modulus: int
    width: int
    rows: bytes
    clusters: tuple[Cluster, ...]


def histogram(
    payload: Payload,
    width: int,
    modulus: int,
    terms: Terms,
    node: npt.NDArray[np.int64],
    codes: npt.NDArray[Any],
    bins: Sequence[int],
    *,
    parts: int,
    run: Run,
) -> bytes:
    """The products of a node's ciphertexts for all bins of all features, each of `width` bytes.

    Raises `ParameterError` for rows, bins or lengths that do not fit.
    """
    if len(payload) % width:
        raise ParameterError(f"a ciphertext has {width} bytes, and {len(payload)} are no multiple")
    n = len(payload) // width
    check_node(terms, n, node, codes, bins)
    ciphertexts(sum(bins), 1)
    rows = np.frombuffer(payload, np.uint8).reshape(n, width)[node].tobytes()
    todo = jobs(rows, width, modulus, codes[node], bins, parts)
    return assembled(list(run(multiply_part, todo)), todo, width)


def pieces(raw: bytes, unit: int, parts: int) -> list[bytes]:
    """The bytes in at most so many pieces, each of whole units but the last."""
    units = -(-len(raw) // unit)
    step = unit * max(1, -(-units // max(1, parts)))
    return [raw[at : at + step] for at in range(0, len(raw), step)]


def plan(codes: npt.NDArray[Any], bins: Sequence[int]) -> list[Cluster]:
    """Clusters that cover all features of (n, features) bins."""
    n = len(codes)
    found = sorted((_single(codes, place, bins[place]) for place in range(len(bins))), key=_size)
    while len(found) > 1:
        joined = _join(found[0], found[1])
        if n - joined.cells <= n // _WORTH_JOINING:
            break
        found = sorted([joined, *found[2:]], key=_size)
    return found


def jobs(
    rows: bytes, width: int, modulus: int, codes: npt.NDArray[Any], bins: Sequence[int], parts: int
) -> list[Job]:
    """The work on a node in at most so many parts of about the same size."""
    shares: list[list[Cluster]] = [[] for _ in range(max(1, parts))]
    done = [0] * len(shares)
    for cluster in sorted(plan(codes, bins), key=Cluster.work, reverse=True):
        least = done.index(min(done))
        shares[least].append(cluster)
        done[least] += cluster.work() + 1
    return [Job(modulus, width, rows, tuple(share)) for share in shares if share]


def multiply_part(job: Job) -> bytes:
    """The products of one part: those of each leaf of each cluster, all bins, in the order of the leaves."""
    modulus = powers.number(job.modulus)
    items = read(job.rows, job.width)
    made: dict[int, list[Any]] = {}
    for cluster in job.clusters:
        _descend(cluster, items, modulus, made)
    return b"".join(
        write(made[leaf.feature], job.width) for cluster in job.clusters for leaf in cluster.leaves()
    )


def assembled(made: Sequence[bytes], todo: Sequence[Job], width: int) -> bytes:
    """The products of all features in their order, from those of the parts."""
    found: dict[int, bytes] = {}
    for raw, job in zip(made, todo, strict=True):
        at = 0
        for cluster in job.clusters:
            for leaf in cluster.leaves():
                found[leaf.feature] = raw[at : at + leaf.bins * width]
                at += leaf.bins * width
    return b"".join(found[feature] for feature in sorted(found))


def folded(values: Sequence[Any], each: int, shift: int, modulus: Any) -> list[Any]:
    """Several plaintexts in one, `shift` bits apart, the first one lowest: by Horner's rule."""
    found, step = [], powers.number(1 << shift)
    for at in range(0, len(values), each):
        piece = values[at : at + each]
        total = piece[-1]
        for value in reversed(piece[:-1]):
            raised = powers.power(total, step, modulus) if total != 1 else total
            total = raised * value % modulus
        found.append(total)
    return found


def read(raw: bytes | bytearray | memoryview, width: int) -> list[Any]:
    """Numbers of so many bytes, little-endian."""
    return [powers.number(int.from_bytes(raw[at : at + width], "little")) for at in range(0, len(raw), width)]


def write(values: Sequence[Any], width: int) -> bytes:
    """Numbers as bytes."""
    return b"".join([int(value).to_bytes(width, "little") for value in values])


def _size(cluster: Cluster) -> int:
    return cluster.cells


def _single(codes: npt.NDArray[Any], feature: int, bins: int) -> Cluster:
    labels, present = _dense(codes[:, feature].astype(np.int64), bins)
    return Cluster(labels, len(present), feature=feature, bins=bins, place=present)


def _join(one: Cluster, other: Cluster) -> Cluster:
    labels, present = _dense(one.labels * other.cells + other.labels, one.cells * other.cells)
    first = replace(one, labels=present // other.cells)
    second = replace(other, labels=present % other.cells)
    return Cluster(labels, len(present), (first, second))


def _dense(keys: Labels, space: int) -> tuple[Labels, Labels]:
    """The keys numbered from 0 without gaps, and what they were."""
    if space > _DENSE * len(keys) + _DENSE:
        present, labels = np.unique(keys, return_inverse=True)
        return labels.astype(np.int64), present
    present = np.flatnonzero(np.bincount(keys, minlength=space)).astype(np.int64)
    number = np.zeros(space, np.int64)
    number[present] = np.arange(len(present))
    return number[keys], present


def _descend(cluster: Cluster, items: list[Any], modulus: Any, made: dict[int, list[Any]]) -> None:
    """The histograms of the features in a cluster, from what falls into its cells."""
    sums: list[Any] = [None] * cluster.cells
    for place, item in zip(cluster.labels.tolist(), items, strict=True):
        old = sums[place]
        sums[place] = item if old is None else old * item % modulus
    if cluster.place is None:
        for one in cluster.within:
            _descend(one, sums, modulus, made)
        return
    whole = [powers.number(1)] * cluster.bins
    for place, value in zip(cluster.place.tolist(), sums, strict=True):
        whole[place] = value
    made[cluster.feature] = whole
