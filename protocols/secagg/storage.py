"""Putting a member's state away between two steps, and taking it out again in another process.

A state is encrypted under the identity's key and bound to its round, its kind and its owner. Storing cannot
make a state usable twice: whoever takes states out marks each answer on disk before it is sent (`Step.once`),
because the same bytes can be opened as often as one likes.
"""

from __future__ import annotations

from typing import Any, Final

from silo.crypto import aead, labels
from silo.crypto.keys import AgreementKey
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols import codec
from silo.protocols.secagg import client
from silo.protocols.secagg.context import Context

State = (
    client.Advertising
    | client.Revealing
    | client.Sharing
    | client.Uploading
    | client.Voting
    | client.Finishing
)
_KINDS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        client.Advertising,
        client.Revealing,
        client.Sharing,
        client.Uploading,
        client.Voting,
        client.Finishing,
    )
}


def store(state: State, *, key: Secret, rng: Rng) -> bytes:
    """Encrypt a state under a 32-byte key, and spend it."""
    state._fresh()
    kind = type(state).__name__.encode()
    plain = bytes([len(kind)]) + kind + codec.dump(state, _write)
    sealed = aead.seal(key, plain, _binding(state.context, state.me), rng=rng)
    state._spend()
    return sealed


def restore(stored: bytes, context: Context, me: str, *, key: Secret) -> State:
    """Decrypt a state of this round and member. Raises `DecryptionFailed` for any other."""
    plain = aead.unseal(key, stored, _binding(context, me))
    kind, body = plain[1 : 1 + plain[0]].decode(), plain[1 + plain[0] :]
    state: State = codec.load(body, _KINDS[kind], _read)
    return state


def _binding(context: Context, me: str) -> bytes:
    return context.info(labels.STORED_STATE, me)


def _write(value: Any) -> bytes:
    """Secrets as bytes: only ever called on the way into the AEAD."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, AgreementKey):
        return value.secret.reveal()
    raise TypeError(type(value).__name__)


def _read(kind: type[Any], raw: bytes) -> Secret | AgreementKey:
    if kind is Secret:
        return Secret(raw)
    if kind is AgreementKey:
        return AgreementKey.from_secret(Secret(raw))
    raise TypeError(kind.__name__)
