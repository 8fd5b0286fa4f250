"""The errors of the privacy budget; each has its page docs/errors/<code>.md."""

from __future__ import annotations

from silo.errors import ParameterError, SiloError, StateReused
from silo.protocols.errors import ProtocolViolation


class LedgerError(SiloError):
    """The ledger cannot be opened, read or written; nothing was spent."""

    code = "SILO-440"


class PrivacyBudgetExceeded(SiloError):
    """What was asked for does not fit into the budget; nothing was computed and nothing was drawn."""

    code = "SILO-441"

    def __init__(self, dataset: str, spent: float, asked: float, limit: float) -> None:
        self.dataset = dataset
        self.spent = spent
        self.asked = asked
        self.limit = limit
        super().__init__(
            f"the privacy budget of {dataset} is epsilon {limit:g}: {spent:.3f} counts as spent, and with this "
            f"it would be {asked:.3f}; take more noise, or fewer steps or epochs, for a budget never refills"
        )


class LedgerCorrupt(LedgerError):
    """A record is not what was written; `sequence` is the first bad one."""

    code = "SILO-442"

    def __init__(self, sequence: int, what: str, path: str = "") -> None:
        self.sequence = sequence
        self.what = what
        where = f" of {path}" if path else ""
        super().__init__(
            f"record {sequence}{where} {what}: keep the file as evidence and compare it with a backup "
            "and with the partners' witnesses"
        )


class LedgerForked(LedgerError):
    """The ledger is not a continuation of one that was seen before: it was rolled back, or it has a twin."""

    code = "SILO-443"

    def __init__(self, sequence: int, seen_by: str, path: str = "") -> None:
        self.sequence = sequence
        super().__init__(
            f"the ledger {path} does not hold record {sequence} as {seen_by} saw it: it was rolled back or forked, "
            "and is frozen; restore the newest copy, or write down what is missing with `silo ledger adjust`"
        )


class LedgerRolledBack(ProtocolViolation):
    """A partner showed a ledger that is not the continuation of the one that it showed before."""

    code = "SILO-447"


class Unaccountable(ParameterError):
    """No sound bound is known for an event, so it cannot be admitted or reported."""

    code = "SILO-446"


class TokenUsed(StateReused):
    """The right to draw noise once was used a second time, or beyond what was reserved."""

    code = "SILO-444"


class NotCovered(ParameterError):
    """A number would leave that the privacy policy does not cover."""

    code = "SILO-445"
