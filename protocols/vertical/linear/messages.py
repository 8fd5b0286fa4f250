"""What parties of a linear model say, beside lists of words and ciphertexts."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from silo.protocols.codec import Message

MOST_PASSES: Final = 4096

Coefficients = Annotated[tuple[float, ...], Meta(max_length=MOST_PASSES)]


class Pass(Message, frozen=True):
    """Label party to host: how the score directions so far are combined, and whether that was the last pass.

    `curvature` is the mean second derivative of the loss a row, and residuals are in steps of 2^-`point`.
    """

    coefficients: Coefficients
    curvature: float
    point: Annotated[int, Meta(ge=-64, le=64)]
    last: bool
