"""Vertical generalised linear models, the label party's side.

The label party holds the labels, its own columns, and a key; each host holds columns. In a pass the label party
encrypts its residuals; every host multiplies them with its columns, under a mask, and has its own gradient when the
label party has opened the masked products. From it the host makes a Newton direction by its own second derivatives, and
shows one number a row: its columns times the direction. With several hosts only their sum can be read. The label party
then minimises the exact objective over its own coefficients and the weights of all directions so far, which takes no
exchange; so passes grow with the columns' dependence and not with any step size. There is no arbiter, and the link is
exact. After Hardy et al. (arXiv 1711.10677) and EFMVFL (arXiv 2201.07131); the search over the span of all directions
is subspace optimisation (Conn, Gould, Sartenaer and Toint 1996).

Adversary: semi-honest members that do not collude, and a malicious relay. The label party learns one number a row and
pass (and, with several hosts, only the sum): fewer passes than hidden columns, or it would know what they span; with
several hosts, or l1, also the (sum of) inner products of their directions, and with l1 the sizes |w|_1. A host learns
its own gradient in each pass, the weights of its directions, and the mean curvature; no score, and of residuals what
its gradients say (`hidden`). A host that lies about its products has the label party open other combinations of
residuals, as many numbers a pass as it has columns (of 35 bits under the lattice, about a hundred under Paillier, so of
a few residuals each): `terms.cap` bounds them, and no key of the lattice serves more than one pass or 16 columns, as
forged replies would tell of it. A label party that lies can send hosts different residuals, and so take their numbers
apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from silo.crypto.errors import DecryptionFailed, ParameterError
from silo.crypto.keys import AgreementKey
from silo.crypto.prg import Keystream
from silo.crypto.products import Owner
from silo.crypto.rng import Rng
from silo.crypto.secret import Secret
from silo.protocols.errors import MalformedMessage
from silo.protocols.step import Role
from silo.protocols.transit import Intake, Lot, carry, entries, letters, whole
from silo.protocols.vertical.context import Context
from silo.protocols.vertical.linear import words
from silo.protocols.vertical.linear.families import Floats
from silo.protocols.vertical.linear.messages import Pass
from silo.protocols.vertical.linear.search import LabelModel, LabelState, Search
from silo.protocols.vertical.linear.terms import Terms, cap, owners, product_terms
from silo.protocols.vertical.work import Work

PIECE_BYTES: Final = 1 << 20
_SEED_BYTES: Final = 32
_NOTHING: Final = 1e-6
_LEAST: Final = 1e-9
_MOST: Final = 1e15


def fit(
    context: Context,
    me: str,
    own: AgreementKey,
    terms: Terms,
    x: Floats,
    y: Floats,
    *,
    intercept: bool,
    rng: Rng,
    state: LabelState | None = None,
    keep: Callable[[LabelState], None] = lambda _: None,
    work: Work | None = None,
) -> Role[LabelModel]:
    """The label party's role: yields steps, returns its part of the model.

    x is (rows, columns), y (rows,). `keep` is told the state after each pass. Raises `ProtocolViolation`,
    `ProtocolAborted`.
    """
    _require_scale(terms, y)
    state = state or LabelState(rng.bytes(_SEED_BYTES))
    plan, most = product_terms(context.parameters.rows), cap(context, terms.passes)
    hosts = context.hosts
    held = {host: context.parameters.columns[host] for host in hosts}
    secrets = owners(terms.scheme, plan, held, work or Work(), rng=rng)
    public = {host: whole(one.public) for host, one in secrets.items()}
    yield from carry(context, me, own, 0, send=public, take={}, rng=rng, each=PIECE_BYTES)
    search = Search(terms, x, y, intercept)
    # Where the labels are met exactly, nothing is left that a gain could be measured by.
    floor = _NOTHING * abs(terms.likelihood.loss(y, np.zeros(len(y))))
    stage, done = 1, len(state.scores)
    while True:
        gain = search.over(state)
        converged = done > 0 and gain <= terms.tol * max(abs(search.value), floor)
        last = converged or done >= most
        residual = search.residual()
        point = _point(terms, residual, plan.value_bits)
        said = Pass(search.weights(), search.curvature(), point, last)
        yield from letters(context, me, own, stage, send=dict.fromkeys(hosts, said), take={}, rng=rng)
        if last:
            return search.model(done, converged)
        values = _rounded(residual, point, plan.value_bits, state.seed, done)
        yield from _gradients(context, me, own, stage, secrets, values, rng)
        secrets = {host: one.renewed(rng=rng) for host, one in secrets.items()}
        yield from _scores(context, me, own, stage + 4, terms, state, rng)
        done, stage = done + 1, stage + 5
        keep(state)


def _gradients(
    context: Context,
    me: str,
    own: AgreementKey,
    stage: int,
    secrets: Mapping[str, Owner],
    values: Any,
    rng: Rng,
) -> Role[None]:
    """Let every host have its gradient: residuals go out encrypted, masked products come in, and go back opened."""
    hosts, columns = context.hosts, context.parameters.columns
    requests: dict[Owner, Lot] = {}
    for one in secrets.values():
        if one not in requests:
            requests[one] = whole(one.public + one.encrypt(values, rng=rng))
    asked = {host: requests[one] for host, one in secrets.items()}
    yield from carry(context, me, own, stage + 1, send=asked, take={}, rng=rng, each=PIECE_BYTES)
    replies = {}
    for host in hosts:
        size = secrets[host].reply_bytes(columns[host])
        replies[host] = Intake(1, size, least=size)
    yield from carry(context, me, own, stage + 2, send={}, take=replies, rng=rng, each=PIECE_BYTES)
    opened = {}
    for host in hosts:
        width = (secrets[host].modulus.bit_length() + 7) // 8
        try:
            found = secrets[host].decrypt(replies[host].joined(), columns[host])
        except (ParameterError, DecryptionFailed) as problem:
            raise MalformedMessage(str(problem), culprits=(host,), round=context.round) from None
        opened[host] = entries(b"".join(number.to_bytes(width, "little") for number in found), width)
    yield from carry(context, me, own, stage + 3, send=opened, take={}, rng=rng, each=PIECE_BYTES)


def _scores(
    context: Context, me: str, own: AgreementKey, stage: int, terms: Terms, state: LabelState, rng: Rng
) -> Role[None]:
    """Take every host's scores of its direction, and add them up."""
    rows, before = context.parameters.rows, len(state.grams)
    size = rows + before + 1 + (2 if terms.l1 else 0)
    into = {host: Intake(words.WORD_BYTES, size, least=size) for host in context.hosts}
    yield from carry(context, me, own, stage, send={}, take=into, rng=rng, each=words.PIECE)
    total = np.zeros(size, np.uint64)
    for one in into.values():
        total += words.read(one.joined())
    found = words.decode(total)
    state.scores.append(found[:rows])
    state.grams.append(found[rows : rows + before + 1])
    state.norms.append(found[rows + before + 1 :])


