"""Scores of a linear model: each host sends its columns times its coefficients, and the label party adds them up.

With several hosts the numbers are masked, and the label party learns the sum only. No host learns a score.
"""

from __future__ import annotations

import numpy as np

from silo.crypto.keys import AgreementKey
from silo.crypto.rng import Rng
from silo.protocols.step import Role
from silo.protocols.transit import Intake, carry, entries
from silo.protocols.vertical.context import Context
from silo.protocols.vertical.linear import words
from silo.protocols.vertical.linear.families import Floats
from silo.protocols.vertical.masks import Masks


def label(context: Context, me: str, own: AgreementKey, scores: Floats, *, rng: Rng) -> Role[Floats]:
    """The label party: `scores` are those of its own columns and the intercept; returns those of all."""
    rows = context.parameters.rows
    into = {host: Intake(words.WORD_BYTES, rows, least=rows) for host in context.hosts}
    yield from carry(context, me, own, 0, send={}, take=into, rng=rng, each=words.PIECE)
    total = np.zeros(rows, np.uint64)
    for one in into.values():
        total += words.read(one.joined())
    found: Floats = scores + words.decode(total)
    return found


def host(context: Context, me: str, own: AgreementKey, scores: Floats, *, rng: Rng) -> Role[None]:
    """A host: `scores` are those of its columns."""
    shown = words.encode(scores, f"{me}: the scores of its columns")
    hidden = Masks(context, me, own).hide(shown)
    lot = entries(hidden, words.WORD_BYTES)
    yield from carry(context, me, own, 0, send={context.label: lot}, take={}, rng=rng, each=words.PIECE)
