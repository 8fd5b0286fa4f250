"""Who masks with whom: the k-regular mask graph, and the draw that no single party decides.

Source: Bell, Bonawitz, Gascon, Lepoint and Raykova, "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead", CCS 2020, eprint 2020/704: a Harary graph over a uniformly permuted ring. Two
parties are neighbours when they stand at most degree/2 places apart.

The draw is commit-reveal. Every party sends `commitment(nonce, context)`; when all commitments are in,
every party reveals; the seed is `seed_of` all nonces. One honest nonce makes the seed uniform as long as
the commitments hold (SHA-256: hiding for a uniform nonce of 32 bytes, and binding), so nobody chooses the
graph. The server, and whoever reveals last, can only make the draw *fail* after seeing what it would give.
Hence, for the caller:

- A failed draw is repeated with fresh nonces of everybody and a new context. To go on with the nonces that
  were revealed would let c colluders choose among 2^c seeds by withholding some.
- An adversary who saw D draws has had the best of D: the union bound loses log2(D) bits of privacy
  (`plan(draws=D)`).
- The context names session, draw and, in a commitment, the party, so that no commitment serves twice.
- The ring is of all members that the plan counts, also those who are not there: a server that could shrink
  it by declaring parties absent would raise the share of the corrupt.
- Who is corrupt must be settled before the draw: the graph is public, and protects nobody against an
  adversary who corrupts the neighbours of a chosen party afterwards.

Deviation: in the paper's malicious variant each party picks its own neighbours and checks consistency with
them only; here one seed gives one graph that everybody can recompute, and the consistency check is global
(see `graph_plan`). The graph and the seed are public; only an unrevealed nonce is secret.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.secret import Secret

NONCE_BYTES: Final = 32
SEED_BYTES: Final = 32
_WORD_BYTES: Final = 4


def commitment(nonce: Secret | bytes, context: bytes) -> bytes:
    """Commit to a party's nonce (32 bytes) for one draw; 32 bytes.

    The context names session, draw and party.
    """
    raw = nonce.reveal() if isinstance(nonce, Secret) else nonce
    _require_length(raw, NONCE_BYTES, "a graph nonce")
    return hashlib.sha256(labels.bind(labels.GRAPH_COMMITMENT, context, raw)).digest()


def seed_of(nonces: Mapping[str, bytes], context: bytes) -> bytes:
    """Hash all revealed nonces, by name, into the seed of the graph (32 bytes).

    The caller has compared each nonce with its commitment, and gives the nonces of *every* party that
    committed.
    """
    if not nonces:
        raise ParameterError("the graph cannot be drawn from no nonces; collect one from every member")
    parts: list[bytes | str] = []
    for name in sorted(nonces):
        _require_length(nonces[name], NONCE_BYTES, f"the graph nonce of {name}")
        parts += [name, nonces[name]]
    return hashlib.sha256(labels.bind(labels.GRAPH_SEED, context, *parts)).digest()


def ring(seed: bytes, members: Sequence[str]) -> tuple[str, ...]:
    """Put the members on a ring in uniformly random order: Fisher-Yates over the sorted names.

    For i = n-1 down to 1 the name at place i changes places with that at j, j uniform in 0..i by rejection
    from SHAKE-256(bind(GRAPH, seed)).
    """
    _require_length(seed, SEED_BYTES, "the seed of a graph")
    names = _sorted_names(members)
    words = _words(seed, len(names))
    for i in range(len(names) - 1, 0, -1):
        # The smallest mask that covers i: at worst every second word is rejected, and what is left is
        # uniform.
        mask = (1 << i.bit_length()) - 1
        while (j := next(words) & mask) > i:
            pass
        names[i], names[j] = names[j], names[i]
    return tuple(names)


def neighbours(seed: bytes, members: Sequence[str], degree: int) -> dict[str, tuple[str, ...]]:
    """Give each member its `degree` neighbours, names in sorted order (eprint 2020/704, Harary graph)."""
    _require_degree(degree, len(members))
    order = ring(seed, members)
    n = len(order)
    steps = [step for step in range(-(degree // 2), degree // 2 + 1) if step]
    around = {name: tuple(sorted(order[(i + s) % n] for s in steps)) for i, name in enumerate(order)}
    return {name: around[name] for name in sorted(around)}


def complete(members: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Give each member all the others, in sorted order."""
    names = _sorted_names(members)
    return {name: (*names[:i], *names[i + 1 :]) for i, name in enumerate(names)}


def thinnest(seed: bytes, members: Sequence[str], degree: int, survivors: Collection[str]) -> int:
    """Count the survivors in the weakest place of the graph, where it is nearest to falling apart.

    To cut a group of parties off, a server must empty two disjoint runs of degree/2 places of the ring, one
    on each side of the group; a group of one is a party and its neighbourhood. The result is the least
    number of survivors in any two such runs. A party refuses to sign or unmask a survivor set for which
    this is below the threshold: then fewer than `threshold` colluders there leave at least one honest
    survivor, for *every* set that the server might choose (`graph_plan` says with what probability).
    """
    _require_degree(degree, len(members))
    order = ring(seed, members)
    strangers = set(survivors).difference(order)
    if strangers:
        raise ParameterError(f"{min(strangers)} is not a member of this graph; count members only")
    alive = set(survivors)
    n, half = len(order), degree // 2
    present = np.array([name in alive for name in order], dtype=np.int64)
    summed = np.concatenate([[0], np.cumsum(np.concatenate([present, present]))])
    runs = summed[half : half + n] - summed[:n]  # runs[i]: survivors at places i .. i + half - 1
    # Both gaps between the runs hold a place, and the smaller one at most half of what the runs leave. With
    # degree = n - 1 a party's two sides touch behind it, and the only gap is the party's own place.
    gaps = max(1, (n - degree) // 2)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([runs, runs]), gaps)
    return int((runs + windows[half + 1 : half + 1 + n].min(axis=1)).min())


def _words(seed: bytes, guess: int) -> Iterator[int]:
    """Yield big-endian words of the seed's SHAKE-256 stream; a longer digest continues a shorter one."""
    stream = hashlib.shake_256(labels.bind(labels.GRAPH, seed))
    start, end = 0, guess * _WORD_BYTES
    while True:
        block = stream.digest(end)
        for at in range(start, end, _WORD_BYTES):
            yield int.from_bytes(block[at : at + _WORD_BYTES], "big")
        start, end = end, 2 * end


def _sorted_names(members: Sequence[str]) -> list[str]:
    names = sorted(members)
    if len(names) < 2:
        raise ParameterError(f"a mask graph needs at least 2 members, not {len(names)}")
    for name, following in itertools.pairwise(names):
        if name == following:
            raise ParameterError(f"{name} is listed twice; a mask graph needs each member once")
    return names


def _require_degree(degree: int, members: int) -> None:
    if degree % 2 or not 2 <= degree < members:
        raise ParameterError(
            f"a mask graph of {members} members cannot have degree {degree}; "
            f"take an even degree from 2 to {members - 1}, or the complete graph"
        )


def _require_length(value: bytes, length: int, what: str) -> None:
    if len(value) != length:
        raise ParameterError(f"{what} must have {length} bytes, not {len(value)}")
