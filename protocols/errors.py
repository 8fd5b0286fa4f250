"""Whose fault it is, and the figures."""

from __future__ import annotations

from collections.abc import Iterable

from silo.crypto.errors import SiloError


class ProtocolViolation(SiloError):
    """A party sent what an honest party never sends.

    `culprits` are the parties it could have been, `expected` and `found` say what differed.
    """

    code = "SILO-201"

    def __init__(
        self,
        what: str,
        *,
        culprits: Iterable[str] = (),
        round: int = 0,
        expected: object = "",
        found: object = "",
    ) -> None:
        self.what = what
        self.culprits = tuple(culprits)
        self.round = round
        self.expected = expected
        self.found = found
        who = " or ".join(self.culprits) or "a party"
        figures = f" (expected {expected}, found {found})" if expected != "" or found != "" else ""
        super().__init__(f"{who}: {what}{figures}, round {round}")


class MalformedMessage(ProtocolViolation):
    """Bytes that do not decode strictly to the message that they claim to be."""

    code = "SILO-202"


class UnexpectedMessage(ProtocolViolation):
    """A well-formed message of the wrong kind, from the wrong party or for somebody else."""

    code = "SILO-203"


class ReplayedMessage(ProtocolViolation):
    """A message of another session or round, or one that was already taken."""

    code = "SILO-204"


class BadSignature(ProtocolViolation):
    """The signature is not the pinned identity's over these bytes."""

    code = "SILO-205"


class InconsistentSets(ProtocolViolation):
    """Two parties were told different things: another roster, other survivors, another model."""

    code = "SILO-206"


class ProtocolAborted(SiloError):
    """The round ended without a result, and by nobody's lie; `missing` are the parties that it lacked."""

    code = "SILO-210"

    def __init__(self, what: str, missing: Iterable[str] = ()) -> None:
        self.missing = tuple(missing)
        super().__init__(what)


class TooFewParties(ProtocolAborted):
    """Fewer parties are left than the charter's threshold or cohort asks for."""

    code = "SILO-211"

    def __init__(self, required: int, present: Iterable[str], step: str, missing: Iterable[str] = ()) -> None:
        self.required = required
        self.present = tuple(present)
        self.step = step
        lacked = tuple(missing)
        gone = f"; missing: {', '.join(lacked)}" if lacked else ""
        super().__init__(
            f"{step} needs {required} parties and has {len(self.present)} "
            f"({', '.join(self.present) or 'nobody'}){gone}",
            lacked,
        )


class GivenUp(ProtocolAborted):
    """The round went on without this member: it was silent, late, or broke a rule."""

    code = "SILO-215"


class UnlikeTerms(ProtocolAborted):
    """The members do not ask for the same collective: another shape, model, charter or step."""

    code = "SILO-212"

    def __init__(self, what: str, culprits: Iterable[str] = ()) -> None:
        self.culprits = tuple(culprits)
        super().__init__(what)


class OutOfStep(UnlikeTerms):
    """A member is at another collective than the others, after a restart for example."""

    code = "SILO-213"
