"""Domain separation: every derived key, hash and signature binds one of these labels.

`bind` is injective: two different sequences of parts never give the same bytes.
"""

from __future__ import annotations

from typing import Final

_ROOT: Final = b"silo/1/"

ENVELOPE: Final = _ROOT + b"envelope"
CHARTER: Final = _ROOT + b"charter"
CHARTER_SIGNATURE: Final = _ROOT + b"charter-signature"
SESSION: Final = _ROOT + b"session"
TERMS: Final = _ROOT + b"terms"
ROSTER: Final = _ROOT + b"roster"
SELF_MASK: Final = _ROOT + b"secagg/self-mask"
SELF_MASK_COMMITMENT: Final = _ROOT + b"secagg/self-mask-commitment"
PAIR_MASK: Final = _ROOT + b"secagg/pair-mask"
SHARE_KEY: Final = _ROOT + b"secagg/share-key"
SHARE: Final = _ROOT + b"secagg/share"
GRAPH_COMMITMENT: Final = _ROOT + b"secagg/graph-commitment"
GRAPH_SEED: Final = _ROOT + b"secagg/graph-seed"
GRAPH: Final = _ROOT + b"secagg/graph"
BLIND: Final = _ROOT + b"secagg/blind"
SURVIVORS: Final = _ROOT + b"secagg/survivors"
ROUNDING: Final = _ROOT + b"ring/rounding"
STORED_STATE: Final = _ROOT + b"stored-state"
AGREEMENT: Final = _ROOT + b"agreement"
CHANNEL: Final = _ROOT + b"channel"
LINK_LOGIN: Final = _ROOT + b"link-login"
OUTBOX: Final = _ROOT + b"outbox"
UPDATE: Final = _ROOT + b"update"
MODEL: Final = _ROOT + b"model"
IDENTITY_FILE: Final = _ROOT + b"identity-file"
IDENTITY_CARD: Final = _ROOT + b"identity-card"
OUTBOX_HEAD: Final = _ROOT + b"outbox-head"
LEDGER_RECORD: Final = _ROOT + b"ledger-record"
LEDGER_SIGNATURE: Final = _ROOT + b"ledger-signature"
LEDGER_HEAD: Final = _ROOT + b"ledger-head"
LEDGER_WITNESS: Final = _ROOT + b"ledger-witness"
LEDGER_CONTENT: Final = _ROOT + b"ledger-content"
PAILLIER_KEY: Final = _ROOT + b"paillier/key"
PAILLIER_PROOF: Final = _ROOT + b"paillier/proof"
SUM_KEY: Final = _ROOT + b"sum-key"
SUM_KEY_FILE: Final = _ROOT + b"sum-key-file"
SUM_RELEASE: Final = _ROOT + b"he-sum/release"
JOINT_SEED: Final = _ROOT + b"he-sum/joint-seed"
JOINT_CHECK: Final = _ROOT + b"he-sum/joint-check"
JOINT_NOTE: Final = _ROOT + b"he-sum/joint-note"
SUM_CHECK: Final = _ROOT + b"he-sum/check"
JOINT_PART: Final = _ROOT + b"he-sum/joint-part"
CKKS_KEY: Final = _ROOT + b"ckks/key"
PSI_ITEM: Final = _ROOT + b"psi/item"
OKAMOTO_UCHIYAMA_KEY: Final = _ROOT + b"okamoto-uchiyama/key"
OKAMOTO_UCHIYAMA_BASE: Final = _ROOT + b"okamoto-uchiyama/base"
PRODUCTS: Final = _ROOT + b"products"
VERTICAL_ORDER: Final = _ROOT + b"vertical/order"
VERTICAL_MASK: Final = _ROOT + b"vertical/mask"
SPLIT_ORDER: Final = _ROOT + b"split/order"


def bind(label: bytes, *parts: bytes | int | str) -> bytes:
    """Join a label and its parts, each with its length (and integers as eight bytes), injectively."""
    out = [len(label).to_bytes(4, "big"), label]
    for part in parts:
        kind, raw = _raw(part)
        out += [kind, len(raw).to_bytes(8, "big"), raw]
    return b"".join(out)


def _raw(part: bytes | int | str) -> tuple[bytes, bytes]:
    if isinstance(part, int):
        return b"i", part.to_bytes(8, "big")
    if isinstance(part, str):
        return b"s", part.encode()
    return b"b", bytes(part)
