"""torch's own generator during private training: dropout and augmentation must not follow a seed that is known.

What falls on a row depends on its place in the batch: with a known seed, whether one row was sampled would show in
the gradients of the rows after it, which no clipping bounds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from silo.crypto.rng import Rng

_lock = threading.Lock()
_inside = 0
_saved: tuple[torch.Tensor, list[torch.Tensor]] | None = None


@contextmanager
def unforeseeable(rng: Rng) -> Iterator[None]:
    """Seed torch from `rng`, and put its state back when the last thread that is inside leaves."""
    global _inside, _saved
    with _lock:
        if _inside == 0:
            on_cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
            _saved = torch.get_rng_state(), on_cards
        _inside += 1
        torch.manual_seed(int.from_bytes(rng.bytes(8), "little"))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _saved is not None:
                torch.set_rng_state(_saved[0])
                if _saved[1]:
                    torch.cuda.set_rng_state_all(_saved[1])
                _saved = None
