"""What the charter fixes for every collective, in the form that the session and the aggregator both read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from silo.charter import Charter
from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.ring import Ring
from silo.protocols.envelope import Bearings
from silo.protocols.errors import TooFewParties
from silo.protocols.he_sum import parameters as he_sum
from silo.protocols.he_sum.context import Context as HeContext
from silo.protocols.rollcall import Present, Term
from silo.protocols.roster import Roster
from silo.protocols.secagg.context import Context
from silo.protocols.secagg.parameters import Parameters

LENGTH = "length"


def session_id(charter: Charter, epoch: str) -> bytes:
    """The session of one life of the relay under one charter; 32 bytes."""
    return hashlib.sha256(labels.bind(labels.SESSION, charter.digest, epoch)).digest()


@dataclass(frozen=True, slots=True)
class Round:
    """One round that the roll call opened: who takes part, and what they agreed on."""

    charter: Charter
    session: bytes
    number: int
    presents: Mapping[str, Present]

    @property
    def agreed(self) -> Present:
        return next(iter(self.presents.values()))

    @property
    def roster(self) -> Roster:
        """All members of the charter: quorum and graph count those who are absent as well."""
        return Roster.of(self.charter.keys)

    @property
    def sums(self) -> bool:
        """Whether a sum follows, or the roll call was all."""
        return any(term.name == LENGTH for term in self.agreed.terms)

    def bearings(self) -> Bearings:
        """Where this round's messages belong."""
        digest = (self.masked() if self.charter.sum.protocol == "masking" else self.encrypted()).digest()
        return Bearings(self.charter.sum.protocol, digest, self.session, self.number)

    @property
    def length(self) -> int:
        """The number of ring words that the members agreed on. Raises `ParameterError` beyond the charter's bytes."""
        words = length(self.agreed.terms)
        most = max(task.bytes for task in self.charter.tasks)
        if words * Ring.of(self.charter.sum.bits).wire_bytes > most:
            raise ParameterError(f"{words} values are more than the {most} bytes that the charter allows")
        return words

    def encrypted(self) -> he_sum.Parameters:
        """The parameters of a homomorphic sum."""
        terms, charter = self.charter.sum, self.charter
        return he_sum.Parameters(
            protocol=terms.protocol,
            parties=len(charter.names),
            threshold=terms.threshold,
            minimum_cohort=terms.minimum_cohort,
            colluders=terms.colluders,
            bits=terms.bits,
            length=self.length,
            holder=terms.key_holder,
            key=bytes.fromhex(terms.key.removeprefix("sha256:")),
            receivers=tuple(name for name in charter.names if charter.receives(name)),
            binding=self.binding(),
        )

    def masked(self) -> Parameters:
        """The parameters of the masked sum: the charter's, and the length that the members agreed on."""
        terms = self.charter.sum
        return Parameters(
            parties=len(self.charter.names),
            threshold=terms.threshold,
            minimum_cohort=terms.minimum_cohort,
            colluders=terms.colluders,
            bits=terms.bits,
            length=self.length,
            blinded=terms.blinded,
            degree=terms.degree,
            binding=self.binding(),
        )

    def masking(self) -> Context:
        """The masked sum's context. Raises `TooFewParties` or `ParameterError`."""
        parameters = self.masked()
        self.check_present(parameters.fewest)
        return Context(self.session, self.number, self.roster, self.charter.relay.name, parameters)

    def encryption(self) -> HeContext:
        """A homomorphic sum's context. Raises `TooFewParties` or `ParameterError`."""
        parameters = self.encrypted()
        self.check_present(parameters.fewest)
        if parameters.holder and parameters.holder not in self.presents:
            raise TooFewParties(
                parameters.fewest,
                sorted(self.presents),
                "the roll call, with the key holder,",
                [parameters.holder],
            )
        channels = {name: one.channel for name, one in self.presents.items()}
        relay = self.charter.relay.name
        return HeContext(self.session, self.number, self.roster, relay, parameters, channels)

    def check_present(self, needed: int) -> None:
        """Raise `TooFewParties` unless so many members are here."""
        if len(self.presents) < needed:
            missing = [name for name in self.charter.names if name not in self.presents]
            raise TooFewParties(needed, sorted(self.presents), "the roll call", missing)

    def binding(self) -> bytes:
        """Digest of all that the members said alike: charter, tag, position, terms, state; 32 bytes."""
        said = self.agreed
        flat: list[bytes | int | str] = [self.charter.digest, said.tag, said.position, said.state]
        for term in said.terms:
            flat += [term.name, term.value]
        return hashlib.sha256(labels.bind(labels.TERMS, *flat)).digest()


def length(terms: tuple[Term, ...]) -> int:
    """The number of ring words that the terms speak of. Raises `ParameterError`."""
    for term in terms:
        if term.name == LENGTH and term.value.isdecimal() and len(term.value) <= 12:
            return int(term.value)
    raise ParameterError("the terms of the collective name no length")
