"""Drawing the k-regular graph: everybody commits to a nonce, everybody opens it, all nonces give the seed.

The graph is drawn only from the openings of everybody in the directory. Whoever withholds one makes the draw
fail, and the round with it, before any input was used: that is the only choice that a malicious aggregator or
a last revealer has, and each redraw costs them a whole round, in which fresh nonces are committed.
"""

from __future__ import annotations

from silo.crypto import labels
from silo.protocols.errors import InconsistentSets, TooFewParties
from silo.protocols.secagg import graph
from silo.protocols.secagg.context import Context
from silo.protocols.secagg.directory import Advertised
from silo.protocols.secagg.messages import Reveal, Reveals


def commit(context: Context, name: str, nonce: bytes) -> bytes:
    """The commitment that `name` advertises."""
    return graph.commitment(nonce, context.info(labels.GRAPH_COMMITMENT, name))


def complete(directory: Advertised) -> dict[str, frozenset[str]]:
    """Everybody beside everybody."""
    names = directory.names
    return {name: names - {name} for name in names}


def check(context: Context, directory: Advertised, name: str, message: Reveal) -> None:
    """Check one opening. Raises `InconsistentSets`."""
    if message.directory != directory.digest:
        raise InconsistentSets(
            f"{name} was shown another directory", culprits=(context.aggregator, name), round=context.round
        )
    if name not in directory.entries or commit(context, name, message.nonce) != directory.entries[name].graph_commitment:
        raise InconsistentSets(f"{name}'s opening is not what it committed to", culprits=(name,), round=context.round)


def draw(context: Context, directory: Advertised, message: Reveals) -> dict[str, frozenset[str]]:
    """The neighbours of each member. Raises `ProtocolViolation`, or `TooFewParties` if an opening is missing."""
    opened = context.open_all(message.reveals, Reveal)
    for name, one in opened.items():
        check(context, directory, name, one.message)
    missing = sorted(directory.names - opened.keys())
    if missing:
        raise TooFewParties(len(directory.names), opened, "the draw of the graph", missing)
    nonces = {name: one.message.nonce for name, one in opened.items()}
    seed = graph.seed_of(nonces, context.info(labels.GRAPH, directory.digest))
    degree = min(context.parameters.degree, len(nonces) - 1)
    if degree == len(nonces) - 1:
        return complete(directory)
    drawn = graph.neighbours(seed, sorted(nonces), degree)
    return {name: frozenset(beside) for name, beside in drawn.items()}
