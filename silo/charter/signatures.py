"""The canonical bytes of a charter, its digest, and the members' signatures over it."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from silo.card import Card
from silo.crypto import labels, signing
from silo.errors import ChangedAfterSigning, InvalidSignature

if TYPE_CHECKING:
    from silo.charter.model import Charter
    from silo.identity import Identity


def canonical(charter: Charter) -> bytes:
    """Everything but the signatures, injectively: JSON with sorted keys, DER certificates, UTC seconds."""
    relay, terms, time = charter.relay, charter.sum, charter.time
    tree: dict[str, Any] = {
        "version": 1,
        "name": charter.name,
        "created": _moment(charter.created),
        "expires": _moment(charter.expires),
        "relay": {**_card(relay.card), "url": relay.url, "allow_interception": relay.allow_interception},
        "members": [_card(card) for card in charter.members],
        "sum": {
            "protocol": terms.protocol,
            "blinded": terms.blinded,
            "graph": terms.graph,
            "bits": terms.bits,
            "clip": terms.clip,
            "overflow": terms.overflow,
            "minimum_cohort": terms.minimum_cohort,
            "threshold": terms.threshold,
            "colluders": terms.colluders,
            "changed_cohort": terms.changed_cohort,
            "two_party": terms.two_party,
            "key_holder": terms.key_holder,
            "key": terms.key,
        },
        "time": {"reconnect": time.reconnect, "silence": time.silence, "work": time.work},
        "receivers": sorted(charter.receivers),
        "tasks": [
            {
                "name": task.name,
                "script": task.script,
                "model": task.model,
                "rounds": task.rounds,
                "rows": task.rows,
                "bytes": task.bytes,
                "expires": _moment(task.expires),
            }
            for task in charter.tasks
        ],
    }
    if charter.privacy:
        tree["privacy"] = [{name: getattr(one, name) for name in one.__slots__} for one in charter.privacy]
    if charter.intersection:
        one = charter.intersection
        tree["intersection"] = {
            "reveal": sorted(one.reveal),
            "rows": one.rows,
            "queries": one.queries,
            "minimum": one.minimum,
        }
    if charter.vertical:
        vertical = charter.vertical
        tree["vertical"] = {
            **vertical.words(),
            "models": sorted(vertical.models),
            "noised": sorted(vertical.noised),
        }
    return json.dumps(
        tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def digest(charter: Charter) -> bytes:
    """SHA-256 over the label and the canonical bytes; 32 bytes."""
    return hashlib.sha256(labels.bind(labels.CHARTER, canonical(charter))).digest()


def sign(charter: Charter, identity: Identity) -> bytes:
    """A member's signature over the digest; 64 bytes."""
    return identity.sign(labels.CHARTER_SIGNATURE, charter.digest)


def check(charter: Charter) -> None:
    """Verify every signature that is there. Raises `ChangedAfterSigning`, which names the false ones."""
    false: list[str] = []
    for one in charter.signatures:
        try:
            signing.verify(
                charter.member(one.member).key, labels.CHARTER_SIGNATURE, charter.digest, one.value
            )
        except InvalidSignature:
            false.append(one.member)
    if false:
        raise ChangedAfterSigning(false)


def _card(card: Card) -> dict[str, str]:
    return {"name": card.name, "key": card.key.hex(), "certificate": base64.b64encode(card.der).decode()}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
