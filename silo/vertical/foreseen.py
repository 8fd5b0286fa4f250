"""How many bytes a member will send in a linear model, before it sends any: what the task's cap is held against."""

from __future__ import annotations

from typing import Final

from silo.crypto.lattice import grouped, products
from silo.crypto.lattice.budget import Budget
from silo.protocols.vertical.context import Context
from silo.protocols.vertical.linear.terms import LATTICE, PAILLIER, Terms, product_terms

_WORD_BYTES: Final = 16
"""Bytes of a row's score, with room for the frames around it."""
_REST_BYTES: Final = 1 << 17
"""For each request of a pass: the key, and the small messages."""
_CIPHERTEXT_BYTES: Final = {LATTICE: 14, PAILLIER: 776}
"""Of a row, for each request."""
_PAILLIER_REPLY: Final = 1 << 10
"""Of a column."""


def fit(terms: Terms, rows: int, columns: int, requests: int) -> int:
    """The most bytes that a member sends in a fit, with labels or without: one request at least for each of the others.

    Raises `ParameterError` for rows that the scheme does not take.
    """
    row = _CIPHERTEXT_BYTES[terms.scheme] * requests + _WORD_BYTES
    reply = columns * _reply(terms.scheme, rows)
    return (terms.passes + 1) * (row * rows + reply + _REST_BYTES * requests)


def requests(terms: Terms, context: Context) -> int:
    """How many lists of ciphertexts the label party sends in a pass."""
    columns = context.parameters.columns
    if terms.scheme == PAILLIER:
        return len(context.hosts)
    return sum(len(grouped.groups(columns[host])) for host in context.hosts)


def _reply(scheme: str, rows: int) -> int:
    if scheme == PAILLIER:
        return _PAILLIER_REPLY
    plan = product_terms(rows)
    return products.reply_bytes(plan, Budget.of(plan), 1)


def scoring(rows: int) -> int:
    """The most bytes that a member sends in a scoring."""
    return _WORD_BYTES * rows + _REST_BYTES
