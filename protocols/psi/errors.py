"""What an intersection ends with when there is nothing to release."""

from __future__ import annotations

from silo.protocols.errors import ProtocolAborted


class TooFewInCommon(ProtocolAborted):
    """The intersection is smaller than the charter's minimum; how small is not told."""

    code = "SILO-218"

    def __init__(self, minimum: int, rows: int) -> None:
        self.minimum = minimum
        super().__init__(
            f"of {rows:,} rows fewer than {minimum} are in common, and the charter releases nothing below that: "
            "check that all members write identifiers alike (case, spaces, leading zeros)"
        )
