"""The usual generators during private training: dropout and augmentation must not follow a seed that is known.

What falls on a row depends on its place in the batch: with a known seed, whether one row was sampled would show in
the gradients of the rows after it, which no clipping bounds.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from silo.crypto.rng import Rng

_ACCELERATED = torch.accelerator.is_available()
_lock = threading.Lock()
_inside = 0
_saved: tuple[torch.Tensor, list[torch.Tensor], Any, Any] | None = None


@contextmanager
def unforeseeable(rng: Rng) -> Iterator[None]:
    """Seed torch, NumPy and Python from `rng`; put their states back when the last thread that is inside leaves."""
    global _inside, _saved
    with _lock:
        if _inside == 0:
            on_cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
            _saved = torch.get_rng_state(), on_cards, np.random.get_state(), random.getstate()
        _inside += 1
        reseed(rng)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _saved is not None:
                torch.set_rng_state(_saved[0])
                if _saved[1]:
                    torch.cuda.set_rng_state_all(_saved[1])
                np.random.set_state(_saved[2])
                random.setstate(_saved[3])
                _saved = None


def reseed(rng: Rng) -> None:
    """Give all three a fresh seed. Generators that a data set keeps for itself are out of reach."""
    seed = int.from_bytes(rng.bytes(8), "little")
    if _ACCELERATED:
        torch.manual_seed(seed)
    else:
        # For cards that are not there torch.manual_seed keeps a note with a whole traceback: a fifth of a small step.
        torch.default_generator.manual_seed(seed)
    np.random.seed(list(rng.bytes(64)))
    random.seed(rng.bytes(32))
