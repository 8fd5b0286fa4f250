"""Drawing the k-regular graph: everybody commits to a nonce, everybody opens it, all nonces give the seed.

The graph is drawn only from the openings of everybody in the directory. Whoever withholds one makes the draw
fail, and the round with it, before any input was used: that is the only choice that a malicious aggregator or
a last revealer has, and each redraw costs them a whole round, in which fresh nonces are committed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from silo.crypto import labels
from silo.protocols.errors import InconsistentSets, TooFewParties
from silo.protocols.secagg import graph
from silo.protocols.secagg.context import Context
from silo.protocols.secagg.directory import Advertised
from silo.protocols.secagg.messages import Reveal, Reveals


@dataclass(frozen=True, slots=True)
class MaskGraph:
    """Who masks with whom, among those in the directory; `seed` is empty for the complete graph."""

    beside: Mapping[str, frozenset[str]]
    seed: bytes = b""

    def __getitem__(self, name: str) -> frozenset[str]:
        return self.beside[name]

    def require_cover(self, context: Context, alive: Collection[str]) -> None:
        """Refuse survivors between whom the graph could fall apart, colluders included.

        Raises `TooFewParties`.
        """
        if not self.seed:
            return
        parameters = context.parameters
        thin = graph.thinnest(self.seed, context.roster.names, parameters.degree, alive)
        if thin < parameters.threshold:
            missing = sorted(set(context.roster) - set(alive))
            raise TooFewParties(
                parameters.threshold, sorted(alive)[:thin], "the weakest place of the mask graph", missing
            )


def commit(context: Context, name: str, nonce: bytes) -> bytes:
    """The commitment that `name` advertises."""
    return graph.commitment(nonce, context.info(labels.GRAPH_COMMITMENT, name))


def complete(directory: Advertised) -> MaskGraph:
    """Everybody beside everybody."""
    names = directory.names
    return MaskGraph({name: names - {name} for name in names})


def check(context: Context, directory: Advertised, name: str, message: Reveal) -> None:
    """Check one opening. Raises `InconsistentSets`."""
    if message.directory != directory.digest:
        raise InconsistentSets(
            f"{name} was shown another directory", culprits=(context.aggregator, name), round=context.round
        )
    if (
        name not in directory.entries
        or commit(context, name, message.nonce) != directory.entries[name].graph_commitment
    ):
        raise InconsistentSets(
            f"{name}'s opening is not what it committed to", culprits=(name,), round=context.round
        )


def draw(context: Context, directory: Advertised, message: Reveals) -> MaskGraph:
    """Draw the graph over the whole roster, those who are absent included, so that nobody can thin it out.

    Raises `ProtocolViolation`, or `TooFewParties` if an opening is missing.
    """
    opened = context.open_all(message.reveals, Reveal)
    for name, one in opened.items():
        check(context, directory, name, one.message)
    missing = sorted(directory.names - opened.keys())
    if missing:
        raise TooFewParties(len(directory.names), opened, "the draw of the graph", missing)
    nonces = {name: one.message.nonce for name, one in opened.items()}
    seed = graph.seed_of(nonces, context.info(labels.GRAPH, directory.digest))
    drawn = graph.neighbours(seed, context.roster.names, context.parameters.degree)
    here = directory.names
    return MaskGraph({name: frozenset(drawn[name]) & here for name in sorted(here)}, seed)