def _require_scale(terms: Terms, y: Floats) -> None:
    """Refuse labels whose residuals no step of 2^-64 to 2^64 fits. Raises `ParameterError`."""
    largest = float(np.abs(y).max(initial=0.0))
    if not terms.likelihood.bounded and largest and not _LEAST <= largest <= _MOST:
        raise ParameterError(
            f"the largest of the labels is not within {_LEAST:.0e} and {_MOST:.0e}: scale them"
        )


def _point(terms: Terms, residual: Floats, bits: int) -> int:
    """Residuals are in steps of 2^-point: a power of two, so that it says little of the largest."""
    if terms.likelihood.bounded:
        return bits
    largest = float(np.abs(residual).max(initial=0.0))
    return bits if not largest else max(-64, min(64, bits - int(np.ceil(np.log2(largest)))))


def _rounded(residual: Floats, point: int, bits: int, seed: bytes, number: int) -> Any:
    """Residuals as whole numbers, rounded up or down by chance, so that no column sees a bias."""
    drawn = np.empty(len(residual), np.uint32)
    Keystream(Secret(seed), offset=4 * number * len(residual)).fill(drawn)
    steps = np.floor(residual * 2.0**point + drawn / 2.0**32)
    most = (1 << bits) - 1
    return np.clip(steps, -most, most).astype(np.int64)
