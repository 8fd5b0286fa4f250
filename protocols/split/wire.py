"""Rows of activations and gradients as bytes: float32, float16, or int8 with one scale a row.

Every row of a form has the same bytes, whatever it holds. What is not finite is refused, by the sender and by the
receiver. float16 and int8 are rounded to the nearest, and float16 is cut off at its largest number.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from silo.crypto.errors import ParameterError

FLOAT32: Final = "float32"
FLOAT16: Final = "float16"
INT8: Final = "int8"
FORMS: Final = (FLOAT32, FLOAT16, INT8)
_SCALE: Final = 4
_STEPS: Final = 127
_MOST_HALF: Final = 65504.0

Rows = npt.NDArray[np.float32]


def row_bytes(form: str, width: int) -> int:
    """Bytes of one row of `width` numbers."""
    return {FLOAT32: 4 * width, FLOAT16: 2 * width, INT8: width + _SCALE}[form]


def encode(rows: Rows, form: str) -> bytes:
    """(rows, width) finite numbers as bytes."""
    if form == FLOAT32:
        return np.ascontiguousarray(rows, "<f4").tobytes()
    if form == FLOAT16:
        return np.clip(rows, -_MOST_HALF, _MOST_HALF).astype("<f2").tobytes()
    scale = (np.abs(rows).max(axis=1, initial=0.0) / _STEPS).astype("<f4")
    # The smallest numbers have no step of their own: a row of such is zero.
    safe = np.where(scale > 0, scale, 1)[:, None]
    steps = np.rint(np.clip(rows / safe, -_STEPS, _STEPS)).astype(np.int8)
    return np.hstack([scale.reshape(-1, 1).view(np.uint8), steps.view(np.uint8)]).tobytes()


def decode(raw: bytes, form: str, width: int) -> Rows:
    """(rows, width) numbers of whole rows. Raises `ParameterError` for one that is not finite."""
    if form == FLOAT32:
        found: Rows = np.frombuffer(raw, "<f4").astype(np.float32).reshape(-1, width)
    elif form == FLOAT16:
        found = np.frombuffer(raw, "<f2").astype(np.float32).reshape(-1, width)
    else:
        table = np.frombuffer(raw, np.uint8).reshape(-1, width + _SCALE)
        scale = np.ascontiguousarray(table[:, :_SCALE]).view("<f4")
        steps = table[:, _SCALE:].view(np.int8)
        # Rows that are alike have one form only: no scale below zero, and no step that nobody writes.
        if (steps == -_STEPS - 1).any() or not (scale >= 0).all():
            raise ParameterError("a row of steps that no sender writes")
        with np.errstate(over="ignore", invalid="ignore"):
            found = scale.astype(np.float32) * steps.astype(np.float32)
    require_finite(found, "its message holds")
    return found


def require_finite(rows: Rows, what: str, first: int = 0) -> None:
    """Name the first number that is not finite; `first` is the place of the first row. Raises `ParameterError`."""
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ParameterError(f"{what} {rows[row, column]} in row {first + row} of the batch")
