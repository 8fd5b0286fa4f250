"""What every protocol shares: a round that ends without a result, told to the members without free text."""

from __future__ import annotations

from typing import Annotated

from silo.protocols.codec import AtMostParties, Code, Count, Message, Name, Text
from silo.protocols.errors import GivenUp, ProtocolAborted, TooFewParties


class Lost(Message, frozen=True):
    """A party that the round goes on without, and the code of the reason ("" when it just went away)."""

    name: Name
    code: Code


class Abort(Message, frozen=True):
    """Aggregator to a member: the round is over for you."""

    code: Code
    step: Text
    required: Count
    present: Annotated[tuple[Name, ...], AtMostParties]
    lost: Annotated[tuple[Lost, ...], AtMostParties]

    def as_error(self) -> ProtocolAborted:
        """The error that the member raises."""
        missing = [f"{one.name} ({one.code})" if one.code else one.name for one in self.lost]
        if self.code == TooFewParties.code:
            return TooFewParties(self.required, self.present, self.step, missing)
        if self.code == GivenUp.code:
            return GivenUp(f"the round went on without {', '.join(missing) or 'this member'}")
        return ProtocolAborted(
            f"the aggregator ended this round [{self.code}] in the step {self.step}"
            + (f"; lost: {', '.join(missing)}" if missing else "")
        )
