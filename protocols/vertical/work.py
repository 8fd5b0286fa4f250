"""How long work under a cipher is divided, in whichever vertical model."""

from __future__ import annotations

from dataclasses import dataclass

from silo.crypto.histograms import Run


@dataclass(frozen=True, slots=True)
class Work:
    """In `parts`, which `run` maps over; a protocol has no threads of its own."""

    parts: int = 1
    run: Run = map
