"""Vertical generalised linear models, a host's side: see `silo.protocols.vertical.linear.label`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from silo.crypto.errors import ParameterError, StateReused, refuse_pickle
from silo.crypto.keys import AgreementKey
from silo.crypto.products import Multiplier
from silo.crypto.rng import Rng
from silo.protocols.errors import MalformedMessage, UnexpectedMessage
from silo.protocols.step import Role
from silo.protocols.transit import Intake, carry, entries, letters, whole
from silo.protocols.vertical.context import Context
from silo.protocols.vertical.linear import hidden, solver, words
from silo.protocols.vertical.linear.families import Floats
from silo.protocols.vertical.linear.messages import Pass
from silo.protocols.vertical.linear.terms import COLUMN_BITS, Terms, cap, multiplier, product_terms
from silo.protocols.vertical.masks import Masks
from silo.protocols.vertical.work import Work

PIECE_BYTES = 1 << 20
_MOST_KEY_BYTES = 1 << 17
_LEAST_SQUARES = "linear"
_STILL = 1e-12
_LARGEST = 2.0**64
"""No honest weight or curvature comes near it, and beyond it a host's own numbers would overflow."""


@dataclass(eq=False, repr=False)
class HostState:
    """What a host keeps from pass to pass: its directions, (columns,) each. Secret."""

    directions: list[Floats] = field(default_factory=list)

    def cut(self, passes: int) -> None:
        """Forget all after so many passes."""
        del self.directions[passes:]

    def __reduce__(self) -> Any:
        refuse_pickle(self)


