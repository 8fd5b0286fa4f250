"""Telling updates apart without keeping them: what the journal knows of what left."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import numpy as np

from silo.crypto import labels
from silo.crypto.keys import derive
from silo.crypto.masking import Plain
from silo.identity import Identity

_STEP: Final = 1 << 17


def tag(identity: Identity, charter: bytes, plain: Plain) -> bytes:
    """A keyed digest that tells this update apart under one charter, and tells nobody else anything; 32 bytes.

    The same numbers are the same update in whatever type, weight or collective they come.
    """
    key = derive(identity.signing.secret, labels.bind(labels.UPDATE, charter))
    mac = hmac.new(key.reveal(), digestmod=hashlib.sha256)
    mac.update(sum(part.size for part in plain.parts).to_bytes(8, "big"))
    for part in plain.parts:
        flat = np.ascontiguousarray(part).reshape(-1)
        for begin in range(0, flat.size, _STEP):
            # Adding zero makes one zero of the two.
            mac.update((flat[begin : begin + _STEP].astype("<f8") + 0.0).data.cast("B"))
    return mac.digest()
