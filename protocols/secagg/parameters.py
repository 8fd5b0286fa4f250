"""Public parameters of one masked sum, and the rules that keep them sound.

Complete graph: every pair masks, threshold t with 2t > n + c, c the colluders assumed beside the aggregator.
Then two different survivor sets cannot both be unmasked: each would need t - c honest answers out of n - c.
k-regular graph: t counts among the k neighbours (and the party itself); the one survivor set is held by the
global consistency check, a quorum of more than (n + c) / 2 signatures. `graph_plan` derives k and t.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.ring import Ring
from silo.protocols.codec import MAX_PARTIES
from silo.protocols.total import HEAD_WORDS


@dataclass(frozen=True, slots=True)
class Parameters:
    """One masked sum of `length` ring words among at most `parties` members.

    `binding` is a digest of all else that the members agreed on: charter, task, tag, shapes, encoding, model.
    """

    parties: int
    threshold: int
    minimum_cohort: int
    colluders: int
    bits: int
    length: int
    blinded: bool
    degree: int
    binding: bytes

    def __post_init__(self) -> None:
        n, t, c = self.parties, self.threshold, self.colluders
        Ring.of(self.bits)
        if not 2 <= n <= MAX_PARTIES:
            raise ParameterError(f"a sum takes 2 to {MAX_PARTIES} parties, not {n}")
        if not 0 <= c < n:
            raise ParameterError(f"{c} colluders of {n} parties: between 0 and {n - 1} can be assumed")
        if not 2 <= self.minimum_cohort <= n:
            raise ParameterError(f"a minimum cohort of {self.minimum_cohort} does not fit {n} parties")
        if self.length < 0 or len(self.binding) != 32:
            raise ParameterError("the length is not negative and the binding has 32 bytes")
        if self.degree == 0:
            if not 2 <= t <= n or 2 * t <= n + c:
                raise ParameterError(
                    f"threshold {t} of {n}: it takes 2t > n + c with {c} colluders, and t <= n"
                )
        else:
            if self.degree % 2 or not 2 <= self.degree < n:
                raise ParameterError(f"degree {self.degree}: it is even, at least 2, below the {n} parties")
            if not 2 <= t <= self.degree:
                raise ParameterError(f"threshold {t} does not fit {self.degree} neighbours")
            if self.blinded:
                raise ParameterError("the blinded sum needs the complete graph: all members share its key")

    @property
    def ring(self) -> Ring:
        return Ring.of(self.bits)

    @property
    def quorum(self) -> int:
        """Signatures on one survivor set that no second set can have as well."""
        return max((self.parties + self.colluders) // 2 + 1, self.threshold if self.degree == 0 else 2)

    @property
    def fewest(self) -> int:
        """Parties that must be left at every step."""
        return max(self.quorum, self.minimum_cohort)

    @property
    def payload_bytes(self) -> int:
        """Bytes of one masked vector on the wire: d b / 8, and the head."""
        return 8 * HEAD_WORDS + self.length * self.ring.wire_bytes

    def digest(self) -> bytes:
        """What every signature and key of the round binds."""
        fields = labels.bind(
            labels.TERMS,
            self.parties,
            self.threshold,
            self.minimum_cohort,
            self.colluders,
            self.bits,
            self.length,
            int(self.blinded),
            self.degree,
            self.binding,
        )
        return hashlib.sha256(fields).digest()
