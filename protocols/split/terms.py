"""What all members of one split training agree on, and the bytes that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from silo.crypto.errors import ParameterError
from silo.protocols.envelope import OVERHEAD
from silo.protocols.private import EXTRA
from silo.protocols.split import words
from silo.protocols.split.wire import FORMS, row_bytes

MOST_EPOCHS: Final = 10_000
MOST_MICRO: Final = 16
"""All of a batch may be on its way at once, and the driver keeps so many frames of a member for their turn."""
MOST_WIDTH: Final = 1 << 16
MOST_BYTES: Final = 1 << 26
"""Bytes of one message."""
FRAME: Final = OVERHEAD + EXTRA + 128
"""What a message has beside its rows, at most."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Epochs, rows of a batch, in how many parts a batch travels, and the form of numbers on the wire.

    Raises `ParameterError`.
    """

    epochs: int
    batch: int
    micro_batches: int = 1
    wire: str = "float32"

    def __post_init__(self) -> None:
        if not 1 <= self.epochs <= MOST_EPOCHS:
            raise ParameterError(f"epochs is from 1 to {MOST_EPOCHS}, not {self.epochs}")
        if not 1 <= self.micro_batches <= MOST_MICRO:
            raise ParameterError(f"micro_batches is from 1 to {MOST_MICRO}, not {self.micro_batches}")
        if self.batch < self.micro_batches:
            raise ParameterError(
                f"batch = {self.batch} rows cannot travel in {self.micro_batches} micro-batches: take more rows"
            )
        if self.wire not in FORMS:
            raise ParameterError(f"wire is one of {', '.join(FORMS)}, not {self.wire[:40]!r}")

    def said(self) -> tuple[tuple[str, str], ...]:
        """(name, value) that all have to say alike."""
        return (
            ("epochs", str(self.epochs)),
            ("rows of a batch", str(self.batch)),
            ("micro-batches", str(self.micro_batches)),
            ("form on the wire", self.wire),
        )

    @property
    def part(self) -> int:
        """Rows of one message, at most."""
        return -(-self.batch // self.micro_batches)

    def activation_bytes(self, width: int, hosts: int) -> int:
        """Bytes of one row of activations: with several hosts they are masked words."""
        return row_bytes(self.wire, width) if hosts == 1 else words.WORD_BYTES * width

    def gradient_bytes(self, width: int) -> int:
        """Bytes of one row of gradients."""
        return row_bytes(self.wire, width)

    def messages(self, rows: int) -> int:
        """Messages of one member to another in one epoch, at most."""
        return -(-rows // self.batch) * self.micro_batches

    def require_width(self, width: int) -> None:
        """Refuse a cut that does not fit a message. Raises `ParameterError`."""
        if not 1 <= width <= MOST_WIDTH:
            raise ParameterError(f"a cut is 1 to {MOST_WIDTH} numbers wide, not {width}")
        if self.part * (words.WORD_BYTES * width + words.WORD_BYTES) > MOST_BYTES:
            raise ParameterError(
                f"{self.part} rows of {width} numbers are more than {MOST_BYTES} bytes: "
                "take smaller batches, or more micro-batches"
            )
