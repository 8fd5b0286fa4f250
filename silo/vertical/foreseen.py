"""How many bytes a member will send in a model, before it sends any: what the task's cap is held against."""

from __future__ import annotations

from typing import Final

from silo.crypto.lattice import grouped, products
from silo.crypto.lattice.budget import Budget
from silo.protocols.vertical.boosting import parameters
from silo.protocols.vertical.boosting.columns import Columns
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
_TREE_ROW_BYTES: Final = 800
"""Of a row in one tree, the largest ciphertext with room."""
_BIN_BYTES: Final = 512
"""Of a bin in one node's histogram, with room."""
_LEVEL_BYTES: Final = 1 << 16
"""Of a level of a tree, beside a bit for each row."""


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


def boosted(terms: parameters.Terms, columns: Columns, members: int, groups: int, *, labelled: bool) -> int:
    """The most bytes that a member sends in boosting: rows if it has labels, else histograms; `groups` trees a time."""
    grown = terms.trees * groups
    routed = terms.depth * (columns.rows // 8 + _LEVEL_BYTES)
    if labelled:
        return grown * (members - 1) * (columns.rows * _TREE_ROW_BYTES + routed)
    histograms: int = columns.shape.width * 2**terms.depth * _BIN_BYTES
    return grown * (routed + histograms)


def boosted_scoring(rows: int, splits: int) -> int:
    """The most bytes that a member with so many splits sends in a scoring."""
    return rows * (splits // 8 + 1) + _REST_BYTES
