"""The advertised keys of one round, as every party checks them, and what is derived from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from silo.crypto import labels
from silo.crypto.errors import ParameterError
from silo.crypto.keys import AgreementKey, derive, require_public
from silo.crypto.secret import Secret
from silo.protocols.errors import InconsistentSets, TooFewParties, UnexpectedMessage
from silo.protocols.rounds import by_name
from silo.protocols.secagg.context import Context
from silo.protocols.secagg.messages import Advertise, Directory


@dataclass(frozen=True, slots=True)
class Advertised:
    """Who advertised what (U1), and the digest that every later key and signature binds."""

    entries: Mapping[str, Advertise]
    digest: bytes

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.entries)


def read(context: Context, message: Directory) -> Advertised:
    """Check every signature of a directory. Raises `ProtocolViolation` or `TooFewParties`."""
    opened = context.open_all(message.advertisements, Advertise)
    if len(opened) < context.parameters.fewest:
        missing = [name for name in context.roster if name not in opened]
        raise TooFewParties(context.parameters.fewest, opened, "the key directory", missing)
    for name, one in opened.items():
        check(context, name, one.message)
    keys = [key for one in opened.values() for key in (one.message.mask_key, one.message.share_key)]
    if len(set(keys)) != len(keys):
        twice = [
            n
            for n, one in opened.items()
            if keys.count(one.message.mask_key) > 1 or keys.count(one.message.share_key) > 1
        ]
        raise UnexpectedMessage("an ephemeral key appears twice", culprits=twice, round=context.round)
    digests = {name: one.receipt.digest for name, one in opened.items()}
    digest = hashlib.sha256(context.info(labels.ROSTER, *by_name(digests))).digest()
    return Advertised({name: one.message for name, one in opened.items()}, digest)


def check(context: Context, name: str, message: Advertise) -> None:
    """Refuse an advertised key that is no proper X25519 key, naming its owner. Raises `UnexpectedMessage`."""
    for key in (message.mask_key, message.share_key):
        try:
            require_public(key)
        except ParameterError as problem:
            raise UnexpectedMessage(str(problem), culprits=(name,), round=context.round) from None


def require_own(context: Context, directory: Advertised, me: str, own: Advertise) -> None:
    """Refuse a directory that shows others a different advertisement under this member's name."""
    if directory.entries.get(me) != own:
        raise InconsistentSets(
            f"the directory does not show {me}'s own advertisement",
            culprits=(context.aggregator,),
            round=context.round,
        )


def self_mask_commitment(context: Context, name: str, seed: Secret) -> bytes:
    """Bind a self-mask seed before anybody holds shares of it."""
    return hashlib.sha256(context.info(labels.SELF_MASK_COMMITMENT, name, seed.reveal())).digest()


def self_mask(context: Context, directory: Advertised, name: str, seed: Secret) -> Secret:
    """The stream seed that `name` adds on its own."""
    return derive(seed, context.info(labels.SELF_MASK, directory.digest, name))


def pair_mask(context: Context, directory: Advertised, own: AgreementKey, peer: str) -> Secret:
    """The stream seed that two members share; the first of the two by name adds, the other subtracts."""
    return own.agree(directory.entries[peer].mask_key, context.info(labels.PAIR_MASK, directory.digest))


def share_key(context: Context, directory: Advertised, own: AgreementKey, peer: str) -> Secret:
    """The AEAD key of the share packages between two members."""
    return own.agree(directory.entries[peer].share_key, context.info(labels.SHARE_KEY, directory.digest))


def share_binding(context: Context, directory: Advertised, source: str, destination: str) -> bytes:
    """Associated data of one share package: session, round, source, destination, directory."""
    return context.info(labels.SHARE, directory.digest, source, destination)


def blind_key(context: Context, directory: Advertised, parts: Mapping[str, Secret]) -> Secret:
    """The members' own key of the blinded sum, from one part of each."""
    joined = labels.bind(labels.BLIND, *by_name({name: part.reveal() for name, part in parts.items()}))
    return derive(
        Secret(hashlib.sha256(joined).digest()), context.info(labels.BLIND, directory.digest, *sorted(parts))
    )


def blind_mask(context: Context, key: Secret, name: str) -> Secret:
    """The stream seed under which `name` hides its upload from the aggregator."""
    return derive(key, context.info(labels.BLIND, name))