def fit(
    context: Context,
    me: str,
    own: AgreementKey,
    terms: Terms,
    x: Floats,
    *,
    centred: bool,
    rng: Rng,
    state: HostState | None = None,
    keep: Callable[[HostState], None] = lambda _: None,
    work: Work | None = None,
) -> Role[Floats]:
    """A host's role: yields steps, returns its coefficients, (columns,).

    x is (rows, columns). `centred`: the model has an intercept, so that residuals sum to zero. Raises
    `ProtocolViolation`, `ProtocolAborted`.
    """
    hidden.require_spread(x, [f"x{place}" for place in range(x.shape[1])], me)
    state = state or HostState()
    columns = _Columns(x, centred)
    label, most = context.label, cap(context, terms.passes)
    plan = product_terms(context.parameters.rows)
    key = Intake(1, _MOST_KEY_BYTES * (1 + x.shape[1] // 16), least=1)
    yield from carry(context, me, own, 0, send={}, take={label: key}, rng=rng, each=PIECE_BYTES)
    try:
        products = multiplier(terms.scheme, key.joined(), columns.steps, plan, work or Work())
    except ParameterError as problem:
        raise MalformedMessage(str(problem), culprits=(label,), round=context.round) from None
    masks = Masks(context, me, own)
    stage, done = 1, len(state.directions)
    while True:
        heard = yield from letters(context, me, own, stage, send={}, take={label: Pass}, rng=rng)
        said = heard[label]
        _check(context, said, done, most)
        weights = _combined(state, said, x.shape[1])
        if said.last:
            return weights
        found = yield from _product(context, me, own, stage, products, key.count, rng)
        gradient = columns.gradient(found, said.point) - terms.l2 * weights
        unit = _unit(terms, said.point, plan.value_bits)
        hessian = columns.second * (said.curvature if said.curvature > 1 / _LARGEST else 0.0)
        direction = _direction(context, terms, hessian, gradient, weights, state, unit)
        numbers = [columns.x @ direction, _inner(state, direction), _norms(terms, weights, direction)]
        shown = words.encode(np.concatenate(numbers), f"{me}: the scores of its columns")
        state.directions.append(direction)
        lot = entries(masks.hide(shown), words.WORD_BYTES)
        yield from carry(context, me, own, stage + 4, send={label: lot}, take={}, rng=rng, each=words.PIECE)
        done, stage = done + 1, stage + 5
        keep(state)


def _check(context: Context, said: Pass, done: int, most: int) -> None:
    """Refuse a pass beyond the cap, or weights that are none. Raises `ProtocolViolation`."""
    label = context.label
    if not said.last and done >= most:
        raise UnexpectedMessage(
            "it asks for more passes than were agreed",
            culprits=(label,),
            round=context.round,
            expected=most,
            found=done + 1,
        )
    numbers = np.abs([*said.coefficients, said.curvature])
    if len(said.coefficients) != done or not (numbers <= _LARGEST).all():
        raise MalformedMessage(
            "its weights do not fit the directions so far",
            culprits=(label,),
            round=context.round,
            expected=done,
            found=len(said.coefficients),
        )
    if said.curvature < 0:
        raise MalformedMessage("a negative curvature", culprits=(label,), round=context.round)


def _combined(state: HostState, said: Pass, columns: int) -> Floats:
    total = np.zeros(columns)
    for weight, direction in zip(said.coefficients, state.directions, strict=True):
        total += weight * direction
    return total


def _product(
    context: Context,
    me: str,
    own: AgreementKey,
    stage: int,
    products: Multiplier,
    key_bytes: int,
    rng: Rng,
) -> Role[Any]:
    """The exact products of the encrypted residuals with the own columns, as whole numbers.

    The request begins with the key of this pass.
    """
    label, size = context.label, key_bytes + products.payload_bytes
    came = Intake(1, size, least=size)
    yield from carry(context, me, own, stage + 1, send={}, take={label: came}, rng=rng, each=PIECE_BYTES)
    try:
        request = came.joined()
        products.rekey(request[:key_bytes])
        reply = products.products(request[key_bytes:], rng=rng)
    except ParameterError as problem:
        raise MalformedMessage(str(problem), culprits=(label,), round=context.round) from None
    lot = whole(bytes(reply.payload))
    yield from carry(context, me, own, stage + 2, send={label: lot}, take={}, rng=rng, each=PIECE_BYTES)
    width = (products.modulus.bit_length() + 7) // 8
    count = context.parameters.columns[me]
    opened = Intake(width, count, least=count)
    yield from carry(context, me, own, stage + 3, send={}, take={label: opened}, rng=rng, each=PIECE_BYTES)
    raw = opened.joined()
    numbers = [int.from_bytes(raw[at : at + width], "little") for at in range(0, len(raw), width)]
    try:
        return reply.remove(numbers)
    except (ParameterError, StateReused) as problem:
        raise MalformedMessage(str(problem), culprits=(label,), round=context.round) from None


class _Columns:
    """A host's columns: as they are, as whole steps for the products, and their second moments."""

    def __init__(self, x: Floats, centred: bool) -> None:
        self.x = x
        middle = x.mean(axis=0) if centred else np.zeros(x.shape[1])
        apart = x - middle
        largest = np.abs(apart).max(axis=0)
        # A column that stands still differs from its mean by what rounding left.
        still = largest <= _STILL * np.abs(x).max(axis=0)
        apart[:, still], largest[still] = 0.0, 0.0
        self._step = np.where(largest > 0, largest, 1.0) / ((1 << COLUMN_BITS) - 1)
        self.steps = np.rint(apart / self._step).astype(np.int64)
        self.second = apart.T @ apart

    def gradient(self, products: Any, point: int) -> Floats:
        """The sum of residual times column, from products of whole steps."""
        found: Floats = products.astype(np.float64) * self._step * 2.0**-point
        return found


def _direction(
    context: Context,
    terms: Terms,
    curvature: Floats,
    gradient: Floats,
    weights: Floats,
    state: HostState,
    unit: float,
) -> Floats:
    """Where the host goes: Newton's step by its own columns, or the proximal one with l1; `unit` is its length 1."""
    hessian = curvature + terms.l2 * np.eye(len(gradient))
    step = solver.proximal_step(hessian, -gradient, weights, terms.l1)
    if terms.l1 and len(context.hosts) == 1 and np.count_nonzero(step) == 1:
        raise ParameterError(
            "l1 leaves one column of this member, and its scores would show it whole: take a smaller l1, or no l1"
        )
    if terms.l1:
        return step
    if len(context.hosts) > 1:
        return step / unit
    # Alone, it shows directions of length 1 that are orthogonal: their inner products then say nothing.
    for _ in range(2):
        for before in state.directions:
            step = step - before * float(before @ step)
    length = float(np.linalg.norm(step))
    return step / length if length > 0 else step


def _unit(terms: Terms, point: int, bits: int) -> float:
    """Steps of least squares grow with the labels. All hosts know how large the residuals are, and count in them."""
    return 2.0 ** (bits - point) if terms.family == _LEAST_SQUARES else 1.0


def _inner(state: HostState, direction: Floats) -> Floats:
    return np.array([float(before @ direction) for before in (*state.directions, direction)])


def _norms(terms: Terms, weights: Floats, direction: Floats) -> Floats:
    """With l1 what bounds the penalty between both ends of the step."""
    if not terms.l1:
        return np.zeros(0)
    return np.array([np.abs(weights).sum(), np.abs(weights + direction).sum()])
